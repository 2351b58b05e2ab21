"""What the driver has becomes a DataFrame.

Where Spark takes them, rows go to it as Arrow tables. A DataFrame that a classic session makes of a list, even of an
empty one, starts a worker of Python on each executor once it is read: seconds, in a fresh process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.staging import spark_uri

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def text_lines(spark: SparkSession, lines: Iterable[bytes], file: Path | None) -> DataFrame:
    """Return lines of text as a DataFrame of one column, `value`.

    The lines pass through `file`, which driver and workers share, or through the driver's memory if `file` is None.
    """
    if file is None:
        return local_texts(spark, pa.table({"value": pa.array(lines, pa.binary()).cast(pa.string())}))
    with file.open("xb") as stream:
        stream.writelines(line + b"\n" for line in lines)
    return spark.read.text(spark_uri(file))


def takes_arrow() -> bool:
    """Return whether Spark makes DataFrames of Arrow tables: 4.0 and later do."""
    return hasattr(DataFrame, "toArrow")


def local_texts(spark: SparkSession, table: pa.Table) -> DataFrame:
    """Return a table of one column of text, `value`, as a DataFrame."""
    if takes_arrow():
        with suppress(ValueError):  # pyspark cuts the table by a setting, which may be 0, for no limit
            return spark.createDataFrame(table)
    return spark.createDataFrame([(line,) for line in table["value"].to_pylist()], "value string")


def local_rows(spark: SparkSession, table: pa.Table, schema: T.StructType | str) -> DataFrame:
    """Return an Arrow table as a DataFrame, with a schema also where it has no rows, if Spark `takes_arrow`."""
    # Connect infers no schema from no rows, and a classic session casts no rows to a schema.
    return spark.createDataFrame(table) if table.num_rows else no_rows(spark, schema)


def no_rows(spark: SparkSession, schema: T.StructType | str) -> DataFrame:
    """Return a DataFrame with a schema and without rows."""
    fields = _struct(spark, schema).fields
    return spark.range(0).select(
        *(F.lit(None).cast(field.dataType).alias(field.name, metadata=field.metadata) for field in fields)
    )


def local_values(
    spark: SparkSession, rows: Sequence[Sequence[Any] | Mapping[str, Any]], schema: T.StructType | str
) -> DataFrame:
    """Return rows of Python values as a DataFrame.

    Args:
        spark: the session.
        rows: values in the order of `schema`, or by name; a name that is missing means null. Times have a zone.
        schema: the columns, of types that `arrow_type` knows.
    """
    if not rows:
        return no_rows(spark, schema)
    if takes_arrow():
        with suppress(TypeError, ValueError, OverflowError):  # Spark may take what Arrow refuses, or says why not
            return spark.createDataFrame(_arrow_table(rows, _struct(spark, schema).fields))
    return spark.createDataFrame(rows, schema)


def _arrow_table(rows: Sequence[Sequence[Any] | Mapping[str, Any]], fields: Sequence[T.StructField]) -> pa.Table:
    names = [field.name for field in fields]
    values = [[row.get(name) for name in names] if isinstance(row, Mapping) else row for row in rows]
    columns = zip(fields, zip(*values, strict=True), strict=True)
    return pa.table([pa.array(column, arrow_type(field.dataType)) for field, column in columns], names)


def _struct(spark: SparkSession, schema: T.StructType | str) -> T.StructType:
    return schema if isinstance(schema, T.StructType) else spark.createDataFrame([], schema).schema


def arrow_type(kind: T.DataType) -> pa.DataType:
    """Return the Arrow type of the values of a Spark type."""
    if isinstance(kind, T.StructType):
        return pa.struct([(field.name, arrow_type(field.dataType)) for field in kind.fields])
    if isinstance(kind, T.ArrayType):
        return pa.list_(arrow_type(kind.elementType))
    if isinstance(kind, T.MapType):
        return pa.map_(arrow_type(kind.keyType), arrow_type(kind.valueType))
    plain = {
        "string": pa.string(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    return plain[kind.simpleString()]
