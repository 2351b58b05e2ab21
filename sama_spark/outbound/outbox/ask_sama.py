"""Asks Sama about a batch, and makes the answer an event for the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sama_spark.api.job_state import JobState
from sama_spark.api.sama_errors import TasksUnaccounted
from sama_spark.http.call_errors import NotFoundError
from sama_spark.outbound.outbox.ledger_rows import BatchEvent, State, UnsettledBatch
from sama_spark.outbound.upload import UploadedBatch
from sama_spark.outbound.wait import BatchOutcome, count_tasks

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient


class BatchLook(NamedTuple):
    """What a look at one batch gave.

    `event`: what is new, None where nothing is. `outcome`: what became of its tasks, where the batch has ended.
    `waits`: whether Sama still waits for `continue`.
    """

    event: BatchEvent | None = None
    outcome: BatchOutcome | None = None
    waits: bool = False


def ask_sama(api: ApiClient, project_id: str, batch: UnsettledBatch) -> BatchLook:
    """Ask Sama for a batch's state, and for its tasks where it has ended.

    On the wire: GET batches/{batch_id}.json with page_size=0, more where not all tasks were created.
    """
    try:
        job = api.get_batch_job(project_id, batch.batch_id)
    except NotFoundError:
        return BatchLook(_unsure(batch, "Sama does not show this batch to this key (404)"))
    state = JobState.of(job.state)
    if state.has_ended:
        try:
            outcome = count_tasks(api, project_id, UploadedBatch(batch.batch_id, batch.tasks, 0), job)
        except TasksUnaccounted as error:
            return BatchLook(_unsure(batch, error.message))
        return BatchLook(event_of(outcome, batch.tasks, batch.run_id), outcome)
    if state.is_started:
        started = BatchEvent("started", batch.batch_id, batch.run_id, batch.tasks)
        return BatchLook(started if batch.state == "bound" else None)
    if state is JobState.WAITING:
        return BatchLook(waits=True)
    return BatchLook(_unsure(batch, f"its state is {job.state!r}, a word that is not known"))


def event_of(outcome: BatchOutcome, tasks: int, run_id: str) -> BatchEvent:
    """Return how a batch of `tasks` tasks has ended, as the ledger keeps it."""
    state: State
    message = "; ".join(outcome.messages) or None
    ended_as = JobState.of(outcome.state)
    if ended_as is JobState.COMPLETED:
        state = "done" if outcome.created else "failed"
    elif outcome.created:
        state, message = "unsure", f"{outcome.state} with {outcome.created} of {tasks} tasks created"
    else:
        state = "failed" if ended_as is JobState.FAILED else "void"
    return BatchEvent(
        state,
        outcome.batch_id,
        run_id,
        tasks,
        created=outcome.created,
        failed=outcome.failed,
        cancelled=outcome.cancelled,
        message=message,
    )


def _unsure(batch: UnsettledBatch, why: str) -> BatchEvent:
    return BatchEvent("unsure", batch.batch_id, batch.run_id, batch.tasks, message=why)
