"""Every fault at every call of a run with an outbox: each row is one task, at once or after running again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from kit.fake_clock import FakeClock
from kit.mortal import CLAIM, CONTINUE, Died, Mortal, tasks_of, urls
from kit.paper import PaperFrame, PaperSpark
from sama_spark.api.sama_errors import BatchesNotStarted, BatchStateError
from sama_spark.errors import ConnectorError, OutboxError
from sama_spark.outbound.outbox.lease import CONTINUE as CONTINUE_SECONDS
from sama_spark.outbound.outbox.lease import GRACE, lease_for
from sama_spark.outbound.outbox.ledger import Ledger

pytestmark = pytest.mark.one_kind

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

VENDORS = ("refuse", "obey")
CALLS = ("open", "put", "continue", "status", "cancel")
FAULTS: dict[str, dict[str, Any]] = {
    "dropped before": {"kind": "drop"},
    "dropped after": {"kind": "drop", "after": True},
    "429": {"status": 429},
    "429 with Retry-After": {"status": 429, "retry_after": 3},
    "500 before": {"status": 500},
    "500 after": {"status": 500, "after": True},
    "502 before": {"status": 502},
    "502 after": {"status": 502, "after": True},
    "503": {"status": 503},
    "504 after": {"status": 504, "after": True},
    "time-out": {"kind": "slow", "seconds": 0.6},
    "truncated": {"kind": "truncate"},
    "html before": {"kind": "html"},
    "html after": {"kind": "html", "after": True},
    "expired": {"kind": "expired"},
    "403": {"status": 403},
    "400": {"status": 400},
}
# What makes a run ask for a batch's state, and what makes it cancel batches.
LEADING_TO: dict[str, dict[str, Any]] = {
    "status": {"call": "continue", "status": 500, "after": True, "times": 3},
    "cancel": {"call": "put", "status": 400, "times": 3, "skip": 2},
}
LEASES = 3600.0
ROWS = 6


def once(count: int = ROWS) -> dict[str, int]:
    return dict.fromkeys(urls(*range(count)), 1)


def run(driver: Mortal, df: Any, project: int, outbox: str) -> ConnectorError | None:
    """The error that the run ended with, which has to say what to do."""
    try:
        result = driver.run(df, project, outbox)
    except ConnectorError as error:
        assert str(error)
        assert error.remedy or error.retryable or error.status, error
        return error
    assert result.task_count + result.outbox.known == len(df.urls)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.long), None])
@pytest.mark.parametrize("call", CALLS)
def test_fault_by_fault(sandbox: Sandbox, paper: PaperSpark, call: str, times: int | None, vendor: str) -> None:
    """From the second call on: in the run, then in a run that settles what one before has left."""
    for fault, failure in FAULTS.items():
        if (call, fault, times) in (("put", "time-out", None), ("status", "time-out", None)):
            continue  # a quarter of a second of real time for each of many tries
        project = sandbox.create_project({"url": {"type": "string", "required": True}}, second_continue=vendor)
        clock, box = FakeClock(time.time()), f"{call} {fault}"
        patience = 0.25 if fault == "time-out" else 10.0
        df = PaperFrame(paper, urls(*range(ROWS)))
        driver = Mortal(sandbox, clock, read_timeout=patience, deadline=60.0)
        sandbox.fail(call, **failure, times=times, skip=1)
        if call in LEADING_TO:
            sandbox.fail(**LEADING_TO[call])
        failed = run(driver, df, project, box)
        if fault == "time-out":
            time.sleep(0.7)  # what was late has arrived
        assert max(tasks_of(sandbox, project).values(), default=1) == 1, fault
        if failed is None:
            assert tasks_of(sandbox, project) == once(), fault
        clock.now += LEASES  # the faults go on, while a second run tries to settle
        run(Mortal(sandbox, clock, read_timeout=patience, deadline=60.0), df, project, box)
        if fault == "time-out":
            time.sleep(0.7)
        assert max(tasks_of(sandbox, project).values(), default=1) == 1, fault
        sandbox.heal()
        clock.now += LEASES
        assert run(Mortal(sandbox, clock), df, project, box) is None
        assert tasks_of(sandbox, project) == once(), fault


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_batch_that_is_not_shown_is_unsure_until_a_person_says(
    sandbox: Sandbox, paper: PaperSpark, vendor: str
) -> None:
    """404 may mean "not visible to this key": the rows are neither sent nor lost."""
    project = sandbox.create_project({"url": {"type": "string", "required": True}}, second_continue=vendor)
    clock, df = FakeClock(time.time()), PaperFrame(paper, urls(*range(ROWS)))
    driver = Mortal(sandbox, clock).dies("before", CONTINUE, 2)
    with pytest.raises(Died):
        driver.run(df, project, "box")
    clock.now += LEASES
    sandbox.fail("status", status=404, times=None)
    result = Mortal(sandbox, clock).run(df, project, "box")
    assert (result.task_count, result.outbox.known, result.outbox.unsure_rows) == (0, ROWS, ROWS)
    sandbox.heal()
    clock.now += LEASES
    assert Mortal(sandbox, clock).run(df, project, "box").task_count == 0
    created, *waiting = [batch.batch_id for batch in Mortal(sandbox, clock).settle(paper, "box").unsure]
    for batch_id in waiting:
        driver = Mortal(sandbox, clock)
        driver.cancel_batch_creation_job(project, batch_id)
    words = {created: "created", **dict.fromkeys(waiting, "void")}
    Mortal(sandbox, clock).settle(paper, "box", unsure=words)
    assert Mortal(sandbox, clock).run(df, project, "box").task_count == 4
    assert tasks_of(sandbox, project) == once()


def test_a_take_over_of_which_nothing_came(sandbox: Sandbox, paper: PaperSpark) -> None:
    """The number that it used up must not be taken for that of the run's own claim."""
    project = sandbox.create_project({"url": {"type": "string", "required": True}})
    clock = FakeClock(time.time())
    with pytest.raises(Died):
        Mortal(sandbox, clock).dies("after", CLAIM).run(PaperFrame(paper, urls(0, 1)), project, "box")
    clock.now += LEASES
    sandbox.fail("continue", status=500, times=3)
    Mortal(sandbox, clock).run(PaperFrame(paper, urls(2, 3)), project, "box")
    sandbox.heal()
    assert tasks_of(sandbox, project) == dict.fromkeys(urls(2, 3), 1)
    clock.now += LEASES
    for _ in range(2):
        Mortal(sandbox, clock).run(PaperFrame(paper, urls(0, 1, 2, 3)), project, "box")
        assert tasks_of(sandbox, project) == once(4)


def test_a_person_cancels_between_claim_and_continue(sandbox: Sandbox, paper: PaperSpark) -> None:
    project = sandbox.create_project({"url": {"type": "string", "required": True}})
    clock, df = FakeClock(time.time()), PaperFrame(paper, urls(*range(ROWS)))
    driver, person = Mortal(sandbox, clock), Mortal(sandbox, clock)

    def cancel(step: str, _: int) -> None:
        if step == CONTINUE and driver.steps.count(CONTINUE) == 2:
            person.cancel_batch_creation_job(project, sandbox.batches(project)[1]["batch_id"])

    driver.meanwhile = cancel
    with pytest.raises(BatchesNotStarted) as caught:
        driver.run(df, project, "box")
    assert [type(error) for error in caught.value.not_started.values()] == [BatchStateError]
    clock.now += LEASES
    assert Mortal(sandbox, clock).run(df, project, "box").task_count == 2
    assert tasks_of(sandbox, project) == once()


def test_a_continue_that_was_sent_at_the_last_moment_arrives_late(sandbox: Sandbox, paper: PaperSpark) -> None:
    """The lease is over, and the request is under way still: nobody else continues the batch before the grace ends."""
    project = sandbox.create_project({"url": {"type": "string", "required": True}}, second_continue="obey")
    clock, df = FakeClock(time.time()), PaperFrame(paper, urls(0, 1))
    holder, begun = Mortal(sandbox, clock).dies("late", CONTINUE), clock.now
    with pytest.raises(Died):
        holder.run(df, project, "box")
    clock.now = begun + lease_for(1) + GRACE - 5  # the lease is over by nearly all of the grace
    report = Mortal(sandbox, clock).settle(paper, "box", timeout=2)
    assert [batch.state for batch in report.still_open] == ["bound"]
    Mortal(sandbox, clock).continue_batch(project, report.still_open[0].batch_id)  # it arrives
    clock.now += LEASES
    assert Mortal(sandbox, clock).run(df, project, "box").outbox.known == 2
    assert tasks_of(sandbox, project) == once(2)


def test_a_request_is_over_before_the_grace_is() -> None:
    """What `permit` allows at the last moment ends within the lease, and the grace is longer than it may take."""
    assert min(GRACE, lease_for(1)) > CONTINUE_SECONDS


def test_a_batch_that_was_continued_and_came_to_nothing(sandbox: Sandbox, paper: PaperSpark) -> None:
    """That `continue` was accepted does not say that tasks were created: a person stops the job."""
    inputs = {"url": {"type": "string", "required": True}}
    project = sandbox.create_project(inputs, second_continue="obey", creation_delay=60)
    clock, df = FakeClock(time.time()), PaperFrame(paper, urls(*range(ROWS)))
    with pytest.raises(Died):
        Mortal(sandbox, clock).dies("after", CLAIM).run(df, project, "box")
    clock.now += LEASES
    assert Mortal(sandbox, clock).run(df, project, "box").task_count == 0
    for batch in sandbox.batches(project)[:2]:
        Mortal(sandbox, clock).cancel_batch_creation_job(project, batch["batch_id"])
    assert Mortal(sandbox, clock).run(df, project, "box").task_count == 4
    sandbox.advance(60)
    assert Mortal(sandbox, clock).run(df, project, "box").task_count == 0
    assert tasks_of(sandbox, project) == once()


# --- a claim that lands late, on Delta


@pytest.mark.long
@pytest.mark.parametrize("error", [False, True], ids=["died", "told of a lost connection"])
def test_a_claim_lands_late(sandbox: Sandbox, spark: SparkSession, watched: None, tmp_path: Path, error: bool) -> None:
    """Two drivers' claims are on their way when they die. One lands before the next run claims, the other after."""
    project = sandbox.create_project({"url": {"type": "string", "required": True}}, second_continue="obey")
    clock, box = FakeClock(time.time()), str(tmp_path / "box")
    df = spark.range(ROWS, numPartitions=1).selectExpr("concat('https://example.org/', id, '.jpg') AS url")
    fate = "error late" if error else "late"
    first, second = (Mortal(sandbox, clock).dies(fate, CLAIM) for _ in range(2))
    for driver in (first, second):
        with pytest.raises(OutboxError if error else Died):
            driver.run(df, project, box)
    assert tasks_of(sandbox, project) == {}
    first.land()
    ledger = Ledger.open(spark, box)
    assert ledger.state().seq == 1
    # Within the lease its rows are its own; where its batches were cancelled, they come free with it.
    result = Mortal(sandbox, FakeClock(clock.now)).run(df, project, box)
    assert (result.task_count, result.outbox.known) == (0, ROWS)
    assert tasks_of(sandbox, project) == ({} if error else once())
    clock.now += LEASES
    result = Mortal(sandbox, clock).run(df, project, box)
    assert tasks_of(sandbox, project) == once()
    assert result.task_count == (ROWS if error else 0)
    before = ledger.state()
    try:
        second.land()
    except Exception as refused:  # Delta has several words for it
        assert "oncurrent" in str(refused) or "ransaction" in str(refused)
    assert ledger.state() == before
    assert Mortal(sandbox, clock).run(df, project, box).task_count == 0
    assert tasks_of(sandbox, project) == once()
