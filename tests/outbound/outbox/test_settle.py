"""What earlier runs left in an outbox is settled by the next one, by `resume`, and in the end by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kit.outbox_runs import images, numbers, once, send
from sama_spark import BatchesNotStarted, Client, InvalidInput
from sama_spark.outbound.outbox import lease
from sama_spark.outbound.outbox.ledger import Ledger
from sama_spark.outbound.upload import Uploader

pytestmark = pytest.mark.one_kind

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from kit.fake_clock import FakeClock
    from sama_spark.sandbox import Sandbox


class Died(BaseException):
    """The end of a process, as far as one process can play it."""


def die_before_continuing(
    client: Client, df: DataFrame, project: int, outbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise Died

    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(Uploader, "start", die)
        send(client, df, project, outbox)


def test_a_batch_that_waits_is_continued_once_its_lease_is_over(
    spark: SparkSession,
    client: Client,
    clock: FakeClock,
    sandbox: Sandbox,
    project: int,
    outbox: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    die_before_continuing(client, images(spark, 0, 9), project, outbox, monkeypatch)
    assert sandbox.tasks(project) == []
    begun = clock.now
    result = send(client, images(spark, 0, 12), project, outbox)
    assert result.outbox is not None
    assert clock.now - begun >= lease.LEASE + lease.GRACE
    assert (result.task_count, result.outbox.known) == (3, 9)
    assert {(b.was, b.now) for b in result.outbox.recovered} == {("bound", "started")}
    assert sum(b.tasks for b in result.outbox.recovered) == 9
    assert numbers(sandbox, project) == once(range(12))
    assert sandbox.calls()["continue"] == 3


def test_resume_settles_without_the_dataframe(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: int,
    outbox: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    die_before_continuing(client, images(spark, 0, 9), project, outbox, monkeypatch)
    short = client.resume(spark, outbox=outbox, timeout=1)
    assert (short.recovered, len(short.still_open)) == ((), 2)
    assert sandbox.tasks(project) == []
    report = client.resume(spark, outbox=outbox)
    assert {(b.was, b.now) for b in report.recovered} == {("bound", "started")}
    assert numbers(sandbox, project) == once(range(9))
    ended = client.resume(spark, outbox=outbox).recovered
    assert {(b.was, b.now) for b in ended} == {("started", "done")}
    assert sum(b.created or 0 for b in ended) == 9
    assert client.resume(spark, outbox=outbox).recovered == ()


@pytest.mark.long
def test_an_empty_dataframe_settles_too(
    spark: SparkSession,
    client: Client,
    clock: FakeClock,
    sandbox: Sandbox,
    project: int,
    outbox: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    die_before_continuing(client, images(spark, 0, 5), project, outbox, monkeypatch)
    clock.now += lease.lease_for(1) + lease.GRACE + 1
    result = send(client, images(spark, 0, 0), project, outbox)
    assert result.outbox is not None
    assert [(b.was, b.now) for b in result.outbox.recovered] == [("bound", "started")]
    assert numbers(sandbox, project) == once(range(5))


@pytest.mark.long
def test_a_continue_is_not_begun_when_the_lease_is_nearly_over(
    spark: SparkSession,
    client: Client,
    clock: FakeClock,
    sandbox: Sandbox,
    project: int,
    outbox: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = Uploader.start

    def suspended(self: Uploader, *args: Any) -> Any:
        clock.now += lease.LEASE
        return start(self, *args)

    with (
        monkeypatch.context() as patched,
        pytest.raises(BatchesNotStarted, match="lease on this batch is over") as caught,
    ):
        patched.setattr(Uploader, "start", suspended)
        send(client, images(spark, 0, 5), project, outbox)
    assert f"client.resume(spark, outbox={outbox!r})" in caught.value.remedy
    assert sandbox.calls().get("continue", 0) == 0
    send(client, images(spark, 0, 5), project, outbox)
    assert numbers(sandbox, project) == once(range(5))


def test_waiting_records_how_batches_ended(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    send(client, images(spark, 0, 9), project, outbox).wait()
    sandbox.forget_calls()
    again = send(client, images(spark, 0, 9), project, outbox)
    assert again.outbox is not None
    assert (again.outbox.known, again.outbox.recovered) == (9, ())
    assert "status" not in sandbox.calls()


def test_a_cancelled_run_leaves_its_rows_free(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    sandbox.switch(project, creation_delay=60.0)
    outcome = send(client, images(spark, 0, 9), project, outbox).cancel()
    assert (outcome.created, outcome.cancelled) == (0, 9)
    sandbox.switch(project, creation_delay=0.0)
    assert send(client, images(spark, 0, 9), project, outbox).task_count == 9
    assert numbers(sandbox, project) == once(range(9))


@pytest.mark.long
def test_somebody_cancelled_a_batch_by_hand(
    spark: SparkSession,
    client: Client,
    clock: FakeClock,
    sandbox: Sandbox,
    project: int,
    outbox: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    die_before_continuing(client, images(spark, 0, 9), project, outbox, monkeypatch)
    by_hand = sandbox.batches(project)[0]["batch_id"]
    client.cancel_batch_creation_job(project, by_hand)
    clock.now += lease.lease_for(2) + lease.GRACE + 1
    result = send(client, images(spark, 0, 9), project, outbox)
    assert result.outbox is not None
    assert {b.batch_id: b.now for b in result.outbox.recovered}[by_hand] == "void"
    assert numbers(sandbox, project) == once(range(9))


def test_rows_that_fail_at_sama_are_free_again_and_stand_in_the_table_once(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str, tmp_path: Path
) -> None:
    table = str(tmp_path / "rejected")
    # `lenient` leaves it to Sama to miss the url.
    bad = images(spark, 0, 9).selectExpr("if(n % 4 = 3, null, url) AS url", "n", "concat('image ', n) AS image")
    options = {"row_key": "n", "on_invalid": "reject", "rejected_table": table, "contract": "lenient"}
    result = send(client, bad, project, outbox, **options)
    for _ in range(2):
        outcome = result.wait()
        assert (outcome.created, outcome.failed) == (7, 2)
    landed = spark.read.format("delta").load(table).collect()
    assert sorted(row.row_key for row in landed) == ['{"n":"3"}', '{"n":"7"}']
    assert all("url is required" in row.reason and row.batch_id in result.batch_ids for row in landed)
    mended = send(client, images(spark, 0, 9), project, outbox, **options)
    assert (mended.task_count, mended.outbox and mended.outbox.known) == (2, 7)
    assert numbers(sandbox, project) == once(range(9))


@pytest.mark.long
def test_a_batch_that_fails_as_a_whole_frees_its_rows(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str, tmp_path: Path
) -> None:
    table = str(tmp_path / "rejected")
    sandbox.switch(project, upload_max_tasks=3)
    options = {"on_invalid": "reject", "rejected_table": table}
    outcome = send(client, images(spark, 0, 7), project, outbox, **options).wait()
    assert (outcome.created, outcome.failed) == (0, 7)
    landed = spark.read.format("delta").load(table).collect()
    assert sorted(row.row_key for row in landed) == [f'{{"image":"image {n}"}}' for n in range(7)]
    assert all("more than the 3" in row.reason for row in landed)
    sandbox.switch(project, upload_max_tasks=None)
    assert send(client, images(spark, 0, 7), project, outbox).task_count == 7
    assert numbers(sandbox, project) == once(range(7))


@pytest.mark.parametrize("word", [pytest.param("created", marks=pytest.mark.long), "void"])
def test_what_nobody_can_tell_is_listed_until_a_person_settles_it(
    spark: SparkSession, client: Client, clock: FakeClock, sandbox: Sandbox, project: int, outbox: str, word: str
) -> None:
    batch_id = send(client, images(spark, 0, 5), project, outbox).batch_id
    assert batch_id is not None
    clock.now += lease.lease_for(1) + lease.GRACE + 1
    sandbox.fail("status", status=404)
    for _ in range(2):
        result = send(client, images(spark, 0, 6), project, outbox)
        assert result.outbox is not None
        assert [(b.batch_id, b.tasks) for b in result.outbox.unsure] == [(batch_id, 5)]
        assert "404" in (result.outbox.unsure[0].message or "")
        assert (result.outbox.known - result.task_count) in (4, 6)
        assert result.outbox.unsure_rows == 5
    assert f"unsure: batch {batch_id}, 5 tasks" in repr(result)
    for wrong in ({batch_id: "lost"}, {batch_id + 1: "void"}):
        with pytest.raises(InvalidInput, match=f"cannot be taken.*{batch_id}"):
            client.resume(spark, outbox=outbox, unsure=wrong)  # type: ignore[arg-type]
    report = client.resume(spark, outbox=outbox, unsure={batch_id: word})  # type: ignore[dict-item]
    assert (report.unsure, report.recovered[-1].now) == ((), {"created": "done", "void": "void"}[word])
    # A wrong word costs what it says: here the tasks did exist.
    assert send(client, images(spark, 0, 6), project, outbox).task_count == (5 if word == "void" else 0)


@pytest.mark.long
def test_a_batch_that_was_cut_in_two_is_unsure(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    sandbox.switch(project, creation_delay=100.0)
    result = send(client, images(spark, 0, 6), project, outbox)
    sandbox.advance(75.0)
    outcome = result.cancel()
    assert (outcome.created > 0, outcome.cancelled > 0, outcome.created + outcome.cancelled) == (True, True, 6)
    again = send(client, images(spark, 0, 6), project, outbox)
    assert again.outbox is not None
    assert (again.task_count, again.outbox.unsure_rows) == (0, 6)
    assert again.outbox.unsure[0].message == f"canceled with {outcome.created} of 6 tasks created"


def test_a_claim_lost_to_another_run_is_cut_again(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: int,
    outbox: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rival claims some rows between our look at the ledger and our claim."""
    send(client, images(spark, 100, 101), project, outbox)
    bind, rivals = Ledger.bind, [images(spark, 5, 12), images(spark, 20, 21)]

    def after_a_rival(self: Ledger, *args: Any) -> bool:
        if rivals:
            rival = rivals.pop(0)
            with monkeypatch.context() as undone:
                undone.setattr(Ledger, "bind", bind)
                send(client, rival, project, outbox)
        return bind(self, *args)

    monkeypatch.setattr(Ledger, "bind", after_a_rival)
    result = send(client, images(spark, 0, 20), project, outbox)
    assert result.outbox is not None
    assert (result.task_count, result.outbox.known) == (13, 7)
    assert numbers(sandbox, project) == once(range(21), range(100, 101))
    states = [batch["state"] for batch in sandbox.batches(project)]
    assert set(states) == {"completed", "canceled"}
