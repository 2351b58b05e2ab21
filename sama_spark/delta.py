"""A Delta table by name or by path, on classic sessions and on Connect.

What Spark and Delta make of it must not depend on the session or on the workspace: the properties that the product
relies on are written out, and so are types. Texts from outside stand in SQL as `sql_text` writes them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote
from uuid import uuid4

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.errors import ConnectorError, TableError
from sama_spark.names import is_path, quoted, sql_name

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, DataFrameWriter, Row, SparkSession

_TRIES, _PAUSE = 20, 0.5  # seconds
_GONE = "_sama_spark_gone"
_FILLED = "SAMA_SPARK_FILLED_MEANWHILE"
# A class on a classic session, a name in the text on Connect.
_CONFLICT = re.compile(
    f"{_FILLED}|DELTA_CONCURRENT_|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED|"
    r"\b(Concurrent(Append|DeleteRead|DeleteDelete|Transaction|Write)|(Metadata|Protocol)Changed)Exception\b"
)
_ABSENT = re.compile(
    "TABLE_OR_VIEW_NOT_FOUND|SCHEMA_NOT_FOUND|CATALOG_NOT_FOUND|NO_SUCH_CATALOG|DELTA_TABLE_NOT_FOUND|"
    "MISSING_DELTA_TABLE|PATH_DOES_NOT_EXIST|PATH_NOT_FOUND"
)
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

# Under every setting a literal of SQL means what stands in it. `\` may be an escape or not; `$` may begin a variable.
_LITERAL = re.compile(r"[^'\\$\x00-\x1f\x7f]*")
_ENCODED = "percent-encoded:"
# Columns whose least and greatest value Delta keeps for each file, by which queries leave files out.
SKIP_BY = "delta.dataSkippingStatsColumns"


@dataclass(frozen=True)
class DeltaTable:
    """`name` is a name of one to three levels, or a path: whatever has a slash."""

    spark: SparkSession
    name: str

    @property
    def is_path(self) -> bool:
        return is_path(self.name)

    @property
    def sql_name(self) -> str:
        return sql_name(self.name)

    def create(self, schema: str, comment: str, properties: Mapping[str, str], cluster_by: str = "") -> None:
        """Create it unless it is there, or comes to be there at the same time.

        Args:
            schema: its columns as DDL, of constants and of names that `quoted` has written.

        Raises:
            TableError: something else is there.
        """
        # Delta miscounts characters such as emoji before CLUSTER BY and cuts the statement at the wrong place.
        has_wide = any(character > "\uffff" for character in f"{self.name}{schema}")
        clusters = f"CLUSTER BY ({cluster_by}) " if cluster_by and not has_wide else ""
        # A workspace may have others by default, in `spark.databricks.delta.properties.defaults`: one that forbids
        # to delete rows, or none of the statistics without which no table can be clustered.
        relied_on = {"delta.appendOnly": "false"} | ({SKIP_BY: cluster_by} if cluster_by else {})
        more = _pairs(relied_on | dict(properties))
        statement = f"CREATE TABLE IF NOT EXISTS {self.sql_name} ({schema}) USING DELTA {clusters}"
        for left in reversed(range(_TRIES)):
            failure = None
            try:
                self.spark.sql(f"{statement} COMMENT {ddl_comment(comment)} TBLPROPERTIES ({more})").collect()
            except Exception as error:
                # Delta has several for a table that another session makes at the same time.
                if not self.exists() and (not left or "NON_EMPTY_LOCATION" not in str(error)):
                    raise
                failure = error
            if self.exists():
                return
            if not left:
                raise TableError(
                    f"there is something at {self.name!r} that is no table of Delta, and no table could be made",
                    remedy="name another place, or take away what is there",
                ) from failure
            time.sleep(_PAUSE)  # a folder that another session has begun is nothing to read, and counts as a table

    def properties(self) -> Mapping[str, str] | None:
        """Its table properties; None where there is no table."""
        from pyspark.errors import AnalysisException

        try:
            found = self.spark.sql(f"DESCRIBE DETAIL {self.sql_name}").select("properties").collect()[0][0]
        except AnalysisException as error:
            if _ABSENT.search(str(error)):
                return None
            raise
        return {name: _decoded(value) for name, value in found.items()}

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
        reader = self.spark.read
        return reader.format("delta").load(self.name) if self.is_path else reader.table(self.sql_name)

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Add table properties, or give them other values."""
        self.spark.sql(f"ALTER TABLE {self.sql_name} SET TBLPROPERTIES ({_pairs(properties)})").collect()

    def grow(self, schema: T.StructType) -> None:
        """Add the columns and fields of `schema` that it lacks."""
        writer = self.spark.createDataFrame([], schema).write.format("delta").mode("append")
        self._save(writer.option("mergeSchema", "true"))

    def append(self, rows: DataFrame, *, transaction: tuple[str, int] | None = None) -> None:
        """Append `rows`. Delta takes a `transaction` (writer's name, number) once: the same or a lower number is
        skipped in silence, or refused where the two meet."""
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
        """MERGE `rows` (as `s`) into it (as `t`); gives Delta's counts. Both texts are constants."""
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
        names = [quoted(name) for name in rows.columns]
        self.merge(
            source.unionByName(keys.select(F.col(keys.columns[0]).cast("string").alias(_GONE)), True),
            f"t.{column} = s.{_GONE}",
            f"WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.{_GONE} IS NULL THEN "
            f"INSERT ({', '.join(names)}) VALUES ({', '.join(f's.{name}' for name in names)})",
        )

    def replace(self, rows: DataFrame, column: str, values: Sequence[str] | Sequence[int]) -> None:
        """Put `rows` in place of those whose `column` is one of a few `values`, in one commit."""
        try:
            self._overwrite(rows, sql_in(column, values))
        except Exception as error:
            # A workspace may allow this for columns of partitions alone.
            if "NON_PARTITION_COLUMN" not in str(error):
                raise
            keys = self.spark.createDataFrame([(str(value),) for value in values], "key string")
            self.replace_by(column, rows, keys)

    def _overwrite(self, rows: DataFrame, where: str) -> None:
        if self.is_path:
            writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", where)
            writer.option("partitionOverwriteMode", "static").save(self.name)
        else:
            # `saveAsTable` would replace the table, which Delta 3.3 refuses beside Spark 3.5.6 and later.
            rows.writeTo(self.sql_name).overwrite(F.expr(where))

    def _save(self, writer: DataFrameWriter) -> None:
        writer.save(self.name) if self.is_path else writer.saveAsTable(self.sql_name)

    def delete(self, keys: DataFrame | None, column: str) -> int:
        """Delete the rows whose `column` is among `keys` (a column `key`), or all; gives their number."""
        if keys is None:
            return int(self.spark.sql(f"DELETE FROM {self.sql_name}").collect()[0][0])
        return int(self.merge(keys, f"t.{column} = s.key", "WHEN MATCHED THEN DELETE")["num_deleted_rows"])


@contextmanager
def table_errors(doing: str, kind: type[ConnectorError] = TableError) -> Iterator[None]:
    """Raise what Spark and Delta refuse in the block as a `kind` that says what to do; lost races pass as they are.

    Args:
        doing: what cannot be done then, as in "outbox 'labels.outbox' cannot be read".
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
    # py4j is not there on every client of Connect, so its errors are known by their module.
    return any(base.__module__.partition(".")[0] in ("pyspark", "py4j") for base in type(error).__mro__)


def _first_line(said: str) -> str:
    """What Spark says, without plans and traces; py4j begins with a line of its own."""
    lines = [line.strip().removeprefix(": ") for line in said.splitlines() if line.strip()] or [""]
    return (lines[1] if len(lines) > 1 and lines[0].startswith("An error occurred while calling") else lines[0])[:500]


def time_column(spark: SparkSession, name: str) -> Column:
    """A TIMESTAMP column of a Delta table, to be compared with a literal.

    Where a session takes TIMESTAMP for TIMESTAMP_NTZ, Delta itself overflows in time zones east of Greenwich when it
    looks which files a comparison leaves out. So there it gets an expression through which it does not look.
    """
    column = F.col(name)
    is_ntz = isinstance(spark.createDataFrame([], "t timestamp").schema["t"].dataType, T.TimestampNTZType)
    return F.timestamp_micros(F.unix_micros(column)) if is_ntz else column


def row_count(rows: DataFrame) -> int:
    """How many rows there are. Connect on Spark 3.5 counts in numpy's integers, which no JSON takes."""
    return int(rows.count())


def is_conflict(error: BaseException) -> bool:
    """Whether Delta refused a commit, or `fill` its rows, since another writer's came first."""
    return _CONFLICT.search(f"{type(error).__name__}: {error}") is not None


def sql_text(value: str) -> str:
    """A text as an expression of SQL, which means the same in every session.

    Before Spark parses SQL it puts settings and environment variables in place of `${...}`, and what a backslash means
    depends on a setting. So a text that is not plain stands there as its bytes.
    """
    if _LITERAL.fullmatch(value):
        return f"'{value}'"
    return f"CAST(X'{value.encode(errors='surrogatepass').hex()}' AS STRING)"


def sql_in(column: str, values: Iterable[str] | Iterable[int]) -> str:
    """The condition that `column` is one of `values`. As text, since Python hands literals over one by one."""
    written = (str(value) if isinstance(value, int) else sql_text(value) for value in values)
    return f"{column} IN ({', '.join(written) or 'NULL'})"


def ddl_comment(text: str) -> str:
    """A comment as DDL writes it, which takes nothing but a literal: what that cannot hold in every session is `_`."""
    plain = text.replace("'", "\u2019")
    return "'" + re.sub(r"[\\$\x00-\x1f\x7f]", "_", plain) + "'"


def columns_ddl(schema: T.StructType) -> str:
    """The columns of a table as DDL, with their comments."""
    return ", ".join(map(_column_ddl, schema.fields))


def _column_ddl(field: T.StructField) -> str:
    comment = field.metadata.get("comment")
    return f"{quoted(field.name)} {quoted_ddl(field.dataType)}" + (
        f" COMMENT {ddl_comment(comment)}" if comment else ""
    )


def quoted_ddl(found: T.DataType) -> str:
    """The type as DDL, with every field's name in backticks."""
    if isinstance(found, T.ArrayType):
        return f"ARRAY<{quoted_ddl(found.elementType)}>"
    if isinstance(found, T.MapType):
        return f"MAP<{quoted_ddl(found.keyType)}, {quoted_ddl(found.valueType)}>"
    if isinstance(found, T.StructType):
        fields = (f"{quoted(f.name)}: {quoted_ddl(f.dataType)}" for f in found.fields)
        return f"STRUCT<{', '.join(fields)}>"
    # TIMESTAMP alone is what a setting says that it is.
    return "TIMESTAMP_LTZ" if isinstance(found, T.TimestampType) else found.simpleString()


def _pairs(properties: Mapping[str, str]) -> str:
    """Properties as DDL writes them, which takes nothing but literals: see `_decoded`."""
    return ", ".join(f"'{name}' = '{_encoded(value)}'" for name, value in properties.items())


def _encoded(value: str) -> str:
    if _LITERAL.fullmatch(value) and not value.startswith(_ENCODED):
        return value
    return _ENCODED + quote(value, safe=' !"#&()*+,-./:;<=>?@[]^_`{|}~', errors="surrogatepass")


def _decoded(value: str) -> str:
    if not value.startswith(_ENCODED):
        return value
    return unquote(value.removeprefix(_ENCODED), errors="surrogatepass")
