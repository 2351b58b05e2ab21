"""From landed text to `annotations` and `tasks`.

`tasks` is written last and tells what is done: whatever a dead run left half way differs from it, and is made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.sql import functions as F

from sama_spark.delta import sql_text
from sama_spark.inbound.annotations import flatten_annotations
from sama_spark.inbound.table import RESCUED, raw_parts, typed_tasks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.flatten import Frames, Label
    from sama_spark.inbound.sync.contract import Contract
    from sama_spark.inbound.sync.masks import Masks
    from sama_spark.inbound.sync.result import FeedSync
    from sama_spark.inbound.sync.tables import SyncTables

_MOST_NAMED = 5_000  # tasks that a condition names one by one
_MOST_BROADCAST = 1_000_000


@dataclass(frozen=True)
class Changed:
    """Deliveries that are newer than what `tasks` has.

    Attributes:
        rows: their columns of `deliveries_raw`, one for each task. ids: of the tasks, where they are few.
        new, updated, unchanged: tasks. landed, rejected: deliveries of this run, and those of them that are no task.
    """

    rows: DataFrame
    ids: Sequence[str] | None
    new: int
    updated: int
    unchanged: int
    landed: int
    rejected: int

    def parts(self) -> DataFrame:
        """The rows with `data_raw` and `answers_raw`, the JSON text of these."""
        data, answers = raw_parts(F.concat("parts", "raw").cast("binary"))
        return self.rows.withColumns({"data_raw": data, "answers_raw": answers})


class Reached(NamedTuple):
    """How far `tasks` has come; None where it has nothing.

    delivered_at: the latest delivery from the feed that is asked for: others may have left earlier ones out. What came
        from a clock ahead of ours does not count: it would hide all that is delivered until then.
    synced_at: when the last run began that wrote to it.
    unfit: tasks written by the run that is asked for, with a value that does not fit its type.
    """

    delivered_at: datetime | None
    synced_at: datetime | None
    unfit: int


def reached(tasks: DeltaTable, feed: str, run_id: str) -> Reached:
    counts = (F.col("feed") == feed) & F.expr("delivered_at <= synced_at")
    times = F.max(F.when(counts, F.col("delivered_at"))), F.max("synced_at")
    unfit = F.count_if((F.col("run_id") == run_id) & F.col(RESCUED).isNotNull())
    *found, unfit_here = tasks.read().agg(*map(F.unix_micros, times), unfit).collect()[0]
    last, synced = (None if at is None else datetime.fromtimestamp(at / 1e6, timezone.utc) for at in found)
    return Reached(last, synced, unfit_here)


def find_changed(tables: SyncTables, since: datetime | None, before: Reached | None, run_id: str) -> Changed:
    """What landed, in whatever run, and is not in `tasks`: all of it, or what was delivered since a time.

    `before`: how far `tasks` has come, where that is known; needed with `since`.

    What landed since the last run that wrote to `tasks` is looked at whenever it was delivered: of a run that died
    over late deliveries nobody else knows.
    """
    raw = tables["deliveries_raw"].read()
    if since is not None and before is not None:
        recent = F.col("delivered_at").isNull() | (F.col("delivered_at") >= F.lit(since))
        raw = raw.where(recent | (F.col("landed_at") > F.lit(before.synced_at)))
    task_id = F.when(F.col("delivered_at").isNotNull(), F.col("id"))
    latest = raw.groupBy(task_id.alias("id")).agg(
        F.max("delivered_at").alias("delivered_at"),
        F.count("*").alias("deliveries"),
        F.count_if(F.col("run_id") == run_id).alias("landed"),
    )
    known = tables["tasks"].read().select("id", F.col("delivered_at").alias("known_at"))
    if before is not None and before.synced_at is None:  # it is empty
        keys = latest.withColumn("known_at", F.lit(None).cast("timestamp"))
    else:
        keys = latest.join(known, "id", "left")
    is_task, is_new = F.col("id").isNotNull(), F.col("known_at").isNull()
    is_updated = F.col("known_at") < F.col("delivered_at")
    counts = (
        F.count_if(is_task & is_new),
        F.count_if(is_task & is_updated),
        F.count_if(is_task & ~is_new & ~is_updated),
        F.sum("landed"),
        F.sum(F.when(~is_task, F.col("landed"))),
        F.max(F.when(is_task, F.col("deliveries"))),
    )
    row = keys.agg(*(F.coalesce(count, F.lit(0)) for count in counts)).collect()[0]
    new, updated, unchanged, landed, rejected, deliveries = map(int, row)
    rows = raw.where("id IS NOT NULL AND delivered_at IS NOT NULL")
    chosen = keys.where(is_task & (is_new | is_updated)).select("id", "delivered_at")
    ids = None
    if 0 < new + updated <= _MOST_NAMED:
        found = chosen.select("id", F.unix_micros("delivered_at")).collect()
        ids = [found_id for found_id, _ in found]
        # As values, so that it is not looked for again by each of the writes.
        values = rows.sparkSession.createDataFrame(found, "id string, micros bigint")
        chosen = values.select("id", F.timestamp_micros("micros").alias("delivered_at"))
    if ids or updated or unchanged or deliveries > 1:  # else all that landed is new, and there is nothing to choose
        rows = rows.join(F.broadcast(chosen) if new + updated < _MOST_BROADCAST else chosen, ["id", "delivered_at"])
    if deliveries > 1:  # the same one by two runs at once, perhaps
        rows = rows.dropDuplicates(["id", "delivered_at"])
    return Changed(rows, ids, new, updated, unchanged, landed, rejected)


def replace_annotations(
    tables: SyncTables, changed: Changed, label: Label, frames: Frames, masks: Masks | None, done: FeedSync
) -> None:
    """The rows of each changed task in place of those that it had, in one commit."""
    tasks = changed.parts().select("id", "delivered_at", "answers_raw")
    rows = flatten_annotations(tasks, label=label, frames=frames)
    if masks is not None:
        rows = masks.named(tasks, rows, done)
    _replace(tables["annotations"], "task_id", rows, changed)


def upsert_tasks(tables: SyncTables, changed: Changed, contract: Contract, origin: Mapping[str, Any]) -> None:
    """The latest delivery of each changed task.

    `origin`: the columns `feed`, `synced_at` and `run_id`, of the run that took it over. What a dead run left tells
    nothing of how far its own feed was read.
    """
    deliveries = changed.parts().select("raw", "data_raw", "answers_raw")
    rows = typed_tasks(deliveries, contract.data, contract.answers)
    more = {"current_state": F.col("state")} | {name: F.lit(value) for name, value in origin.items()}
    rows = rows.drop("raw", "data_raw", "answers_raw").withColumns(more)
    _replace(tables["tasks"], "id", rows, changed)


def _replace(table: DeltaTable, key: str, rows: DataFrame, changed: Changed) -> None:
    """Put `rows` in place of all that `table` has of the changed tasks. Few of them are named, which costs half."""
    if changed.ids is not None:
        table.replace(rows, f"{key} IN ({', '.join(map(sql_text, changed.ids))})")
    elif table.read().isEmpty():
        table.fill(rows)
    else:
        table.replace_by(key, rows, changed.rows.select("id"))
