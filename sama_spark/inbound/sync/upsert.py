"""Writes what has landed to `annotations` and `tasks`.

`tasks` is written last. A task counts as done when its row there is current: anything that a dead run left unfinished
is found by comparison and redone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from sama_spark.delta import row_count
from sama_spark.inbound.annotations import annotations_on_driver, flatten_annotations
from sama_spark.inbound.table import RESCUED, typed_tasks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.changed import Changed
    from sama_spark.inbound.sync.masks import Masks
    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.inbound.sync.table_types import TableTypes
    from sama_spark.inbound.sync.tables import SyncTables
    from sama_spark.vendors.seam import Field, Frames, Label


def replace_annotations(
    tables: SyncTables,
    changed: Changed,
    label: Label,
    frames: Frames,
    masks: Masks | None,
    progress: FeedSync,
    *,
    is_empty: bool,
) -> None:
    """Put the annotations of each changed task in place of those that it had, in one commit.

    `is_empty`: whether the table is known to have no rows.
    """
    tasks = changed.rows.select("id", "delivered_at", "answers_raw")
    if changed.on_driver is None:
        rows = flatten_annotations(tasks, vendor=tables.vendor, label=label, frames=frames)
    else:
        rows = annotations_on_driver(tables.spark, changed.on_driver, tables.vendor, label, frames)
    if masks is not None:
        rows = masks.copy_and_name(tasks, rows, progress)
    _replace(tables.annotations, "task_id", rows, changed, is_empty)


def typed(changed: Changed, types: TableTypes, envelope: Sequence[Field]) -> DataFrame:
    """Return the newest delivery of each changed task in the columns of `tasks`, without those of the run."""
    return typed_tasks(changed.rows, types.data, types.answers, envelope).drop("raw", "data_raw", "answers_raw")


def upsert_tasks(
    tables: SyncTables, changed: Changed, rows: DataFrame, origin: Mapping[str, Any], *, is_empty: bool
) -> None:
    """Put `rows`, as `typed` gives them, in place of the rows that `tasks` has of the changed tasks.

    Args:
        tables: the project's tables.
        changed: the changed tasks.
        rows: their new rows.
        origin: the columns `feed`, `synced_at` and `run_id`, of this run. This run may write rows that another
            feed's dead run left: they must not move the watermark of that feed.
        is_empty: whether the table is known to have no rows.
    """
    rows = rows.withColumns({name: F.lit(value) for name, value in origin.items()})
    _replace(tables.tasks, "id", rows, changed, is_empty)


def unfit(rows: DataFrame) -> int:
    """Return how many of these tasks have a value that does not fit its type."""
    return row_count(rows.where(F.col(RESCUED).isNotNull()))


def unfit_of_few(rows: DataFrame) -> int:
    """Return what `unfit` returns. Of rows that the driver holds this takes no Spark job."""
    return len(rows.where(F.col(RESCUED).isNotNull()).select(F.lit(1)).collect())


def _replace(table: DeltaTable, key: str, rows: DataFrame, changed: Changed, is_empty: bool) -> None:
    """Put `rows` in place of all that `table` has of the changed tasks.

    A condition that names a few tasks takes half the time of a join: 5 s of a small sync, measured on two cores.
    """
    if changed.on_driver is not None:
        rows = rows.coalesce(1)  # one file
    if is_empty or (changed.ids is None and table.read().isEmpty()):
        table.fill(rows)
    elif changed.ids is not None:
        table.replace(rows, key, changed.ids)
    else:
        table.replace_by(key, rows, changed.rows.select("id"))
