"""What a run's tables are told after it: how its batches ended, and which task became of which row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sama_spark.errors import InvalidInput

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.outbound.outbox.outbox import Outbox
    from sama_spark.outbound.rejected import RejectedRows
    from sama_spark.outbound.task_fields import TaskFields
    from sama_spark.outbound.upload import Batch
    from sama_spark.outbound.wait import Outcome


@dataclass(frozen=True)
class RunTables:
    """The outbox and the table of rejected rows of one run, where it has them."""

    batches: Sequence[Batch]
    fields: TaskFields
    rejected: RejectedRows
    rejected_table: str | None
    outbox: Outbox | None

    def record(self, outcome: Outcome) -> None:
        """Keep how the run's batches have ended; the same outcome again changes nothing."""
        if self.rejected_table is not None and outcome.failed:
            whole = [batch.batch_id for batch in outcome.batches if batch.failed and not batch.failed_items]
            keys = self.outbox.keys_of(whole) if self.outbox and whole else {}
            self.rejected.append_failed(self.rejected_table, outcome, self.fields.row_key, keys)
        if self.outbox is not None:
            self.outbox.record_outcome(outcome, self.batches)

    def tasks(self, match_on: str) -> DataFrame:
        """See `CreationResult.tasks`."""
        if self.outbox is None:
            raise InvalidInput(
                "without an outbox the keys of the rows were not kept",
                remedy="create the tasks with outbox= and row_key=",
            )
        if match_on in self.fields.not_sent:
            raise InvalidInput(
                f"match_on={match_on!r} names a column that was not sent, so that no task has its value",
                remedy="take it out of not_sent: Sama gives inputs back",
            )
        return self.outbox.tasks(self.batches, match_on)
