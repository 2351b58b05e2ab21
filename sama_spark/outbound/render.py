"""Renders each Spark type as JSON, by Column expressions in the JVM.

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

A string may have any collation or length. A column of type VOID counts as one of null strings. A null leaves its key
out. `problems` lists what makes a row invalid.

`render_values` follows the same table where there is no JVM. A property test compares the two.

To add a type:

    this table, and `_problems`
    exact               `_FLAT` if a value is one text; `ISO` if a cast to STRING writes it another way; `AS_JSON` if
                        `to_json` does
    exact_values        the same, for values in Python
    render_values       `_WITHOUT_PROBLEMS` or `_WITH_PROBLEMS`
    arrow_values        `_as_numbers` if values can lie outside of Python's own type
    output_schemas      `_kinds`
    row_keys            `_KEY_TYPES` if a value can be a row key
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact
from sama_spark.errors import ContractError
from sama_spark.exact import FRACTIONS, INTEGERS, is_text

if TYPE_CHECKING:
    from pyspark.sql import Column

    from sama_spark.outbound.creation_schema import Rule

_NESTED = (T.StructType, T.ArrayType, T.MapType)

INTEGER_TEXT = r"^(0|-?[1-9][0-9]{0,9})\z"
_WHOLE_DECIMAL = r"^-?[0-9]+(\.0+)?\z"
NOT_FINITE = "is NaN or infinite, which JSON cannot hold"
NO_YEAR = "has a year outside 1 to 9999"
NO_INTEGER_TEXT = "is not the text of a 32-bit integer"
NO_DATE_TEXT = "is not a date of the form YYYY-MM-DD"


Conditions = tuple[tuple["Column", str], ...]


@dataclass(frozen=True)
class Value:
    """A rendered column, its type, and what can be wrong with its values: condition and reason."""

    column: Column
    data_type: T.DataType
    problems: Conditions = ()


def render(column: Column, data_type: T.DataType, rule: Rule, path: str) -> Value:
    """Return the column as the rule wants it; unchanged if the values are that already.

    Args:
        column: the column to render.
        data_type: its type, a plain one (`exact.plain_type`).
        rule: what its values have to be.
        path: its name in errors.

    Raises:
        ContractError: the type has no exact rendering.
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
        value = Value(value.column, value.data_type, (*value.problems, (bad, none_of(rule))))
    return value


def none_of(rule: Rule) -> str:
    """Return the reason for a text that is none of the rule's options."""
    options = ", ".join(rule.options[:10]) + (", ..." if len(rule.options) > 10 else "")
    return f"is none of the project's options: {options}"


def not_whole(rule: Rule) -> str:
    """Return the reason for a decimal or float that is no whole number in the rule's range."""
    return f"is not a whole number from {rule.minimum} to {rule.maximum}"


def outside(rule: Rule) -> str:
    """Return the reason for an integer outside of the rule's range."""
    return f"is outside {rule.minimum} to {rule.maximum}"


def is_native_json(data_type: T.DataType) -> bool:
    """Return whether values of this type are JSON objects, arrays or any JSON: structs, maps, arrays and variants."""
    return isinstance(data_type, _NESTED) or data_type.typeName() == "variant"


def _as_text(column: Column, data_type: T.DataType, path: str) -> Value:
    if not exact.is_flat(data_type):
        raise refusal(path, data_type, "text", "a string: to_json() for nested values, base64() for binary")
    return Value(exact.text(column, data_type), exact.TEXT, _problems(column, data_type, path))


def _as_integer(column: Column, data_type: T.DataType, rule: Rule, path: str) -> Value:
    problems: Conditions = ()
    if isinstance(data_type, INTEGERS):
        whole, whole_type = column, data_type
    elif is_text(data_type):
        # At most ten digits reach the cast: under ANSI rules it would fail on more.
        is_integer = column.rlike(INTEGER_TEXT)
        whole, whole_type = F.when(is_integer, column).cast(T.LongType()), T.LongType()
        problems = ((~is_integer, NO_INTEGER_TEXT),)
    elif isinstance(data_type, (T.DecimalType, *FRACTIONS)):
        is_decimal = isinstance(data_type, T.DecimalType)  # a comparison of two decimals may round them
        no_fraction = exact.text(column, data_type).rlike(_WHOLE_DECIMAL) if is_decimal else column == F.floor(column)
        in_range = no_fraction & column.between(rule.minimum, rule.maximum)
        whole, whole_type = F.when(in_range, column).cast(T.LongType()), T.LongType()
        problems = ((~in_range, not_whole(rule)),)
    else:
        raise refusal(path, data_type, "an integer", "an integer column, cast as you mean it")
    out_of_range = ~whole.between(rule.minimum, rule.maximum)
    return Value(whole, whole_type, (*problems, (out_of_range, outside(rule))))


def _as_date(column: Column, data_type: T.DataType, path: str) -> Value:
    if isinstance(data_type, T.DateType):
        return _as_json(column, data_type, path)
    if is_text(data_type):
        return Value(column, data_type, ((~column.rlike(exact.DATE_TEXT), NO_DATE_TEXT),))
    raise refusal(path, data_type, "a date", "a date column (to_date()) or YYYY-MM-DD text")


def _as_json(column: Column, data_type: T.DataType, path: str) -> Value:
    """Return the value for `to_json`: what `to_json` would change is rendered before, or reported as a problem."""
    rendered = exact.changed(column, data_type, exact.ISO)
    return Value(rendered, exact.type_with_texts(data_type, exact.ISO), _problems(column, data_type, path))


def _problems(column: Column, data_type: T.DataType, path: str) -> Conditions:
    """Return what JSON cannot hold in the value, at any depth."""
    check_object(data_type, path)
    is_plain = is_text(data_type) or isinstance(data_type, (*INTEGERS, T.BooleanType, T.DecimalType))
    if is_plain or data_type.typeName() == "variant":
        return ()
    if isinstance(data_type, FRACTIONS):
        return (_not_finite(column),)
    if isinstance(data_type, (T.DateType, T.TimestampNTZType)):
        return (_year_out_of_range(column),)
    if isinstance(data_type, T.TimestampType):
        return (_year_out_of_range(exact.utc(column)),)
    if isinstance(data_type, T.ArrayType):
        return _found_in(column, data_type.elementType, f"{path}[]")
    if isinstance(data_type, T.MapType):
        return _found_in(F.map_values(column), data_type.valueType, f"{path}{{}}")
    if isinstance(data_type, T.StructType):
        inner = exact.fields(column, data_type)
        return tuple(p for f, value in inner for p in _problems(value, f.dataType, f"{path}.{f.name}"))
    raise refusal(path, data_type, "JSON", "a type that JSON has: base64() for binary, a string for intervals")


def _found_in(elements: Column, data_type: T.DataType, path: str) -> Conditions:
    probe = _problems(F.lit(None).cast(data_type), data_type, path)

    def nth(i: int) -> Callable[[Column], Column]:
        return lambda element: F.coalesce(_problems(element, data_type, path)[i][0], F.lit(False))

    return tuple((F.exists(elements, nth(i)), reason) for i, (_, reason) in enumerate(probe))


def _not_finite(column: Column) -> tuple[Column, str]:
    beyond = F.abs(column.cast(T.DoubleType())) == F.lit(float("inf"))
    return F.isnan(column) | beyond, NOT_FINITE


def _year_out_of_range(column: Column) -> tuple[Column, str]:
    return ~F.year(column).between(1, 9999), NO_YEAR


def check_object(data_type: T.DataType, path: str) -> None:
    """Refuse a struct or map that no JSON object can hold.

    Raises:
        ContractError: a struct has two fields of one name, or a map has other keys than text and integers.
    """
    if isinstance(data_type, T.StructType) and len(set(data_type.fieldNames())) < len(data_type.fields):
        raise refusal(path, data_type, "JSON", "a struct whose fields have different names")
    keys = data_type.keyType if isinstance(data_type, T.MapType) else exact.TEXT
    if not (is_text(keys) or isinstance(keys, INTEGERS)):
        raise refusal(path, data_type, "JSON", "a map with string or integer keys")


def refusal(path: str, data_type: T.DataType, wanted: str, remedy: str) -> ContractError:
    """Return the error for a type without an exact rendering as `wanted`; `remedy` says what to give instead."""
    return ContractError(
        f"column {path!r} is {data_type.simpleString()[:100]}, which has no exact rendering as {wanted}",
        column=path,
        remedy=f"give {remedy}",
    )
