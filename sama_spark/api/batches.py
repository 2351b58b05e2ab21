"""The steps of a batch: open -> put -> continue -> wait.

Until `continue` a batch costs nothing and can be thrown away: a batch that is never continued creates no tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from sama_spark.api.batch_replies import BatchJob, WaitingBatch
from sama_spark.api.interruption_notes import note
from sama_spark.api.job_state import JobState
from sama_spark.api.sama_errors import BatchFailed, BatchStateError, BatchUnsure, WaitTimedOut
from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import BadRequestError, RequestTimedOut, UploadUrlRefused
from sama_spark.http.retry import Clock
from sama_spark.http.wire import Body

_log = logging.getLogger("sama_spark")

_UPLOAD_TRIES = 3
_CONTINUE_TRIES = 3
# After a `continue` that timed out, the server may still carry it out: look at the state again after these seconds.
_PAUSES_AFTER_TIMEOUT = (1.0, 2.0, 4.0, 8.0, 15.0)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0  # seconds between two rounds of `poll_jobs`


class BatchCalls(Protocol):
    """The calls to Sama that a batch needs; `ApiClient` has them."""

    clock: Clock

    def open_batch(
        self, project_id: str | int, *, notification_email: str | None, tasks_file_name: str | None
    ) -> WaitingBatch:
        """Open a batch that waits for its tasks file."""

    def upload_tasks(self, batch: WaitingBatch, body: Body) -> None:
        """PUT the tasks file of a batch."""

    def continue_batch(self, project_id: str | int, batch_id: str | int, *, deadline: float | None) -> dict[str, Any]:
        """Start the creation of a batch's tasks."""

    def discard_batch(self, project_id: str | int, batch_id: str | int) -> bool:
        """Cancel a batch, and raise nothing."""

    def get_batch_job(self, project_id: str | int, batch_id: str | int) -> BatchJob:
        """Return the creation job of a batch."""


def upload(
    api: BatchCalls,
    project_id: str | int,
    body: Body,
    *,
    notification_email: str | None = None,
    tasks_file_name: str | None = "python_sdk",
) -> int:
    """Put a tasks file into a batch of its own and return the id of the batch, which waits for `continue`.

    If the upload URL has expired or is refused, open a new batch, up to three in all. Cancel every batch that is
    opened here and not returned, so far as the server can be reached.

    Args:
        api: the client.
        project_id: the project's id.
        body: the tasks file, see `upload_tasks`.
        notification_email: whom Sama tells when creation has ended.
        tasks_file_name: the upload's label in Sama's web application.

    Raises:
        UploadUrlRefused: the third URL was refused too.
        ConnectorError: opening or uploading failed for good.
    """
    for remaining in reversed(range(_UPLOAD_TRIES)):
        batch = api.open_batch(project_id, notification_email=notification_email, tasks_file_name=tasks_file_name)
        try:
            api.upload_tasks(batch, body)
            return batch.batch_id
        except UploadUrlRefused as error:
            api.discard_batch(project_id, batch.batch_id)
            if not remaining:
                raise
            _log.debug("upload to batch %s refused (HTTP %s): a new batch", batch.batch_id, error.status)
        except BaseException:
            api.discard_batch(project_id, batch.batch_id)
            raise
    raise AssertionError("unreachable")


def start(
    api: BatchCalls, project_id: str | int, batch_id: str | int, permit: Callable[[], float] | None = None
) -> dict[str, Any]:
    """Continue a waiting batch, so that Sama creates its tasks. Return an object with `batch_id`.

    `continue` is never repeated blindly. After a lost connection, a server error, an unreadable reply or a 400, ask for
    the state of the batch: a batch that is queued, processing or completed was started; a batch that still waits is
    continued again, three times in all. Where no answer came in time, the request may be under way still: then watch
    the state for half a minute, and do not repeat `continue`.

    Sama has no idempotency key. That a repeat creates nothing twice rests on the server, which refuses to continue
    a batch that no longer waits. A proxy that repeats POSTs by itself is beyond any client.

    Args:
        api: the client.
        project_id: the project's id.
        batch_id: the id of the waiting batch.
        permit: called before each `continue`: returns the seconds that the call may take, or raises.

    Raises:
        BatchStateError: the batch has failed or was cancelled.
        BatchUnsure: whether the batch was started cannot be known.
        ConnectorError: `continue` was refused for good, and the batch has surely not been started.
    """
    try:
        return _continue(api, project_id, batch_id, permit)
    except ConnectorError:
        raise
    except BaseException as error:
        note(
            error,
            f"interrupted while batch {batch_id} of project {project_id} was being started: its tasks may be created "
            f"and paid for. Look with get_batch_job({project_id!r}, {batch_id!r}) before you send them again.",
        )
        raise


def _continue(
    api: BatchCalls, project_id: str | int, batch_id: str | int, permit: Callable[[], float] | None
) -> dict[str, Any]:
    may_have_started = False
    for _ in range(_CONTINUE_TRIES):
        try:
            return api.continue_batch(project_id, batch_id, deadline=permit() if permit else None)
        except ConnectorError as error:
            failure = error
        may_have_started = may_have_started or failure.maybe_done
        if not may_have_started and not isinstance(failure, BadRequestError):
            raise failure
        timed_out = isinstance(failure, RequestTimedOut)
        state_word = _state_after_continue(api, project_id, batch_id, patient=timed_out)
        _log.debug("continue of batch %s: %s; its state is %s", batch_id, failure.message, state_word)
        state = JobState.of(state_word)
        if state.is_started:
            return {"batch_id": batch_id}
        if state.ended_badly:
            raise BatchStateError(
                f"the batch is {state_word} ({failure.message})",
                call="continue batch",
                project_id=project_id,
                batch_id=batch_id,
                state=state_word,
                remedy="Look at the messages of get_batch_job().",
            )
        # After a time-out `continue` may be under way still.
        surely_still_waits = state is JobState.WAITING and not timed_out
        if not surely_still_waits:
            break
    if state is JobState.WAITING and not may_have_started:
        raise failure
    raise BatchUnsure(
        f"{failure.message}; the batch's state is {state_word}",
        call="continue batch",
        project_id=project_id,
        batch_id=batch_id,
        state=state_word,
        maybe_done=True,
        remedy=f"See get_batch_job({project_id!r}, {batch_id!r}): if it still waits after some minutes, "
        "continue or cancel it by hand; do not send its rows again before.",
    )


def _state_after_continue(api: BatchCalls, project_id: str | int, batch_id: str | int, *, patient: bool) -> str:
    """Return the state of the batch as Sama spells it, "not known" if no answer comes.

    If `patient`, give the batch half a minute to leave "waiting".
    """
    for pause in (*_PAUSES_AFTER_TIMEOUT, 0.0) if patient else (0.0,):
        try:
            state_word = api.get_batch_job(project_id, batch_id).state.lower()
        except ConnectorError:
            return "not known"
        if JobState.of(state_word) is not JobState.WAITING or not pause:
            break
        api.clock.sleep(pause)
    return state_word


def poll_jobs(
    api: BatchCalls, project_id: str | int, batch_ids: Sequence[str | int], timeout: float
) -> Iterator[dict[str | int, BatchJob]]:
    """Ask for the jobs of batches, round by round, until all have ended or the time is up; yield them by batch id.

    Each round makes one call for each job that has not ended. The first pause is 0.5 s, the longest 20 s.

    Args:
        api: the client.
        project_id: the project's id.
        batch_ids: the batches. For none, nothing is yielded.
        timeout: seconds. At least one round is made.
    """
    deadline = api.clock.monotonic() + timeout
    pause = _FIRST_PAUSE
    jobs: dict[str | int, BatchJob] = {}
    still_open = list(batch_ids)
    while still_open:
        jobs |= {batch_id: api.get_batch_job(project_id, batch_id) for batch_id in still_open}
        still_open = [batch_id for batch_id in still_open if not JobState.of(jobs[batch_id].state).has_ended]
        yield jobs
        left = deadline - api.clock.monotonic()
        if not still_open or left <= 0:
            return
        api.clock.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def wait(api: BatchCalls, project_id: str | int, batch_id: str | int, timeout: float) -> BatchJob:
    """Return the job of one batch once it has completed; see `ApiClient.wait_for_batch`."""
    for jobs in poll_jobs(api, project_id, [batch_id], timeout):
        job = jobs[batch_id]
    state = JobState.of(job.state)
    if state is JobState.COMPLETED:
        return job
    said = f": {'; '.join(job.messages)}" if job.messages else ""
    kind: type[BatchStateError] = BatchFailed if state.ended_badly else WaitTimedOut
    if state.ended_badly:
        what = f"the batch is {job.state}{said}"
        remedy = f"See get_failed_batch_items({project_id!r}, {batch_id!r})."
    else:
        what = f"after {timeout:g} s the batch is {job.state}{said}"
        remedy = f"Look with get_batch_job({project_id!r}, {batch_id!r}), or wait again."
    raise kind(
        what,
        call="wait for batch",
        project_id=project_id,
        batch_id=batch_id,
        state=job.state,
        messages=job.messages,
        created_count=job.created_count,
        remedy=remedy,
    )
