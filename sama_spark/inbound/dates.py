"""Dates pass `from_json` as text, since on Spark 3.5 one that does not exist, such as 2024-02-30, stops it.

SQL for values of the type `dates_as_text(found)`. A date is YYYY-MM-DD: a longer or shorter text would lose something.
"""

from __future__ import annotations

from pyspark.sql import types as T

from sama_spark.api.records import DATE_TEXT
from sama_spark.delta import quoted, sql_text
from sama_spark.inbound.contract import rebuilt


def dates_as_text(found: T.DataType) -> T.DataType:
    """The type with STRING in place of DATE."""
    return rebuilt(found, lambda part: T.StringType() if isinstance(part, T.DateType) else part)


def has_dates(found: T.DataType) -> bool:
    return dates_as_text(found) != found


def with_dates(value: str, found: T.DataType, level: int = 0) -> str:
    """The value with its dates; null where a text is none."""
    inner = f"v{level}"
    if not has_dates(found):
        return value
    if isinstance(found, T.ArrayType):
        return f"transform({value}, {inner} -> {with_dates(inner, found.elementType, level + 1)})"
    if isinstance(found, T.MapType):
        return f"transform_values({value}, (k{level}, {inner}) -> {with_dates(inner, found.valueType, level + 1)})"
    if isinstance(found, T.StructType):
        fields = (f"{with_dates(_field(value, f), f.dataType, level)} AS {quoted(f.name)}" for f in found.fields)
        return f"if({value} IS NULL, NULL, struct({', '.join(fields)}))"
    return f"if({value} RLIKE {sql_text(DATE_TEXT)}, try_cast({value} AS DATE), NULL)"


def no_date(value: str, found: T.DataType, level: int = 0) -> str:
    """Whether a text that should be a date is none."""
    inner = f"v{level}"
    if not has_dates(found):
        return "false"
    if isinstance(found, T.ArrayType):
        return f"exists({value}, {inner} -> {no_date(inner, found.elementType, level + 1)})"
    if isinstance(found, T.MapType):
        return no_date(f"map_values({value})", T.ArrayType(found.valueType), level)
    if isinstance(found, T.StructType):
        return " OR ".join(no_date(_field(value, f), f.dataType, level) for f in found.fields if has_dates(f.dataType))
    return f"({value} IS NOT NULL AND {with_dates(value, found)} IS NULL)"


def _field(value: str, field: T.StructField) -> str:
    return f"{value}.{quoted(field.name)}"
