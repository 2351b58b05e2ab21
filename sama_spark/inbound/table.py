"""Lines of raw task JSON become a DataFrame with a declared schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.api.errors import InvalidInput
from sama_spark.errors import StagingError
from sama_spark.inbound.contract import delivery_types, observed_type, saveable
from sama_spark.inbound.dates import dates_as_text, no_date, try_timestamp, with_dates
from sama_spark.inbound.feeds import LINE_END, SPANS
from sama_spark.inbound.observe import observed_schemas
from sama_spark.names import sql_name
from sama_spark.staging import spark_uri

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from pyspark.sql import Column, SparkSession

TABLE_BYTES = 64 << 20
_MOST_STREAMED_BYTES = 2 << 30
_LONGS = ("project_id", "batch_id")
_TIMESTAMPS = ("created_at", "delivered_at")
RESCUED = "_rescued_data"
_TEXTS = ("id", "client_batch_id", "state", "submitter_ids_by_step", "_extras")


def staged_lines(spark: SparkSession, folder: Path) -> DataFrame:
    """The lines in a run's folder of the stage."""
    return spark.read.text(spark_uri(folder), lineSep=LINE_END)


def streamed_lines(spark: SparkSession, tables: Iterable[pa.Table]) -> DataFrame:
    """The lines handed to Spark table by table, 2 GB at the most."""
    lines = spark.createDataFrame([], "value string")
    size = 0
    for table in tables:
        size += table.nbytes
        if size > _MOST_STREAMED_BYTES:
            raise StagingError(
                "more than 2 GB of tasks cannot pass through the driver's memory",
                remedy="name a folder that driver and workers share, such as a Unity Catalog volume, in `staging=`",
            )
        lines = lines.unionAll(arrow_rows(spark, table))
    return lines


def arrow_rows(spark: SparkSession, table: pa.Table) -> DataFrame:
    """A table of one column of text, `value`, as a DataFrame."""
    if hasattr(DataFrame, "toArrow"):  # Spark 4.0 brought both ways
        return spark.createDataFrame(table)
    return spark.createDataFrame([(line,) for line in table["value"].to_pylist()], "value string")


def task_table(lines: DataFrame, data_type: T.DataType, answers_type: T.DataType) -> DataFrame:
    """One row per task; the schema depends on the two types alone.

    `id`, `project_id`, `batch_id`, `client_batch_id`, `state`, `priority`, `created_at` and `delivered_at`
    (TIMESTAMP, UTC where the text has no zone), `data` and `answers` (typed; null where the value does not
    fit), `submitter_ids_by_step` and `_extras` (JSON text), `data_raw` and `answers_raw` (the JSON text to the
    byte), `raw` (the task's whole JSON text, with every field that Sama may add).
    """
    line = F.col("value").cast("binary")
    raw = F.substring(line, SPANS + 1, 2**31 - 1).cast("string")
    data_raw, answers_raw = raw_parts(line)
    return typed_tasks(
        lines.select(raw.alias("raw"), data_raw.alias("data_raw"), answers_raw.alias("answers_raw")),
        data_type,
        answers_type,
    ).drop(RESCUED)


def raw_parts(line: Column) -> tuple[Column, Column]:
    """The JSON text of `data` and of `answers`, to the byte, out of a line (binary)."""
    return _cut(line, 1), _cut(line, 1 + SPANS // 2)


def typed_tasks(rows: DataFrame, data_type: T.DataType, answers_type: T.DataType) -> DataFrame:
    """`rows` has `raw`, `data_raw` and `answers_raw`, and any more columns, which stay. As `task_table` with
    `_rescued_data`: the whole text of a task in which a value does not fit its type, else null."""
    types = {"data": data_type, "answers": answers_type}
    declared = T.StructType(
        [
            *(T.StructField(name, T.StringType()) for name in (*_LONGS, *_TIMESTAMPS, *_TEXTS, "priority", RESCUED)),
            *(T.StructField(name, dates_as_text(found)) for name, found in types.items() if not _is_text(found)),
        ]
    )
    more = [name for name in rows.columns if name not in ("raw", "data_raw", "answers_raw")]
    # With an option set, Spark parses once for all fields, not once for each.
    parsed = F.from_json("raw", declared, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": RESCUED})
    misfit = no_date(F.col("t.data"), data_type) | no_date(F.col("t.answers"), answers_type)
    return rows.withColumn("t", parsed).select(
        "t.id",
        *(F.expr(f"try_cast(t.{name} AS BIGINT)").alias(name) for name in _LONGS),
        "t.client_batch_id",
        "t.state",
        F.expr("try_cast(t.priority AS INT)").alias("priority"),
        *(as_timestamp(F.col(f"t.{name}")).alias(name) for name in _TIMESTAMPS),
        _typed("data", data_type),
        _typed("answers", answers_type),
        "t.submitter_ids_by_step",
        "t._extras",
        "data_raw",
        "answers_raw",
        "raw",
        F.coalesce(F.col(f"t.{RESCUED}"), F.when(misfit, F.col("raw"))).alias(RESCUED),
        *more,
    )


def asked_type(spark: SparkSession, asked: str | T.DataType) -> T.DataType:
    """The type of `answers` that the caller asks for: a Spark type, DDL, or a table whose `answers` has it.

    Raises:
        InvalidInput: it is none of these.
    """
    if isinstance(asked, T.DataType):
        return asked
    try:
        if re.fullmatch(r"[\w.`-]+", asked) and asked.lower() not in ("string", "variant"):
            return spark.table(sql_name(asked)).schema["answers"].dataType
        if re.match(r"\s*(struct\s*<|map\s*<|array\s*<|string$|variant$)", asked, re.IGNORECASE):
            return spark.createDataFrame([], f"answers {asked}").schema[0].dataType
        return spark.createDataFrame([], asked).schema
    except Exception as error:  # Spark has several, which differ between classic and Connect
        problem = str(error).splitlines()[0][:300]
    if "variant" in asked.lower() and not hasattr(T, "VariantType"):
        problem = "this Spark has no VARIANT, which came with 4.0: take STRING, JSON text, in its place"
    raise InvalidInput(
        f"answers_schema={asked!r} gives no type: {problem}",
        remedy='give DDL such as "objects STRING, notes STRING", the name of a table with a column `answers`, '
        'a Spark type, or "infer"',
    )


def inferred_type(lines: DataFrame) -> T.DataType:
    """The type of `answers` as these tasks have it."""
    answers = _cut(F.col("value").cast("binary"), 1 + SPANS // 2).alias("answers")
    return observed_type(*observed_schemas(lines.select(answers)))


def contract_types(schema: Mapping[str, Any] | None) -> tuple[T.DataType, T.DataType]:
    """The types by the delivery schema; JSON text for both where there is none."""
    return delivery_types(schema) if schema is not None else (T.StringType(), T.StringType())


def _typed(name: str, data_type: T.DataType) -> Column:
    if _is_text(data_type):
        return F.col(f"{name}_raw").alias(name)  # from_json would write numbers anew: 1.10 as 1.1
    return with_dates(F.col(f"t.{name}"), data_type).cast(saveable(data_type)).alias(name)


def _is_text(found: T.DataType) -> bool:
    return isinstance(found, T.StringType)


def _cut(line: Column, position: int) -> Column:
    return cut(line, number_at(line, position), number_at(line, position + 10))


def number_at(line: Column, position: int) -> Column:
    """The number whose ten digits stand there, from 1, in a line (binary)."""
    return F.substring(line, position, 10).cast("string").cast("int")


def cut(line: Column, start: Column, length: Column) -> Column:
    """The text of so many bytes of a line (binary); null where there are none."""
    return F.when(length > 0, line.substr(start, length).cast("string"))


def as_timestamp(text: Column) -> Column:
    """The time that a text means; null where it is none."""
    # Nearly every text is plain; the rest costs regular expressions.
    return F.coalesce(F.when(text.endswith("Z"), try_timestamp(text)), _unusual_timestamp(text))


def _unusual_timestamp(text: Column) -> Column:
    # Old samples write 20240301T10:15:30, and no zone means UTC, not the session's.
    dashed = F.regexp_replace(text, r"^(\d{4})(\d{2})(\d{2})T", "$1-$2-$3T")
    iso = F.regexp_replace(dashed, r"T(\d{2}:\d{2})(?!:)", "T$1:00")
    return try_timestamp(F.when(iso.rlike(r"(Z|[+-]\d{2}:?\d{2})$"), iso).otherwise(F.concat(iso, F.lit("Z"))))
