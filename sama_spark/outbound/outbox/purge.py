"""Forgetting: rows of an outbox and of the tables beside it, for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark.delta import DeltaTable, row_count, table_errors
from sama_spark.errors import InvalidInput, OutboxError
from sama_spark.exact import TEXT
from sama_spark.names import beside, check_table, in_backticks, sql_name
from sama_spark.outbound.outbox.ledger import Ledger
from sama_spark.outbound.outbox.task_ids import TABLE_SUFFIX
from sama_spark.outbound.row_keys import key_text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FORGOTTEN = "An outbox that has forgotten a row takes it for new: sent again, it is paid for again."


@dataclass(frozen=True, repr=False)
class Purged:
    """What was removed: rows of tables by their name, run folders of the stage, copies of masks. `note`: what to know.

    Delta's old versions still have the rows, until the statements in `vacuum` are run.
    """

    rows: dict[str, int]
    folders: int
    masks: int = 0
    note: str = FORGOTTEN

    @property
    def vacuum(self) -> list[str]:
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


def purge_tables(
    spark: SparkSession, outbox: str, rejected_table: str | None, rows: DataFrame | None
) -> dict[str, int]:
    """Remove `rows`, which have the outbox's key columns, or everything, from the outbox and the tables beside it.

    Raises:
        OutboxError: there is no such outbox. InvalidInput: `rows` lacks a key column, or the outbox has no names.
    """
    if rejected_table is not None:
        check_table(rejected_table, "rejected_table")
    ledger = Ledger.open(spark, outbox)
    keys = None if rows is None else _keys(ledger, rows)
    with table_errors(f"rows of outbox {outbox!r} and the tables beside it cannot be removed", OutboxError):
        return _removed(spark, ledger, rejected_table, keys)


def _removed(spark: SparkSession, ledger: Ledger, rejected_table: str | None, keys: DataFrame | None) -> dict[str, int]:
    outbox = ledger.table.name
    counts = {outbox: _forget(ledger, keys)}
    for name in (beside(outbox, TABLE_SUFFIX), rejected_table):
        if name is not None and (table := DeltaTable(spark, name)).exists():
            counts[name] = table.delete(keys, "row_key")
    return counts


def _keys(ledger: Ledger, rows: DataFrame) -> DataFrame:
    """`key` of each row, distinct."""
    missing = [name for name in ledger.keys.names if name not in rows.columns]
    if missing or not ledger.keys.names:
        raise InvalidInput(
            f"the rows to purge lack the outbox's key columns {missing}"
            if missing
            else "this outbox knows rows by their content alone",
            remedy=f"give a DataFrame with the columns {list(ledger.keys.names)}"
            if missing
            else "purge all of it, by leaving `rows` out",
        )
    values = {name: (F.col(in_backticks(name)), rows.schema[name].dataType) for name in ledger.keys.names}
    return rows.select(key_text(values, ledger.keys.names).alias("key")).distinct()


def _forget(ledger: Ledger, keys: DataFrame | None) -> int:
    """Remove row keys, and what was kept of their content, from the ledger; gives their number.

    The batches stay, and with them the numbers of commits.
    """
    rows = ledger.table.read().where(F.size("keys") > 0)
    contents = F.coalesce("contents", F.transform("keys", lambda _: F.lit(None).cast("bigint")))
    row = F.posexplode(F.arrays_zip("keys", contents.alias("contents"))).alias("i", "row")
    exploded = rows.select("batch_id", "state", F.col("keys").alias("before"), row)
    exploded = exploded.withColumn("key", F.col("row.keys").cast(TEXT))
    if keys is None:
        count = row_count(exploded.where("state = 'bound'"))
        cleared = f"UPDATE {ledger.table.sql_name} SET keys = array(), contents = array(), message = null"
        ledger.table.spark.sql(cleared).collect()
        return count
    known = exploded.join(F.broadcast(keys.withColumn("gone", F.lit(True))), "key", "left")
    left = F.when(F.col("gone").isNull(), F.struct("i", "key", F.col("row.contents").alias("contents")))
    by_line = known.groupBy("batch_id", "state", "before").agg(
        F.array_sort(F.collect_list(left)).alias("rows"), F.count("gone").alias("gone")
    )
    changed = by_line.where("gone > 0").select(
        "batch_id", "state", "before", "gone", F.col("rows.key").alias("keys"), F.col("rows.contents").alias("contents")
    )
    count = int(changed.where("state = 'bound'").agg(F.coalesce(F.sum("gone"), F.lit(0))).collect()[0][0])
    ledger.table.merge(
        changed,
        "t.batch_id = s.batch_id AND t.state = s.state AND t.keys = s.before",
        "WHEN MATCHED THEN UPDATE SET keys = s.keys, contents = s.contents, message = null",
    )
    return count
