"""Dates pass `from_json` as text, and become DATE afterwards.

On Spark 3.5 a date that does not exist, such as 2024-02-30, makes `from_json` fail. A date is YYYY-MM-DD: Spark would
read longer and shorter texts too, and lose something. The functions take values of the type `dates_as_text(found)`.
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
    """Return the type with STRING in place of DATE."""
    return rebuilt(found, lambda part: T.StringType() if isinstance(part, T.DateType) else part)


def has_dates(found: T.DataType) -> bool:
    """Return whether the type has a DATE in it."""
    return dates_as_text(found) != found


def with_dates(value: Column, found: T.DataType) -> Column:
    """Return the value with DATE in place of text; null where the text is no date."""
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
    """Return whether the value has a text that should be a date and is none."""
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
    """Return the time of a text that ends in a zone, as TIMESTAMP_LTZ in every session; null where it is no time."""
    if _TRIES_CASTS:
        return text.try_cast(T.TimestampType())
    return F.when(F.try_to_timestamp(text).isNotNull(), F.to_timestamp_ltz(text))


def _try_date(text: Column) -> Column:
    if _TRIES_CASTS:
        return text.try_cast(T.DateType())
    return F.when(F.try_to_timestamp(text).isNotNull(), F.to_date(text))
