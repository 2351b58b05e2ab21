"""What every vendor promises, as tests. A vendor's test module inherits them and says how its own calls are made.

    class TestRowsOut(RowsOut):
        @pytest.fixture
        def vendor(self, sandbox: Sandbox) -> Out: ...

    class TestLabelsBack(LabelsBack):
        @pytest.fixture
        def vendor(self, sandbox: Sandbox) -> Back: ...

After each test the vendor's key must be in no file that was written and in nothing that was logged.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from pyspark.sql import DataFrame, SparkSession

from kit.mortal import Died, dying_after
from kit.secrecy import everything_in
from sama_spark.errors import ConnectorError, InvalidRowsError
from sama_spark.inbound.sync.sync_result import SyncResult

MADE = 4  # tables of a first sync, each of them a write
WRITES = 4  # of a sync: landing, annotations, tasks, runs
DIFFERS = ("landed_at", "synced_at", "run_id", "feed", "cursor")  # from one sync to another of the same deliveries


class Out(Protocol):
    """One project of a vendor, and a driver that sends rows to it."""

    key: str

    def send(self, rows: DataFrame, *, dies: Literal["before", "after"] | None = None) -> object:
        """Send rows as a new process would, with what makes a rerun safe. Their key is the column `name`.

        `dies`: the process ends at its second call that makes tasks, before or after the call has its effect, and
        raises `Died`.
        """
        ...

    def made(self) -> Counter[str]:
        """Count the tasks that the vendor has, by `name`."""
        ...

    def lose_a_reply(self) -> None:
        """Let the next call that makes tasks have its effect, and its reply get lost."""
        ...

    def refuse_with_the_key(self) -> None:
        """Let the vendor refuse the next call, in words that repeat the key."""
        ...


class Back(Protocol):
    """One project of a vendor, and a client that syncs it. Nothing has been delivered."""

    key: str

    def deliver(self, *names: str, answer: str = "sun") -> None:
        """Deliver these tasks, or deliver them again, each with this answer."""
        ...

    def sync(self, spark: SparkSession, into: str, *, full: bool = False) -> SyncResult:
        """Sync as a new process would."""
        ...

    def fail_at_the_second_page(self) -> None:
        """Let the next sync fail at the second page of the list, once."""
        ...


def rows(spark: SparkSession, first: int, end: int) -> DataFrame:
    return spark.range(first, end, 1, 2).selectExpr(
        "concat('image ', id) AS name", "concat('https://assets.invalid/', id, '.jpg') AS url"
    )


def once(first: int, end: int) -> Counter[str]:
    return Counter(f"image {n}" for n in range(first, end))


def table(spark: SparkSession, into: str, name: str) -> DataFrame:
    return spark.read.format("delta").load(f"{into}/{name}")


def contents(spark: SparkSession, into: str) -> dict[str, list[str]]:
    """Return all rows as text, without the columns that differ from sync to sync."""
    names = ("tasks", "annotations")
    return {name: sorted(map(str, table(spark, into, name).drop(*DIFFERS).collect())) for name in names}


def schemas(spark: SparkSession, into: str) -> dict[str, Any]:
    return {name: table(spark, into, name).schema for name in ("deliveries_raw", "tasks", "annotations", "runs")}


def errors_show(error: BaseException, key: str) -> bool:
    return any(key in shown for shown in everything_in(error))


class _Vendor:
    @pytest.fixture(autouse=True)
    def key_is_nowhere(self, vendor: Out | Back, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        caplog.set_level(logging.DEBUG, "sama_spark")
        yield
        written = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert written
        assert [file for file in written if vendor.key.encode() in file.read_bytes()] == []
        assert vendor.key not in caplog.text


class RowsOut(_Vendor):
    """Rows become tasks, each once, whatever happens on the way."""

    def test_a_rerun_makes_nothing(self, spark: SparkSession, vendor: Out) -> None:
        vendor.send(rows(spark, 0, 5))
        assert vendor.made() == once(0, 5)
        vendor.send(rows(spark, 0, 5))
        assert vendor.made() == once(0, 5)
        vendor.send(rows(spark, 3, 8))
        assert vendor.made() == once(0, 8)

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_process_that_dies_at_a_call(
        self, spark: SparkSession, vendor: Out, when: Literal["before", "after"]
    ) -> None:
        with pytest.raises(Died):
            vendor.send(rows(spark, 0, 5), dies=when)
        assert 0 < vendor.made().total() < 5
        vendor.send(rows(spark, 0, 5))
        assert vendor.made() == once(0, 5)

    def test_a_lost_reply(self, spark: SparkSession, vendor: Out) -> None:
        vendor.lose_a_reply()
        with suppress(ConnectorError):  # a vendor may be asked again within the run, or by the next
            vendor.send(rows(spark, 0, 5))
        assert vendor.made().total() > 0
        vendor.send(rows(spark, 0, 5))
        assert vendor.made() == once(0, 5)

    def test_a_bad_row_keeps_all_rows_here(self, spark: SparkSession, vendor: Out) -> None:
        given = rows(spark, 0, 5).selectExpr("*", "if(name = 'image 3', double('NaN'), 1D) AS n")
        with pytest.raises(InvalidRowsError, match="image 3"):
            vendor.send(given)
        assert vendor.made().total() == 0

    def test_a_refusal_shows_no_key(self, spark: SparkSession, vendor: Out) -> None:
        vendor.refuse_with_the_key()
        with pytest.raises(ConnectorError) as refused:
            vendor.send(rows(spark, 0, 5))
        assert not errors_show(refused.value, vendor.key)
        assert vendor.key not in "".join(traceback.format_exception(refused.value))


class LabelsBack(_Vendor):
    """Deliveries come into the tables, each once, whatever happens on the way."""

    @pytest.fixture
    def into(self, tmp_path: Path) -> str:
        return str(tmp_path / "labels")

    def test_an_empty_list_makes_the_tables_that_deliveries_fill(
        self, spark: SparkSession, vendor: Back, into: str
    ) -> None:
        assert vendor.sync(spark, into).landed == 0
        empty = schemas(spark, into)
        vendor.deliver("a", "b")
        assert vendor.sync(spark, into).new == 2
        assert schemas(spark, into) == empty

    def test_a_rerun_and_a_replay_change_nothing(self, spark: SparkSession, vendor: Back, into: str) -> None:
        vendor.deliver("a", "b", "c")
        first = vendor.sync(spark, into)
        assert (first.landed, first.new) == (3, 3)
        held = contents(spark, into)
        assert len(held["annotations"]) >= len(held["tasks"]) == 3
        for full in (False, True):
            again = vendor.sync(spark, into, full=full)
            assert (again.landed, again.new, again.updated) == (0, 0, 0)
        assert contents(spark, into) == held

    def test_what_is_delivered_again_takes_the_place_of_the_old(
        self, spark: SparkSession, vendor: Back, into: str, tmp_path: Path
    ) -> None:
        vendor.deliver("a", "b", "c")
        vendor.sync(spark, into)
        vendor.deliver("b", answer="rain")
        again = vendor.sync(spark, into)
        assert (again.landed, again.new, again.updated) == (1, 0, 1)
        self.assert_as_at_once(spark, vendor, into, tmp_path)
        assert "rain" in str(table(spark, into, "annotations").collect())

    def test_a_sync_that_dies_is_finished_by_the_next(
        self, spark: SparkSession, vendor: Back, into: str, tmp_path: Path
    ) -> None:
        with dying_after(MADE - 1):
            vendor.sync(spark, into)
        vendor.sync(spark, into)
        for written in range(WRITES):
            vendor.deliver("a", f"n{written}", answer=f"rain {written}")
            with dying_after(written):
                vendor.sync(spark, into)
            vendor.sync(spark, into)
            tasks, newest = table(spark, into, "tasks"), f"rain {written}"
            assert tasks.count() == written + 2, f"it died after {written} writes"
            assert newest in str(table(spark, into, "annotations").collect()), f"it died after {written} writes"
        self.assert_as_at_once(spark, vendor, into, tmp_path)

    def test_a_first_sync_that_dies_is_finished_by_the_next(
        self, spark: SparkSession, vendor: Back, into: str, tmp_path: Path
    ) -> None:
        """It has made the tables, and has landed the deliveries, or also written the annotations."""
        vendor.deliver("a", "b")
        for written in (MADE + 1, MADE + 2):
            place = f"{into}-{written}"
            with dying_after(written):
                vendor.sync(spark, place)
            assert table(spark, place, "tasks").count() == 0
            vendor.sync(spark, place)
            assert table(spark, place, "deliveries_raw").count() == 2
        self.assert_as_at_once(spark, vendor, place, tmp_path)

    def test_a_list_that_breaks_off_loses_nothing(self, spark: SparkSession, vendor: Back, into: str) -> None:
        vendor.deliver(*(f"n{number}" for number in range(9)))
        vendor.fail_at_the_second_page()
        with pytest.raises((ConnectorError, ConnectionError)) as failed:
            vendor.sync(spark, into)
        assert not errors_show(failed.value, vendor.key)
        vendor.sync(spark, into)
        assert table(spark, into, "tasks").count() == 9

    @staticmethod
    def assert_as_at_once(spark: SparkSession, vendor: Back, into: str, tmp_path: Path) -> None:
        """Compare the tables with those of one sync that was never disturbed."""
        at_once = str(tmp_path / "at-once")
        vendor.sync(spark, at_once)
        assert contents(spark, into) == contents(spark, at_once)
