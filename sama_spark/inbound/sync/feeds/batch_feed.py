"""The feed of batches: the state of the creation jobs of the project's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from pyspark.sql import functions as F

from sama_spark.api.job_state import WORDS_OF_ENDED
from sama_spark.driver_rows import local_values
from sama_spark.http.call_errors import NotFoundError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.api.api_client import ApiClient
    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.inbound.sync.tables import SyncTables

_BATCHES = """
    batch_id BIGINT,
    state STRING COMMENT 'of the creation job, as Sama spells it; not found where Sama does not know the batch',
    created_count BIGINT COMMENT 'tasks created so far',
    messages ARRAY<STRING> COMMENT 'the log of the job',
    updated_at TIMESTAMP_LTZ COMMENT 'when the job was first seen like this',
    run_id STRING
"""
_NOT_FOUND = "not found"
_FINISHED = (*WORDS_OF_ENDED, _NOT_FOUND)
_KEPT_AT_ONCE = 500


@dataclass(frozen=True)
class BatchFeed:
    """Asks Sama for each batch whose job has not finished.

    Attributes:
        api: how to call Sama.
        named: ids of batches to ask for, beside those that `tasks` and `task_states` know.
        max_calls: the most calls of one run; None for no bound.
    """

    name: ClassVar[str] = "batches"
    api: ApiClient
    named: Sequence[int]
    max_calls: int | None

    def bring(self, tables: SyncTables, progress: FeedSync) -> None:
        """Ask for the batches, and write those that have changed to the table `batches`."""
        table = tables.ensure("batches", _BATCHES, "The creation jobs of the batches", "batch_id")
        unfinished = (
            _known(tables, self.named)
            .join(table.read(), "batch_id", "left")
            .where(~F.coalesce(F.lower("state").isin(*_FINISHED), F.lit(False)))
            # New batches come first. The others come in random order, so that `max_calls` leaves none out for ever.
            .orderBy(F.col("state").isNull().desc(), F.rand())
            .select("batch_id", "state", "created_count", "messages")
        )
        due = unfinished.collect()
        changed: list[tuple[Any, ...]] = []
        for batch_id, *before in due[: self.max_calls]:
            progress.pages += 1
            now = _ask(self.api, tables.project_id, batch_id)
            if now != before:
                changed.append((batch_id, *now, datetime.now(timezone.utc), progress.run_id))
            if len(changed) >= _KEPT_AT_ONCE:
                _keep(tables, changed, progress)
                changed = []
        _keep(tables, changed, progress)
        if len(due) > progress.pages:
            progress.goes_on = f"{len(due) - progress.pages:,} batches not asked for"


def _known(tables: SyncTables, named: Sequence[int]) -> DataFrame:
    found = tables.tasks.read().select("batch_id")
    for table in (tables.task_states, tables.batches):
        if table.exists():
            found = found.unionByName(table.read().select("batch_id"))
    if named:
        given = local_values(tables.spark, [(int(batch_id),) for batch_id in named], "batch_id BIGINT")
        found = found.unionByName(given)
    return found.where("batch_id IS NOT NULL").distinct()


def _ask(api: ApiClient, project_id: str, batch_id: int) -> list[Any]:
    try:
        job = api.get_batch_job(project_id, batch_id)
    except NotFoundError:
        return [_NOT_FOUND, None, []]
    return [job.state, job.created_count, list(job.messages)]


def _keep(tables: SyncTables, changed: list[tuple[Any, ...]], progress: FeedSync) -> None:
    if changed:
        rows = local_values(tables.spark, changed, _BATCHES)
        clauses = "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        tables.batches.merge(rows, "t.batch_id = s.batch_id", clauses)
        progress.changes += len(changed)
