"""Lines of raw task JSON become a DataFrame with a declared schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.data_source.stream_times import LEAST, MOST
from sama_spark.errors import InvalidInput, StagingError
from sama_spark.inbound.dates import dates_as_text, no_date, try_timestamp, with_dates
from sama_spark.inbound.delivery_types import delivery_types, observed_type, saveable
from sama_spark.inbound.lines import HEAD, LINE_END, SPANS
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
RESCUED = "_rescued_data"
_TEXTS = ("client_batch_id", "state", "submitter_ids_by_step", "_extras")


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
    line = Line()
    data_raw, answers_raw = line.raw_parts()
    rows = lines.select(
        line.id.alias("id"),
        as_timestamp(line.delivered_at).alias("delivered_at"),
        line.raw.alias("raw"),
        data_raw.alias("data_raw"),
        answers_raw.alias("answers_raw"),
    )
    return typed_tasks(rows, data_type, answers_type).drop(RESCUED)


class Line:
    """The parts of a line, which is in the column `value`; see `inbound.feeds`.

    Attributes:
        id, delivered_at, problem: text; null where the task has none.
        parts: the four numbers. raw: the task's JSON text.
    """

    def __init__(self) -> None:
        line = F.col("value").cast("binary")  # in bytes nothing has to be counted from the start
        lengths = [_number(line, SPANS + 1 + 10 * n) for n in range(3)]
        starts = [F.lit(HEAD + 1)]
        for length in lengths:
            starts.append(starts[-1] + length)
        self._line, self._begin = line, starts[-1]
        self.id, self.delivered_at, self.problem = map(partial(_cut, line), starts[:3], lengths)
        self.parts = _cut(line, F.lit(1), F.lit(SPANS))
        self.raw = _cut(line, self._begin, F.lit(2**31 - 1))

    def raw_parts(self) -> tuple[Column, Column]:
        """The JSON text of `data` and of `answers`, to the byte."""
        return _parts(self._line, self._line, self._begin - 1)


def raw_parts(parts: str, raw: str) -> tuple[Column, Column]:
    """The JSON text of `data` and of `answers`, to the byte, out of a task's text and the numbers of its line."""
    return _parts(F.col(parts), F.col(raw).cast("binary"), F.lit(0))


def _parts(parts: Column, text: Column, before: Column) -> tuple[Column, Column]:
    """`before`: bytes that stand before the task's own text."""
    data, answers = (
        _cut(text, _number(parts, at) - SPANS + before, _number(parts, at + 10)) for at in (1, 1 + SPANS // 2)
    )
    return data, answers


def typed_tasks(rows: DataFrame, data_type: T.DataType, answers_type: T.DataType) -> DataFrame:
    """`rows` has `id`, `delivered_at`, `raw`, `data_raw` and `answers_raw`, and any more columns, which stay. As
    `task_table` with `_rescued_data`: the whole text of a task in which a value does not fit its type, else null.

    Id and time of delivery are not parsed anew: where Spark's parser gives up, all else is null and these are not.
    """
    types = {"data": data_type, "answers": answers_type}
    declared = T.StructType(
        [
            *(T.StructField(name, T.StringType()) for name in (*_LONGS, "created_at", *_TEXTS, "priority", RESCUED)),
            *(T.StructField(name, dates_as_text(found)) for name, found in types.items() if not _is_text(found)),
        ]
    )
    known = ("id", "delivered_at", "raw", "data_raw", "answers_raw")
    more = [name for name in rows.columns if name not in known]
    # With an option set, Spark parses once for all fields, not once for each.
    parsed = F.from_json("raw", declared, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": RESCUED})
    misfit = no_date(F.col("t.data"), data_type) | no_date(F.col("t.answers"), answers_type)
    return rows.withColumn("t", parsed).select(
        "id",
        *(F.expr(f"try_cast(t.{name} AS BIGINT)").alias(name) for name in _LONGS),
        "t.client_batch_id",
        "t.state",
        F.expr("try_cast(t.priority AS INT)").alias("priority"),
        as_timestamp(F.col("t.created_at")).alias("created_at"),
        "delivered_at",
        _typed("data", data_type),
        _typed("answers", answers_type),
        "t.submitter_ids_by_step",
        "t._extras",
        "data_raw",
        "answers_raw",
        "raw",
        F.coalesce(F.col(f"t.{RESCUED}"), F.when(misfit | F.col("t").isNull(), F.col("raw"))).alias(RESCUED),
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
    _, answers = Line().raw_parts()
    return observed_type(*observed_schemas(lines.select(answers.alias("answers"))))


def contract_types(schema: Mapping[str, Any] | None) -> tuple[T.DataType, T.DataType]:
    """The types by the delivery schema; JSON text for both where there is none."""
    return delivery_types(schema) if schema is not None else (T.StringType(), T.StringType())


def _typed(name: str, data_type: T.DataType) -> Column:
    if _is_text(data_type):
        return F.col(f"{name}_raw").alias(name)  # from_json would write numbers anew: 1.10 as 1.1
    return with_dates(F.col(f"t.{name}"), data_type).cast(saveable(data_type)).alias(name)


def _is_text(found: T.DataType) -> bool:
    return isinstance(found, T.StringType)


def _number(line: Column, position: int) -> Column:
    """The number whose ten digits stand there, from 1."""
    return F.substring(line, position, 10).cast("string").cast("int")


def _cut(line: Column, start: Column, length: Column) -> Column:
    """The text of so many bytes of a line (binary); null where there are none."""
    return F.when(length > 0, line.substr(start, length).cast("string"))


def as_timestamp(text: Column) -> Column:
    """The time that a text means; null where it is none. As `inbound.source.times.micros`."""
    # Nearly every text is plain; the rest costs regular expressions.
    is_plain = text.endswith("Z") & (F.substring(text, 5, 1) == "-") & F.substring(text, 11, 1).isin("T", " ")
    time = F.coalesce(F.when(is_plain, try_timestamp(text)), _unusual_timestamp(text))
    return F.when(F.unix_micros(time).between(LEAST, MOST - 1), time)


def _unusual_timestamp(text: Column) -> Column:
    # Old samples write 20240301T10:15:30, and no zone means UTC, not the session's.
    trimmed = F.regexp_replace(F.trim(text), r" ?(UTC|GMT)$", "Z")
    dashed = F.regexp_replace(trimmed, r"^(\d{4})(\d{2})(\d{2})T", "$1-$2-$3T")
    parted = F.regexp_replace(dashed, r"T(\d{2})(\d{2})(\d{2})(?![\d:])", "T$1:$2:$3")
    iso = F.regexp_replace(parted, r"T(\d{2}:\d{2})(?!:)", "T$1:00")
    # Spark reads more: years of five digits, and a time alone, which would be one of today.
    in_full = F.when(iso.rlike(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}"), iso)
    time = try_timestamp(F.when(iso.rlike(r"(Z|[+-]\d{2}:?\d{2})$"), in_full).otherwise(F.concat(in_full, F.lit("Z"))))
    # Ten digits are seconds since 1970, thirteen milliseconds.
    micros = F.when(trimmed.rlike(r"^\d{10}$"), F.concat(trimmed, F.lit("000000")))
    micros = micros.when(trimmed.rlike(r"^\d{13}$"), F.concat(trimmed, F.lit("000")))
    return F.when(micros.isNotNull(), F.timestamp_micros(micros.cast("bigint"))).otherwise(time)
