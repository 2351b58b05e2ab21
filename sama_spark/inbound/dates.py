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

from sama_spark import exact

_TRIES_CASTS = hasattr(Column, "try_cast")  # Spark 4.0 brought it


def dates_as_text(found: T.DataType) -> T.DataType:
    """Return the type with STRING in place of DATE."""
    return exact.type_with_texts(found, {T.DateType})


def has_dates(found: T.DataType) -> bool:
    """Return whether the type has a DATE in it."""
    return dates_as_text(found) != found


def with_dates(value: Column, found: T.DataType) -> Column:
    """Return the value with DATE in place of text; null where the text is no date."""
    return exact.changed(value, found, {T.DateType: _date})


def _date(text: Column) -> Column:
    # Only dates that exist reach the cast: under ANSI rules it would fail on others.
    return F.when(text.rlike(exact.DATE_TEXT), text).cast(T.DateType())


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
    return value.isNotNull() & ~value.rlike(exact.DATE_TEXT)


def try_timestamp(text: Column) -> Column:
    """Return the time of a text that ends in a zone, as TIMESTAMP_LTZ in every session; null where it is no time."""
    if _TRIES_CASTS:
        return text.try_cast(T.TimestampType())
    return F.when(F.try_to_timestamp(text).isNotNull(), F.to_timestamp_ltz(text))
