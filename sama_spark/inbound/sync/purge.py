"""Forgetting: a task's rows, or all of a project's, in the tables of `sync`, and copies of masks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sama_spark.delta import table_errors
from sama_spark.errors import SyncError
from sama_spark.inbound.sync.masks import plain
from sama_spark.sql_texts import sql_in

if TYPE_CHECKING:
    from sama_spark.inbound.sync.tables import SyncTables

COMES_BACK = (
    "Sama still has them: a sync that reads them again (with full=True, of the last hour, or after all was purged) "
    "brings them back."
)
# The text first: from what lies there a sync makes all the others again.
_OF_A_TASK = {
    "deliveries_raw": "id",
    "status_round": "task_id",
    "annotations": "task_id",
    "task_states": "task_id",
    "tasks": "id",
}
_OF_A_PROJECT = (*_OF_A_TASK, "batches", "project_stats", "runs")


def purge_synced(tables: SyncTables, task_ids: Sequence[str] | None) -> dict[str, int]:
    """Remove the rows of `task_ids`, or all; gives their number by table.

    A purge that dies is run again. What a deletion vector would only hide is taken out of its file (REORG), so that
    VACUUM is all that is left to do.

    Raises:
        SyncError: there are no such tables, or they belong to another project.
    """
    tables.check()
    counts: dict[str, int] = {}
    with table_errors(f"rows of {tables['*'].name} cannot be removed", SyncError):
        for name in _OF_A_PROJECT if task_ids is None else _OF_A_TASK:
            table = tables[name]
            if table.exists():
                where = "" if task_ids is None else f" WHERE {sql_in(_OF_A_TASK[name], task_ids)}"
                deleted = tables.spark.sql(f"DELETE FROM {table.sql_name}{where}").collect()
                counts[table.name] = int(deleted[0][0])
                tables.spark.sql(f"REORG TABLE {table.sql_name} APPLY (PURGE)").collect()
    return counts


def purge_masks(folder: Path, task_ids: Sequence[str] | None) -> int:
    """Remove the copies of masks in a project's `folder`, of these tasks or all; gives their number."""
    folders = [folder] if task_ids is None else [folder / plain(task_id) for task_id in task_ids]
    files = sum(path.is_file() for folder in folders for path in folder.rglob("*"))
    for one in folders:
        if one.exists():
            shutil.rmtree(one)
    return files
