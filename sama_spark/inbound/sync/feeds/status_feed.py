"""The status feed: the history of each task's states, and from it `tasks.current_state`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, ClassVar

from pyspark.sql import Window
from pyspark.sql import functions as F

from sama_spark.api.states import TaskStates
from sama_spark.delta import row_count
from sama_spark.driver_rows import local_values
from sama_spark.errors import SyncError
from sama_spark.inbound.sync.feeds.status_round import StatusRound, can_change

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.api.api_client import ApiClient
    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.inbound.sync.tables import SyncTables

_TASK_STATES = """
    task_id STRING,
    batch_id BIGINT, client_batch_id STRING,
    state STRING COMMENT 'as Sama spells it; gone where Sama does not know the task any more',
    previous_state STRING COMMENT 'the last one known, null in the first row of a task',
    priority INT,
    seen_at TIMESTAMP_LTZ COMMENT 'the change came between the row before and this time',
    run_id STRING COMMENT 'of the sync; null for a rejection by Client.reject_task'
"""


@dataclass(frozen=True)
class StatusFeed:
    """Reads Sama's lists of tasks by state.

    Attributes:
        api: how to call Sama.
        max_calls: the most calls of one run; None for no bound. The next run goes on where this one stopped.
    """

    name: ClassVar[str] = "status"
    api: ApiClient
    max_calls: int | None

    def bring(self, tables: SyncTables, progress: FeedSync) -> None:
        """Read on in the lists, record what has changed, and bring `current_state` up to date."""
        history = task_states(tables)
        status_round = StatusRound(self.api, tables, progress, self.max_calls)
        is_over = status_round.read(_can_change(tables))
        seen = status_round.seen()
        progress.changes = _record_changes(tables, history, seen, progress.run_id)
        progress.updated = _update_current(tables, history, seen)
        if is_over:
            status_round.end()
        else:
            status_round.save()


def note_rejected(tables: SyncTables, task_id: str) -> None:
    """Record that Sama has just sent a task back for rework: in the history and in `current_state`.

    Raises:
        SyncError: the tables could not be written; the task is rejected all the same.
    """
    state = TaskStates.REJECTED.value
    try:
        history = task_states(tables)
        last = _last_known(history.read().where(F.col("task_id") == task_id)).collect()
        before = last[0] if last else {"batch_id": None, "client_batch_id": None, "known": None}
        now = datetime.now(timezone.utc)
        columns = (task_id, before["batch_id"], before["client_batch_id"], state, before["known"], None, now, None)
        row = local_values(tables.spark, [columns], _TASK_STATES)
        history.append(row)
        _set_current(tables, row)
    except Exception as error:
        raise SyncError(
            f"task {task_id} is rejected at Sama, but the tables could not be told: {str(error)[:500]}",
            project_id=tables.project_id,
            remedy="do not reject it again: the next client.sync(feeds=['status']) notes it",
        ) from error


def task_states(tables: SyncTables) -> DeltaTable:
    """Return the table of the history, and create it when absent."""
    return tables.ensure("task_states", _TASK_STATES, "What became of the tasks, and when", "task_id")


def _last_known(history: DataFrame) -> DataFrame:
    """Return the last row of each task, with its state as `known` and its time as `known_at`."""
    last = F.max_by(F.struct("batch_id", "client_batch_id", F.col("state").alias("known")), "seen_at")
    return (
        history.groupBy("task_id")
        .agg(last.alias("last"), F.max("seen_at").alias("known_at"))
        .select("task_id", "last.*", "known_at")
    )


def _can_change(tables: SyncTables) -> DataFrame:
    """Return the known tasks whose state can still change."""
    names = ("task_id", "batch_id", "client_batch_id")
    delivered = tables.tasks.read().where(can_change(F.col("current_state"))).withColumnRenamed("id", "task_id")
    recorded = _last_known(tables.task_states.read()).where(can_change(F.col("known")))
    return delivered.select(*names).unionByName(recorded.select(*names)).dropDuplicates(["task_id"])


def _record_changes(tables: SyncTables, history: DeltaTable, seen: DataFrame, run_id: str) -> int:
    known = _last_known(history.read()).select("task_id", "known", "known_at")
    newer = seen.join(known, "task_id", "left").where("known_at IS NULL OR seen_at > known_at")
    tasks = tables.tasks.read().select(F.col("id").alias("task_id"), "current_state", "synced_at")
    before = F.lag("state").over(Window.partitionBy("task_id").orderBy("seen_at"))
    # The history has no rows of deliveries. Of the timeline rejected -> delivered -> rejected it has seen only the
    # first state when the third comes: the same state, and yet a change.
    is_again = F.expr("known_at < synced_at AND synced_at < seen_at AND known = state AND current_state <> state")
    changes = (
        newer.join(tasks, "task_id", "left")
        .withColumn("previous_state", F.coalesce(before, F.when(is_again, F.col("current_state")), "known"))
        .where("previous_state IS NULL OR previous_state <> state")
        .withColumn("run_id", F.lit(run_id))
        .select("task_id", "batch_id", "client_batch_id", "state", "previous_state", "priority", "seen_at", "run_id")
    )
    count = row_count(changes)
    if count:
        history.append(changes)
    return count


def _update_current(tables: SyncTables, history: DeltaTable, seen: DataFrame) -> int:
    """Update `current_state` of tasks that were seen in another state after their delivery had been fetched.

    `synced_at`, when the fetch began, and `seen_at` are both times of a driver's clock: Sama's clock plays no part.

    Returns:
        The number of tasks.
    """
    last_seen = seen.groupBy("task_id").agg(F.max("seen_at").alias("seen_at"))
    known = last_seen.join(_last_known(history.read()), "task_id")
    latest = known.select("task_id", F.col("known").alias("state"), F.greatest("seen_at", "known_at").alias("seen_at"))
    tasks = tables.tasks.read().select(F.col("id").alias("task_id"), "current_state", "synced_at")
    late = latest.join(tasks, "task_id").where("seen_at > synced_at AND NOT current_state <=> state")
    count = row_count(late)
    if count:
        _set_current(tables, late.select("task_id", "state", "seen_at"))
    return count


def _set_current(tables: SyncTables, states: DataFrame) -> None:
    tables.tasks.merge(
        states,
        "t.id = s.task_id",
        "WHEN MATCHED AND s.seen_at > t.synced_at THEN UPDATE SET current_state = s.state",
    )
