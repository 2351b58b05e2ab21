"""Which of the landed deliveries are newer than what `tasks` has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.sql import functions as F

from sama_spark.delta import sql_in, time_column
from sama_spark.inbound.sync.landing import PROBLEM
from sama_spark.inbound.sync.watermark import moment
from sama_spark.inbound.table import raw_parts

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.tables import SyncTables
    from sama_spark.inbound.sync.watermark import Reached

_MOST_NAMED = 5_000  # tasks that a condition names one by one
_MOST_BROADCAST = 1_000_000


class Counts(NamedTuple):
    """new, updated, unchanged: tasks. landed: deliveries of this run. deliveries: at the most of one task. latest: of
    what is new or updated and has a time of Sama's, by no clock that is ahead of ours."""

    new: int
    updated: int
    unchanged: int
    landed: int
    deliveries: int
    latest: datetime | None


@dataclass(frozen=True)
class Changed:
    """Deliveries that are newer than what `tasks` has.

    Attributes:
        rows: their columns of `deliveries_raw`, one for each task; where Sama gave no time that can be read, it is the
            time of landing. ids: of the tasks, where they are few.
    """

    rows: DataFrame
    ids: Sequence[str] | None
    counts: Counts

    def parts(self) -> DataFrame:
        """The rows with `data_raw` and `answers_raw`, the JSON text of these."""
        data, answers = raw_parts("parts", "raw")
        return self.rows.withColumns({"data_raw": data, "answers_raw": answers})


def find_changed(
    tables: SyncTables, since: datetime | None, before: Reached | None, run_id: str, now: datetime
) -> Changed:
    """What landed, in whatever run, and is not in `tasks`: all of it, or what was delivered since a time.

    `before`: how far `tasks` has come, where that is known; needed with `since`. `run_id`, `now`: of this run.

    What landed since the last run that wrote to `tasks` is looked at whenever it was delivered: of a run that died
    over late deliveries nobody else knows.
    """
    raw, tasks = tables["deliveries_raw"].read(), tables["tasks"]
    if since is not None and before is not None:
        delivered_at, landed_at = (time_column(tables.spark, name) for name in ("delivered_at", "landed_at"))
        untimed = F.col("delivered_at").isNull() & (landed_at >= F.lit(since))
        raw = raw.where((delivered_at >= F.lit(since)) | untimed | (landed_at > F.lit(before.synced_at)))
    is_empty = before is not None and before.synced_at is None
    raw = placed(raw)
    # As values, so that they are not looked for again by each of the writes.
    found = None if is_empty else _among_few(raw, tasks, run_id, now)
    if found is None:
        keys, counts = _among_many(raw, tasks, run_id, now, is_empty)
        if 0 < counts.new + counts.updated <= _MOST_NAMED:
            found = [(row[0], row[1]) for row in keys.select("id", F.unix_micros("delivered_at")).collect()], counts
    rows = raw.where("id IS NOT NULL")
    ids = None
    if found is not None:
        named, counts = found
        ids = [task_id for task_id, _ in named]
        values = raw.sparkSession.createDataFrame(named, "id string, micros bigint")
        keys = F.broadcast(values.select("id", F.timestamp_micros("micros").alias("delivered_at")))
    elif counts.new + counts.updated < _MOST_BROADCAST:
        keys = F.broadcast(keys)
    if ids or counts.updated or counts.unchanged or counts.deliveries > 1:  # else all that landed is new
        rows = rows.join(keys, ["id", "delivered_at"])
    if counts.deliveries > 1:  # the same one by two runs at once, perhaps
        rows = rows.dropDuplicates(["id", "delivered_at"])
    return Changed(rows, ids, counts)


def placed(raw: DataFrame) -> DataFrame:
    """Deliveries with `rank`, by which the newest of a task is found, and `is_timed`. The `id` of one that cannot be
    read is null: it is no task.

    A delivery without a time takes that of its landing. One that is ahead of our clock ranks by its landing too, or it
    would hide all that comes after it.
    """
    is_task = F.col(PROBLEM).isNull() if PROBLEM in raw.columns else F.lit(True)
    at = F.coalesce("delivered_at", "landed_at")
    return raw.withColumns(
        {
            "id": F.when(is_task, F.col("id")),
            "delivered_at": at,
            "rank": _rank(at, F.col("landed_at")),
            "is_timed": F.col("delivered_at").isNotNull(),
        }
    )


def _rank(delivered_at: Column, landed_at: Column) -> Column:
    by = F.unix_micros(F.least(delivered_at, landed_at))
    return F.struct(by.alias("by"), F.unix_micros(delivered_at).alias("at"))


def _among_few(
    raw: DataFrame, tasks: DeltaTable, run_id: str, now: datetime
) -> tuple[list[tuple[str, int]], Counts] | None:
    """Id and moment (in microseconds) of what is newer; None where more came into question than can be named.

    Naming them, `tasks` is read where they are, and nothing is shuffled.
    """
    seen = raw.select("id", "rank", "is_timed", F.col("run_id") == run_id).limit(_MOST_NAMED + 1).collect()
    if len(seen) > _MOST_NAMED:
        return None
    ranks: dict[str, list[tuple[Any, bool]]] = {}
    for task_id, rank, is_timed, _ in seen:
        if task_id is not None:
            ranks.setdefault(task_id, []).append((tuple(rank), is_timed))
    known_by = tasks.read().where(sql_in("id", ranks)).select("id", known_rank())
    known = {row[0]: tuple(row[1]) for row in known_by.collect()}
    latest = {task_id: max(of_task) for task_id, of_task in ranks.items()}
    newer = {task_id: found for task_id, found in latest.items() if task_id not in known or found[0] > known[task_id]}
    new = sum(task_id not in known for task_id in ranks)
    in_time = [at for (_, at), is_timed in newer.values() if is_timed and at <= now.timestamp() * 1e6]
    counts = Counts(
        new,
        len(newer) - new,
        len(ranks) - len(newer),
        sum(here for *_, here in seen),
        max(map(len, ranks.values()), default=0),
        moment(max(in_time)) if in_time else None,
    )
    return [(task_id, at) for task_id, ((_, at), _) in newer.items()], counts


def known_rank() -> Column:
    """The rank of what is in `tasks`: it had landed when its row was written."""
    return _rank(F.col("delivered_at"), F.col("synced_at"))


def _among_many(
    raw: DataFrame, tasks: DeltaTable, run_id: str, now: datetime, is_empty: bool
) -> tuple[DataFrame, Counts]:
    """`id` and `delivered_at` of what is newer."""
    latest = raw.groupBy("id").agg(
        F.max("rank").alias("rank"),
        F.max_by("delivered_at", "rank").alias("delivered_at"),
        F.max_by("is_timed", "rank").alias("is_timed"),
        F.count("*").alias("deliveries"),
        F.count_if(F.col("run_id") == run_id).alias("landed"),
    )
    if is_empty:
        keys = latest.withColumn("known", F.lit(None).cast(raw.schema["rank"].dataType))
    else:
        keys = latest.join(tasks.read().select("id", known_rank().alias("known")), "id", "left")
    is_task, is_new = F.col("id").isNotNull(), F.col("known").isNull()
    is_updated = F.col("known") < F.col("rank")
    is_newer = is_task & (is_new | is_updated)
    is_in_time = F.col("is_timed") & (F.col("delivered_at") <= F.lit(now))
    counts = (
        F.count_if(is_task & is_new),
        F.count_if(is_task & is_updated),
        F.count_if(is_task & ~is_new & ~is_updated),
        F.sum("landed"),
        F.max(F.when(is_task, F.col("deliveries"))),
    )
    latest_newer = F.unix_micros(F.max(F.when(is_newer & is_in_time, F.col("delivered_at"))))
    *found, at = keys.agg(*(F.coalesce(count, F.lit(0)) for count in counts), latest_newer).collect()[0]
    known = Counts._make([*map(int, found), None if at is None else moment(at)])
    return keys.where(is_newer).select("id", "delivered_at"), known
