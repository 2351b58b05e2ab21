"""Which of the landed deliveries are newer than what `tasks` has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from sama_spark.delta import sql_in
from sama_spark.inbound.sync.watermark import moment
from sama_spark.inbound.table import raw_parts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.tables import SyncTables
    from sama_spark.inbound.sync.watermark import Reached

_MOST_NAMED = 5_000  # tasks that a condition names one by one
_MOST_BROADCAST = 1_000_000


class Counts(NamedTuple):
    """new, updated, unchanged: tasks. landed, rejected: deliveries of this run, and those of them that are no task.
    deliveries: at the most of one task. latest: of what is new or updated, by no clock that is ahead of ours."""

    new: int
    updated: int
    unchanged: int
    landed: int
    rejected: int
    deliveries: int
    latest: datetime | None


@dataclass(frozen=True)
class Changed:
    """Deliveries that are newer than what `tasks` has.

    Attributes:
        rows: their columns of `deliveries_raw`, one for each task. ids: of the tasks, where they are few.
    """

    rows: DataFrame
    ids: Sequence[str] | None
    counts: Counts

    def parts(self) -> DataFrame:
        """The rows with `data_raw` and `answers_raw`, the JSON text of these."""
        data, answers = raw_parts(F.concat("parts", "raw").cast("binary"))
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
        recent = F.col("delivered_at").isNull() | (F.col("delivered_at") >= F.lit(since))
        raw = raw.where(recent | (F.col("landed_at") > F.lit(before.synced_at)))
    is_empty = before is not None and before.synced_at is None
    # As values, so that they are not looked for again by each of the writes.
    found = None if is_empty else _among_few(raw, tasks, run_id, now)
    if found is None:
        keys, counts = _among_many(raw, tasks, run_id, now, is_empty)
        if 0 < counts.new + counts.updated <= _MOST_NAMED:
            found = [(row[0], row[1]) for row in keys.select("id", F.unix_micros("delivered_at")).collect()], counts
    rows = raw.where("id IS NOT NULL AND delivered_at IS NOT NULL")
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


def _among_few(
    raw: DataFrame, tasks: DeltaTable, run_id: str, now: datetime
) -> tuple[list[tuple[str, int]], Counts] | None:
    """Id and moment (in microseconds) of what is newer; None where more came into question than can be named.

    Naming them, `tasks` is read where they are, and nothing is shuffled.
    """
    seen = raw.select("id", F.unix_micros("delivered_at"), F.col("run_id") == run_id).limit(_MOST_NAMED + 1).collect()
    if len(seen) > _MOST_NAMED:
        return None
    times: dict[str, list[int]] = {}
    for task_id, at, _ in seen:
        if task_id is not None and at is not None:
            times.setdefault(task_id, []).append(at)
    known_at = tasks.read().where(sql_in("id", times))
    known = {row[0]: row[1] for row in known_at.select("id", F.unix_micros("delivered_at")).collect()}
    newer = [(task_id, max(ats)) for task_id, ats in times.items() if max(ats) > known.get(task_id, -(2**63))]
    landed = Counter(task_id is not None and at is not None for task_id, at, here in seen if here)
    new = sum(task_id not in known for task_id in times)
    updated = len(newer) - new
    deliveries = max(map(len, times.values()), default=0)
    in_time = [at for _, at in newer if at <= now.timestamp() * 1e6]
    latest = moment(max(in_time)) if in_time else None
    return newer, Counts(new, updated, len(times) - len(newer), landed.total(), landed[False], deliveries, latest)


def _among_many(
    raw: DataFrame, tasks: DeltaTable, run_id: str, now: datetime, is_empty: bool
) -> tuple[DataFrame, Counts]:
    """`id` and `delivered_at` of what is newer."""
    task_id = F.when(F.col("delivered_at").isNotNull(), F.col("id"))
    latest = raw.groupBy(task_id.alias("id")).agg(
        F.max("delivered_at").alias("delivered_at"),
        F.count("*").alias("deliveries"),
        F.count_if(F.col("run_id") == run_id).alias("landed"),
    )
    if is_empty:
        keys = latest.withColumn("known_at", F.lit(None).cast("timestamp"))
    else:
        keys = latest.join(tasks.read().select("id", F.col("delivered_at").alias("known_at")), "id", "left")
    is_task, is_new = F.col("id").isNotNull(), F.col("known_at").isNull()
    is_updated = F.col("known_at") < F.col("delivered_at")
    is_newer = is_task & (is_new | is_updated)
    is_in_time = F.col("delivered_at") <= F.lit(now)
    counts = (
        F.count_if(is_task & is_new),
        F.count_if(is_task & is_updated),
        F.count_if(is_task & ~is_new & ~is_updated),
        F.sum("landed"),
        F.sum(F.when(~is_task, F.col("landed"))),
        F.max(F.when(is_task, F.col("deliveries"))),
    )
    latest_newer = F.unix_micros(F.max(F.when(is_newer & is_in_time, F.col("delivered_at"))))
    *found, at = keys.agg(*(F.coalesce(count, F.lit(0)) for count in counts), latest_newer).collect()[0]
    known = Counts._make([*map(int, found), None if at is None else moment(at)])
    return keys.where(is_newer).select("id", "delivered_at"), known
