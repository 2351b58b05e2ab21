"""Deliveries in Delta tables: everything once, nothing lost, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from kit.deliveries import PAGE, delivery
from kit.mortal import dying_after
from kit.ways import as_many
from sama_spark import Client
from sama_spark.delta import DeltaTable
from sama_spark.errors import ConnectorError, SyncError
from sama_spark.inbound.sync import changed, held, sync_run
from sama_spark.inbound.sync.feeds.sama_feeds import DeliveredFeed
from sama_spark.inbound.sync.landing import Landing
from sama_spark.inbound.sync.sync_run import OVERLAP
from sama_spark.inbound.sync.tables import SyncTables
from sama_spark.inbound.sync.watermark import moment

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox
    from sama_spark.vendors.seam import Page

LONG = pytest.mark.long
TABLES = {
    "deliveries_raw": ("landed_at", "run_id", "feed"),
    "tasks": ("synced_at", "run_id", "feed"),
    "annotations": (),
}


def contents(spark: SparkSession, into: str) -> dict[str, list[str]]:
    """All rows as text, without the columns that differ from run to run."""
    return {
        name: sorted(map(str, spark.read.format("delta").load(f"{into}/{name}").drop(*but).collect()))
        for name, but in TABLES.items()
    }


def versions(spark: SparkSession, into: str) -> list[int]:
    history = (spark.sql(f"DESCRIBE HISTORY delta.`{into}/{name}`") for name in ("tasks", "annotations"))
    return [frame.count() for frame in history]


def test_the_first_takes_everything_and_the_next_nothing(
    spark: SparkSession, client: Client, project: int, tmp_path: Path
) -> None:
    into = str(tmp_path)
    first = client.sync(spark, str(project), into)
    assert (first.landed, first.new, first.updated) == (9, 9, 0)
    tasks = spark.read.format("delta").load(f"{into}/tasks")
    assert {(row.id, row.n, row.weather) for row in tasks.select("id", "data.n", "answers.weather").collect()} == {
        (f"{n:024x}", n, "sun") for n in range(9)
    }
    shapes = spark.read.format("delta").load(f"{into}/annotations").where("kind = 'box'")
    assert shapes.groupBy("task_id").count().count() == 6
    assert shapes.count() == sum(n % 3 for n in range(9))
    before, held = contents(spark, into), versions(spark, into)
    again = client.sync(spark, str(project), into)
    assert (again.landed, again.new, again.updated) == (0, 0, 0)
    latest = moment(tasks.select(F.unix_micros(F.max("delivered_at"))).collect()[0][0])
    assert [run.feeds[0].watermark_to for run in (first, again)] == [latest, latest]
    assert again.feeds[0].watermark_from == latest - OVERLAP
    assert (contents(spark, into), versions(spark, into)) == (before, held)
    assert client.sync(spark, str(project), into, full=True).feeds[0].unchanged == 9
    assert (contents(spark, into), versions(spark, into)) == (before, held)
    runs = spark.read.format("delta").load(f"{into}/runs").orderBy("started_at").collect()
    assert [(run.landed, run.new, run.error) for run in runs] == [(9, 9, None), (0, 0, None), (0, 0, None)]


@pytest.mark.one_kind
def test_the_first_pages_are_fetched_while_the_tables_are_made(
    spark: SparkSession, client: Client, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, pages, create = threading.Event(), DeliveredFeed.pages, DeltaTable.create

    def asking(feed: DeliveredFeed, since: str | None) -> Iterator[Page]:
        asked.set()
        return chain(pages(feed, since), repeat([]) if fails else [])

    def creating(table: DeltaTable, *args: Any) -> bool:
        assert asked.wait(60)
        if fails and "annotations" in table.name:
            raise OSError("no room")
        return create(table, *args)

    monkeypatch.setattr(DeliveredFeed, "pages", asking)
    monkeypatch.setattr(DeltaTable, "create", creating)
    fails = True
    with pytest.raises(OSError, match="no room") as failed:  # whose traceback holds what the sync held
        client.sync(spark, str(project), str(tmp_path))
    for thread in threading.enumerate():
        if thread.name == "sama-pages":  # the pages are of no use
            thread.join(60)
            assert not thread.is_alive()
    del failed
    fails = False
    asked.clear()
    assert client.sync(spark, str(project), str(tmp_path)).new == 9
    assert client.sync(spark, str(project), str(tmp_path)).new == 0


@LONG
def test_what_is_delivered_again_takes_the_place_of_the_old(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into = str(tmp_path)
    client.sync(spark, str(project), into)
    client.reject_task(str(project), f"{5:024x}", ["the box is loose"])
    sandbox.annotate(project, delivered_at="2026-01-03T00:00:00.000Z")
    sandbox.deliver(project, [delivery(20, at="2026-01-03T00:00:01.000Z")])
    result = client.sync(spark, str(project), into)
    assert (result.landed, result.new, result.updated) == (2, 1, 1)
    task = spark.read.format("delta").load(f"{into}/tasks").where(f"id = '{5:024x}'").collect()
    assert [f"{row.delivered_at:%d}" for row in task] in (["02"], ["03"])  # the session's zone is behind UTC
    found = spark.read.format("delta").load(f"{into}/annotations").where(f"task_id = '{5:024x}'")
    assert found.select("delivered_at").distinct().count() == 1
    history = spark.read.format("delta").load(f"{into}/deliveries_raw").where(f"id = '{5:024x}'")
    assert history.count() == 2
    # As if all had come at once.
    at_once = str(tmp_path / "at-once")
    client.sync(spark, str(project), at_once)
    assert contents(spark, into)["tasks"] == contents(spark, at_once)["tasks"]
    assert contents(spark, into)["annotations"] == contents(spark, at_once)["annotations"]


@pytest.mark.one_kind
@pytest.mark.parametrize("many", [False, pytest.param(True, marks=LONG)])
@pytest.mark.parametrize(
    ("writes", "later"),
    [
        *(pytest.param(writes, False, marks=LONG) for writes in range(8)),
        pytest.param(0, True, marks=LONG),
        pytest.param(1, True, marks=LONG),
        pytest.param(2, True, marks=LONG),
        pytest.param(3, True, marks=LONG),
    ],
)
def test_the_next_sync_finishes_one_that_died(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: int,
    tmp_path: Path,
    writes: int,
    later: bool,
    many: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if many:
        as_many(monkeypatch)
        monkeypatch.setattr(changed, "MOST", 0)
    into, undisturbed = str(tmp_path / "died"), str(tmp_path / "undisturbed")
    if later:
        client.sync(spark, str(project), into)
        client.reject_task(str(project), f"{5:024x}", ["the box is loose"])
        sandbox.annotate(project, delivered_at="2026-01-03T00:00:00.000Z")
        sandbox.deliver(project, [delivery(20, at="2026-01-03T00:00:01.000Z")])
    with dying_after(writes):
        client.sync(spark, str(project), into)
    client.sync(spark, str(project), into)
    client.sync(spark, str(project), undisturbed)
    found, due = contents(spark, into), contents(spark, undisturbed)
    if later:
        assert len(found.pop("deliveries_raw")) == len(due.pop("deliveries_raw")) + 1
    assert found == due


@pytest.mark.one_kind
def test_a_failure_is_recorded_and_loses_nothing(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into = str(tmp_path)
    sandbox.fail("delivered", kind="status", status=400, skip=1)
    with pytest.raises(ConnectorError):
        client.sync(spark, str(project), into)
    sandbox.heal()
    assert client.sync(spark, str(project), into).new == 9
    runs = spark.read.format("delta").load(f"{into}/runs").orderBy("started_at").collect()
    assert [run.error is None for run in runs] == [False, True]
    assert sandbox.api_key not in str(runs)


@LONG
@pytest.mark.one_kind
def test_a_delivery_from_the_future_hides_none_that_comes_before_it(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into = str(tmp_path)
    sandbox.deliver(project, [delivery(30, at="2126-01-01T00:00:00.000Z")])
    assert client.sync(spark, str(project), into).new == 10
    sandbox.deliver(project, [delivery(31, at="2026-01-02T01:00:00.000Z")])
    assert client.sync(spark, str(project), into).new == 1


@pytest.mark.one_kind
def test_the_tables_belong_to_one_project(spark: SparkSession, client: Client, sandbox: Sandbox, project: int) -> None:
    other = sandbox.create_project({"name": "string"}, {"weather": "text"})
    spark.sql("CREATE SCHEMA IF NOT EXISTS synced").collect()
    try:
        client.sync(spark, str(project), "synced", prefix="a_")
        with pytest.raises(SyncError, match=f"holds project sama/{project}, not project sama/{other} "):
            client.sync(spark, str(other), "synced", prefix="a_")
        assert client.sync(spark, str(other), "synced", prefix="b_").new == 0
        assert spark.table("synced.a_tasks").count() == 9
        assert spark.table("synced.b_tasks").columns == spark.table("synced.a_tasks").columns
        for somebodys in ("c_tasks", "d_annotations"):
            spark.sql(f"CREATE TABLE synced.{somebodys} (id STRING) USING DELTA").collect()
            with pytest.raises(SyncError, match=rf"'synced\.{somebodys}' is there and is no table of sama_spark"):
                client.sync(spark, str(project), "synced", prefix=somebodys[:2])
        spark.sql("DROP TABLE synced.a_annotations").collect()
        with pytest.raises(SyncError, match=r"no table 'synced\.a_annotations' any more"):
            client.sync(spark, str(project), "synced", prefix="a_")
        spark.sql("DROP TABLE synced.a_tasks").collect()
        assert client.sync(spark, str(project), "synced", prefix="a_").new == 9
        assert spark.table("synced.a_annotations").count() > 9
    finally:
        spark.sql("DROP SCHEMA synced CASCADE").collect()


@pytest.mark.one_kind
def test_values_that_do_not_fit_are_kept(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into = str(tmp_path)
    odd = delivery(40, at="2026-01-02T00:01:00.000Z") | {"data": {"name": "odd", "n": "many"}}
    sandbox.deliver(project, [odd])
    client.sync(spark, str(project), into)
    rows = spark.read.format("delta").load(f"{into}/tasks").where("_rescued_data IS NOT NULL").collect()
    assert [(row.data.name, row.data.n) for row in rows] == [("odd", None)]
    assert '"n":"many"' in rows[0]["_rescued_data"]


@pytest.mark.one_kind
def test_a_page_lost_by_since_last_call_comes_with_delivered(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into, undisturbed = str(tmp_path / "lost"), str(tmp_path / "undisturbed")
    # The reply is lost after the effect: Sama has moved on.
    sandbox.fail("since_last_call", kind="drop", after=True, skip=1)
    with pytest.raises(ConnectorError):
        client.sync(spark, str(project), into, feeds=["since_last_call"])
    rest = client.sync(spark, str(project), into, feeds=["since_last_call"])
    assert rest.new == 9 - PAGE
    both = client.sync(spark, str(project), into, feeds=["since_last_call", "delivered"])
    assert [feed.new for feed in both.feeds] == [0, PAGE]
    client.sync(spark, str(project), undisturbed)
    assert contents(spark, into) == contents(spark, undisturbed)


@pytest.mark.one_kind
def test_pages_that_are_few_each_and_many_together_are_not_held(
    spark: SparkSession, client: Client, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.sync(spark, str(project), str(tmp_path / "undisturbed"))
    monkeypatch.setattr(held, "MOST", 2 * PAGE - 1)
    landings: list[Landing] = []

    def found(tables: SyncTables, landing: Landing) -> Any:
        landings.append(landing)
        return changed.find_changed(tables, landing)

    monkeypatch.setattr(sync_run, "find_changed", found)
    result = client.sync(spark, str(project), str(tmp_path / "paged"), feeds=["since_last_call"])
    assert (result.new, [landing.held for landing in landings]) == (9, [None])
    assert contents(spark, str(tmp_path / "paged")) == contents(spark, str(tmp_path / "undisturbed"))
