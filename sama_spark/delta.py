"""A Delta table by name or by path, on classic sessions and on Connect.

A table must not depend on the defaults of a session or workspace. So its types and the properties that matter are
written out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.driver_rows import local_values, no_rows
from sama_spark.errors import ConnectorError, TableError
from sama_spark.names import is_path, quoted, sql_name
from sama_spark.sql_texts import ddl_comment, ddl_properties, property_value, sql_in

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, DataFrameWriter, Row, SparkSession

_TRIES, _PAUSE = 20, 0.5  # seconds
_GONE = "_sama_spark_gone"
_FILLED = "SAMA_SPARK_FILLED_MEANWHILE"
# Classic sessions raise a class of this name; Connect has the name in the error's text.
_CONFLICT = re.compile(
    f"{_FILLED}|DELTA_CONCURRENT_|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED|"
    r"\b(Concurrent(Append|DeleteRead|DeleteDelete|Transaction|Write)|(Metadata|Protocol)Changed)Exception\b"
)
_ABSENT = re.compile(
    "TABLE_OR_VIEW_NOT_FOUND|SCHEMA_NOT_FOUND|CATALOG_NOT_FOUND|NO_SUCH_CATALOG|DELTA_TABLE_NOT_FOUND|"
    "MISSING_DELTA_TABLE|PATH_DOES_NOT_EXIST|PATH_NOT_FOUND"
)
_IN_THE_WAY = re.compile("NON_EMPTY_LOCATION|ALREADY_EXISTS")
_REMEDIES = (
    (
        r"PERMISSION|PRIVILEGE|[Nn]ot authorized|Access ?Denied|Access ?Control|Forbidden",
        "ask for the right that is named (USE SCHEMA, SELECT, MODIFY, CREATE TABLE, or WRITE FILES on a folder)",
    ),
    (
        rf"{_ABSENT.pattern}|SINGLE_PART_NAMESPACE",
        "see whether the catalog, the schema and the table are there and spelt like this",
    ),
    (
        r"not a Delta table|NON_EMPTY_LOCATION|NOT_VIEW|VIEW_NOT_TABLE|ONLY_SUPPORTS|DELTA_MISSING|NOT_A_DELTA| view\b",
        "name another one: what is there is no table of Delta",
    ),
    (
        r"UNRESOLVED_COLUMN|COLUMN_NOT_FOUND|FIELD_NOT_FOUND|FAILED_TO_MERGE|[Ss]chema mismatch|METADATA_MISMATCH|"
        r"DATATYPE_MISMATCH|CAST_INVALID|SCHEMA_CHANGE|UNRESOLVED_EXPRESSION|NUM_COLUMNS|INCOMPATIBLE",
        "see whether its columns were changed by hand: RESTORE it to the version before that, or add what is missing",
    ),
    (r"INVALID_SCHEMA_OR_RELATION_NAME|INVALID_PARAMETER_VALUE", "take a name that this catalog accepts"),
)

_OTHERWISE = "see what Spark says; all of it is in the `__cause__` of this error"

# The columns of which Delta keeps the least and greatest value for each file, so that queries can skip files.
SKIP_BY = "delta.dataSkippingStatsColumns"


@dataclass(frozen=True)
class DeltaTable:
    """A table that exists or is to be created.

    Attributes:
        spark: the session.
        name: a name of one to three levels, or a path: whatever has a slash.
    """

    spark: SparkSession
    name: str

    @property
    def is_path(self) -> bool:
        """Whether the table is named by a path."""
        return is_path(self.name)

    @property
    def sql_name(self) -> str:
        """The name as SQL writes it."""
        return sql_name(self.name)

    def create(self, schema: str, comment: str, properties: Mapping[str, str], cluster_by: str = "") -> bool:
        """Create the table unless it exists or another session creates it at the same time.

        Args:
            schema: its columns as DDL, made of constants and of names that `quoted` has written.
            comment: what the table holds.
            properties: its table properties.
            cluster_by: columns to cluster by, with commas.

        Returns:
            Whether this call has created it.

        Raises:
            TableError: something that is no Delta table is in this place.
        """
        # Delta miscounts characters such as emoji before CLUSTER BY and cuts the statement at the wrong place.
        has_wide = any(character > "\uffff" for character in f"{self.name}{schema}")
        clusters = f"CLUSTER BY ({cluster_by}) " if cluster_by and not has_wide else ""
        # A workspace can have other defaults (`spark.databricks.delta.properties.defaults`): it may forbid to delete
        # rows, or switch off the statistics that clustering needs.
        relied_on = {"delta.appendOnly": "false"} | ({SKIP_BY: cluster_by} if cluster_by else {})
        more = ddl_properties(relied_on | dict(properties))
        statement = f"CREATE TABLE {self.sql_name} ({schema}) USING DELTA {clusters}"
        for _ in range(_TRIES):
            try:
                self.spark.sql(f"{statement} COMMENT {ddl_comment(comment)} TBLPROPERTIES ({more})").collect()
                return True
            except Exception as error:
                # Delta raises several kinds of errors if another session creates the table at the same time.
                if self.exists():
                    return False
                if not _IN_THE_WAY.search(str(error)):
                    raise
                failure = error
            # Another session has begun the folder: Delta cannot read it yet, and takes it for a table.
            time.sleep(_PAUSE)
        raise TableError(
            f"there is something at {self.name!r} that is no table of Delta, and no table could be made",
            remedy="name another place, or take away what is there",
        ) from failure

    def properties(self) -> Mapping[str, str] | None:
        """Return the table properties; None if there is no table."""
        from pyspark.errors import AnalysisException

        try:
            found = self.spark.sql(f"DESCRIBE DETAIL {self.sql_name}").collect()[0]["properties"]
        except AnalysisException as error:
            if _ABSENT.search(str(error)):
                return None
            raise
        return {name: property_value(value) for name, value in found.items()}

    def exists(self) -> bool:
        """Return whether there is a table that can be read."""
        from pyspark.errors import AnalysisException

        try:
            self.read().schema  # noqa: B018 - Connect looks it up only now
        except AnalysisException:
            return False
        return True

    def read(self) -> DataFrame:
        """Return the rows as of now. On a classic session an earlier DataFrame shows an earlier state."""
        reader = self.spark.read
        return reader.format("delta").load(self.name) if self.is_path else reader.table(self.sql_name)

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Add table properties, or change their values."""
        self.spark.sql(f"ALTER TABLE {self.sql_name} SET TBLPROPERTIES ({ddl_properties(properties)})").collect()

    def grow(self, schema: T.StructType) -> None:
        """Add the columns and fields of `schema` that the table lacks."""
        self._save(no_rows(self.spark, schema).write.format("delta").mode("append").option("mergeSchema", "true"))

    def append(self, rows: DataFrame, *, transaction: tuple[str, int] | None = None) -> None:
        """Append `rows`.

        Args:
            rows: what to append.
            transaction: a writer's name and a number. Delta skips an append with the same or a lower number of that
                writer in silence, or refuses it if both commit at the same time.
        """
        writer = rows.write.format("delta").mode("append")
        if transaction is not None:
            name, number = transaction
            writer = writer.option("txnAppId", name).option("txnVersion", number)
        self._save(writer)

    def fill(self, rows: DataFrame) -> None:
        """Append `rows`, but only to an empty table.

        Two plain appends at once would both succeed, because an append reads nothing. This one reads the table, so
        Delta refuses the second one with an error that `is_conflict` recognises.
        """
        first, *_ = rows.columns
        any_there = self.read().withColumn(first, F.raise_error(F.lit(_FILLED)).cast(rows.schema[first].dataType))
        self.append(rows.unionByName(any_there))

    def merge(self, rows: DataFrame, on: str, clauses: str) -> Row:
        """MERGE `rows` (as `s`) into the table (as `t`), by constant texts. Return Delta's counts."""
        view = f"sama_spark_{uuid4().hex}"
        rows.createOrReplaceTempView(view)
        try:
            return self.spark.sql(f"MERGE INTO {self.sql_name} t USING {view} s ON {on} {clauses}").collect()[0]
        finally:
            self.spark.catalog.dropTempView(view)

    def replace_by(self, column: str, rows: DataFrame, keys: DataFrame) -> None:
        """Put `rows` in place of those whose `column` is among `keys`, in one commit.

        Args:
            column: a column of the table.
            rows: the new rows.
            keys: one column, with each key once.
        """
        # The source has one row for each key, which matches the old rows, and the new rows, which match nothing.
        source = rows.withColumn(_GONE, F.lit(None).cast("string"))
        names = [quoted(name) for name in rows.columns]
        self.merge(
            source.unionByName(keys.select(F.col(keys.columns[0]).cast("string").alias(_GONE)), True),
            f"t.{column} = s.{_GONE}",
            f"WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.{_GONE} IS NULL THEN "
            f"INSERT ({', '.join(names)}) VALUES ({', '.join(f's.{name}' for name in names)})",
        )

    def replace(self, rows: DataFrame, column: str, values: Sequence[str] | Sequence[int]) -> None:
        """Put `rows` in place of those whose `column` is one of a few `values`, in one commit.

        The condition names the values. That takes half the time of `replace_by`, since Delta joins nothing.
        """
        try:
            self._overwrite(rows, sql_in(column, values))
        except Exception as error:
            # A workspace may allow this only for the columns of partitions.
            if "NON_PARTITION_COLUMN" not in str(error):
                raise
            keys = local_values(self.spark, [(str(value),) for value in values], "key string")
            self.replace_by(column, rows, keys)

    def _overwrite(self, rows: DataFrame, where: str) -> None:
        if self.is_path:
            writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", where)
            writer.option("partitionOverwriteMode", "static").save(self.name)
        else:
            # `saveAsTable` would replace the table, which Delta 3.3 refuses with Spark 3.5.6 and later.
            rows.writeTo(self.sql_name).overwrite(F.expr(where))

    def _save(self, writer: DataFrameWriter) -> None:
        writer.save(self.name) if self.is_path else writer.saveAsTable(self.sql_name)

    def delete(self, keys: DataFrame | None, column: str) -> int:
        """Delete the rows whose `column` is among `keys` (a column `key`), or all rows. Return their number."""
        if keys is None:
            return int(self.spark.sql(f"DELETE FROM {self.sql_name}").collect()[0][0])
        return int(self.merge(keys, f"t.{column} = s.key", "WHEN MATCHED THEN DELETE")["num_deleted_rows"])


@contextmanager
def table_errors(doing: str, kind: type[ConnectorError] = TableError) -> Iterator[None]:
    """Raise what Spark and Delta refuse in the block as an error that says what to do.

    Lost races pass as they are; `is_conflict` recognises them.

    Args:
        doing: what failed, as in "outbox 'labels.outbox' cannot be read".
        kind: the class of the error.
    """
    try:
        yield
    except TableError as error:
        raise kind(f"{doing}: {error.message}", remedy=error.remedy) from error
    except Exception as error:
        if not _is_of_spark(error) or is_conflict(error):
            raise
        said = str(error)
        remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, said)), _OTHERWISE)
        raise kind(f"{doing}: {_first_line(said)}", remedy=remedy) from error


def _is_of_spark(error: BaseException) -> bool:
    # A client of Connect may lack py4j, so the name of the module has to do.
    return any(base.__module__.partition(".")[0] in ("pyspark", "py4j") for base in type(error).__mro__)


def _first_line(said: str) -> str:
    """Return what Spark says, without plans and traces. py4j's own first line is left out."""
    lines = [line.strip().removeprefix(": ") for line in said.splitlines() if line.strip()] or [""]
    return (lines[1] if len(lines) > 1 and lines[0].startswith("An error occurred while calling") else lines[0])[:500]


def time_column(spark: SparkSession, name: str) -> Column:
    """Return a TIMESTAMP column of a Delta table that can be compared with a literal.

    In a session in which TIMESTAMP means TIMESTAMP_NTZ, Delta overflows in time zones east of Greenwich when it decides
    which files a comparison can skip. There this returns an expression by which Delta skips no files.
    """
    column = F.col(name)
    is_ntz = isinstance(spark.createDataFrame([], "t timestamp").schema["t"].dataType, T.TimestampNTZType)
    return F.timestamp_micros(F.unix_micros(column)) if is_ntz else column


def row_count(rows: DataFrame) -> int:
    """Return the number of rows as an int: Connect on Spark 3.5 returns a numpy integer, which JSON does not take."""
    return int(rows.count())


def is_conflict(error: BaseException) -> bool:
    """Return whether a commit, or `fill`, was refused because another writer came first."""
    return _CONFLICT.search(f"{type(error).__name__}: {error}") is not None
