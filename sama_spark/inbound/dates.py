"""Dates pass `from_json` as text, since on Spark 3.5 one that does not exist, such as 2024-02-30, stops it."""

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


def no_date(value: str, found: T.DataType, level: int = 0) -> str | None:
    """SQL that is true where a text in `value`, which is of the type `dates_as_text(found)`, is no date; None where
    `found` has no DATE."""
    if isinstance(found, T.DateType):
        return f"({value} IS NOT NULL AND try_cast({value} AS DATE) IS NULL)"
    if isinstance(found, T.StructType):
        tests = [no_date(f"{value}.`{f.name.replace('`', '``')}`", f.dataType, level) for f in found.fields]
        return " OR ".join(filter(None, tests)) or None
    if isinstance(found, T.MapType):
        return no_date(f"map_values({value})", T.ArrayType(found.valueType), level)
    if isinstance(found, T.ArrayType):
        test = no_date(f"v{level}", found.elementType, level + 1)
        return test and f"exists({value}, v{level} -> {test})"
    return None
