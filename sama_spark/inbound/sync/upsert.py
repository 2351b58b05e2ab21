"""From landed text to `annotations` and `tasks`.

`tasks` is written last and tells what is done: whatever a dead run left half way differs from it, and is made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark.inbound.annotations import flatten_annotations
from sama_spark.inbound.table import raw_parts, typed_tasks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.flatten import Frames, Label
    from sama_spark.inbound.sync.masks import Masks
    from sama_spark.inbound.sync.result import FeedSync
    from sama_spark.inbound.sync.tables import Contract, SyncTables

_MOST_BROADCAST = 1_000_000


@dataclass(frozen=True)
class Changed:
    """Deliveries that are newer than what `tasks` has. `rows`: their columns of `deliveries_raw`, one for each task."""

    rows: DataFrame
    new: int
    updated: int
    unchanged: int


def watermark(tasks: DeltaTable) -> datetime | None:
    """The latest delivery that `tasks` has from the feed `delivered`: other feeds may have left earlier ones out.

    What came from a clock ahead of ours does not count: it would hide all that is delivered until then.
    """
    done = tasks.read().where("feed = 'delivered' AND delivered_at <= synced_at")
    found = done.agg(F.unix_micros(F.max("delivered_at"))).collect()[0][0]
    return None if found is None else datetime.fromtimestamp(found / 1e6, timezone.utc)


def find_changed(tables: SyncTables, since: datetime | None) -> Changed:
    """What landed since a time and is not in `tasks`."""
    raw = tables["deliveries_raw"].read().where("id IS NOT NULL AND delivered_at IS NOT NULL")
    if since is not None:
        raw = raw.where(F.col("delivered_at") >= F.lit(since))
    latest = raw.groupBy("id").agg(F.max("delivered_at").alias("delivered_at"), F.count("*").alias("deliveries"))
    known = tables["tasks"].read().select("id", F.col("delivered_at").alias("known_at"))
    keys = latest.join(known, "id", "left")
    is_changed = F.coalesce(F.col("known_at") < F.col("delivered_at"), F.lit(True))
    row = keys.agg(
        F.count_if(F.col("known_at").isNull()),
        F.count_if(F.col("known_at") < F.col("delivered_at")),
        F.count_if(~is_changed),
        F.coalesce(F.max("deliveries"), F.lit(0)),
    ).collect()[0]
    new, updated, unchanged, deliveries = map(int, row)
    rows = raw
    if updated or unchanged or deliveries > 1:  # else all that landed is new, and there is nothing to choose
        chosen = keys.where(is_changed).select("id", "delivered_at")
        rows = raw.join(F.broadcast(chosen) if new + updated < _MOST_BROADCAST else chosen, ["id", "delivered_at"])
        if deliveries > 1:  # by two runs at once, perhaps
            rows = rows.dropDuplicates(["id", "delivered_at"])
    return Changed(rows, new, updated, unchanged)


def replace_annotations(
    tables: SyncTables, changed: Changed, label: Label, frames: Frames, masks: Masks | None, done: FeedSync
) -> None:
    """The rows of each changed task in place of those that it had, in one commit."""
    table = tables["annotations"]
    _, answers = raw_parts(F.concat("parts", "raw").cast("binary"))
    tasks = changed.rows.select("id", "delivered_at", answers.alias("answers_raw"))
    rows = flatten_annotations(tasks, label=label, frames=frames)
    if masks is not None:
        rows = masks.named(tasks, rows, done)
    if table.read().isEmpty():
        table.append(rows)
        return
    # A row for each task to match what it had, and rows that match nothing to be inserted.
    gone = changed.rows.select(F.col("id").alias("merge_id"))
    source = rows.withColumn("merge_id", F.lit(None).cast("string")).unionByName(gone, allowMissingColumns=True)
    names = rows.columns
    table.merge(
        source,
        "t.task_id = s.merge_id",
        "WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.merge_id IS NULL THEN "
        f"INSERT ({', '.join(names)}) VALUES ({', '.join(f's.{name}' for name in names)})",
    )


def upsert_tasks(tables: SyncTables, changed: Changed, contract: Contract, run_id: str, now: datetime) -> None:
    """The latest delivery of each changed task."""
    table = tables["tasks"]
    data_raw, answers_raw = raw_parts(F.concat("parts", "raw").cast("binary"))
    rows = typed_tasks(
        changed.rows.select("raw", "feed", data_raw.alias("data_raw"), answers_raw.alias("answers_raw")),
        contract.data,
        contract.answers,
    )
    rows = rows.drop("raw", "data_raw", "answers_raw").withColumns(
        {"current_state": F.col("state"), "synced_at": F.lit(now), "run_id": F.lit(run_id)}
    )
    if not changed.updated and table.read().isEmpty():
        table.append(rows)
        return
    table.merge(
        rows,
        "t.id = s.id",
        "WHEN MATCHED AND s.delivered_at > t.delivered_at THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
    )
