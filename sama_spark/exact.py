"""Text and JSON of values, by expressions that no setting of the session, the cluster or the workspace reaches.

Session settings must not change what is sent, the keys in an outbox, or what is read back. Such settings are
`spark.sql.jsonGenerator.ignoreNullFields`, ANSI rules, time zones, `timeParserPolicy` and collations. So all code calls
the `to_json` of this module, gives casts a type object (a type's name would be parsed by the session's rules), and
writes dates, moments and decimals by this module's expressions.

`exact_values` does the same for Python values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

if TYPE_CHECKING:
    from pyspark.sql import Column

Texts = Mapping[type[T.DataType], Callable[["Column"], "Column"]]
"""For some types, the function that writes a value as text."""

TEXT = T.StringType()
INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
FRACTIONS = (T.FloatType, T.DoubleType)

# Those of Spark's defaults that a setting can change, and UTC.
_JSON = {
    "ignoreNullFields": "true",
    "pretty": "false",
    "writeNonAsciiCharacterAsCodePoint": "false",
    "locale": "en-US",
    "timeZone": "UTC",
    "dateFormat": "yyyy-MM-dd",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss[.SSS]",
}
_DAY_SECONDS, _SECOND = 86_400, 1_000_000


def to_json(column: Column) -> Column:
    """Return the JSON of a struct, array, map or variant. Null fields of structs are left out."""
    return F.to_json(column, _JSON)


def is_text(data_type: T.DataType) -> bool:
    """Return whether values of this type are strings, of whatever collation or length."""
    return isinstance(data_type, (T.StringType, T.CharType, T.VarcharType))


# --- plain types


def plain_type(data_type: T.DataType) -> T.DataType:
    """Return the type without collations, lengths, voids (all STRING then) and negative scales, all of it nullable."""
    if is_text(data_type) or isinstance(data_type, T.NullType):
        return TEXT
    if isinstance(data_type, T.DecimalType) and data_type.scale < 0:
        return T.DecimalType(min(data_type.precision - data_type.scale, 38), 0)
    return _with_leaves(data_type, plain_type)


def cast_to_plain(column: Column, data_type: T.DataType) -> Column:
    """Cast the column to its `plain_type`; leave it if it has that type already."""
    wanted = plain_type(data_type)
    return column if wanted.simpleString() == data_type.simpleString() else column.cast(wanted)


def _with_leaves(data_type: T.DataType, leaf: Callable[[T.DataType], T.DataType]) -> T.DataType:
    if isinstance(data_type, T.ArrayType):
        return T.ArrayType(leaf(data_type.elementType))
    if isinstance(data_type, T.MapType):
        return T.MapType(leaf(data_type.keyType), leaf(data_type.valueType))
    if isinstance(data_type, T.StructType):
        return T.StructType([T.StructField(f.name, leaf(f.dataType)) for f in data_type.fields])
    return data_type


def fields(column: Column, data_type: T.StructType) -> Iterator[tuple[T.StructField, Column]]:
    """Yield the fields of a struct, each with its column. Names may differ only in case."""
    names = [f.name for f in data_type.fields]
    if len({name.lower() for name in names}) < len(names):
        names = [f"f{i}" for i in range(len(names))]
        numbered = zip(names, data_type.fields, strict=True)
        column = column.cast(T.StructType([T.StructField(n, f.dataType) for n, f in numbered]))
    for name, field in zip(names, data_type.fields, strict=True):
        yield field, column.getField(name)


# --- values as text


def text(column: Column, data_type: T.DataType) -> Column:
    """Return a flat value as text: decimals without an exponent, dates and moments as in ISO 8601, moments in UTC."""
    if isinstance(data_type, T.DecimalType):
        return _digits(column)
    write = ISO.get(type(data_type))
    return write(column) if write else column if is_text(data_type) else column.cast(TEXT)


def _digits(decimal: Column) -> Column:
    """Return all digits. Outside of ANSI rules Spark writes numbers below a millionth with an exponent, as 1.5E-7."""
    written = decimal.cast(TEXT)
    small = F.when(written.contains("E-"), written)
    digits = F.regexp_replace(small, r"[-.]|E.*", "")
    zeros = F.lit("0" * 38).substr(F.lit(1), F.substring_index(small, "E-", -1).cast(T.IntegerType()) - 1)
    return F.coalesce(F.concat(F.when(written.startswith("-"), "-0.").otherwise("0."), zeros, digits), written)


def day(date: Column) -> Column:
    """Return YYYY-MM-DD. A cast would give another day before 1582 if `timeParserPolicy` is LEGACY."""
    year = F.year(date)
    digits = F.abs(year).cast(TEXT)
    return F.concat(
        F.when(year > 9999, "+").when(year < 0, "-").otherwise(""),
        F.when(F.length(digits) < 4, F.lpad(digits, 4, "0")).otherwise(digits),
        F.lit("-"),
        F.lpad(F.month(date).cast(TEXT), 2, "0"),
        F.lit("-"),
        F.lpad(F.dayofmonth(date).cast(TEXT), 2, "0"),
    )


def utc(timestamp: Column) -> Column:
    """Return the time in UTC, as TIMESTAMP_NTZ. Every shorter expression depends on the session's time zone."""
    days = F.floor(F.unix_seconds(timestamp) / F.lit(_DAY_SECONDS)).cast(T.IntegerType())
    seconds = F.pmod(F.unix_micros(timestamp), F.lit(_DAY_SECONDS * _SECOND)) / F.lit(float(_SECOND))
    interval = F.make_dt_interval(days, F.lit(0), F.lit(0), seconds.cast(T.DecimalType(18, 6)))
    return F.expr("timestamp_ntz'1970-01-01 00:00:00'") + interval


def wall(timestamp_ntz: Column) -> Column:
    """Return YYYY-MM-DDTHH:MM:SS with as much of a fraction as there is."""
    return F.replace(timestamp_ntz.cast(TEXT), F.lit(" "), F.lit("T"))


def _moment(timestamp: Column) -> Column:
    return F.concat(wall(utc(timestamp)), F.lit("Z"))


def _moment_of_micros(timestamp: Column) -> Column:
    micros = F.pmod(F.unix_micros(timestamp), F.lit(_SECOND)).cast(TEXT)
    seconds = F.substring_index(wall(utc(timestamp)), ".", 1)
    return F.concat(seconds, F.lit("."), F.lpad(micros, 6, "0"))


ISO: Texts = {T.DateType: day, T.TimestampType: _moment, T.TimestampNTZType: wall}
# As `to_json` writes them by default and by `_JSON`, even if a session says LEGACY.
AS_JSON: Texts = {T.DateType: day, T.TimestampType: _moment_of_micros}


# --- values within values


def with_texts(column: Column, data_type: T.DataType, texts: Texts) -> Column:
    """Write the values of the types in `texts` as text, at any depth; leave a column without such types as it is."""
    if not _has(data_type, texts):
        return column
    if isinstance(data_type, T.ArrayType):
        element_type = data_type.elementType
        return F.transform(column, lambda element: with_texts(element, element_type, texts))
    if isinstance(data_type, T.MapType):
        value_type = data_type.valueType
        return F.transform_values(column, lambda _, value: with_texts(value, value_type, texts))
    if isinstance(data_type, T.StructType):
        inner = [with_texts(c, f.dataType, texts).alias(f.name) for f, c in fields(column, data_type)]
        return F.when(column.isNotNull(), F.struct(*inner))
    return texts[type(data_type)](column)


def type_with_texts(data_type: T.DataType, texts: Texts) -> T.DataType:
    """Return the type of what `with_texts` returns."""
    if isinstance(data_type, T.MapType):
        return T.MapType(data_type.keyType, type_with_texts(data_type.valueType, texts))
    return TEXT if type(data_type) in texts else _with_leaves(data_type, lambda leaf: type_with_texts(leaf, texts))


def has_map(data_type: T.DataType) -> bool:
    """Return whether the type has a map in it, at any depth."""
    return '"type":"map"' in data_type.json()


def with_sorted_maps(column: Column, data_type: T.DataType) -> Column:
    """Sort the entries of maps by their keys, at any depth; leave a column without maps as it is."""
    if not has_map(data_type):
        return column
    if isinstance(data_type, T.ArrayType):
        element_type = data_type.elementType
        return F.transform(column, lambda element: with_sorted_maps(element, element_type))
    if isinstance(data_type, T.StructType):
        inner = [with_sorted_maps(c, f.dataType).alias(f.name) for f, c in fields(column, data_type)]
        return F.when(column.isNotNull(), F.struct(*inner))
    assert isinstance(data_type, T.MapType)  # noqa: S101
    value_type = data_type.valueType
    # Files written elsewhere may have a key twice, which `map_from_arrays` would refuse.
    keys = F.array_sort(F.array_distinct(F.map_keys(column)))
    values = F.transform(keys, lambda key: with_sorted_maps(F.element_at(column, key), value_type))
    return F.map_from_arrays(keys, values)


def _has(data_type: T.DataType, texts: Texts) -> bool:
    if isinstance(data_type, T.ArrayType):
        return _has(data_type.elementType, texts)
    if isinstance(data_type, T.MapType):
        return _has(data_type.valueType, texts)
    if isinstance(data_type, T.StructType):
        return any(_has(f.dataType, texts) for f in data_type.fields)
    return type(data_type) in texts
