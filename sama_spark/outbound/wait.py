"""Waits until Sama has ended all batches of a run, and says what became of every task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sama_spark.api.batch_replies import BatchItem, BatchJob
from sama_spark.api.batches import poll_jobs
from sama_spark.api.job_state import JobState
from sama_spark.api.sama_errors import TasksUnaccounted, WaitTimedOut
from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import BadRequestError

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient
    from sama_spark.outbound.upload import UploadedBatch

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class FailedItem(BatchItem):
    """A task that Sama could not create: what was sent, and Sama's errors. `batch_id`: its batch."""

    batch_id: int


@dataclass(frozen=True)
class BatchOutcome:
    """What became of one batch.

    Attributes:
        batch_id: Sama's id.
        state: "completed", "failed" or "canceled", as Sama spells it.
        created, failed, cancelled: numbers of tasks; they add up to the tasks that were sent.
        messages: the creation job's messages; the reason where a whole batch failed.
        failed_items: the tasks that failed one by one; empty where the batch failed as a whole.
    """

    batch_id: int
    state: str
    created: int
    failed: int = 0
    cancelled: int = 0
    messages: tuple[str, ...] = ()
    failed_items: tuple[FailedItem, ...] = field(default=(), repr=False)


@dataclass(frozen=True, repr=False)
class Outcome:
    """What became of a run: its `batches`, and sums over them."""

    batches: tuple[BatchOutcome, ...] = ()

    @property
    def created(self) -> int:
        """How many tasks Sama created."""
        return sum(batch.created for batch in self.batches)

    @property
    def failed(self) -> int:
        """How many tasks failed."""
        return sum(batch.failed for batch in self.batches)

    @property
    def cancelled(self) -> int:
        """How many tasks were cancelled."""
        return sum(batch.cancelled for batch in self.batches)

    @property
    def failed_items(self) -> tuple[FailedItem, ...]:
        """The tasks that failed one by one."""
        return tuple(item for batch in self.batches for item in batch.failed_items)

    def __repr__(self) -> str:
        tasks = self.created + self.failed + self.cancelled
        short = [batch for batch in self.batches if batch.failed or batch.cancelled]
        lines = [f"\n  {_line(batch)}" for batch in short[:_SHOWN]]
        if len(short) > _SHOWN:
            lines.append(f"\n  and {len(short) - _SHOWN} more batches")
        return (
            f"<{self.created:,} of {tasks:,} tasks created, {self.failed:,} failed, {self.cancelled:,} cancelled, "
            f"in {len(self.batches)} batches{''.join(lines)}>"
        )


def wait_for_all(
    api: ApiClient,
    project_id: str,
    batches: Sequence[UploadedBatch],
    timeout: float,
    on_progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Wait until all batches have ended, then count their tasks; see `CreationResult.wait`."""
    jobs = _watch(api, project_id, batches, timeout, on_progress)
    return Outcome(tuple(count_tasks(api, project_id, batch, jobs[batch.batch_id]) for batch in batches))


def cancel_started(api: ApiClient, project_id: str, batches: Sequence[UploadedBatch], timeout: float) -> Outcome:
    """Cancel batches that have not ended, then wait; see `CreationResult.cancel`."""
    # Try all of them before an error is raised: what is not cancelled is paid for.
    errors = [error for batch in batches if (error := _cancel(api, project_id, batch))]
    if errors:
        raise errors[0]
    return wait_for_all(api, project_id, batches, timeout)


def _cancel(api: ApiClient, project_id: str, batch: UploadedBatch) -> ConnectorError | None:
    try:
        if not JobState.of(api.get_batch_job(project_id, batch.batch_id).state).has_ended:
            api.cancel_batch_creation_job(project_id, batch.batch_id)
    except BadRequestError:
        return None  # the batch has ended in between; else the wait that follows reports it
    except ConnectorError as error:
        return error
    return None


def _watch(
    api: ApiClient,
    project_id: str,
    batches: Sequence[UploadedBatch],
    timeout: float,
    on_progress: Callable[[int, int], None] | None,
) -> Mapping[str | int, BatchJob]:
    """Return the ended job of each batch, by batch id.

    Raises:
        WaitTimedOut: `timeout` seconds are over, and some have not ended.
    """
    tasks, created = sum(batch.tasks for batch in batches), 0
    jobs: Mapping[str | int, BatchJob] = {}
    for jobs in poll_jobs(api, project_id, [batch.batch_id for batch in batches], timeout):
        created = sum(job.created_count or 0 for job in jobs.values())
        if on_progress:
            on_progress(created, tasks)
    if still_open := [job for job in jobs.values() if not JobState.of(job.state).has_ended]:
        raise _timed_out(project_id, still_open, timeout, created, tasks)
    return jobs


def count_tasks(api: ApiClient, project_id: str, batch: UploadedBatch, job: BatchJob) -> BatchOutcome:
    """Count a batch's tasks by what became of them. Read its items only where not all tasks were created.

    Raises:
        TasksUnaccounted: the counts do not add up to the tasks that were sent.
    """
    batch_id, state = batch.batch_id, job.state.lower()
    if job.created_count == batch.tasks:
        return BatchOutcome(batch_id, state, batch.tasks, messages=job.messages)
    counts: Counter[str] = Counter()
    failed_items = []
    for item in api.get_batch_items(project_id, batch_id):
        counts[item.state.lower()] += 1
        if item.state.lower() == "failed":
            failed_items.append(FailedItem(item.id, item.state, item.data, item.errors, batch_id=batch_id))
    if not counts and not job.created_count and JobState.of(state).ended_badly:
        counts[state] = batch.tasks  # it ended before Sama had read the file: all tasks share the fate of the batch
    outcome = BatchOutcome(
        batch_id,
        state,
        created=counts["created"],
        failed=counts["failed"],
        cancelled=counts["canceled"] + counts["cancelled"],
        messages=job.messages,
        failed_items=tuple(failed_items),
    )
    if outcome.created + outcome.failed + outcome.cancelled != batch.tasks:
        raise TasksUnaccounted.of(project_id, batch_id, state, batch.tasks, counts)
    return outcome


def _timed_out(project_id: str, jobs: Sequence[BatchJob], timeout: float, created: int, tasks: int) -> WaitTimedOut:
    names = ", ".join(f"{job.batch_id} {job.state}" for job in jobs[:_SHOWN])
    more = f" and {len(jobs) - _SHOWN} more" if len(jobs) > _SHOWN else ""
    return WaitTimedOut(
        f"after {timeout:g} s {created:,} of {tasks:,} tasks are created, "
        f"{len(jobs)} batches have not ended: {names}{more}",
        call="wait for batches",
        project_id=project_id,
        state=jobs[0].state,
        created_count=created,
        remedy=f"Creation goes on: call result.wait() again, or look with "
        f"get_batch_job({project_id!r}, {jobs[0].batch_id!r}).",
    )


def _line(batch: BatchOutcome) -> str:
    counts = {"failed": batch.failed, "cancelled": batch.cancelled}
    text = f"batch {batch.batch_id}, {batch.state}: " + ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
    if batch.failed_items:
        errors = batch.failed_items[0].errors
        first = errors[0] if errors else "no error given"
        return f"{text}; the first: {first.get('message', first) if isinstance(first, dict) else first}"
    return f"{text}; {'; '.join(batch.messages)}" if batch.messages else text
