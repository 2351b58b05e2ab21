"""Find the landed deliveries that are newer than what `tasks` has."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.delta import time_column
from sama_spark.inbound.lines import raw_parts
from sama_spark.inbound.sync.watermark import moment

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.tables import SyncTables
    from sama_spark.inbound.sync.watermark import Watermark

_MOST_NAMED = 5_000  # tasks that a condition names one by one
_MOST_BROADCAST = 1_000_000


class Counts(NamedTuple):
    """How many tasks and deliveries the comparison found.

    Attributes:
        new, updated, unchanged: tasks.
        landed: deliveries that this run landed.
        max_deliveries: most deliveries that a single task has.
        latest: newest `delivered_at` among new and updated tasks, leaving out times in the future and deliveries to
            which the vendor gave no time.
    """

    new: int
    updated: int
    unchanged: int
    landed: int
    max_deliveries: int
    latest: datetime | None

    @property
    def changed(self) -> int:
        """Return the number of new and updated tasks."""
        return self.new + self.updated


@dataclass(frozen=True)
class Changed:
    """The tasks that are new or updated.

    Attributes:
        rows: one row of `deliveries_raw` for each task: its newest delivery. A delivery without a time that can be
            read has the time of its landing.
        ids: the ids of the tasks if they are few, so that a condition can name them; else None.
        counts: how many tasks and deliveries were compared.
    """

    rows: DataFrame
    ids: Sequence[str] | None
    counts: Counts

    def parts(self) -> DataFrame:
        """Return the rows with `data_raw` and `answers_raw`, the JSON text of both."""
        data, answers = raw_parts("parts", "raw")
        return self.rows.withColumns({"data_raw": data, "answers_raw": answers})


def find_changed(tables: SyncTables, since: datetime | None, before: Watermark, run_id: str, now: datetime) -> Changed:
    """Compare all that has landed with `tasks`, including what runs landed that died.

    Everything that landed after the last run that wrote to `tasks` is examined, however old its `delivered_at`. If a
    run dies after landing late deliveries, only this finds them.

    Args:
        tables: the project's tables.
        since: also examine deliveries made from this time on; None: examine all.
        before: how far `tasks` had come before this run.
        run_id: the id of this run.
        now: when this run began.

    Returns:
        The new and updated tasks. The `delivered_at` of their rows is the landing time where the delivery has no
        time, and their columns `is_timed` and `has_unreliable_time` are those of `timed`.
    """
    raw = tables.deliveries_raw.read()
    if since is not None:
        delivered_at, landed_at = (time_column(tables.spark, name) for name in ("delivered_at", "landed_at"))
        untimed = F.col("delivered_at").isNull() & (landed_at >= F.lit(since))
        raw = raw.where((delivered_at >= F.lit(since)) | untimed | (landed_at > F.lit(before.synced_at)))
    raw = timed(raw)
    compared = compare(raw, None if before.synced_at is None else tables.tasks, run_id)
    keys = newer(compared)
    with ThreadPoolExecutor(1, "sama-naming") as aside:
        naming = aside.submit(_few, keys)
        counts = count(compared, now)
    if (named := naming.result()) is not None:
        # As values, so that none of the writes computes the keys again.
        values = tables.spark.createDataFrame(named, "id string, micros bigint")
        keys = F.broadcast(values.select("id", F.timestamp_micros("micros").alias("delivered_at")))
    elif counts.changed < _MOST_BROADCAST:
        keys = F.broadcast(keys)
    rows = raw.where("id IS NOT NULL")
    is_all_new = not (counts.updated or counts.unchanged or counts.max_deliveries > 1)
    # Where every delivery is a new task, all rows are wanted: no join.
    if named is not None or not is_all_new:
        rows = rows.join(keys, ["id", "delivered_at"])
    if counts.max_deliveries > 1:  # a second sync, against the rule, may have landed the same delivery
        rows = rows.dropDuplicates(["id", "delivered_at"])
    return Changed(rows, None if named is None else [task_id for task_id, _ in named], counts)


def timed(raw: DataFrame) -> DataFrame:
    """Return all deliveries with a time, `is_timed` and `has_unreliable_time`. The `id` of an unreadable one is null.

    A delivery without a time takes the time of its landing. The time is unreliable if it was missing or lies after the
    landing. If a task has a delivery with an unreliable time, the delivery that landed last is the task's newest. A
    wrong time in the future would otherwise win over every later delivery.
    """
    return raw.withColumns(
        {
            "id": F.when(F.col("problem").isNull(), F.col("id")),
            "delivered_at": F.coalesce("delivered_at", "landed_at"),
            "is_timed": F.col("delivered_at").isNotNull(),
            "has_unreliable_time": F.coalesce(F.col("delivered_at") > F.col("landed_at"), F.lit(True)),
        }
    )


def compare(raw: DataFrame, tasks: DeltaTable | None, run_id: str) -> DataFrame:
    """Compare the newest delivery of each task with the row in `tasks`.

    Args:
        raw: deliveries, as `timed` returns them.
        tasks: the table; None means that it is empty.
        run_id: the id of this run.

    Returns:
        One row for each task with its newest delivery: `id`, `delivered_at`, `is_timed`, `is_new`, `is_updated`, and
        how many `deliveries` it has and how many of them `landed` in this run. Unreadable deliveries are no tasks: one
        row holds all of them, with null as `id`, and is neither new nor updated.
    """
    delivery = F.struct("delivered_at", "landed_at", "is_timed")
    by_landing = F.max_by(delivery, F.struct("landed_at", "delivered_at"))
    unreliable = F.bool_or("has_unreliable_time")
    newest = raw.groupBy("id").agg(
        unreliable.alias("has_unreliable_time"),
        F.when(unreliable, by_landing).otherwise(F.max_by(delivery, "delivered_at")).alias("newest"),
        F.count("*").alias("deliveries"),
        F.count_if(F.col("run_id") == run_id).alias("landed"),
    )
    found = newest.select("id", "newest.*", "has_unreliable_time", "deliveries", "landed")
    if tasks is None:
        nothing = F.lit(None).cast(T.TimestampType())
        found = found.withColumns({"known_at": nothing, "synced_at": nothing})
    else:
        # `synced_at` is when the sync began that wrote the row: what that sync saw had landed by then.
        known_at = F.coalesce("delivered_at", "synced_at").alias("known_at")
        found = found.join(tasks.read().select("id", known_at, "synced_at"), "id", "left")
    is_task, is_new = F.col("id").isNotNull(), F.col("known_at").isNull()
    at_landing = F.col("has_unreliable_time") | F.expr("known_at >= synced_at")
    later = F.when(at_landing, F.expr("landed_at > synced_at")).otherwise(F.expr("delivered_at > known_at"))
    return found.withColumns(
        {"is_new": is_task & is_new, "is_updated": is_task & ~is_new & F.coalesce(later, F.lit(False))}
    )


def newer(compared: DataFrame) -> DataFrame:
    """Return `id` and `delivered_at` of each new or updated task."""
    return compared.where("is_new OR is_updated").select("id", "delivered_at")


def count(compared: DataFrame, now: datetime) -> Counts:
    """Count what `compare` found; `now` is when this run began."""
    is_task, is_changed = F.col("id").isNotNull(), F.expr("is_new OR is_updated")
    is_in_time = F.col("is_timed") & (F.col("delivered_at") <= F.lit(now))
    counts = (
        F.count_if("is_new"),
        F.count_if("is_updated"),
        F.count_if(is_task & ~is_changed),
        F.sum("landed"),
        F.max(F.when(is_task, F.col("deliveries"))),
    )
    latest = F.unix_micros(F.max(F.when(is_changed & is_in_time, F.col("delivered_at"))))
    *found, at = compared.agg(*(F.coalesce(count, F.lit(0)) for count in counts), latest).collect()[0]
    return Counts._make([*map(int, found), None if at is None else moment(at)])


def _few(keys: DataFrame) -> list[tuple[str, int]] | None:
    """Return the keys, times in microseconds, if they are few enough to name each."""
    found = keys.select("id", F.unix_micros("delivered_at")).limit(_MOST_NAMED + 1).collect()
    return [(row[0], row[1]) for row in found] if len(found) <= _MOST_NAMED else None
