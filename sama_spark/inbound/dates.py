"""Dates pass `from_json` as text, since on Spark 3.5 one that does not exist, such as 2024-02-30, stops it.

For values of the type `dates_as_text(found)`. A date is YYYY-MM-DD: a longer or shorter text would lose something.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.api.records import DATE_TEXT
from sama_spark.inbound.delivery_types import rebuilt

_TRIES_CASTS = hasattr(Column, "try_cast")  # Spark 4.0 brought it


def dates_as_text(found: T.DataType) -> T.DataType:
    """The type with STRING in place of DATE."""
    return rebuilt(found, lambda part: T.StringType() if isinstance(part, T.DateType) else part)


def has_dates(found: T.DataType) -> bool:
    return dates_as_text(found) != found


def with_dates(value: Column, found: T.DataType) -> Column:
    """The value with its dates; null where a text is none."""
    if not has_dates(found):
        return value
    if isinstance(found, T.ArrayType):
        return F.transform(value, lambda element: with_dates(element, found.elementType))
    if isinstance(found, T.MapType):
        return F.transform_values(value, lambda _, inner: with_dates(inner, found.valueType))
    if isinstance(found, T.StructType):
        fields = (with_dates(value.getField(f.name), f.dataType).alias(f.name) for f in found.fields)
        return F.when(value.isNotNull(), F.struct(*fields))
    return F.when(value.rlike(DATE_TEXT), _try_date(value))


def no_date(value: Column, found: T.DataType) -> Column:
    """Whether a text that should be a date is none."""
    if not has_dates(found):
        return F.lit(False)
    if isinstance(found, T.ArrayType):
        return F.exists(value, lambda element: no_date(element, found.elementType))
    if isinstance(found, T.MapType):
        return no_date(F.map_values(value), T.ArrayType(found.valueType))
    if isinstance(found, T.StructType):
        fields = (no_date(value.getField(f.name), f.dataType) for f in found.fields if has_dates(f.dataType))
        return reduce(or_, fields)
    return value.isNotNull() & with_dates(value, found).isNull()


def try_timestamp(text: Column) -> Column:
    """The time of a text that ends in a zone, as TIMESTAMP whatever a session takes that for; null where it is none."""
    if _TRIES_CASTS:
        return text.try_cast(T.TimestampType())
    return F.when(F.try_to_timestamp(text).isNotNull(), F.to_timestamp_ltz(text))


def _try_date(text: Column) -> Column:
    if _TRIES_CASTS:
        return text.try_cast(T.DateType())
    return F.when(F.try_to_timestamp(text).isNotNull(), F.to_date(text))
