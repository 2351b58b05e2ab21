"""A Delta table by name or by path, on classic sessions and on Connect."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter, Row, SparkSession
    from pyspark.sql.types import StructType

_TRIES, _PAUSE = 20, 0.5  # seconds
_GONE = "_sama_spark_gone"
_FILLED = "SAMA_SPARK_FILLED_MEANWHILE"
# A class on a classic session, a name in the text on Connect.
_CONFLICT = re.compile(
    f"{_FILLED}|DELTA_CONCURRENT_|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED|"
    r"\b(Concurrent(Append|DeleteRead|DeleteDelete|Transaction|Write)|(Metadata|Protocol)Changed)Exception\b"
)


@dataclass(frozen=True)
class DeltaTable:
    """`name` is a name of one to three levels, or a path: whatever has a slash."""

    spark: SparkSession
    name: str

    @property
    def is_path(self) -> bool:
        return separator(self.name) == "/"

    @property
    def sql_name(self) -> str:
        return sql_name(self.name)

    def create(self, schema: str, comment: str, properties: Mapping[str, str], cluster_by: str = "") -> None:
        """Create it unless it is there, or comes to be there at the same time."""
        clusters = f"CLUSTER BY ({cluster_by}) " if cluster_by else ""
        more = f" TBLPROPERTIES ({_pairs(properties)})" if properties else ""
        statement = f"CREATE TABLE IF NOT EXISTS {self.sql_name} ({schema}) USING DELTA {clusters}"
        for left in reversed(range(_TRIES)):
            try:
                self.spark.sql(f"{statement} COMMENT {sql_text(comment)}{more}").collect()
            except Exception as error:
                # Delta has several for a table that another session makes at the same time.
                if not self.exists() and (not left or "NON_EMPTY_LOCATION" not in str(error)):
                    raise
            if self.exists() or not left:
                return
            time.sleep(_PAUSE)  # a folder that another session has begun is nothing to read, and counts as a table

    def properties(self) -> Mapping[str, str] | None:
        """Its table properties; None where there is no table."""
        from pyspark.errors import AnalysisException

        try:
            return dict(self.spark.sql(f"DESCRIBE DETAIL {self.sql_name}").select("properties").collect()[0][0])
        except AnalysisException as error:
            if "NOT_FOUND" in str(error) or "MISSING_DELTA_TABLE" in str(error):
                return None
            raise

    def exists(self) -> bool:
        """Whether it can be read."""
        from pyspark.errors import AnalysisException

        try:
            self.read().schema  # noqa: B018 - Connect looks it up only now
        except AnalysisException:
            return False
        return True

    def read(self) -> DataFrame:
        """As it is now: on a classic session a DataFrame that was made earlier shows an earlier state."""
        return self.spark.read.format("delta").load(self.name) if self.is_path else self.spark.read.table(self.name)

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Add table properties, or give them other values."""
        self.spark.sql(f"ALTER TABLE {self.sql_name} SET TBLPROPERTIES ({_pairs(properties)})").collect()

    def grow(self, schema: StructType) -> None:
        """Add the columns and fields of `schema` that it lacks."""
        writer = self.spark.createDataFrame([], schema).write.format("delta").mode("append")
        self._save(writer.option("mergeSchema", "true"))

    def append(self, rows: DataFrame, *, transaction: tuple[str, int] | None = None) -> None:
        """Append `rows`; made when absent. Delta takes a `transaction` (writer's name, number) once: the same or
        a lower number is skipped in silence, or refused where the two meet."""
        writer = rows.write.format("delta").mode("append")
        if transaction is not None:
            name, number = transaction
            writer = writer.option("txnAppId", name).option("txnVersion", number)
        self._save(writer)

    def fill(self, rows: DataFrame) -> None:
        """Append `rows` if it is empty when they are committed; else this raises what `is_conflict` knows.

        A plain append reads nothing, so that of two at once Delta would let both through.
        """
        first, *_ = rows.columns
        any_there = self.read().withColumn(first, F.raise_error(F.lit(_FILLED)).cast(rows.schema[first].dataType))
        self.append(rows.unionByName(any_there))

    def merge(self, rows: DataFrame, on: str, clauses: str) -> Row:
        """MERGE `rows` (as `s`) into it (as `t`); gives Delta's counts."""
        view = f"sama_spark_{uuid4().hex}"
        rows.createOrReplaceTempView(view)
        try:
            return self.spark.sql(f"MERGE INTO {self.sql_name} t USING {view} s ON {on} {clauses}").collect()[0]
        finally:
            self.spark.catalog.dropTempView(view)

    def replace_by(self, column: str, rows: DataFrame, keys: DataFrame) -> None:
        """Put `rows` in place of those whose `column` is among `keys` (one column, each key once), in one commit."""
        # A row for each key, to match what it had, and rows that match nothing, to be inserted.
        source = rows.withColumn(_GONE, F.lit(None).cast("string"))
        self.merge(
            source.unionByName(keys.toDF(_GONE), allowMissingColumns=True),
            f"t.{column} = s.{_GONE}",
            f"WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.{_GONE} IS NULL THEN "
            f"INSERT ({', '.join(rows.columns)}) VALUES ({', '.join(f's.{name}' for name in rows.columns)})",
        )

    def replace(self, rows: DataFrame, where: str) -> None:
        """Put `rows` in place of those that satisfy the SQL condition `where`; made when absent."""
        if not self.exists():
            self.append(rows)
            return
        if self.is_path:
            rows.write.format("delta").mode("overwrite").option("replaceWhere", where).save(self.name)
        else:
            # `saveAsTable` would replace the table, which Delta 3.3 refuses beside Spark 3.5.6 and later.
            rows.writeTo(self.name).overwrite(F.expr(where))

    def _save(self, writer: DataFrameWriter) -> None:
        writer.save(self.name) if self.is_path else writer.saveAsTable(self.name)

    def delete(self, keys: DataFrame | None, column: str) -> int:
        """Delete the rows whose `column` is among `keys` (a column `key`), or all; gives their number."""
        if keys is None:
            return int(self.spark.sql(f"DELETE FROM {self.sql_name}").collect()[0][0])
        return int(self.merge(keys, f"t.{column} = s.key", "WHEN MATCHED THEN DELETE")["num_deleted_rows"])


def row_count(rows: DataFrame) -> int:
    """How many rows there are. Connect on Spark 3.5 counts in numpy's integers, which no JSON takes."""
    return int(rows.count())


def separator(name: str) -> str:
    """What stands between a schema or folder and its tables, as in `name`: whatever has a slash is a path."""
    return "/" if "/" in name else "."


def sql_name(name: str) -> str:
    """A table's name, or its path, as SQL writes it."""
    return f"delta.{quoted(name)}" if separator(name) == "/" else name


def quoted(name: str) -> str:
    """One name, of a column, a field or a view, as SQL writes it whatever is in it."""
    return f"`{name.replace('`', '``')}`"


def is_conflict(error: BaseException) -> bool:
    """Whether Delta refused a commit, or `fill` its rows, since another writer's came first."""
    return _CONFLICT.search(f"{type(error).__name__}: {error}") is not None


def _pairs(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{sql_text(name)} = {sql_text(value)}" for name, value in properties.items())


def sql_text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def sql_in(column: str, texts: Iterable[str]) -> str:
    """The condition that `column` is one of `texts`. As text, since Python hands literals over one by one."""
    return f"{column} IN ({', '.join(map(sql_text, texts)) or 'NULL'})"
