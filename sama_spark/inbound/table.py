"""From lines of raw task JSON to a DataFrame with a declared schema."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.errors import InvalidInput
from sama_spark.exact import is_text
from sama_spark.inbound.dates import dates_as_text, no_date, try_timestamp, with_dates
from sama_spark.inbound.delivery_types import observed_type, saveable
from sama_spark.inbound.lines import line_columns
from sama_spark.inbound.observe import observed_schemas
from sama_spark.inbound.times import LEAST, MOST
from sama_spark.names import quoted, sql_name
from sama_spark.sql_texts import sql_text
from sama_spark.vendors.sama.envelope import ENVELOPE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from sama_spark.vendors.seam import Field

RESCUED = "_rescued_data"


def task_table(lines: DataFrame, data_type: T.DataType, answers_type: T.DataType) -> DataFrame:
    """Return one row for each task; the schema depends on the two types alone.

    The columns are `id`, `project_id`, `batch_id`, `client_batch_id`, `state`, `priority`, `created_at` and
    `delivered_at` (TIMESTAMP, UTC where the text has no zone), `data` and `answers` (typed; null where the value does
    not fit), `submitter_ids_by_step` and `_extras` (JSON text), `data_raw` and `answers_raw` (the JSON text to the
    byte), and `raw` (the task's whole JSON text, with every field that Sama may add).
    """
    line = line_columns()
    rows = lines.select(
        line.id.alias("id"),
        as_timestamp(line.delivered_at).alias("delivered_at"),
        line.raw.alias("raw"),
        line.data.alias("data_raw"),
        line.answers.alias("answers_raw"),
    )
    return typed_tasks(rows, data_type, answers_type, ENVELOPE).drop(RESCUED)


def typed_tasks(
    rows: DataFrame, data_type: T.DataType, answers_type: T.DataType, envelope: Sequence[Field]
) -> DataFrame:
    """Parse the text of each task once, and return the columns of `envelope` beside `data` and `answers`.

    `id` and `delivered_at` are not parsed anew: where Spark's parser gives up, these two stay and all else is null.

    Args:
        rows: has `id`, `delivered_at`, `raw`, `data_raw` and `answers_raw`; any more columns stay.
        data_type: type of `data`. A STRING is the JSON text; any other type is read from the member `data` of the text.
        answers_type: the same of `answers`.
        envelope: the columns to read beside these two.

    Returns:
        `id`, the envelope around `delivered_at`, `data` and `answers`, the three raw columns, and `_rescued_data`: the
        whole text of a task in which a value does not fit its type, else null.
    """
    types = {"data": data_type, "answers": answers_type}
    members = dict.fromkeys(_member_and_rest(field)[0] for field in envelope)
    declared = T.StructType(
        [
            *(T.StructField(name, T.StringType()) for name in (*members, RESCUED)),
            *(T.StructField(name, dates_as_text(found)) for name, found in types.items() if not is_text(found)),
        ]
    )
    known = ("id", "delivered_at", "raw", "data_raw", "answers_raw")
    more = [name for name in rows.columns if name not in known]
    # With an option set, Spark parses once for all fields, not once for each.
    parsed = F.from_json("raw", declared, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": RESCUED})
    misfit = no_date(F.col("t.data"), data_type) | no_date(F.col("t.answers"), answers_type)
    return rows.withColumn("t", parsed).select(
        "id",
        *(_envelope_column(field) for field in envelope if field.spark_type != "JSON"),
        "delivered_at",
        _typed("data", data_type),
        _typed("answers", answers_type),
        *(_envelope_column(field) for field in envelope if field.spark_type == "JSON"),
        "data_raw",
        "answers_raw",
        "raw",
        F.coalesce(F.col(f"t.{RESCUED}"), F.when(misfit | F.col("t").isNull(), F.col("raw"))).alias(RESCUED),
        *more,
    )


def asked_type(spark: SparkSession, asked: str | T.DataType) -> T.DataType:
    """Return the type of `answers` that the caller names: a Spark type, DDL, or a table that has such a column.

    Raises:
        InvalidInput: `asked` is none of these.
    """
    if isinstance(asked, T.DataType):
        return asked
    try:
        if re.fullmatch(r"[\w.`-]+", asked) and asked.lower() not in ("string", "variant"):
            return spark.table(sql_name(asked)).schema["answers"].dataType
        if re.match(r"\s*(struct\s*<|map\s*<|array\s*<|string$|variant$)", asked, re.IGNORECASE):
            return spark.createDataFrame([], f"answers {asked}").schema[0].dataType
        return spark.createDataFrame([], asked).schema
    except Exception as error:  # Spark raises several kinds, and others on Connect
        problem = str(error).splitlines()[0][:300]
    if "variant" in asked.lower() and not hasattr(T, "VariantType"):
        problem = "this Spark has no VARIANT, which came with 4.0: take STRING, JSON text, in its place"
    raise InvalidInput(
        f"answers_schema={asked!r} gives no type: {problem}",
        remedy='give DDL such as "objects STRING, notes STRING", the name of a table with a column `answers`, '
        'a Spark type, or "infer"',
    )


def inferred_type(lines: DataFrame) -> T.DataType:
    """Return the type that `answers` has in these tasks."""
    return observed_type(*observed_schemas(lines.select(line_columns().answers.alias("answers"))))


def _member_and_rest(field: Field) -> tuple[str, str]:
    """Return the member of the task's text, and the path within that member."""
    member, _, rest = field.json_path.partition(".")
    return member, rest


def _envelope_column(field: Field) -> Column:
    member, rest = _member_and_rest(field)
    text = f"t.{quoted(member)}"
    if rest:
        text = f"get_json_object({text}, {sql_text(f'$.{rest}')})"
    if field.spark_type == "TIMESTAMP":
        found = as_timestamp(F.expr(text))
    else:
        found = F.expr(text if field.spark_type in ("STRING", "JSON") else f"try_cast({text} AS {field.spark_type})")
    return found.alias(field.name)


def _typed(name: str, data_type: T.DataType) -> Column:
    if is_text(data_type):
        return F.col(f"{name}_raw").alias(name)  # from_json would write numbers anew: 1.10 as 1.1
    return with_dates(F.col(f"t.{name}"), data_type).cast(saveable(data_type)).alias(name)


def as_timestamp(text: Column) -> Column:
    """Return the time that a text means, null where it means none, by the rules of `times.micros`."""
    # Nearly every text has the plain form; the others cost regular expressions.
    is_plain = text.endswith("Z") & (F.substring(text, 5, 1) == "-") & F.substring(text, 11, 1).isin("T", " ")
    time = F.coalesce(F.when(is_plain, try_timestamp(text)), _unusual_timestamp(text))
    return F.when(F.unix_micros(time).between(LEAST, MOST - 1), time)


def _unusual_timestamp(text: Column) -> Column:
    # Old samples write 20240301T10:15:30, and no zone means UTC, not the session's.
    trimmed = F.regexp_replace(F.trim(text), r" ?(UTC|GMT)$", "Z")
    dashed = F.regexp_replace(trimmed, r"^(\d{4})(\d{2})(\d{2})T", "$1-$2-$3T")
    parted = F.regexp_replace(dashed, r"T(\d{2})(\d{2})(\d{2})(?![\d:])", "T$1:$2:$3")
    iso = F.regexp_replace(parted, r"[T ](\d{2}:\d{2})(?!:)", "T$1:00")
    # Spark reads more: years of five digits, and a time alone, which it takes for one of today.
    in_full = F.when(iso.rlike(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}"), iso)
    time = try_timestamp(F.when(iso.rlike(r"(Z|[+-]\d{2}:?\d{2})$"), in_full).otherwise(F.concat(in_full, F.lit("Z"))))
    # Ten digits are seconds since 1970, thirteen milliseconds.
    micros = F.when(trimmed.rlike(r"^\d{10}$"), F.concat(trimmed, F.lit("000000")))
    micros = micros.when(trimmed.rlike(r"^\d{13}$"), F.concat(trimmed, F.lit("000")))
    return F.when(micros.isNotNull(), F.timestamp_micros(micros.cast("bigint"))).otherwise(time)
