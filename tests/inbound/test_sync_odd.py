"""Odd deliveries: the others arrive, each sync reports the odd ones, and a corrected one takes their place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from kit.deliveries import delivery
from kit.scripted_server import KEY, Answer, Got, ScriptedServer
from sama_spark import Client
from sama_spark.delta import DeltaTable
from sama_spark.errors import SyncError
from sama_spark.inbound.annotations import flatten_annotations
from sama_spark.inbound.sync.tables import SyncTables
from sama_spark.jobs.work import Work

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

PROJECT = "4242"
ANSWERS = {
    "nan": b'{"weather": NaN}',
    "byte": b'{"weather": "caf\xe9"}',
    "control": b'{"weather": "a \x01 b \x1e c"}',
    "comma": b'{"weather": ["sun",]}',
    "quote": b'{"weather": "su"n"}',
    "deep": b'{"weather": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
}
READABLE = {
    "surrogate": b'{"weather": "cut \\ud83d"}',
    "long name": b'{"%b": 1, "weather": "sun"}' % (b"x" * 60_000),
    "long number": b'{"weather": "sun", "n": %b}' % (b"1" * 5000),
    "nested": b'{"weather": ' + b"[" * 800 + b"]" * 800 + b"}",
}


class Served:
    """A project whose list of deliveries is these texts, with `from` left out of account."""

    def __init__(self, server: ScriptedServer) -> None:
        self.tasks: list[bytes] = []
        for method in ("GET", "POST"):
            server.on(method, f"projects/{PROJECT}/tasks/delivered.json", self.page)
        self._given = 0

    def page(self, got: Got) -> Answer:
        if got.method == "POST":
            self._given += 1
        number = int(got.query.get("page", self._given))
        return Answer(200, b'{"tasks": [' + (b", ".join(self.tasks) if number == 1 else b"") + b"]}")


@pytest.fixture
def served(server: ScriptedServer) -> Served:
    return Served(server)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def odd_client(server: ScriptedServer) -> Iterator[Client]:
    with Client(KEY, base_url=server.base_url, deadline=5) as client:
        yield client


def odd(name: str, answers: bytes, at: bytes = b'"2026-01-02T00:00:03Z"') -> bytes:
    return b'{"id": "%b", "delivered_at": %b, "answers": %b}' % (name.encode(), at, answers)


def good(n: int, **more: Any) -> bytes:
    return json.dumps(delivery(n) | more).encode()


def table(spark: SparkSession, into: str, name: str) -> DataFrame:
    return DeltaTable(spark, f"{into}/{name}").read()


def weather(spark: SparkSession, into: str) -> dict[str, str]:
    rows = table(spark, into, "annotations").where("output = 'weather'").collect()
    return {row.task_id: row.value for row in rows}


@pytest.mark.one_kind
def test_the_others_arrive_and_each_sync_reports_the_odd_ones(
    spark: SparkSession, odd_client: Client, served: Served, tmp_path: Path
) -> None:
    into = str(tmp_path)
    bad = [odd(name, answers) for name, answers in ANSWERS.items()]
    fine = [odd(name, answers) for name, answers in READABLE.items()]
    served.tasks = [good(1), *bad[:3], good(2), *fine, b'{"id": null, "n": 1}', b"null", *bad[3:], good(3)]
    first = odd_client.sync(spark, PROJECT, into)
    assert (first.landed, first.new, first.rejected) == (len(served.tasks), 3 + len(READABLE), len(ANSWERS) + 2)
    assert "lie in deliveries_raw" in str(first)
    raw = {row.id: row for row in table(spark, into, "deliveries_raw").where("id IS NOT NULL").collect()}
    assert {name for name, row in raw.items() if row.problem} == set(ANSWERS)
    for name, answers in {**ANSWERS, **READABLE}.items():
        assert raw[name].raw.encode() == odd(name, answers).decode(errors="replace").replace("\x1e", "�").encode()
        assert raw[name].delivered_at is not None
    tasks = {row.id: row for row in table(spark, into, "tasks").collect()}
    assert set(tasks) == {*READABLE, *(f"{n:024x}" for n in (1, 2, 3))}
    assert {row.delivered_at is None for row in tasks.values()} == {False}
    assert tasks["long name"]["_rescued_data"] == odd("long name", READABLE["long name"]).decode()
    told = weather(spark, into)
    assert told["surrogate"].startswith("cut ")
    assert told["long name"] == told["long number"] == "sun"

    # Another sync reports them too, though nothing lands. A corrected one takes its place, and later ones arrive.
    again = odd_client.sync(spark, PROJECT, into)
    assert (again.landed, again.new, again.updated, again.rejected) == (0, 0, 0, len(ANSWERS) + 2)
    assert again.notes == first.notes
    served.tasks[1] = odd("nan", b'{"weather": "mended"}')
    served.tasks[2] = odd("byte", b'{"weather": "later"}', b'"2026-01-03T00:00:00Z"')
    mended = odd_client.sync(spark, PROJECT, into, feeds=["delivered", "since_last_call"])
    assert (mended.landed, mended.new, mended.rejected) == (2, 2, len(ANSWERS))
    told = weather(spark, into)
    assert (told["nan"], told["byte"]) == ("mended", "later")
    runs = table(spark, into, "runs").orderBy("started_at").collect()
    assert [row.rejected for row in runs] == [len(ANSWERS) + 2] * 2 + [len(ANSWERS)] * 2
    assert "control" in str(runs[-1].notes)
    assert "deliveries lie in deliveries_raw" in str(runs[-1].notes)
    work = Work(odd_client, spark)
    work._report_sync(mended)
    assert (work.done["rejected"], work.done["notes"]) == (len(ANSWERS), mended.notes)


@pytest.mark.parametrize("staging", [True, False])
def test_tables_of_odd_deliveries(
    spark: SparkSession, odd_client: Client, served: Served, tmp_path: Path, staging: bool
) -> None:
    every = {**ANSWERS, **READABLE}
    served.tasks = [good(1), *(odd(name, answers) for name, answers in every.items()), b'{"n": 1}', good(2)]
    stage = str(tmp_path) if staging else None
    found = odd_client.get_delivered_tasks_to_table(spark, PROJECT, staging=stage)
    rows = {row.id: row for row in found.collect()}
    assert set(rows) == {*every, None, f"{1:024x}", f"{2:024x}"}
    assert {name for name, row in rows.items() if row.delivered_at is None} == {None}
    for name, answers in every.items():
        due = answers.decode(errors="replace").replace("\x1e", "�")
        assert rows[name].answers_raw in (due, None) if name == "quote" else rows[name].answers_raw == due
    shapes = flatten_annotations(found).where("kind <> 'answer'").groupBy("task_id").count().collect()
    assert {row[0] for row in shapes if row[0] is not None} >= {"nan", "comma", "deep", f"{1:024x}"}
    since = odd_client.get_delivered_tasks_since_last_call_to_table(spark, PROJECT, staging=stage)
    assert since.count() == found.count()


TIMES = {
    "seconds": (b"1767312000", "2026-01-02T00:00:00Z"),
    "millis": (b"1767312000000", "2026-01-02T00:00:00Z"),
    "digits": (b'"1767312000"', "2026-01-02T00:00:00Z"),
    "utc": (b'"2026-01-02 00:00:01 UTC"', "2026-01-02T00:00:01Z"),
    "compact": (b'"20260102T000002Z"', "2026-01-02T00:00:02Z"),
    "null": (b"null", None),
    "soon": (b'"soon"', None),
    "no day": (b'"2026-02-30T00:00:00Z"', None),
    "object": (b'{"at": 1}', None),
    "float": (b"1.5", None),
    "five digits": (b'"12024-01-01T00:00:00Z"', None),
    "year 0": (b'"0000-06-01T00:00:00Z"', None),
    "no end": (b'"9999-12-31T23:59:59Z"', None),
    "hour alone": (b'"12:00:00Z"', None),
    "day alone": (b'"2026-01-02Z"', None),
}


@pytest.mark.one_kind
def test_a_delivery_without_a_time_has_that_of_its_landing(
    spark: SparkSession, odd_client: Client, served: Served, tmp_path: Path
) -> None:
    into = str(tmp_path)
    link = b'{"weather": "sun", "link": "https://host/a.png?signature=%d"}'
    served.tasks = [good(1), *(odd(name, link % 1, at) for name, (at, _) in TIMES.items())]
    first = odd_client.sync(spark, PROJECT, into)
    assert (first.new, first.rejected) == (len(TIMES) + 1, 0)
    landed_at = table(spark, into, "deliveries_raw").first().landed_at  # type: ignore[union-attr]
    rows = {row.id: row for row in table(spark, into, "tasks").collect()}
    times = table(spark, into, "annotations").select("task_id", "delivered_at").distinct().collect()
    for name, (_, time) in TIMES.items():
        due = landed_at if time is None else local(time)
        assert rows[name].delivered_at == due
        assert (name, due) in {tuple(row) for row in times}
    # By our clock nothing is known of what Sama's had reached.
    assert first.feeds[0].watermark_to == datetime(2026, 1, 2, 0, 0, 2, tzinfo=timezone.utc)

    # The same with new signatures is nothing new; with another answer it is, and so is one with a time.
    served.tasks = [odd(name, link % 2, at) for name, (at, _) in TIMES.items()]
    again = odd_client.sync(spark, PROJECT, into, full=True)
    assert (again.landed, again.new, again.updated) == (0, 0, 0)
    served.tasks = [odd("null", b'{"weather": "rain"}', b"null")]
    assert odd_client.sync(spark, PROJECT, into).updated == 1
    assert weather(spark, into)["null"] == "rain"
    served.tasks = [odd("soon", b'{"weather": "snow"}', f'"{datetime.now(timezone.utc):%FT%T.%f}Z"'.encode())]
    assert odd_client.sync(spark, PROJECT, into).updated == 1
    assert weather(spark, into)["soon"] == "snow"
    served.tasks = []
    assert odd_client.sync(spark, PROJECT, into, full=True).updated == 0


@pytest.mark.one_kind
def test_a_delivery_from_the_future_hides_no_later_one(
    spark: SparkSession, odd_client: Client, served: Served, tmp_path: Path
) -> None:
    into = str(tmp_path)
    served.tasks = [odd("a", b'{"weather": "old"}', b'"2099-01-01T00:00:00Z"'), good(1)]
    odd_client.sync(spark, PROJECT, into)
    assert (weather(spark, into)["a"], odd_client.sync(spark, PROJECT, into).updated) == ("old", 0)
    served.tasks = [odd("a", b'{"weather": "new"}', f'"{datetime.now(timezone.utc):%FT%T.%f}Z"'.encode())]
    assert odd_client.sync(spark, PROJECT, into).updated == 1
    assert weather(spark, into)["a"] == "new"
    assert odd_client.sync(spark, PROJECT, into, full=True).updated == 0
    assert weather(spark, into)["a"] == "new"


@pytest.mark.one_kind
def test_odd_times_that_are_corrected(spark: SparkSession, odd_client: Client, served: Served, tmp_path: Path) -> None:
    """Also by times before the landing of the odd one; and a good one gives way to an odd one that lands later."""
    into = str(tmp_path)
    odd_times = {"none": b"null", "future": b'"2099-01-01T00:00:00Z"', "word": b'"soon"'}
    past, later = b'"2026-01-02T00:00:03Z"', b'"2026-03-02T00:00:03Z"'
    served.tasks = [odd(name, b'{"weather": "old"}', at) for name, at in odd_times.items()]
    served.tasks += [odd(f"was good, {name}", b'{"weather": "old"}', past) for name in odd_times]
    odd_client.sync(spark, PROJECT, into)
    served.tasks = [odd(name, b'{"weather": "new"}', later) for name in odd_times]
    served.tasks += [odd(f"was good, {name}", b'{"weather": "new"}', at) for name, at in odd_times.items()]
    assert odd_client.sync(spark, PROJECT, into).updated == 6
    assert set(weather(spark, into).values()) == {"new"}
    assert odd_client.sync(spark, PROJECT, into).updated == 0
    assert odd_client.sync(spark, PROJECT, into, full=True).updated == 0
    assert set(weather(spark, into).values()) == {"new"}


@pytest.mark.one_kind
@pytest.mark.parametrize(
    "earlier", [{"sama_spark.layout": "1", "sama_spark.project": PROJECT}, {"sama_spark.layout": "1"}], ids=str
)
def test_tables_of_an_earlier_layout_are_refused(
    spark: SparkSession, odd_client: Client, served: Served, tmp_path: Path, earlier: dict[str, str]
) -> None:
    into = str(tmp_path)
    served.tasks = [good(1)]
    odd_client.sync(spark, PROJECT, into)
    tables = SyncTables(spark, into, PROJECT)
    tables.tasks.set_properties(earlier)
    for use in (odd_client.sync, odd_client.purge_synced):
        with pytest.raises(SyncError, match=r"has layout 1, .* writes layout 2.*the next sync makes them"):
            use(spark, PROJECT, into)
    assert tables.tasks.read().count() == 1


def local(text: str) -> datetime:
    """As a session gives it: without a zone, in that of the process."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone().replace(tzinfo=None)


@pytest.mark.one_kind
def test_a_label_that_no_shape_has_is_reported_with_the_tags_there_are(
    spark: SparkSession, client: Client, project: int, sandbox: Sandbox, tmp_path: Path
) -> None:
    def notes(label: Any, folder: str) -> list[str]:
        return client.sync(spark, str(project), str(tmp_path / folder), label=label).notes

    assert notes("object", "a") == ["no shape has a tag `object`; tags seen: color"]
    sandbox.deliver(project, [delivery(20)])
    assert notes({"shapes": "color"}, "a") == []
    assert notes({"shapes": "kind", "weather": "color"}, "b") == [
        "no shape of output `shapes` has a tag `kind`; tags seen: color",
        "no output `weather` has shapes; outputs with shapes: shapes",
    ]


@pytest.mark.one_kind
def test_odd_tasks_of_the_status_lists_are_passed_over(
    spark: SparkSession, odd_client: Client, server: ScriptedServer, tmp_path: Path
) -> None:
    tasks = [
        b'{"id": "a", "state": "in progress", "batch_id": "7", "priority": 1e99}',
        b'{"id": "b", "state": "in progress", "batch_id": 99999999999999999999, "x": NaN}',
        b'{"id": "c", "state": null}',
        b'{"state": "new"}',
        b'{"id": "d", "state": "new" "batch_id": 1}',
    ]

    def lists(got: Got) -> Answer:
        first = got.query["state"] == "in progress" and got.query["page"] == "1"
        return Answer(200, b'{"tasks": [' + (b", ".join(tasks) if first else b"") + b"]}")

    server.on("GET", f"projects/{PROJECT}/tasks.json", lists)
    result = odd_client.sync(spark, PROJECT, str(tmp_path), feeds=["status"])
    assert (result.feeds[0].changes, result.rejected) == (3, 2)
    assert "2 tasks could not be read" in str(result)
    states = {row.task_id: (row.state, row.batch_id) for row in table(spark, str(tmp_path), "task_states").collect()}
    assert states == {"a": ("in progress", 7), "b": ("in progress", None), "d": ("new", None)}
