"""The errors of Sama's API and of its batches. `details` are the other arguments of `ConnectorError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sama_spark.errors import ConnectorError, InvalidInput
from sama_spark.http.call_errors import BadRequestError, Kind, of_vendor

__all__ = [
    "BatchFailed",
    "BatchStateError",
    "BatchUnsure",
    "BatchesNotStarted",
    "ExperimentalCallError",
    "InvalidInputSchema",
    "LeaseOver",
    "OutboxUnsure",
    "SamaError",
    "TasksNotCreated",
    "TasksUnaccounted",
    "WaitTimedOut",
]

NEVER_AGAIN = (
    "do not send the DataFrame again: that would pay for the started ones twice. Look at each of the other batches "
    "with client.get_batch_job(project_id, batch_id), and start those that wait with client.continue_batch("
    "project_id, batch_id)"
)


class SamaError(ConnectorError):
    """Any failure between this package and Sama."""


def of_sama(kind: type[Kind]) -> type[Kind]:
    """Return the class of errors of `kind` that are `SamaError` too."""
    return of_vendor(kind, SamaError)


class InvalidInputSchema(BadRequestError, SamaError):
    """Task data does not match the project's inputs."""

    remedy = "Compare the data with get_creation_task_schema()."


class ExperimentalCallError(InvalidInput):
    """The call's path is an assumption, and the client was made without `experimental=True`."""


class BatchStateError(SamaError):
    """The state of the batch does not allow the call.

    Attributes:
        state: the batch's state, as Sama spells it.
        messages: the job's own log messages.
        created_count: tasks that exist already, None if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        state: str | None = None,
        messages: Sequence[str] = (),
        created_count: int | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.state = state
        self.messages = tuple(messages)
        self.created_count = created_count


class BatchFailed(BatchStateError):
    """The creation job ended as failed or cancelled."""


class BatchUnsure(BatchStateError):
    """Nobody can tell from here whether the batch was started. Look at the batch before you send its rows again."""


class WaitTimedOut(BatchStateError):
    """The batch had not ended when the time was up. The batch goes on, and waiting again is safe."""

    retryable = True


class LeaseOver(SamaError):
    """A batch was not continued before its lease ended. The next run settles the batch."""


class BatchesNotStarted(SamaError):
    """All batches of a run were uploaded, but not all of them could be started.

    Attributes:
        started: ids of the batches that are becoming tasks.
        not_started: batch id -> why, for the others. A `BatchUnsure` among them may have been started.
    """

    def __init__(
        self,
        message: str,
        *,
        started: Sequence[int] = (),
        not_started: Mapping[int, ConnectorError] | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, maybe_done=True, **details)
        self.started = list(started)
        self.not_started = dict(not_started or {})

    @classmethod
    def of(
        cls, project_id: str | int, started: Sequence[int], not_started: Mapping[int, ConnectorError]
    ) -> BatchesNotStarted:
        reasons = "; ".join(f"batch {batch_id}: {error}" for batch_id, error in list(not_started.items())[:3])
        return cls(
            f"{len(started)} batches were started ({_ids(started)}), "
            f"{len(not_started)} were not ({_ids(not_started)}): {reasons}",
            project_id=project_id,
            remedy=NEVER_AGAIN,
            started=started,
            not_started=not_started,
        )


class TasksUnaccounted(SamaError):
    """A batch has ended, but its created, failed and cancelled tasks are not as many as were sent.

    Attributes:
        tasks: how many were sent.
        counted: how many Sama says were created, failed or cancelled.
    """

    retryable = True

    def __init__(self, message: str, *, tasks: int = 0, counted: int = 0, **details: Any) -> None:
        super().__init__(message, **details)
        self.tasks = tasks
        self.counted = counted

    @classmethod
    def of(
        cls, project_id: str | int, batch_id: int, state: str, tasks: int, counts: Mapping[str, int]
    ) -> TasksUnaccounted:
        """Return the error for a batch whose items, by state, are `counts`. Only final states count."""
        counted = sum(counts.get(final, 0) for final in ("created", "failed", "canceled", "cancelled"))
        found = ", ".join(f"{count:,} {item_state}" for item_state, count in counts.items() if count) or "none"
        return cls(
            f"{tasks:,} tasks were sent, {counted:,} are accounted for, and the batch is {state}; its items: {found}",
            project_id=project_id,
            batch_id=batch_id,
            remedy="call result.wait() again, in case Sama's counts lag behind; if it stays so, look with "
            f"get_batch_job({project_id!r}, {batch_id!r}, page_size=1000) and do not send the rows again before",
            tasks=tasks,
            counted=counted,
        )


class TasksNotCreated(SamaError):
    """All batches of a run were started, and Sama did not create all of its tasks."""

    @classmethod
    def of(cls, project_id: str | int, counts: Mapping[str, int], rejected_table: str | None) -> TasksNotCreated:
        where = f"; {rejected_table} has their rows and Sama's reasons" if rejected_table else ""
        return cls(
            f"Sama created {counts['created']:,} tasks, failed {counts['failed']:,}, cancelled {counts['cancelled']:,}",
            project_id=project_id,
            remedy=f"mend the rows{where}; with an outbox the next run sends those that are missing, and only those",
        )


class OutboxUnsure(SamaError):
    """Nobody can tell whether some batches of an outbox became tasks. A person has to look."""

    @classmethod
    def of(cls, project_id: str | int, outbox: str, batch_ids: Sequence[int]) -> OutboxUnsure:
        return cls(
            f"outbox {outbox!r} has {len(batch_ids)} batches of which nobody can tell whether they became tasks: "
            f"{', '.join(map(str, batch_ids[:10]))}",
            project_id=project_id,
            remedy="look for their tasks in Sama and say unsure: {<batch id>: created}, or void where there are none",
        )


def _ids(batch_ids: Sequence[int] | Mapping[int, ConnectorError]) -> str:
    shown = ", ".join(map(str, list(batch_ids)[:10])) or "none"
    return shown + (", ..." if len(batch_ids) > 10 else "")
