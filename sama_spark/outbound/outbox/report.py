"""Report of a run's findings in its outbox, for the caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sama_spark.outbound.outbox.ledger_rows import BatchEvent, State, UnsettledBatch
from sama_spark.outbound.wait import FailedItem

if TYPE_CHECKING:
    from sama_spark.outbound.wait import BatchOutcome

_SHOWN = 5


@dataclass(frozen=True)
class SettledBatch:
    """A batch that an earlier run left unsettled, and what this run found out about it.

    Attributes:
        batch_id: Sama's id.
        run_id: the run that uploaded the batch.
        tasks: how many tasks were uploaded.
        was, now: its state before and after: "bound" (claimed, perhaps not continued), "started", "done", "failed" or
            "void" (no task was made of the batch: its rows can be sent again), "unsure" (only a person can tell).
        created, failed, cancelled: tasks, None where that is not known.
        message: Sama's messages, or why the batch is unsure.
        failed_items: the tasks that failed one by one.
    """

    batch_id: int
    run_id: str
    tasks: int
    was: State
    now: State
    created: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    message: str | None = None
    failed_items: tuple[FailedItem, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, batch: UnsettledBatch, event: BatchEvent, outcome: BatchOutcome | None = None) -> SettledBatch:
        """Return the batch with what `event` says of it, and the failed items of its `outcome`."""
        return cls(
            batch.batch_id,
            batch.run_id,
            batch.tasks,
            batch.state,
            event.state,
            event.created,
            event.failed,
            event.cancelled,
            event.message,
            outcome.failed_items if outcome else (),
        )


@dataclass(frozen=True)
class OutboxReport:
    """What a run found in its outbox.

    Attributes:
        table: the outbox.
        known: rows that were not sent, because the outbox has them.
        changed: how many of the known rows have other content now.
        unsure_rows: how many of the known rows lie in unsure batches.
        recovered: batches that earlier runs left unsettled, and what became of them.
        unsure: batches that a person has to settle, with `client.resume(unsure=...)`.
        still_open: batches of other runs that are bound or started and have not ended.
    """

    table: str
    known: int = 0
    changed: int = 0
    unsure_rows: int = 0
    recovered: tuple[SettledBatch, ...] = ()
    unsure: tuple[UnsettledBatch, ...] = ()
    still_open: tuple[UnsettledBatch, ...] = ()

    def lines(self) -> list[str]:
        """Return what the repr of a result says of the outbox, line by line."""
        changed = f", of which {self.changed:,} have changed since and were left as they are" if self.changed else ""
        unsure = f", of which {self.unsure_rows:,} are unsure" if self.unsure_rows else ""
        found = [f"{self.known:,} rows were known to the outbox and not sent{changed}{unsure}"] if self.known else []
        found += [
            f"recovered: batch {b.batch_id}, {b.tasks:,} tasks: {b.was} -> {b.now}" for b in self.recovered[:_SHOWN]
        ]
        found += [f"unsure: batch {b.batch_id}, {b.tasks:,} tasks: {b.message}" for b in self.unsure[:_SHOWN]]
        more = max(0, len(self.recovered) - _SHOWN) + max(0, len(self.unsure) - _SHOWN)
        found += [f"and {more} batches more in `outbox.recovered` and `outbox.unsure`"] if more else []
        found += [
            f"open: batch {b.batch_id}, {b.tasks:,} tasks, {b.state} by an earlier or other run"
            for b in self.still_open[:_SHOWN]
        ]
        return found
