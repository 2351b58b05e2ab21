"""Syncs of a feed that moves, by clocks that jump, beside other syncs: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import types as T
from test_sync import contents

from kit.deliveries import PAGE, delivery
from kit.mortal import dying_after
from kit.ways import as_many
from sama_spark import Client
from sama_spark.delta import DeltaTable, is_conflict
from sama_spark.errors import SyncError
from sama_spark.inbound.sync import changed, landing
from sama_spark.inbound.sync import sync_run as run
from sama_spark.inbound.sync.table_types import TableTypes
from sama_spark.inbound.sync.tables import SyncTables
from sama_spark.vendors.sama.envelope import TABLE_ENVELOPE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Transaction conflict detected.", True),
        ("(io.delta.exceptions.ConcurrentDeleteReadException) a file was deleted", True),
        ("io.delta.exceptions.MetadataChangedException: the metadata has changed", True),
        ("[USER_RAISED_EXCEPTION] SAMA_SPARK_FILLED_MEANWHILE SQLSTATE: P0001", True),
        ("java.util.ConcurrentModificationException", False),
        ("[DELTA_TABLE_NOT_FOUND] there is no such table", False),
    ],
)
def test_a_lost_race_is_known_by_its_text(text: str, expected: bool) -> None:
    assert is_conflict(RuntimeError(text)) is expected


def test_a_lost_race_is_known_by_its_class() -> None:
    error = type("ConcurrentAppendException", (Exception,), {})("files were added")
    assert is_conflict(error)


@pytest.mark.one_kind
@pytest.mark.parametrize("many", [False, True])
def test_two_first_syncs_at_once(
    spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """They land at one time, then they write annotations at one time: both have seen an empty table."""
    into, undisturbed = str(tmp_path / "two"), str(tmp_path / "undisturbed")
    if many:
        as_many(monkeypatch)
        monkeypatch.setattr(changed, "MOST", 0)
    together = {name: threading.Barrier(2) for name in ("deliveries_raw", "annotations")}

    def at_once(write: Callable[..., None]) -> Callable[..., None]:
        def step(table: DeltaTable, *args: Any, **options: Any) -> None:
            name = table.name.rsplit("/", 1)[-1]
            barrier = together.get(name)
            if barrier is not None and threading.current_thread() not in barrier_passed[name]:
                barrier_passed[name].add(threading.current_thread())
                barrier.wait(60)
            write(table, *args, **options)

        return step

    barrier_passed: dict[str, set[threading.Thread]] = {name: set() for name in together}
    failures: list[BaseException] = []

    def sync() -> None:
        try:
            with Client(sandbox.api_key, base_url=sandbox.base_url, delivered_page_size=PAGE) as client:
                client.sync(spark, str(project), into)
        except BaseException as error:  # told to the test
            failures.append(error)

    with monkeypatch.context() as patch:
        for name in ("append", "replace"):
            patch.setattr(DeltaTable, name, at_once(getattr(DeltaTable, name)))
        threads = [threading.Thread(target=sync) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(200)
    assert len(failures) <= 1
    for failure in failures:
        assert isinstance(failure, SyncError)
        assert failure.retryable
    with Client(sandbox.api_key, base_url=sandbox.base_url, delivered_page_size=PAGE) as client:
        client.sync(spark, str(project), into)
        client.sync(spark, str(project), undisturbed)
    assert contents(spark, into) == contents(spark, undisturbed)


@pytest.mark.one_kind
def test_tables_that_another_sync_is_making(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment Delta shows them without properties, as it shows tables of somebody else."""
    types, seen = TableTypes(T.StringType(), T.StringType()), DeltaTable.properties
    tables = SyncTables(spark, str(tmp_path), "1")
    monkeypatch.setattr(DeltaTable, "properties", lambda table: seen(table) if table.exists() else {})
    created = {"deliveries_raw", "annotations", "runs", "tasks"}
    assert tables.open(types, TABLE_ENVELOPE, lambda: None) == (types, created)
    assert tables.open(types, TABLE_ENVELOPE, lambda: None) == (types, set())


@pytest.mark.one_kind
def test_a_folder_that_another_session_has_just_begun(spark: SparkSession, tmp_path: Path) -> None:
    begun = tmp_path / "table" / "begun"
    begun.mkdir(parents=True)
    threading.Timer(1.5, begun.rmdir).start()
    table = DeltaTable(spark, str(tmp_path / "table"))
    table.create("id STRING", "", {})
    assert table.read().columns == ["id"]


@LONG
@pytest.mark.one_kind
def test_what_became_visible_late_is_found_by_full_even_if_that_dies(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into = str(tmp_path)
    client.sync(spark, str(project), into)
    sandbox.deliver(project, [delivery(20, at="2026-01-01T00:00:00.000Z"), delivery(21, at="2026-01-01T23:30:00.000Z")])
    assert client.sync(spark, str(project), into).new == 1  # what is within the overlap
    with dying_after(1):
        client.sync(spark, str(project), into, full=True)
    assert client.sync(spark, str(project), into).new == 1
    assert client.sync(spark, str(project), into, full=True).new == 0


@LONG
@pytest.mark.one_kind
def test_what_another_feed_takes_over_is_no_proof_of_what_came_before(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    into = str(tmp_path)
    sandbox.switch(project, ordering="descending")
    monkeypatch.setattr(client._staging, "stage", lambda *_: None)
    as_many(monkeypatch)
    monkeypatch.setattr(landing, "TABLE_BYTES", 1)
    list(client.since_last_call_pages(project))
    made = 4
    with dying_after(made + 1):
        client.sync(spark, str(project), into)
    assert client.sync(spark, str(project), into, feeds=["since_last_call"]).new == PAGE
    assert client.sync(spark, str(project), into, overlap=timedelta(0)).new == 9 - PAGE


@LONG
@pytest.mark.one_kind
@pytest.mark.parametrize("seed", [1, 2])
def test_a_feed_that_moves_by_clocks_that_jump(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Between any two pages tasks are delivered, rejected and delivered again; some syncs die on the way."""
    into, undisturbed = str(tmp_path / "moved"), str(tmp_path / "undisturbed")
    chance = random.Random(seed)
    shift = timedelta(0)

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or timezone.utc) + shift

    monkeypatch.setattr(run, "datetime", Shifted)
    pages = client.delivered_pages
    count = 100

    def move() -> None:
        nonlocal count
        for _ in range(chance.randrange(4)):
            delivered = [task["id"] for task in sandbox.tasks(project) if task["state"] == "delivered"]
            match chance.choice(("new", "reject", "again")):
                case "new":
                    count += 1
                    sandbox.deliver(project, [{k: v for k, v in delivery(count).items() if k != "delivered_at"}])
                case "reject" if delivered:
                    client.reject_task(str(project), chance.choice(delivered), ["the box is loose"])
                case _:
                    sandbox.annotate(project)

    def moving(*args: Any, **options: Any) -> Iterator[Any]:
        for page in pages(*args, **options):
            yield page
            move()

    for _ in range(6):
        shift = timedelta(minutes=chance.choice((0, -60, 60, -1440, 90)))
        with monkeypatch.context() as patch:
            patch.setattr(client, "delivered_pages", moving)
            if chance.random() < 0.3:
                with dying_after(chance.randrange(3)):
                    client.sync(spark, str(project), into)
            else:
                client.sync(spark, str(project), into)
        move()
    shift = timedelta(0)
    sandbox.annotate(project)
    client.sync(spark, str(project), into, overlap=timedelta(0))
    client.sync(spark, str(project), undisturbed)
    found, due = contents(spark, into), contents(spark, undisturbed)
    assert set(found.pop("deliveries_raw")) >= set(due.pop("deliveries_raw"))
    assert found == due
