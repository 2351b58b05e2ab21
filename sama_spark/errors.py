"""The errors of the Spark side, in the same tree as those of the API: `SamaError` is the root of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sama_spark.api.sama_errors import InvalidInput, InvalidRowsError, SamaError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class StagingError(SamaError):
    """The folder that driver and workers should share is not shared, or did not keep what was written."""


class TableError(SamaError):
    """A table cannot be made, read or written, by what Spark or the catalog say. `__cause__` is their error."""


class TooManyTasks(InvalidInput):
    """The DataFrame has more rows than `max_tasks` allows. Nothing was created."""


class OutboxError(SamaError):
    """The outbox cannot be used, or a claim on it was not written. Nothing was created."""


class LeaseOver(SamaError):
    """A batch was not continued before its lease ended; the next run settles it."""


class RepeatedKeys(InvalidRowsError):
    """Rows of one DataFrame have the same row key. Nothing was created."""


class ChangedRows(InvalidRowsError):
    """Rows that the outbox knows have other content now, and `on_changed` is "error". Nothing was created."""


class BatchesNotStarted(SamaError):
    """All uploads of a run stand, but not all of its batches could be started.

    Attributes:
        started: ids of the batches that are becoming tasks.
        not_started: batch id -> why, for the others. A `BatchUnsure` among them may have been started.
    """

    def __init__(
        self,
        message: str,
        *,
        project_id: str | int | None = None,
        remedy: str | None = None,
        started: Sequence[int] = (),
        not_started: Mapping[int, SamaError] | None = None,
    ) -> None:
        super().__init__(message, project_id=project_id, remedy=remedy, maybe_done=True)
        self.started = list(started)
        self.not_started = dict(not_started or {})

    @classmethod
    def of(
        cls, project_id: str | int, started: Sequence[int], not_started: Mapping[int, SamaError]
    ) -> BatchesNotStarted:
        reasons = "; ".join(f"batch {batch_id}: {error}" for batch_id, error in list(not_started.items())[:3])
        return cls(
            f"{len(started)} batches were started ({_ids(started)}), "
            f"{len(not_started)} were not ({_ids(not_started)}): {reasons}",
            project_id=project_id,
            remedy="do not send the DataFrame again: that would pay for the started ones twice; look at each of "
            "the others with get_batch_job and start those that wait with continue_batch",
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

    def __init__(
        self,
        message: str,
        *,
        project_id: str | int | None = None,
        batch_id: str | int | None = None,
        remedy: str | None = None,
        tasks: int = 0,
        counted: int = 0,
    ) -> None:
        super().__init__(message, project_id=project_id, batch_id=batch_id, remedy=remedy)
        self.tasks = tasks
        self.counted = counted

    @classmethod
    def of(
        cls, project_id: str | int, batch_id: int, state: str, tasks: int, counts: Mapping[str, int]
    ) -> TasksUnaccounted:
        """`counts`: the batch's items by state, of which only those in a final state count."""
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
    """A run was started whole, and Sama did not create all of its tasks."""

    @classmethod
    def of(cls, project_id: str | int, counts: Mapping[str, int], rejected_table: str | None) -> TasksNotCreated:
        where = f"; {rejected_table} has their rows and Sama's reasons" if rejected_table else ""
        return cls(
            f"Sama created {counts['created']:,} tasks, failed {counts['failed']:,}, cancelled {counts['cancelled']:,}",
            project_id=project_id,
            remedy=f"mend the rows{where}; with an outbox the next run sends those that are missing, and only those",
        )


class OutboxUnsure(SamaError):
    """Nobody can tell what became of some batches of an outbox: a person has to."""

    @classmethod
    def of(cls, project_id: str | int, outbox: str, batch_ids: Sequence[int]) -> OutboxUnsure:
        return cls(
            f"outbox {outbox!r} has {len(batch_ids)} batches of which nobody can tell whether they became tasks: "
            f"{', '.join(map(str, batch_ids[:10]))}",
            project_id=project_id,
            remedy="look for their tasks in Sama and say unsure: {<batch id>: created}, or void where there are none",
        )


class SyncError(SamaError):
    """The tables of a project cannot be brought up to date as they are."""


class FeedInterrupted(SamaError):
    """A feed that serves each task once broke off: what had been received is not lost.

    Attributes:
        received: a DataFrame of the tasks received before the error, None once this error was pickled.
    """

    def __init__(
        self,
        message: str,
        *,
        project_id: str | int | None = None,
        remedy: str | None = None,
        received: DataFrame | None = None,
    ) -> None:
        super().__init__(message, project_id=project_id, remedy=remedy)
        self.received = received

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "received": None}

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message,), self.__getstate__())


def _ids(batch_ids: Sequence[int] | Mapping[int, SamaError]) -> str:
    shown = ", ".join(map(str, list(batch_ids)[:10])) or "none"
    return shown + (", ..." if len(batch_ids) > 10 else "")
