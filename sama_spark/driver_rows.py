"""What the driver has becomes a DataFrame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import DataFrame

from sama_spark.staging import spark_uri

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType


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
        return spark.createDataFrame(table)
    return spark.createDataFrame([(line,) for line in table["value"].to_pylist()], "value string")


def local_rows(spark: SparkSession, table: pa.Table, schema: StructType | str) -> DataFrame:
    """Return an Arrow table as a DataFrame, with a schema also where it has no rows, if Spark `takes_arrow`."""
    # Connect infers no schema from no rows, and a classic session casts no rows to a schema.
    return spark.createDataFrame(table) if table.num_rows else spark.createDataFrame([], schema)
