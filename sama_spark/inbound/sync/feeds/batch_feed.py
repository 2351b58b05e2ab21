"""The feed of batches: how the creation jobs of the project's tasks stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from sama_spark.api.batches import ENDED_BADLY
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
_FINISHED = (*sorted(ENDED_BADLY), "completed", _NOT_FOUND)
_PIECE = 500


def sync_batches(
    api: ApiClient, tables: SyncTables, done: FeedSync, named: Sequence[int], max_calls: int | None
) -> None:
    """Ask for each batch that `tasks`, `task_states` or `named` know and whose job has not finished."""
    table = tables.ensure("batches", _BATCHES, "The creation jobs of the batches", "batch_id")
    kept = table.read()
    unfinished = (
        _known(tables, named)
        .join(kept, "batch_id", "left")
        .where(~F.coalesce(F.lower("state").isin(*_FINISHED), F.lit(False)))
        # New ones first; chance sees to it that `max_calls` leaves none out for ever.
        .orderBy(F.col("state").isNull().desc(), F.rand())
        .select("batch_id", "state", "created_count", "messages")
    )
    due = unfinished.collect()
    changed: list[tuple[Any, ...]] = []
    for batch_id, *before in due[:max_calls]:
        done.pages += 1
        now = _ask(api, tables.project_id, batch_id)
        if now != before:
            changed.append((batch_id, *now, datetime.now(timezone.utc), done.run_id))
        if len(changed) >= _PIECE:
            _keep(tables, changed, done)
            changed = []
    _keep(tables, changed, done)
    if len(due) > done.pages:
        done.goes_on = f"{len(due) - done.pages:,} batches not asked for"


def _known(tables: SyncTables, named: Sequence[int]) -> DataFrame:
    found = tables["tasks"].read().select("batch_id")
    for name in ("task_states", "batches"):
        if tables[name].exists():
            found = found.unionByName(tables[name].read().select("batch_id"))
    if named:
        given = tables.spark.createDataFrame([(int(batch_id),) for batch_id in named], "batch_id BIGINT")
        found = found.unionByName(given)
    return found.where("batch_id IS NOT NULL").distinct()


def _ask(api: ApiClient, project_id: str, batch_id: int) -> list[Any]:
    try:
        job = api.get_batch_job(project_id, batch_id)
    except NotFoundError:
        return [_NOT_FOUND, None, []]
    return [job.state, job.created_count, list(job.messages)]


def _keep(tables: SyncTables, changed: list[tuple[Any, ...]], done: FeedSync) -> None:
    if changed:
        rows = tables.spark.createDataFrame(changed, _BATCHES)
        clauses = "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        tables["batches"].merge(rows, "t.batch_id = s.batch_id", clauses)
        done.changes += len(changed)
