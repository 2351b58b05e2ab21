"""What became of the tasks: history, current state, batches and statistics in Delta tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kit.fake_clock import FakeClock
from sama_spark import Client
from sama_spark.delta import DeltaTable
from sama_spark.errors import InvalidInput, SyncError
from sama_spark.http.call_errors import BadRequestError
from sama_spark.inbound.sync.feeds import status_round

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sama_spark.api.task_text import Page
    from sama_spark.sandbox import Sandbox

PAGE = 2
IDS = [f"{n:024x}" for n in range(5)]


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    """Pages of two tasks; the pace of one call a second takes no time."""
    sandbox.switch(status_calls_per_second=None)
    options: dict[str, Any] = {"status_page_size": PAGE, "experimental": True, "clock": FakeClock()}
    with Client(sandbox.api_key, base_url=sandbox.base_url, **options) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> str:
    """Five delivered tasks."""
    project = sandbox.create_project({"name": "string"}, {"weather": "text"})
    sandbox.deliver(project, ({"id": id_, "data": {"name": id_}, "answers": {"weather": "sun"}} for id_ in IDS))
    return str(project)


def history(spark: SparkSession, into: str) -> list[tuple[str, str | None, str]]:
    rows = spark.read.format("delta").load(f"{into}/task_states").orderBy("seen_at", "task_id").collect()
    return [(row.task_id, row.previous_state, row.state) for row in rows]


def current(spark: SparkSession, into: str) -> dict[str, str]:
    rows = spark.read.format("delta").load(f"{into}/tasks").select("id", "current_state").collect()
    return {row.id: row.current_state for row in rows}


def versions(spark: SparkSession, into: str, *names: str) -> list[int]:
    return [spark.sql(f"DESCRIBE HISTORY delta.`{into}/{name}`").count() for name in names]


@pytest.mark.one_kind
def test_each_change_is_noted_once(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    into = str(tmp_path)
    client.create_tasks_inline(project, [{"data": {"name": "young"}}, {"data": {"name": "deleted"}}])
    young, deleted = (task["id"] for task in sandbox.tasks(int(project))[-2:])

    def moving(project_id: str, state: str, first: int = 1) -> Iterator[Page]:
        for page in pages(project_id, state, first):
            yield page
            if state == "delivered":
                client.acknowledge_task(project, IDS[0])  # shifts the third task to the page before

    pages = client.state_pages
    with monkeypatch.context() as patch:
        patch.setattr(client, "state_pages", moving)
        first = client.sync(spark, project, into, feeds=["delivered", "status"])
    assert set(history(spark, into)) == {
        *((id_, None, "delivered") for id_ in IDS),
        *((id_, None, "new") for id_ in (young, deleted)),
    }
    assert "7 states changed" in str(first)
    assert sandbox.calls()["task_status"] == 1

    client.delete_tasks(project, [deleted])
    client.reject_task(project, IDS[1], ["the box is loose"], spark=spark, into=into)
    assert current(spark, into)[IDS[1]] == "rejected"
    sandbox.annotate(int(project), task_ids=[IDS[1]])
    second = client.sync(spark, project, into, feeds=["delivered", "status"]).feeds[1]
    later = history(spark, into)[7:]
    assert later[:2] == [(IDS[1], "delivered", "rejected"), (IDS[1], "rejected", "delivered")]
    assert set(later[2:]) == {(IDS[0], "delivered", "acknowledged"), (deleted, "new", "gone")}
    assert current(spark, into) == {IDS[0]: "acknowledged"} | dict.fromkeys(IDS[1:], "delivered")
    assert (second.changes, second.updated) == (3, 1)

    before, asked = versions(spark, into, "task_states", "tasks"), sandbox.calls()["task_status"]
    assert client.sync(spark, project, into, feeds=["status"]).feeds[0].changes == 0
    assert versions(spark, into, "task_states", "tasks") == before
    assert sandbox.calls()["task_status"] == asked  # nobody asks for what has ended


@pytest.mark.long
@pytest.mark.one_kind
def test_a_round_goes_on_where_max_calls_or_death_stopped_it(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    into = str(tmp_path)
    monkeypatch.setattr(status_round, "_BY_ID", 1)  # so that more are missing, and their list is read
    client.sync(spark, project, into)
    for id_ in IDS[:2]:
        client.acknowledge_task(project, id_)
    cut = client.sync(spark, project, into, feeds=["status"], max_calls=5).feeds[0]
    assert (cut.pages, cut.goes_on) == (5, "'delivered', page 2")
    assert "5 calls, 2 states changed, goes on: 'delivered', page 2" in str(cut)
    sandbox.fail("multi_status", kind="status", status=400, skip=1)
    with monkeypatch.context() as patch, pytest.raises(BadRequestError):  # page 2 lands, nothing of it is noted
        patch.setattr(status_round, "_MOST_WAITING", 1)
        client.sync(spark, project, into, feeds=["status"])
    assert len(history(spark, into)) == 2
    sandbox.heal()
    sandbox.forget_calls()
    rest = client.sync(spark, project, into, feeds=["status"]).feeds[0]
    asked = [(call["query"]["state"], call["query"]["page"]) for call in sandbox.requests("multi_status")]
    assert asked == [("delivered", "3"), ("rejected", "1"), ("acknowledged", "1"), ("acknowledged", "2")]
    assert (rest.changes, rest.updated, rest.goes_on) == (3, 2, None)
    assert current(spark, into) == dict.fromkeys(IDS[:2], "acknowledged") | dict.fromkeys(IDS[2:], "delivered")
    assert spark.read.format("delta").load(f"{into}/status_round").isEmpty()
    runs = spark.read.format("delta").load(f"{into}/runs").orderBy("started_at").collect()
    assert [(run.feed, run.changes, run.goes_on, run.error is None) for run in runs[1:]] == [
        ("status", 2, "'delivered', page 2", True),
        ("status", 0, None, False),
        ("status", 3, None, True),
    ]


class Died(BaseException):
    """The process has ended here."""


@pytest.mark.long
@pytest.mark.one_kind
def test_an_older_status_does_not_stand_against_a_newer_delivery(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    into = str(tmp_path)
    client.sync(spark, project, into)
    client.reject_task(project, IDS[4], ["too dark"])
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(DeltaTable, "merge", lambda *_: (_ for _ in ()).throw(Died))
        client.sync(spark, project, into, feeds=["status"])
    assert history(spark, into)[-1] == (IDS[4], None, "rejected")
    assert current(spark, into)[IDS[4]] == "delivered"
    # The end of the list `rejected` is left for the run after the delivery.
    cut = client.sync(spark, project, into, feeds=["status"], max_calls=8).feeds[0]
    assert (cut.changes, cut.updated, cut.goes_on) == (0, 1, "'rejected', page 2")
    assert current(spark, into)[IDS[4]] == "rejected"
    sandbox.annotate(int(project))
    late = client.sync(spark, project, into, feeds=["delivered", "status"])
    assert [feed.updated for feed in late.feeds] == [1, 0]
    assert current(spark, into)[IDS[4]] == "delivered"
    # Sent back twice, with a delivery between that no status told of.
    client.reject_task(project, IDS[4], ["still too dark"])
    client.sync(spark, project, into, feeds=["status"])
    assert history(spark, into)[-1] == (IDS[4], "delivered", "rejected")


@pytest.mark.one_kind
def test_a_rejection_is_noted_once_sama_has_accepted_it(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = str(tmp_path)
    with pytest.raises(InvalidInput, match="spark and into together"):
        client.reject_task(project, IDS[0], ["dark"], into=into)
    with pytest.raises(SyncError, match="no table"):
        client.reject_task(project, IDS[0], ["dark"], spark=spark, into=into)
    assert "reject" not in sandbox.calls()
    client.sync(spark, project, into)

    def broken(*_: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "append", broken)
        with pytest.raises(SyncError, match=r"is rejected at Sama.*the disk is full.*Do not reject it again"):
            client.reject_task(project, IDS[0], ["dark"], spark=spark, into=into)
    with pytest.raises(BadRequestError):  # it is rejected already
        client.reject_task(project, IDS[0], ["dark"], spark=spark, into=into)
    assert history(spark, into) == []
    assert set(current(spark, into).values()) == {"delivered"}


@pytest.mark.one_kind
def test_batches_and_statistics(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: str, tmp_path: Path
) -> None:
    into = str(tmp_path)
    sandbox.switch(int(project), creation_delay=600.0)
    batch = client.create_tasks_inline(project, [{"data": {"name": "a"}}, {"data": {"nam": "b"}}])["batch_id"]

    def sync(*batches: int) -> list[tuple[int, int]]:
        result = client.sync(spark, project, into, feeds=["batches", "stats"], batches=batches)
        return [(feed.pages, feed.changes) for feed in result.feeds]

    def table(name: str) -> list[Any]:
        return spark.read.format("delta").load(f"{into}/{name}").collect()

    assert sync(batch, 404) == [(2, 2), (1, 1)]
    assert sync() == [(1, 0), (1, 0)]
    sandbox.advance(1000)
    assert sync() == [(1, 1), (1, 1)]
    assert sync()[0] == (0, 0)
    assert {(row.batch_id, row.state, row.created_count, tuple(row.messages)) for row in table("batches")} == {
        (404, "not found", None, ()),
        (batch, "completed", 1, ("1 tasks created, 1 failed",)),
    }
    counts = sorted((row.total, row.counts) for row in table("project_stats"))
    assert counts == [(5, {"delivered": 5}), (6, {"delivered": 5, "new": 1})]
