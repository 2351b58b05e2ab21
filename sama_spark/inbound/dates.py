"""Dates pass `from_json` as text, since on Spark 3.5 one that does not exist, such as 2024-02-30, stops it.

SQL for values of the type `dates_as_text(found)`. A date is YYYY-MM-DD: a longer or shorter text would lose something.
"""

from __future__ import annotations

from pyspark.sql import types as T


def dates_as_text(found: T.DataType) -> T.DataType:
    """The type with STRING in place of DATE."""
    if isinstance(found, T.ArrayType):
        return T.ArrayType(dates_as_text(found.elementType))
    if isinstance(found, T.MapType):
        return T.MapType(found.keyType, dates_as_text(found.valueType))
    if isinstance(found, T.StructType):
        return T.StructType([T.StructField(f.name, dates_as_text(f.dataType)) for f in found.fields])
    return T.StringType() if isinstance(found, T.DateType) else found


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
        fields = (f"{with_dates(_field(value, f), f.dataType, level)} AS {_name(f)}" for f in found.fields)
        return f"if({value} IS NULL, NULL, struct({', '.join(fields)}))"
    is_date = f"{value} RLIKE '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$' AND {value} > '0001'"  # Python has no year 0
    return f"if({is_date}, try_cast({value} AS DATE), NULL)"


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
    return f"{value}.{_name(field)}"


def _name(field: T.StructField) -> str:
    return f"`{field.name.replace('`', '``')}`"
