"""After a run: every task is created, failed or cancelled, and the caller is told which."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kit.fake_clock import FakeClock
from sama_spark import Client, Outcome, TasksUnaccounted
from sama_spark.api import ApiClient, batches
from sama_spark.api.sama_errors import WaitTimedOut
from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import AuthenticationError, ServerError
from sama_spark.outbound.creation_result import CreationResult
from sama_spark.outbound.upload import UploadedBatch
from sama_spark.outbound.wait import BatchOutcome

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

GOOD: dict[str, Any] = {"url": "u"}
BAD: dict[str, Any] = {"url": 5}
DELAY = 100.0


class SharedClock(FakeClock):
    """Sleeping moves the sandbox on as well."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(time.time())
        self._sandbox = sandbox

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._sandbox.advance(seconds)


@pytest.fixture
def clock(sandbox: Sandbox) -> SharedClock:
    return SharedClock(sandbox)


@pytest.fixture
def api(sandbox: Sandbox, clock: SharedClock) -> ApiClient:
    return ApiClient(sandbox.api_key, base_url=sandbox.base_url, clock=clock)


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    return sandbox.create_project({"url": {"type": "string", "required": True}}, {"notes": "text"})


class Runs:
    """Opens and starts batches with the given data, as a run does."""

    def __init__(self, api: ApiClient, sandbox: Sandbox, project: int) -> None:
        self.api, self.sandbox, self.project = api, sandbox, project

    def __call__(self, *chunks: Iterable[dict[str, Any]] | bytes, tasks: int | None = None) -> CreationResult:
        """A chunk of bytes is a file that stands for `tasks` tasks; otherwise `tasks` is as many as it has."""
        made = []
        for chunk in chunks:
            body = chunk if isinstance(chunk, bytes) else msgspec.json.encode([{"data": data} for data in chunk])
            count = tasks if tasks is not None else len(msgspec.json.decode(body))
            made.append(UploadedBatch(batches.upload(self.api, self.project, body), count, len(body)))
        for batch in made:
            batches.start(self.api, self.project, batch.batch_id)
        self.sandbox.forget_calls()
        return CreationResult(str(self.project), tuple(made), {}, 0.0, True, self.api)


@pytest.fixture
def run(api: ApiClient, sandbox: Sandbox, project: int) -> Runs:
    return Runs(api, sandbox, project)


def sums(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.created, outcome.failed, outcome.cancelled


# --- what became of every task


def test_all_created_takes_one_call_per_batch(run: Runs, sandbox: Sandbox) -> None:
    result = run([GOOD] * 3, [GOOD] * 2)
    seen: list[tuple[int, int]] = []
    outcome = result.wait(on_progress=lambda *counts: seen.append(counts))
    assert sums(outcome) == (5, 0, 0)
    assert [(b.batch_id, b.state, b.created) for b in outcome.batches] == [
        (result.batch_ids[0], "completed", 3),
        (result.batch_ids[1], "completed", 2),
    ]
    assert outcome.failed_items == ()
    assert repr(outcome) == "<5 of 5 tasks created, 0 failed, 0 cancelled, in 2 batches>"
    assert seen == [(5, 5)]
    assert sandbox.calls() == {"status": 2}
    assert {request["query"]["page_size"] for request in sandbox.requests("status")} == {"0"}


def test_items_that_fail_are_kept_with_their_reasons(run: Runs, sandbox: Sandbox) -> None:
    result = run([GOOD] * 3, [GOOD, BAD, GOOD, {"url": "u", "colour": "red"}])
    outcome = result.wait()
    assert sums(outcome) == (5, 2, 0)
    assert [(b.created, b.failed) for b in outcome.batches] == [(3, 0), (2, 2)]
    wrong, unknown = outcome.failed_items
    assert (wrong.data, unknown.data) == (BAD, {"url": "u", "colour": "red"})
    assert {wrong.batch_id, unknown.batch_id} == {result.batch_ids[1]}
    assert wrong.errors[0]["type"] == "InvalidInputSchema"
    assert "colour" in unknown.errors[0]["message"]
    assert f"batch {result.batch_ids[1]}, completed: 2 failed; the first: {wrong.errors[0]['message']}" in repr(outcome)
    read = [r["path"] for r in sandbox.requests("status") if r["query"]["page_size"] != "0"]
    assert set(read) == {f"/v2/projects/{run.project}/batches/{result.batch_ids[1]}.json"}
    assert all(r["query"]["page_size"] in ("0", "1000") for r in sandbox.requests("status"))


def test_failed_items_beyond_one_page(run: Runs) -> None:
    outcome = run([BAD] * 1001 + [GOOD]).wait()
    assert sums(outcome) == (1, 1001, 0)
    assert len(outcome.failed_items) == 1001


def test_a_malformed_file_fails_all_its_tasks(run: Runs) -> None:
    outcome = run(b'[{"data":', tasks=7).wait()
    assert sums(outcome) == (0, 7, 0)
    [batch] = outcome.batches
    assert (batch.state, batch.failed_items) == ("failed", ())
    assert "tasks file" in batch.messages[0]
    assert batch.messages[0] in repr(outcome)


def test_an_outcome_stands_still_and_can_be_pickled(run: Runs) -> None:
    outcome = run([GOOD, BAD]).wait()
    with pytest.raises(FrozenInstanceError):
        outcome.batches = ()  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(outcome))  # noqa: S301
    assert (again, again.failed_items[0].data) == (outcome, BAD)


@pytest.mark.parametrize("key", ["job_state_key", "item_state_key"])
def test_both_names_of_the_state(run: Runs, sandbox: Sandbox, key: str) -> None:
    sandbox.switch(run.project, **{key: "status"})
    assert sums(run([GOOD, BAD]).wait()) == (1, 1, 0)


def test_a_repr_shows_the_first_batches_only() -> None:
    many = tuple(BatchOutcome(i, "failed", 0, failed=1, messages=(f"reason {i}",)) for i in range(30))
    said = repr(Outcome(many))
    assert "0 of 30 tasks created, 30 failed" in said
    assert "reason 9" in said
    assert "reason 10" not in said
    assert "and 20 more batches" in said


# --- a hole is never silent


@pytest.mark.parametrize("claimed", [2, 4])
def test_tasks_that_are_not_accounted_for(run: Runs, claimed: int) -> None:
    """The batch was to have more, or fewer, tasks than Sama knows."""
    result = run(msgspec.json.encode([{"data": GOOD}] * 3), tasks=claimed)
    with pytest.raises(TasksUnaccounted) as caught:
        result.wait()
    error = caught.value
    assert (error.batch_id, error.tasks, error.counted) == (result.batch_id, claimed, 3)
    assert f"{claimed} tasks were sent, 3 are accounted for" in str(error)
    assert f"batch {result.batch_id}" in str(error)
    assert "get_batch_job" in error.remedy
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), again.tasks, again.counted) == (str(error), claimed, 3)


def test_tasks_that_were_created_twice(run: Runs, sandbox: Sandbox) -> None:
    sandbox.switch(run.project, second_continue="obey")
    result = run([GOOD] * 2)
    run.api.continue_batch(run.project, result.batch_ids[0])
    with pytest.raises(TasksUnaccounted, match="2 tasks were sent, 4 are accounted for"):
        result.wait()


def test_a_completed_batch_without_items_is_no_failed_one(run: Runs) -> None:
    with pytest.raises(TasksUnaccounted, match=r"0 are accounted for.* its items: none"):
        run(b"[]", tasks=3).wait()


# --- time


def test_it_waits_ever_longer_and_tells_how_far_it_is(run: Runs, sandbox: Sandbox, clock: SharedClock) -> None:
    sandbox.switch(run.project, creation_delay=DELAY)
    seen: list[tuple[int, int]] = []
    outcome = run([GOOD] * 10, [GOOD] * 10).wait(on_progress=lambda *counts: seen.append(counts))
    assert sums(outcome) == (20, 0, 0)
    assert clock.sleeps[:3] == [0.5, 0.75, 1.125]
    assert clock.sleeps == sorted(clock.sleeps)
    assert max(clock.sleeps) <= 20
    assert len(seen) == len(clock.sleeps) + 1
    created = [count for count, _ in seen]
    assert created == sorted(created)
    assert 0 < created[-2] < created[-1] == 20
    assert {tasks for _, tasks in seen} == {20}


def test_an_ended_batch_is_not_asked_again(run: Runs, sandbox: Sandbox) -> None:
    ended = run([GOOD])
    sandbox.switch(run.project, creation_delay=DELAY)
    slow = run([GOOD])
    both = CreationResult(str(run.project), ended.batches + slow.batches, {}, 0.0, True, run.api)
    assert sums(both.wait()) == (2, 0, 0)
    asked = [request["path"] for request in sandbox.requests("status")]
    assert sum(f"/{ended.batch_id}.json" in path for path in asked) == 1
    assert sum(f"/{slow.batch_id}.json" in path for path in asked) > 5


def test_time_is_up_for_all_batches_together(run: Runs, sandbox: Sandbox, clock: SharedClock) -> None:
    ended = run([GOOD] * 3)
    sandbox.switch(run.project, creation_delay=DELAY)
    slow = run([GOOD] * 10, [GOOD] * 10)
    result = CreationResult(str(run.project), ended.batches + slow.batches, {}, 0.0, True, run.api)
    with pytest.raises(WaitTimedOut) as caught:
        result.wait(timeout=DELAY * 0.75)
    assert sum(clock.sleeps) == pytest.approx(DELAY * 0.75)
    error = caught.value
    created = len(sandbox.tasks(run.project))
    assert 3 < created < 23
    assert error.created_count == created
    assert f"after 75 s {created} of 23 tasks are created, 2 batches have not ended" in str(error)
    assert all(f"{batch_id} processing" in str(error) for batch_id in slow.batch_ids)
    assert f"{ended.batch_id} " not in error.message
    assert f"get_batch_job('{run.project}', {slow.batch_id})" in error.remedy
    assert "result.wait() again" in error.remedy
    assert sums(result.wait()) == (23, 0, 0)


def test_no_time_is_one_look(run: Runs, sandbox: Sandbox, clock: SharedClock) -> None:
    assert sums(run([GOOD]).wait(timeout=0)) == (1, 0, 0)
    sandbox.switch(run.project, creation_delay=DELAY)
    with pytest.raises(WaitTimedOut):
        run([GOOD], [GOOD]).wait(timeout=0)
    assert sandbox.calls() == {"status": 2}
    assert clock.sleeps == []


# --- cancel


def test_cancel_in_the_middle(run: Runs, sandbox: Sandbox) -> None:
    sandbox.switch(run.project, creation_delay=DELAY)
    result = run([GOOD] * 10, [BAD] + [GOOD] * 9)
    sandbox.advance(DELAY * 0.75)
    outcome = result.cancel()
    created = len(sandbox.tasks(run.project))
    assert sums(outcome) == (created, 1, 19 - created)
    assert 0 < created < 19
    assert {batch.state for batch in outcome.batches} == {"canceled"}
    assert [item.data for item in outcome.failed_items] == [BAD]
    assert "cancelled" in repr(outcome)
    sandbox.advance(10 * DELAY)
    assert len(sandbox.tasks(run.project)) == created
    sandbox.forget_calls()
    assert result.cancel() == outcome
    assert "cancel" not in sandbox.calls()
    assert result.wait() == outcome


@pytest.mark.parametrize("chunk", [[GOOD] * 4, b"[{"])
def test_cancel_before_anything_is_created(run: Runs, sandbox: Sandbox, chunk: Any) -> None:
    sandbox.switch(run.project, creation_delay=DELAY)
    outcome = run(chunk, tasks=4).cancel()
    assert sums(outcome) == (0, 0, 4)
    assert sandbox.calls()["cancel"] == 1
    assert sandbox.tasks(run.project) == []


def test_cancel_after_all_is_created(run: Runs, sandbox: Sandbox) -> None:
    assert sums(run([GOOD] * 2).cancel()) == (2, 0, 0)
    assert "cancel" not in sandbox.calls()


def test_a_batch_that_ends_before_its_cancel_arrives(run: Runs, sandbox: Sandbox) -> None:
    sandbox.switch(run.project, creation_delay=DELAY)
    result = run([GOOD] * 2)
    sandbox.fail("cancel", status=400)
    sandbox.advance(DELAY - 30)
    assert sums(result.cancel()) == (2, 0, 0)


def test_a_cancel_that_sama_refuses_while_the_batch_goes_on(run: Runs, sandbox: Sandbox) -> None:
    sandbox.switch(run.project, creation_delay=10 * DELAY)
    result = run([GOOD] * 2)
    sandbox.fail("cancel", status=400)
    with pytest.raises(WaitTimedOut, match="after 60 s"):
        result.cancel()


def test_one_cancel_fails_and_the_others_are_sent(run: Runs, sandbox: Sandbox) -> None:
    sandbox.switch(run.project, creation_delay=DELAY)
    result = run([GOOD], [GOOD], [GOOD])
    sandbox.fail("cancel", status=401)
    with pytest.raises(AuthenticationError):
        result.cancel()
    states = {batch["batch_id"]: batch["state"] for batch in sandbox.batches(run.project)}
    assert [states[batch_id] == "canceled" for batch_id in result.batch_ids] == [False, True, True]
    assert sums(result.cancel()) == (0, 0, 3)


# --- bad luck


@pytest.mark.parametrize("fault", [{"status": 503}, {"kind": "drop"}, {"status": 429, "retry_after": 3}])
def test_a_fault_that_passes(run: Runs, sandbox: Sandbox, fault: dict[str, Any]) -> None:
    result = run([GOOD, BAD], [GOOD])
    sandbox.fail("status", skip=1, **fault)
    assert sums(result.wait()) == (2, 1, 0)


def test_a_fault_that_does_not_pass(run: Runs, sandbox: Sandbox) -> None:
    result = run([GOOD])
    sandbox.fail("status", status=500, times=None)
    with pytest.raises(ServerError):
        result.wait()
    sandbox.heal()
    assert sums(result.wait()) == (1, 0, 0)


def test_a_pickled_result_has_no_client(run: Runs, sandbox: Sandbox) -> None:
    result = run([GOOD])
    pickled = pickle.dumps(result)
    assert sandbox.api_key.encode() not in pickled
    again = pickle.loads(pickled)  # noqa: S301
    assert again == result
    assert dict(again) == dict(result)
    for call in (again.wait, again.cancel):
        with pytest.raises(ConnectorError, match="pickled") as caught:
            call()
        assert f"client.wait_for_batch('{run.project}', batch_id)" in caught.value.remedy
    assert sandbox.calls() == {}


def test_the_client_is_no_key_and_not_shown(run: Runs, sandbox: Sandbox) -> None:
    result = run([GOOD])
    assert "api" not in dict(result)
    assert "ApiClient" not in repr(result)
    assert sandbox.api_key not in repr(result)


def test_an_empty_result_makes_no_call(api: ApiClient, sandbox: Sandbox) -> None:
    for client in (api, None):
        result = CreationResult("1", (), {}, 0.0, False, client)
        assert result.wait(on_progress=lambda *_: pytest.fail("nothing to tell")) == result.cancel() == Outcome()
    assert sums(Outcome()) == (0, 0, 0)
    assert sandbox.calls() == {}


def test_from_a_dataframe(spark: SparkSession, sandbox: Sandbox, project: int, clock: SharedClock) -> None:
    sandbox.switch(project, creation_delay=DELAY)
    df = spark.range(0, 6, numPartitions=1).selectExpr("concat('u', id) AS url")
    with Client(sandbox.api_key, base_url=sandbox.base_url, clock=clock) as client:
        result = client.create_task_batch_from_table(df, str(project), chunk_rows=2)
        outcome = result.wait()
        assert sums(outcome) == (6, 0, 0)
        assert [batch.batch_id for batch in outcome.batches] == result.batch_ids
        assert len(sandbox.tasks(project)) == 6
        assert client.create_task_batch_from_table(df.where("false"), str(project)).wait() == Outcome()
