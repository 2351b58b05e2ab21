"""Text and JSON of values, by expressions that no setting of the session, the cluster or the workspace reaches.

Session settings must not change what is sent, the keys in an outbox, or what is read back. Such settings are
`spark.sql.jsonGenerator.ignoreNullFields`, ANSI rules, time zones, `timeParserPolicy` and collations. So all code calls
the `to_json` of this module, gives casts a type object (a type's name would be parsed by the session's rules), and
writes dates, moments and decimals by this module's expressions.

`exact_values` does the same for Python values.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

if TYPE_CHECKING:
    from pyspark.sql import Column

Changes = Mapping[type[T.DataType], Callable[["Column"], "Column"]]
"""For some types, what becomes of a value."""

TEXT = T.StringType()
INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
FRACTIONS = (T.FloatType, T.DoubleType)
_FLAT = (*INTEGERS, *FRACTIONS, T.DecimalType, T.BooleanType, T.DateType, T.TimestampType, T.TimestampNTZType)
# Dates that exist, because Spark's parsers depend on the session's policy and time zone. `\z` and not `$`, which allows
# a line end behind the text.
DATE_TEXT = (
    r"^(?!0000)(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    r"|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)\z"
)

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


def wrapped_json(value: Column) -> Column:
    """Return {"v":value} as JSON, since `to_json` takes no flat values; {} for null."""
    return to_json(F.struct(value.alias("v")))


def value_json(value: Column) -> Column:
    """Return the JSON of a value of any type that JSON has, empty for null."""
    wrapped = wrapped_json(value)
    return F.substr(wrapped, F.lit(6), F.length(wrapped) - 6)


def is_text(data_type: T.DataType) -> bool:
    """Return whether values of this type are strings, of whatever collation or length."""
    return isinstance(data_type, (T.StringType, T.CharType, T.VarcharType))


def is_flat(data_type: T.DataType) -> bool:
    """Return whether `text` can write values of this type."""
    return is_text(data_type) or isinstance(data_type, _FLAT)


# --- plain types


def plain_type(data_type: T.DataType) -> T.DataType:
    """Return the type without collations, lengths, voids (all STRING then) and negative scales, all of it nullable."""
    return rebuilt(data_type, _plain_part)


def _plain_part(part: T.DataType) -> T.DataType:
    if is_text(part) or isinstance(part, T.NullType):
        return TEXT
    if isinstance(part, T.DecimalType) and part.scale < 0:
        return T.DecimalType(min(part.precision - part.scale, 38), 0)
    return T.MapType(plain_type(part.keyType), part.valueType) if isinstance(part, T.MapType) else part


def rebuilt(data_type: T.DataType, change: Callable[[T.DataType], T.DataType]) -> T.DataType:
    """Rebuild a type from the inside out: apply `change` to each part after the parts within it, but not to keys."""
    if isinstance(data_type, T.ArrayType):
        data_type = T.ArrayType(rebuilt(data_type.elementType, change))
    elif isinstance(data_type, T.MapType):
        data_type = T.MapType(data_type.keyType, rebuilt(data_type.valueType, change))
    elif isinstance(data_type, T.StructType):
        data_type = T.StructType([T.StructField(f.name, rebuilt(f.dataType, change)) for f in data_type.fields])
    return change(data_type)


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


ISO: Changes = {T.DateType: day, T.TimestampType: _moment, T.TimestampNTZType: wall}
# As `to_json` writes them by default and by `_JSON`, even if a session says LEGACY.
AS_JSON: Changes = {T.DateType: day, T.TimestampType: _moment_of_micros}


# --- values within values


def changed(column: Column, data_type: T.DataType, changes: Changes) -> Column:
    """Change the values of the types in `changes`, at any depth; leave a column without such types as it is."""
    if type_with_texts(data_type, changes) == data_type:
        return column
    if isinstance(data_type, T.ArrayType):
        element_type = data_type.elementType
        return F.transform(column, lambda element: changed(element, element_type, changes))
    if isinstance(data_type, T.MapType):
        value_type = data_type.valueType
        return F.transform_values(column, lambda _, value: changed(value, value_type, changes))
    if isinstance(data_type, T.StructType):
        inner = [changed(c, f.dataType, changes).alias(f.name) for f, c in fields(column, data_type)]
        return F.when(column.isNotNull(), F.struct(*inner))
    return changes[type(data_type)](column)


def type_with_texts(data_type: T.DataType, texts: Container[type[T.DataType]]) -> T.DataType:
    """Return the type with STRING in place of the types in `texts`."""
    return rebuilt(data_type, lambda part: TEXT if type(part) in texts else part)


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
