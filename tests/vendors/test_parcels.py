"""A vendor that the engine does not know: ids of letters, columns of its own, versions in place of times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T
from suite import Back, LabelsBack

from kit.mortal import dying_after
from kit.ways import as_many
from sama_spark.errors import SyncError
from sama_spark.inbound.sync import landing
from sama_spark.inbound.sync.sync_result import SyncResult
from sama_spark.inbound.sync.sync_run import SyncRun
from sama_spark.inbound.sync.table_types import TableTypes
from sama_spark.inbound.sync.tables import SyncTables
from sama_spark.staging import Stage
from sama_spark.vendors import READERS
from sama_spark.vendors.sama.reader import SamaReader
from sama_spark.vendors.seam import Field, Page, Resume

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.one_kind


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's answers are like Sama's."""
    monkeypatch.setitem(READERS, "parcels", SamaReader)


TEXTS = TableTypes(T.StringType(), T.StringType())
ENVELOPE = (
    Field("dataset", "STRING", "meta.dataset", "where it lies"),
    Field("version", "BIGINT", "version"),
    Field("width", "INT", "meta.size.width"),
    Field("begun", "TIMESTAMP", "begun"),
    Field("meta", "JSON", "meta"),
)


class Parcel(msgspec.Struct, rename={"id": "key", "delivered_at": "changed", "data": "given", "answers": "found"}):
    """The vendor's words for what the engine needs."""

    id: Any = None
    delivered_at: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    answers: msgspec.Raw = msgspec.Raw(b"null")
    text: msgspec.Raw = msgspec.Raw(b"null")
    problem: Any = None


@dataclass
class Parcels:
    """The vendor: everything that has changed since a version, two to a page, the oldest change first."""

    name: ClassVar[str] = "parcels"
    resume: ClassVar[Resume] = "cursor"
    source: str = "parcels"
    key: str = field(default="s3cret of parcels", repr=False)  # tracebacks with locals show what a feed shows
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = 0
    asked: list[str | None] = field(default_factory=list)
    pages_until_failure: int | None = None
    _read: int = 0

    def put(self, *keys: str, weather: str = "sun", **more: Any) -> None:
        for key in keys:
            self.version += 1
            meta = {"dataset": "harbour", "size": {"width": 640}}
            texts = {"given": {"n": 1.10}, "found": {"weather": weather}}
            self.items[key] = {
                "key": key,
                "version": self.version,
                "begun": "2026-01-02",
                "meta": meta,
                **texts,
                **more,
            }

    def pages(self, since: str | None) -> Iterator[Page]:
        self.asked.append(since)
        self._read = self.version
        changed = [item for item in self.items.values() if item["version"] > int(since or 0)]
        changed.sort(key=lambda item: int(item["version"]))
        for number, at in enumerate(range(0, len(changed), 2)):
            if number == self.pages_until_failure:
                self.pages_until_failure = None
                raise ConnectionError("the line is cut")
            yield [self._parcel(item) for item in changed[at : at + 2]]

    def cursor(self) -> str | None:
        return str(self._read)

    @staticmethod
    def _parcel(item: dict[str, Any]) -> Parcel:
        text = msgspec.Raw(json.dumps(item).encode())
        parcel = msgspec.json.decode(text, type=Parcel)
        parcel.text = text
        return parcel


@pytest.fixture
def parcels() -> Parcels:
    parcels = Parcels()
    parcels.put("box-a", "box-b", "box-c")
    return parcels


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> SyncTables:
    return SyncTables(spark, str(tmp_path / "tables"), "north quay", vendor="parcels")


def sync(tables: SyncTables, *feeds: Parcels, stage: Stage | None = None, full: bool = False) -> SyncResult:
    return SyncRun(tables.spark, tables, lambda: stage, TEXTS, ENVELOPE, full=full).run(feeds)


def weather(tables: SyncTables) -> dict[str, str]:
    rows = tables.annotations.read().where("output = 'weather'").collect()
    tasks = {row["id"] for row in tables.tasks.read().collect()}
    assert tasks == {row["task_id"] for row in rows}
    assert len(rows) == len(tasks)
    return {row["task_id"]: row["value"] for row in rows}


def cursors(tables: SyncTables) -> DataFrame:
    return tables.deliveries_raw.read().where("cursor IS NOT NULL")


def test_its_tasks_have_its_columns_and_come_once(
    tables: SyncTables, parcels: Parcels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_many(monkeypatch)
    stage = Stage(tmp_path / "stage")
    first = sync(tables, parcels, stage=stage)
    assert (first.landed, first.new, first.feeds[0].watermark_to) == (3, 3, None)
    tasks = tables.tasks.read()
    names = [field.name for field in ENVELOPE if field.spark_type != "JSON"]
    assert tasks.columns[: len(names) + 4] == ["id", *names, "delivered_at", "data", "answers"]
    row = tasks.where("id = 'box-b'").withColumn("begun", F.unix_micros("begun")).collect()[0]
    assert (row["dataset"], row["version"], row["width"], row["begun"]) == ("harbour", 2, 640, None)
    assert (row["data"], json.loads(row["meta"])["dataset"]) == ('{"n": 1.1}', "harbour")
    assert weather(tables) == dict.fromkeys(["box-a", "box-b", "box-c"], "sun")

    parcels.put("box-b", weather="rain")
    parcels.put("box-d", begun="2026-01-02T03:04:05Z")
    again = sync(tables, parcels, stage=stage)
    assert (again.landed, again.new, again.updated) == (2, 1, 1)
    assert weather(tables) == {"box-a": "sun", "box-b": "rain", "box-c": "sun", "box-d": "sun"}
    assert sync(tables, parcels, stage=stage).landed == 0
    assert sync(tables, parcels, stage=stage, full=True).landed == 0
    assert parcels.asked == [None, "3", "5", None]
    assert [row["feed"] for row in tables.runs.read().collect()] == ["parcels"] * 4

    with pytest.raises(SyncError, match="holds project parcels/north quay, not project sama/north quay"):
        SyncTables(tables.spark, tables.into, "north quay").check()


def test_a_cursor_does_not_move_without_its_rows(
    tables: SyncTables, parcels: Parcels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page lands by itself: the first has landed, with its rows alone, when the reading or the landing ends."""
    as_many(monkeypatch)
    monkeypatch.setattr(landing, "TABLE_BYTES", 1)
    parcels.put("box-d", "box-e")
    parcels.pages_until_failure = 2
    with pytest.raises(ConnectionError):
        sync(tables, parcels)
    assert (tables.deliveries_raw.read().count(), cursors(tables).count()) == (2, 0)
    with dying_after(1):
        sync(tables, parcels)
    assert (tables.deliveries_raw.read().count(), cursors(tables).count()) == (4, 0)
    last = sync(tables, parcels)
    assert (last.landed, last.new, parcels.asked) == (1, 5, [None, None, None])
    assert [row["cursor"] for row in cursors(tables).collect()] == ["5"]
    assert len(weather(tables)) == 5


def test_each_feed_has_a_cursor_of_its_own(tables: SyncTables, parcels: Parcels) -> None:
    some = Parcels(source="parcels(dataset=harbour)")
    some.put(*(f"box-{n}" for n in range(9)))
    sync(tables, parcels, some)
    sync(tables, some, parcels)
    assert (parcels.asked, some.asked) == ([None, "3"], [None, "9"])
    assert len(weather(tables)) == 12


@dataclass
class ParcelsBack:
    """The vendor, without a network; what the engine is given holds a key none the less."""

    parcels: Parcels

    @property
    def key(self) -> str:
        return self.parcels.key

    def deliver(self, *names: str, answer: str = "sun") -> None:
        for name in names:
            changed = f"2026-01-02T00:00:{self.parcels.version:02}Z"
            self.parcels.put(name, weather=answer, changed=changed)

    def sync(self, spark: SparkSession, into: str, *, full: bool = False) -> SyncResult:
        return sync(SyncTables(spark, into, "north quay", vendor="parcels"), self.parcels, full=full)

    def fail_at_the_second_page(self) -> None:
        self.parcels.pages_until_failure = 1


class TestLabelsBack(LabelsBack):
    @pytest.fixture
    def vendor(self) -> Back:
        return ParcelsBack(Parcels())

    # The engine's deaths; Sama's tests have them in each run.
    @pytest.mark.long
    def test_a_sync_that_dies_is_finished_by_the_next(
        self, spark: SparkSession, vendor: Back, into: str, tmp_path: Path
    ) -> None:
        super().test_a_sync_that_dies_is_finished_by_the_next(spark, vendor, into, tmp_path)

    @pytest.mark.long
    def test_a_first_sync_that_dies_is_finished_by_the_next(
        self, spark: SparkSession, vendor: Back, into: str, tmp_path: Path
    ) -> None:
        super().test_a_first_sync_that_dies_is_finished_by_the_next(spark, vendor, into, tmp_path)
