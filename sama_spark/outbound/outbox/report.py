"""What a run tells of its outbox."""

from __future__ import annotations

from dataclasses import dataclass, field

from sama_spark.outbound.outbox.ledger import OpenBatch, State
from sama_spark.outbound.wait import FailedItem


@dataclass(frozen=True)
class SettledBatch:
    """A batch that an earlier run left open, and what this one found out about it.

    `was`, `now`: "bound" (claimed, perhaps not continued), "started", "done", "failed" or "void" (no task was
    made of it, its rows are free again), "unsure" (nobody can tell: a person has to). `created`, `failed`,
    `cancelled`: tasks, where that is known.
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


@dataclass(frozen=True)
class OutboxReport:
    """What a run found in its outbox.

    `known`: rows that were not sent, because the outbox has them. Of these `changed` have other content now, and
    `unsure_rows` lie in batches of which nobody can tell whether they became tasks. `recovered`: batches that
    earlier runs had left open, and what became of them. `unsure`: batches that a person has to settle, with
    `client.resume(unsure=...)`; `still_open`: those of other runs that
    are bound or started, and have not ended.
    """

    table: str
    known: int = 0
    changed: int = 0
    unsure_rows: int = 0
    recovered: tuple[SettledBatch, ...] = ()
    unsure: tuple[OpenBatch, ...] = ()
    still_open: tuple[OpenBatch, ...] = ()

    def lines(self) -> list[str]:
        """What is worth a line each in a result's repr."""
        changed = f", of which {self.changed:,} have changed since and were left as they are" if self.changed else ""
        unsure = f", of which {self.unsure_rows:,} are unsure" if self.unsure_rows else ""
        found = [f"{self.known:,} rows were known to the outbox and not sent{changed}{unsure}"] if self.known else []
        found += [f"recovered: batch {b.batch_id}, {b.tasks:,} tasks: {b.was} -> {b.now}" for b in self.recovered[:5]]
        found += [f"unsure: batch {b.batch_id}, {b.tasks:,} tasks: {b.message}" for b in self.unsure[:5]]
        more = max(0, len(self.recovered) - 5) + max(0, len(self.unsure) - 5)
        found += [f"and {more} batches more in `outbox.recovered` and `outbox.unsure`"] if more else []
        found += [
            f"open: batch {b.batch_id}, {b.tasks:,} tasks, {b.state} by an earlier or other run"
            for b in self.still_open[:5]
        ]
        return found
