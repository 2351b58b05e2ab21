"""Forgetting, for good: rows of an outbox and the tables beside it, rows of the tables of `sync`, copies of masks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark.delta import DeltaTable, row_count, table_errors
from sama_spark.errors import InvalidInput, OutboxError, SyncError
from sama_spark.exact import TEXT
from sama_spark.inbound.sync.masks import file_name_of
from sama_spark.names import check_table, in_backticks, sql_name, with_suffix
from sama_spark.outbound.outbox.ledger import Ledger
from sama_spark.outbound.outbox.task_ids import TABLE_SUFFIX
from sama_spark.outbound.row_keys import key_text
from sama_spark.sql_texts import sql_in

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.inbound.sync.tables import SyncTables
    from sama_spark.staging import Stage

_OUTBOX_FORGETS = "An outbox that has forgotten a row takes it for new: sent again, it is paid for again."
_SYNC_BRINGS_BACK = (
    "Sama still has them: a sync that reads them again (with full=True, of the last hour, or after all was purged) "
    "brings them back."
)
# The text first: a sync makes all the other tables from it.
_KEY_OF_TASK = {
    "deliveries_raw": "id",
    "status_round": "task_id",
    "annotations": "task_id",
    "task_states": "task_id",
    "tasks": "id",
}
_TABLES_OF_PROJECT = (*_KEY_OF_TASK, "batches", "project_stats", "runs")


@dataclass(frozen=True, repr=False)
class Purged:
    """What was removed. Delta's old versions still have the rows, until the statements in `vacuum` are run.

    Attributes:
        rows: number of removed rows by table.
        folders: number of run folders of the stage.
        masks: number of copies of masks.
        note: what to know afterwards.
    """

    rows: dict[str, int]
    folders: int
    masks: int = 0
    note: str = _OUTBOX_FORGETS

    @property
    def vacuum(self) -> list[str]:
        """The SQL statements that remove the rows from Delta's old versions too."""
        return [f"VACUUM {sql_name(name)}" for name in self.rows]

    def __repr__(self) -> str:
        tables = "".join(f"\n  {count:,} rows of {name}" for name, count in self.rows.items())
        masks = f"\n  {self.masks:,} copies of masks" if self.masks else ""
        vacuum = "".join(f"\n    {statement}" for statement in self.vacuum)
        return (
            f"<removed{tables}{masks}\n  {self.folders} run folders of the stage\n"
            f"  {self.note}\n"
            "  Earlier versions of the tables keep what was removed until they are vacuumed, after 7 days by default:"
            f"{vacuum}>"
        )


# --- an outbox


def purge_outbox(
    spark: SparkSession, outbox: str, rejected_table: str | None, rows: DataFrame | None, stage: Stage | None
) -> Purged:
    """Remove rows from an outbox and the tables beside it, and all run folders of the stage.

    Args:
        spark: the session to use.
        outbox: the outbox's table.
        rejected_table: the table of rejected rows, None to leave it as it is.
        rows: has the outbox's key columns; None for everything.
        stage: none where there is none.

    Raises:
        OutboxError: there is no such outbox, or Spark or Delta refuses.
        InvalidInput: `rows` lacks a key column, or the outbox knows rows by their content alone.
    """
    if rejected_table is not None:
        check_table(rejected_table, "rejected_table")
    ledger = Ledger.open(spark, outbox)
    keys = None if rows is None else _keys(ledger, rows)
    with table_errors(f"rows of outbox {outbox!r} and the tables beside it cannot be removed", OutboxError):
        counts = {outbox: _clear_ledger(ledger) if keys is None else _forget(ledger, keys)}
        for name in (with_suffix(outbox, TABLE_SUFFIX), rejected_table):
            if name is not None and (table := DeltaTable(spark, name)).exists():
                counts[name] = table.delete(keys, "row_key")
    return Purged(counts, stage.clear() if stage else 0)


def _keys(ledger: Ledger, rows: DataFrame) -> DataFrame:
    """Return the `key` of each row, each once."""
    names = ledger.keys.names
    if not names:
        raise InvalidInput(
            "this outbox knows rows by their content alone", remedy="purge all of it, by leaving `rows` out"
        )
    if missing := [name for name in names if name not in rows.columns]:
        raise InvalidInput(
            f"the rows to purge lack the outbox's key columns {missing}",
            remedy=f"give a DataFrame with the columns {list(names)}",
        )
    values = {name: (F.col(in_backticks(name)), rows.schema[name].dataType) for name in names}
    return rows.select(key_text(values, names).alias("key")).distinct()


def _clear_ledger(ledger: Ledger) -> int:
    """Remove all row keys and hashes of contents; the batches stay, and with them the numbers of commits."""
    bound = ledger.table.read().where("state = 'bound'").select(F.explode("keys"))
    count = row_count(bound)
    cleared = f"UPDATE {ledger.table.sql_name} SET keys = array(), contents = array(), message = null"
    ledger.table.spark.sql(cleared).collect()
    return count


def _forget(ledger: Ledger, keys: DataFrame) -> int:
    """Remove these row keys, and the hashes of their contents; the batches stay. Return the number of rows."""
    rows = ledger.table.read().where(F.size("keys") > 0)
    contents = F.coalesce("contents", F.transform("keys", lambda _: F.lit(None).cast("bigint")))
    row = F.posexplode(F.arrays_zip("keys", contents.alias("contents"))).alias("i", "row")
    exploded = rows.select("batch_id", "state", F.col("keys").alias("before"), row)
    exploded = exploded.withColumn("key", F.col("row.keys").cast(TEXT))
    known = exploded.join(F.broadcast(keys.withColumn("gone", F.lit(True))), "key", "left")
    left = F.when(F.col("gone").isNull(), F.struct("i", "key", F.col("row.contents").alias("contents")))
    by_row = known.groupBy("batch_id", "state", "before").agg(
        F.array_sort(F.collect_list(left)).alias("rows"), F.count("gone").alias("gone")
    )
    changed = by_row.where("gone > 0").select(
        "batch_id", "state", "before", "gone", F.col("rows.key").alias("keys"), F.col("rows.contents").alias("contents")
    )
    count = int(changed.where("state = 'bound'").agg(F.coalesce(F.sum("gone"), F.lit(0))).collect()[0][0])
    ledger.table.merge(
        changed,
        "t.batch_id = s.batch_id AND t.state = s.state AND t.keys = s.before",
        "WHEN MATCHED THEN UPDATE SET keys = s.keys, contents = s.contents, message = null",
    )
    return count


# --- the tables of `sync`


def purge_synced(tables: SyncTables, task_ids: Sequence[str] | None, masks: Path | None, stage: Stage | None) -> Purged:
    """Remove rows from the tables of `sync`, copies of masks, and all run folders of the stage.

    A purge that dies is run again.

    Args:
        tables: the project's tables.
        task_ids: Sama's ids; None for all that is kept of the project.
        masks: the project's folder of masks; None to leave it as it is.
        stage: none where there is none.

    Raises:
        SyncError: there are no such tables, they belong to another project, or Spark or Delta refuses.
    """
    tables.check()
    counts: dict[str, int] = {}
    with table_errors(f"rows of {tables.place} cannot be removed", SyncError):
        for name in _TABLES_OF_PROJECT if task_ids is None else _KEY_OF_TASK:
            table = tables[name]
            if table.exists():
                where = "" if task_ids is None else f" WHERE {sql_in(_KEY_OF_TASK[name], task_ids)}"
                deleted = tables.spark.sql(f"DELETE FROM {table.sql_name}{where}").collect()
                counts[table.name] = int(deleted[0][0])
                # A deletion vector would only hide the rows. REORG takes them out of the files, so that VACUUM is all
                # that is left to do.
                tables.spark.sql(f"REORG TABLE {table.sql_name} APPLY (PURGE)").collect()
    files = 0 if masks is None else _purge_masks(masks, task_ids)
    return Purged(counts, stage.clear() if stage else 0, files, _SYNC_BRINGS_BACK)


def _purge_masks(folder: Path, task_ids: Sequence[str] | None) -> int:
    folders = [folder] if task_ids is None else [folder / file_name_of(task_id) for task_id in task_ids]
    files = sum(path.is_file() for folder in folders for path in folder.rglob("*"))
    for one in folders:
        if one.exists():
            shutil.rmtree(one)
    return files
