"""Find the landed deliveries that are newer than what `tasks` has."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from pyspark.sql import functions as F

from sama_spark.driver_rows import local_values
from sama_spark.inbound.lines import raw_parts
from sama_spark.inbound.sync.held import MOST, Delivery, task_batch, task_frame
from sama_spark.inbound.sync.landed import ComparedTask, compare_on_driver, is_compared
from sama_spark.inbound.sync.watermark import moment

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.landing import Landing
    from sama_spark.inbound.sync.tables import SyncTables

_MOST_BROADCAST = 1_000_000
_CHANGED = "is_new OR is_updated"


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

    @property
    def each_is_new(self) -> bool:
        """Return whether each delivery is the only one of a task that `tasks` lacks."""
        return self.updated == self.unchanged == 0 and self.max_deliveries <= 1


@dataclass(frozen=True)
class Changed:
    """The tasks that are new or updated.

    Attributes:
        rows: the newest delivery of each task: `id`, `delivered_at`, `raw`, `data_raw`, `answers_raw`.
        ids: the ids of the tasks if they are few, so that a condition can name them; else None.
        counts: how many tasks and deliveries were compared.
        on_driver: the same rows, if the driver has them all.
    """

    rows: DataFrame
    ids: Sequence[str] | None
    counts: Counts
    on_driver: pa.RecordBatch | None = None


def find_changed(tables: SyncTables, landing: Landing) -> Changed:
    """Return the tasks that are new or updated, by the rule of `compare`.

    These deliveries are compared with `tasks`:

    - those whose `delivered_at` is `landing.since` or later: this run has asked the feed for them;
    - those that have no time and landed from that time on;
    - those that landed after `landing.last_write`, however old they are: a run that landed them may have died before
      it wrote to `tasks`.

    Where `since` is None, these are all deliveries.

    Args:
        tables: the project's tables.
        landing: what this run has fetched. If that is little, the comparison is most likely small too, and the driver
            makes or collects it.
    """
    run_id = landing.progress.run_id
    few = None
    if landing.landed is not None:
        few = compare_on_driver(tables, landing.landed, landing.since, landing.last_write, run_id)
    if few is None:
        raw = timed(_compared_deliveries(tables, landing))
        compared = compare(raw, None if landing.last_write is None else tables.tasks, run_id)
        few = _few(counted_columns(compared)) if landing.fetched <= MOST else None
        if few is None:
            return _find_many(raw, compared, landing.landed_at)
    counts = count_few(few, landing.landed_at)
    pairs = [(task.id, task.micros) for task in few if task.is_changed]
    held = {(delivery.id, delivery.at): delivery for delivery in landing.held or () if delivery.problem is None}
    if all(pair in held for pair in pairs):
        return _on_driver(tables.spark, [held[pair] for pair in pairs], counts)
    return _named(timed(_compared_deliveries(tables, landing)), pairs, counts)


def _find_many(raw: DataFrame, compared: DataFrame, now: datetime) -> Changed:
    """Return the changed tasks of a comparison that is large, though few of its tasks may have changed."""
    with ThreadPoolExecutor(1, "sama-naming") as aside:
        naming = aside.submit(_few, counted_columns(compared).where(_CHANGED))
        counts = count(compared, now)
    named = naming.result()
    if named is not None:
        return _named(raw, [(task.id, task.micros) for task in named], counts)
    if counts.each_is_new:
        return Changed(_with_parts(raw.where("id IS NOT NULL")), None, counts)  # a join would leave nothing out
    keys = changed_keys(compared)
    newest = _newest_of(raw, F.broadcast(keys) if counts.changed < _MOST_BROADCAST else keys, counts)
    return Changed(_with_parts(newest), None, counts)


def _named(raw: DataFrame, pairs: Sequence[tuple[str | None, int]], counts: Counts) -> Changed:
    """Return few changed tasks; `pairs` has their ids and times in microseconds."""
    # As values, so that none of the writes computes the keys again.
    values = local_values(raw.sparkSession, pairs, "id string, micros bigint")
    keys = values.select("id", F.timestamp_micros("micros").alias("delivered_at"))
    return Changed(
        _with_parts(_newest_of(raw, F.broadcast(keys), counts)), [str(task_id) for task_id, _ in pairs], counts
    )


def _newest_of(raw: DataFrame, keys: DataFrame, counts: Counts) -> DataFrame:
    """Return the deliveries that `keys` names, each once."""
    newest = raw.where("id IS NOT NULL").join(keys, ["id", "delivered_at"])
    # A second sync, against the rule, may have landed the same delivery.
    return newest.dropDuplicates(["id", "delivered_at"]) if counts.max_deliveries > 1 else newest


def _on_driver(spark: SparkSession, held: Sequence[Delivery], counts: Counts) -> Changed:
    batch = task_batch(held)
    ids = [str(delivery.id) for delivery in held]
    return Changed(task_frame(spark, batch), ids, counts, batch)


def _with_parts(tasks: DataFrame) -> DataFrame:
    data, answers = raw_parts("parts", "raw")
    return tasks.select("id", "delivered_at", "raw", data.alias("data_raw"), answers.alias("answers_raw"))


def _compared_deliveries(tables: SyncTables, landing: Landing) -> DataFrame:
    """Return the deliveries that must be compared with `tasks`, as `find_changed` lists them."""
    raw, since, last_write = tables.deliveries_raw.read(), landing.since, landing.last_write
    return raw if since is None or last_write is None else raw.where(is_compared(tables, since, last_write))


def timed(raw: DataFrame) -> DataFrame:
    """Return all deliveries, each with a time.

    Returns:
        All columns, and these:

        - `id`: null if the delivery cannot be read as a task.
        - `delivered_at`: the time of the landing if the delivery has none.
        - `is_timed`: whether the delivery has a time.
        - `time_is_odd`: whether that time is missing or lies after the landing.
    """
    return raw.withColumns(
        {
            "id": F.when(F.col("problem").isNull(), F.col("id")),
            "delivered_at": F.coalesce("delivered_at", "landed_at"),
            "is_timed": F.col("delivered_at").isNotNull(),
            "time_is_odd": F.coalesce(F.col("delivered_at") > F.col("landed_at"), F.lit(True)),
        }
    )


def compare(raw: DataFrame, tasks: DeltaTable | None, run_id: str) -> DataFrame:
    """Compare the newest delivery of each task with its row in `tasks`.

    Times decide, unless one of them is odd: a wrong time in the future would win over every later delivery.

    | | by time | by landing |
    | --- | --- | --- |
    | when | all times are in order | the time of a delivery of the task, or of its row, is odd |
    | the newest delivery | has the latest `delivered_at` | landed last |
    | an update | is later than the row's `delivered_at` | landed after the row's `synced_at` |

    Args:
        raw: deliveries, as `timed` returns them.
        tasks: the table; None means that it is empty.
        run_id: the id of this run.

    Returns:
        One row for each task with its newest delivery: `id`, `delivered_at`, `is_timed`, `is_new`, `is_updated`, and
        how many `deliveries` it has and how many of them `landed` in this run. Unreadable deliveries are no tasks: one
        row holds all of them, with null as `id`, and is neither new nor updated.
    """
    newest, is_task = _newest(raw, run_id), F.col("id").isNotNull()
    if tasks is None:
        return newest.withColumns({"is_new": is_task, "is_updated": F.lit(False)})
    # `synced_at`: when the sync that wrote the row began; it saw only what had landed before.
    row_at = F.coalesce("delivered_at", "synced_at").alias("row_at")
    rows = tasks.read().select("id", row_at, F.col("synced_at").alias("row_synced_at"))
    by_landing = F.col("any_time_is_odd") | F.expr("row_at >= row_synced_at")
    is_update = F.when(by_landing, F.expr("landed_at > row_synced_at")).otherwise(F.expr("delivered_at > row_at"))
    return newest.join(rows, "id", "left").withColumns(
        {"is_new": is_task & F.col("row_at").isNull(), "is_updated": F.coalesce(is_update, F.lit(False))}
    )


def _newest(raw: DataFrame, run_id: str) -> DataFrame:
    """Return the newest delivery of each task, by the rule of `compare`."""
    delivery = F.struct("delivered_at", "landed_at", "is_timed")
    latest, landed_last = (
        F.max_by(delivery, "delivered_at"),
        F.max_by(delivery, F.struct("landed_at", "delivered_at", "is_timed")),
    )
    any_time_is_odd = F.bool_or("time_is_odd")
    by_task = raw.groupBy("id").agg(
        any_time_is_odd.alias("any_time_is_odd"),
        F.when(any_time_is_odd, landed_last).otherwise(latest).alias("newest"),
        F.count("*").alias("deliveries"),
        F.count_if(F.col("run_id") == run_id).alias("landed"),
    )
    return by_task.select("id", "newest.*", "any_time_is_odd", "deliveries", "landed")


def changed_keys(compared: DataFrame) -> DataFrame:
    """Return `id` and `delivered_at` of each new or updated task."""
    return compared.where(_CHANGED).select("id", "delivered_at")


def count(compared: DataFrame, now: datetime) -> Counts:
    """Count what `compare` found; `now` is when this run began."""
    is_task, is_changed = F.col("id").isNotNull(), F.expr(_CHANGED)
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


def counted_columns(compared: DataFrame) -> DataFrame:
    """Return the columns that `count_few` needs. `micros` is the time in microseconds."""
    micros = F.unix_micros("delivered_at").alias("micros")
    return compared.select("id", micros, "is_timed", "is_new", "is_updated", "deliveries", "landed")


def count_few(compared: Sequence[ComparedTask], now: datetime) -> Counts:
    """Count on the driver as `count` does."""
    tasks = [task for task in compared if task.id is not None]
    changed = [task for task in tasks if task.is_changed]
    latest = max((task.micros for task in changed if task.is_timed and moment(task.micros) <= now), default=None)
    new = sum(task.is_new for task in changed)
    return Counts(
        new,
        len(changed) - new,
        len(tasks) - len(changed),
        sum(task.landed for task in compared),
        max((task.deliveries for task in tasks), default=0),
        None if latest is None else moment(latest),
    )


def _few(columns: DataFrame) -> list[ComparedTask] | None:
    """Return the rows of `counted_columns` if they are few enough to name each."""
    found = columns.limit(MOST + 1).collect()
    return [ComparedTask(*row) for row in found] if len(found) <= MOST else None
