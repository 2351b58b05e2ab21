"""From landed text to `annotations` and `tasks`.

`tasks` is written last and tells what is done: whatever a dead run left half way differs from it, and is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from sama_spark.delta import row_count
from sama_spark.inbound.annotations import flatten_annotations
from sama_spark.inbound.table import RESCUED, typed_tasks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.changed import Changed
    from sama_spark.inbound.sync.masks import Masks
    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.inbound.sync.table_types import Contract
    from sama_spark.inbound.sync.tables import SyncTables
    from sama_spark.vendors.seam import Frames, Label


def replace_annotations(
    tables: SyncTables, changed: Changed, label: Label, frames: Frames, masks: Masks | None, done: FeedSync
) -> None:
    """The rows of each changed task in place of those that it had, in one commit."""
    tasks = changed.parts().select("id", "delivered_at", "answers_raw")
    rows = flatten_annotations(tasks, label=label, frames=frames)
    if masks is not None:
        rows = masks.named(tasks, rows, done)
    _replace(tables["annotations"], "task_id", rows, changed)


def typed(changed: Changed, contract: Contract) -> DataFrame:
    """The latest delivery of each changed task, by the contract, with `_rescued_data`."""
    deliveries = changed.parts().select("id", "delivered_at", "raw", "data_raw", "answers_raw")
    return typed_tasks(deliveries, contract.data, contract.answers).drop("raw", "data_raw", "answers_raw")


def upsert_tasks(tables: SyncTables, changed: Changed, rows: DataFrame, origin: Mapping[str, Any]) -> None:
    """Put `rows`, as `typed` gives them, in place of what `tasks` had of the same tasks.

    `origin`: the columns `feed`, `synced_at` and `run_id`, of the run that took it over. What a dead run left tells
    nothing of how far its own feed was read.
    """
    more = {"current_state": F.col("state")} | {name: F.lit(value) for name, value in origin.items()}
    _replace(tables["tasks"], "id", rows.withColumns(more), changed)


def unfit(rows: DataFrame) -> int:
    """How many of these tasks have a value that does not fit its type."""
    return row_count(rows.where(F.col(RESCUED).isNotNull()))


def _replace(table: DeltaTable, key: str, rows: DataFrame, changed: Changed) -> None:
    """Put `rows` in place of all that `table` has of the changed tasks. Few of them are named, which costs half."""
    if changed.ids is not None:
        table.replace(rows, key, changed.ids)
    elif table.read().isEmpty():
        table.fill(rows)
    else:
        table.replace_by(key, rows, changed.rows.select("id"))
