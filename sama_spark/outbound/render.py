"""Values to what their JSON has to say, as Column expressions in the JVM.

Each Spark type has one rendering or a refusal (`ContractError`, naming the column):

| Spark | string input or text output | integer input | date input | nested, or no schema |
| --- | --- | --- | --- | --- |
| string | as it is | its exact integer | YYYY-MM-DD, checked | as it is |
| byte to bigint | digits | 32 bit, checked | refused | number |
| decimal | its digits | where it is whole | refused | number |
| float, double | shortest text | where it is whole | refused | number |
| boolean | "true"/"false" | refused | refused | true/false |
| date | YYYY-MM-DD | refused | YYYY-MM-DD | YYYY-MM-DD |
| timestamp | RFC 3339 in UTC, microseconds | refused | refused | RFC 3339 in UTC, microseconds |
| timestamp_ntz | the same without a zone | refused | refused | the same without a zone |
| struct, map, array, variant | refused | refused | refused | JSON, null fields left out |
| binary, interval, others | refused | refused | refused | refused |

NaN and infinities, years outside 1 to 9999, nulls in required columns and texts that are no option of the
project make a row invalid. A null leaves its key out.

`values` has the same table for workers that hold Arrow batches and no JVM; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.api.errors import ContractError
from sama_spark.api.records import DATE_TEXT

if TYPE_CHECKING:
    from pyspark.sql import Column

    from sama_spark.outbound.contract import Rule

INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
FRACTIONS = (T.FloatType, T.DoubleType)
_NESTED = (T.StructType, T.ArrayType, T.MapType)

# `\z` and not `$`, which lets a line end stand behind it.
INTEGER_TEXT = r"^(0|-?[1-9][0-9]{0,9})\z"
NOT_FINITE = "is NaN or infinite, which JSON cannot hold"
NO_YEAR = "has a year outside 1 to 9999"
NO_INTEGER_TEXT = "is not the text of a 32-bit integer"
NO_DATE_TEXT = "is not a date of the form YYYY-MM-DD"


@dataclass(frozen=True)
class Value:
    """A rendered column, and what can be wrong with a row of it: condition and reason."""

    column: Column
    problems: tuple[tuple[Column, str], ...] = ()


def render(column: Column, data_type: T.DataType, rule: Rule, path: str) -> Value:
    """The column as the rule wants it; `path` names it in errors.

    Raises:
        ContractError: its type has no exact rendering.
    """
    if rule.kind == "string":
        value = _as_text(column, data_type, path)
    elif rule.kind == "integer":
        value = _as_integer(column, data_type, rule, path)
    elif rule.kind == "date":
        value = _as_date(column, data_type, path)
    elif rule.kind == "json" and not is_native_json(data_type):
        raise refusal(path, data_type, "a structured value", "a struct, array, map or variant, or JSON text")
    else:
        value = _as_json(column, data_type, path)
    if rule.options and rule.kind == "string":
        bad = ~value.column.isin(*rule.options)
        value = Value(value.column, (*value.problems, (bad, none_of(rule))))
    return value


def none_of(rule: Rule) -> str:
    options = ", ".join(rule.options[:10]) + (", ..." if len(rule.options) > 10 else "")
    return f"is none of the project's options: {options}"


def not_whole(rule: Rule) -> str:
    return f"is not a whole number from {rule.minimum} to {rule.maximum}"


def outside(rule: Rule) -> str:
    return f"is outside {rule.minimum} to {rule.maximum}"


def is_text(data_type: T.DataType) -> bool:
    return isinstance(data_type, (T.StringType, T.CharType, T.VarcharType))


def is_native_json(data_type: T.DataType) -> bool:
    return isinstance(data_type, _NESTED) or data_type.typeName() == "variant"


def _as_text(column: Column, data_type: T.DataType, path: str) -> Value:
    if is_text(data_type):
        return Value(column)
    if isinstance(data_type, (*INTEGERS, T.BooleanType)):
        return Value(column.cast("string"))
    if isinstance(data_type, T.DecimalType):
        return Value(_plain(column))
    if isinstance(data_type, FRACTIONS):
        return Value(column.cast("string"), (_not_finite(column),))
    if isinstance(data_type, (T.DateType, T.TimestampType, T.TimestampNTZType)):
        return _as_json(column, data_type, path)
    raise refusal(path, data_type, "text", "a string: to_json() for nested values, base64() for binary")


def _plain(decimal: Column) -> Column:
    """Without an exponent, as which Spark writes what is below a millionth, 1.5E-7, unless it follows ANSI."""
    text = decimal.cast("string")
    small = F.when(text.contains("E-"), text)
    digits = F.regexp_replace(small, r"[-.]|E.*", "")
    zeros = F.lit("0" * 38).substr(F.lit(1), F.substring_index(small, "E-", -1).cast("int") - 1)
    return F.coalesce(F.concat(F.when(decimal < 0, "-0.").otherwise("0."), zeros, digits), text)


def _as_integer(column: Column, data_type: T.DataType, rule: Rule, path: str) -> Value:
    no_problems: tuple[tuple[Column, str], ...] = ()
    if isinstance(data_type, INTEGERS):
        whole, problems = column, no_problems
    elif is_text(data_type):
        # At most ten digits reach the cast, which would fail on more under ANSI rules.
        is_integer = column.rlike(INTEGER_TEXT)
        whole = F.when(is_integer, column).cast("bigint")
        problems = ((~is_integer, NO_INTEGER_TEXT),)
    elif isinstance(data_type, (T.DecimalType, *FRACTIONS)):
        in_range = (column == F.floor(column)) & column.between(rule.minimum, rule.maximum)
        whole = F.when(in_range, column).cast("bigint")
        problems = ((~in_range, not_whole(rule)),)
    else:
        raise refusal(path, data_type, "an integer", "an integer column, cast as you mean it")
    out_of_range = ~whole.between(rule.minimum, rule.maximum)
    return Value(whole, (*problems, (out_of_range, outside(rule))))


def _as_date(column: Column, data_type: T.DataType, path: str) -> Value:
    if isinstance(data_type, T.DateType):
        return _as_json(column, data_type, path)
    if is_text(data_type):
        is_date = column.rlike(DATE_TEXT) & (F.try_to_timestamp(column, F.lit("yyyy-MM-dd")).isNotNull())
        return Value(column, ((column.isNotNull() & ~is_date, NO_DATE_TEXT),))
    raise refusal(path, data_type, "a date", "a date column (to_date()) or YYYY-MM-DD text")


def _as_json(column: Column, data_type: T.DataType, path: str) -> Value:
    """The value as to_json takes it, with what to_json would bend rendered or found."""
    if is_text(data_type) or isinstance(data_type, (*INTEGERS, T.BooleanType, T.DecimalType, T.NullType)):
        return Value(column)
    if data_type.typeName() == "variant":
        return Value(column)
    if isinstance(data_type, FRACTIONS):
        return Value(column, (_not_finite(column),))
    if isinstance(data_type, T.DateType):
        return Value(column.cast("string"), (_year_out_of_range(column),))
    if isinstance(data_type, T.TimestampType):
        # Through micros since the epoch: every other way to text follows the session's time zone.
        utc = F.expr("timestamp_ntz'1970-01-01 00:00:00'") + F.make_dt_interval(
            secs=F.unix_micros(column).cast("decimal(24,6)") / F.lit(1_000_000)
        )
        return Value(F.concat(_iso(utc), F.lit("Z")), (_year_out_of_range(utc),))
    if isinstance(data_type, T.TimestampNTZType):
        return Value(_iso(column), (_year_out_of_range(column),))
    if isinstance(data_type, T.ArrayType):
        return _array(column, data_type, path)
    if isinstance(data_type, T.StructType):
        return _struct(column, data_type, path)
    if isinstance(data_type, T.MapType):
        return _map(column, data_type, path)
    raise refusal(path, data_type, "JSON", "a type that JSON has: base64() for binary, a string for intervals")


def _array(column: Column, data_type: T.ArrayType, path: str) -> Value:
    def rendered_element(element: Column) -> Value:
        return _as_json(element, data_type.elementType, f"{path}[]")

    probe = rendered_element(F.lit(None).cast(data_type.elementType))
    rendered = F.transform(column, lambda e: rendered_element(e).column) if _bends(data_type.elementType) else column
    return Value(rendered, _found_in(lambda any_of: F.exists(column, any_of), rendered_element, probe))


def _map(column: Column, data_type: T.MapType, path: str) -> Value:
    if not (is_text(data_type.keyType) or isinstance(data_type.keyType, INTEGERS)):
        raise refusal(path, data_type, "JSON", "a map with string or integer keys")

    def rendered_value(value: Column) -> Value:
        return _as_json(value, data_type.valueType, f"{path}{{}}")

    probe = rendered_value(F.lit(None).cast(data_type.valueType))
    bends = _bends(data_type.valueType)
    rendered = F.transform_values(column, lambda _, v: rendered_value(v).column) if bends else column
    return Value(rendered, _found_in(lambda any_of: F.exists(F.map_values(column), any_of), rendered_value, probe))


def _struct(column: Column, data_type: T.StructType, path: str) -> Value:
    names = data_type.fieldNames()
    if len(set(names)) < len(names):
        raise refusal(path, data_type, "JSON", "a struct whose fields have different names")
    values = [_as_json(column.getField(f.name), f.dataType, f"{path}.{f.name}") for f in data_type.fields]
    rendered = column
    if _bends(data_type):
        fields = F.struct(*(v.column.alias(n) for v, n in zip(values, names, strict=True)))
        rendered = F.when(column.isNotNull(), fields)
    return Value(rendered, tuple(p for v in values for p in v.problems))


def _found_in(
    exists: Callable[[Callable[[Column], Column]], Column],
    render: Callable[[Column], Value],
    probe: Value,
) -> tuple[tuple[Column, str], ...]:
    def nth(i: int) -> Callable[[Column], Column]:
        return lambda element: F.coalesce(render(element).problems[i][0], F.lit(False))

    return tuple((exists(nth(i)), reason) for i, (_, reason) in enumerate(probe.problems))


def _bends(data_type: T.DataType) -> bool:
    """Whether to_json alone would not give the documented rendering."""
    if isinstance(data_type, T.ArrayType):
        return _bends(data_type.elementType)
    if isinstance(data_type, T.MapType):
        return _bends(data_type.valueType)
    if isinstance(data_type, T.StructType):
        return any(_bends(f.dataType) for f in data_type.fields)
    return isinstance(data_type, (T.DateType, T.TimestampType, T.TimestampNTZType))


def _iso(timestamp_ntz: Column) -> Column:
    return F.replace(timestamp_ntz.cast("string"), F.lit(" "), F.lit("T"))


def _not_finite(column: Column) -> tuple[Column, str]:
    beyond = F.abs(column.cast("double")) == F.lit(float("inf"))
    return F.isnan(column) | beyond, NOT_FINITE


def _year_out_of_range(column: Column) -> tuple[Column, str]:
    return ~F.year(column).between(1, 9999), NO_YEAR


def refusal(path: str, data_type: T.DataType, wanted: str, remedy: str) -> ContractError:
    return ContractError(
        f"column {path!r} is {data_type.simpleString()[:100]}, which has no exact rendering as {wanted}",
        column=path,
        remedy=f"give {remedy}",
    )
