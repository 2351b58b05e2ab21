"""Rows to task JSON, as Column expressions in the JVM.

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
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.api.errors import ContractError
from sama_spark.outbound.contract import OUTPUT_PREFIX, Contract, OutputFormat, Rule

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FLAT, PROBLEM = "flat", "problem"
SpliceMode = Literal["json", "auto"]

_INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_FRACTIONS = (T.FloatType, T.DoubleType)
_NESTED = (T.StructType, T.ArrayType, T.MapType)
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class EncodedRows:
    """`rows` has a row per task: `flat` (JSON object of `data`), `problem` (JSON or null), then the spliced texts.

    `spliced`: name and mode of each text that the worker puts into `data` unparsed, in column order.
    `output_rules`: for each output, how its value travels and why.
    """

    rows: DataFrame
    spliced: tuple[tuple[str, SpliceMode], ...]
    output_rules: Mapping[str, str]


def encode(df: DataFrame, contract: Contract, output_formats: Mapping[str, OutputFormat]) -> EncodedRows:
    """Plan the encoding of `df`; nothing is computed. `output_formats`: the user's word on `output_` text."""
    contract.check_columns(df.columns, output_formats)
    # By position: names may hold dots or backticks, or differ only in case.
    positional = df.toDF(*(f"c{i}" for i in range(len(df.columns))))
    flat: list[Column] = []
    spliced: list[tuple[str, SpliceMode, Column]] = []
    problems: list[tuple[str, Column, str, Column]] = []
    rules: dict[str, str] = {}
    for i, field in enumerate(df.schema.fields):
        column = F.col(f"c{i}")
        rule = contract.rule(field.name)
        if field.name.startswith(OUTPUT_PREFIX):
            name = field.name.removeprefix(OUTPUT_PREFIX)
            rule, rules[name] = _output_rule(rule, field.dataType, output_formats.get(name))
        if rule.required:
            problems.append((field.name, column.isNull(), "is null, and the project requires a value", column))
        if field.name.startswith(OUTPUT_PREFIX) and _is_spliced(rule, field.dataType):
            spliced.append((field.name, "json" if rule.kind == "json" else "auto", column))
            continue
        value = _render(column, field.dataType, rule, field.name)
        problems += [(field.name, bad, reason, column) for bad, reason in value.problems]
        flat.append(value.column.alias(field.name))
    return EncodedRows(
        rows=positional.select(
            (F.to_json(F.struct(*flat)) if flat else F.lit("{}")).cast("binary").alias(FLAT),
            _first_problem(problems).cast("binary").alias(PROBLEM),
            *(column.cast("binary").alias(f"s{i}") for i, (_, _, column) in enumerate(spliced)),
        ),
        spliced=tuple((name, mode) for name, mode, _ in spliced),
        output_rules=rules,
    )


def _output_rule(rule: Rule, data_type: T.DataType, chosen: OutputFormat | None) -> tuple[Rule, str]:
    if chosen is not None:
        kind: Literal["json", "string"] = "json" if chosen == "json" else "string"
        return Rule(kind=kind, required=rule.required), f"{chosen}, as asked"
    if _is_native_json(data_type) and rule.kind in ("json", "any"):
        return rule, f"JSON, from a column of type {data_type.typeName()}"
    if rule.kind == "json":
        return rule, f"JSON text, because {rule.because}"
    if rule.kind == "any":
        how = "JSON where the text is an object or array, else text" if _is_text(data_type) else "as it is"
        return rule, f"{how}: {rule.because}"
    return rule, f"text, because {rule.because}"


def _is_spliced(rule: Rule, data_type: T.DataType) -> bool:
    return _is_text(data_type) and rule.kind in ("json", "any")


def _is_text(data_type: T.DataType) -> bool:
    return isinstance(data_type, (T.StringType, T.CharType, T.VarcharType))


def _is_native_json(data_type: T.DataType) -> bool:
    return isinstance(data_type, _NESTED) or data_type.typeName() == "variant"


def _first_problem(problems: list[tuple[str, Column, str, Column]]) -> Column:
    if not problems:
        return F.lit(None).cast("string")
    return F.coalesce(
        *(
            F.when(
                bad,
                F.to_json(
                    F.struct(
                        F.lit(name).alias("column"),
                        F.lit(reason).alias("reason"),
                        F.substring(F.to_json(F.struct(column.alias("v"))), 6, _SHOWN_CHARACTERS).alias("value"),
                    )
                ),
            )
            for name, bad, reason, column in problems
        )
    )


@dataclass(frozen=True)
class _Value:
    column: Column
    problems: tuple[tuple[Column, str], ...] = ()


def _render(column: Column, data_type: T.DataType, rule: Rule, path: str) -> _Value:
    if rule.kind == "string":
        value = _as_text(column, data_type, path)
    elif rule.kind == "integer":
        value = _as_integer(column, data_type, rule, path)
    elif rule.kind == "date":
        value = _as_date(column, data_type, path)
    elif rule.kind == "json" and not _is_native_json(data_type):
        raise _refusal(path, data_type, "a structured value", "a struct, array, map or variant, or JSON text")
    else:
        value = _as_json(column, data_type, path)
    if rule.options and rule.kind == "string":
        options = ", ".join(rule.options[:10]) + (", ..." if len(rule.options) > 10 else "")
        bad = ~value.column.isin(*rule.options)
        value = _Value(value.column, (*value.problems, (bad, f"is none of the project's options: {options}")))
    return value


def _as_text(column: Column, data_type: T.DataType, path: str) -> _Value:
    if _is_text(data_type):
        return _Value(column)
    if isinstance(data_type, (*_INTEGERS, T.BooleanType, T.DecimalType)):
        return _Value(column.cast("string"))
    if isinstance(data_type, _FRACTIONS):
        return _Value(column.cast("string"), (_not_finite(column),))
    if isinstance(data_type, (T.DateType, T.TimestampType, T.TimestampNTZType)):
        return _as_json(column, data_type, path)
    raise _refusal(path, data_type, "text", "a string: to_json() for nested values, base64() for binary")


def _as_integer(column: Column, data_type: T.DataType, rule: Rule, path: str) -> _Value:
    no_problems: tuple[tuple[Column, str], ...] = ()
    if isinstance(data_type, _INTEGERS):
        whole, problems = column, no_problems
    elif _is_text(data_type):
        # At most ten digits reach the cast, which would fail on more under ANSI rules.
        is_integer = column.rlike("^(0|-?[1-9][0-9]{0,9})$")
        whole = F.when(is_integer, column).cast("bigint")
        problems = ((~is_integer, "is not the text of a 32-bit integer"),)
    elif isinstance(data_type, (T.DecimalType, *_FRACTIONS)):
        in_range = (column == F.floor(column)) & column.between(rule.minimum, rule.maximum)
        whole = F.when(in_range, column).cast("bigint")
        problems = ((~in_range, f"is not a whole number from {rule.minimum} to {rule.maximum}"),)
    else:
        raise _refusal(path, data_type, "an integer", "an integer column, cast as you mean it")
    out_of_range = ~whole.between(rule.minimum, rule.maximum)
    reason = f"is outside {rule.minimum} to {rule.maximum}"
    return _Value(whole, (*problems, (out_of_range, reason)))


def _as_date(column: Column, data_type: T.DataType, path: str) -> _Value:
    if isinstance(data_type, T.DateType):
        return _as_json(column, data_type, path)
    if _is_text(data_type):
        is_date = column.rlike("^[0-9]{4}-[0-9]{2}-[0-9]{2}$") & (
            F.try_to_timestamp(column, F.lit("yyyy-MM-dd")).isNotNull()
        )
        return _Value(column, ((column.isNotNull() & ~is_date, "is not a date of the form YYYY-MM-DD"),))
    raise _refusal(path, data_type, "a date", "a date column (to_date()) or YYYY-MM-DD text")


def _as_json(column: Column, data_type: T.DataType, path: str) -> _Value:
    """The value as to_json takes it, with what to_json would bend rendered or found."""
    if _is_text(data_type) or isinstance(data_type, (*_INTEGERS, T.BooleanType, T.DecimalType, T.NullType)):
        return _Value(column)
    if data_type.typeName() == "variant":
        return _Value(column)
    if isinstance(data_type, _FRACTIONS):
        return _Value(column, (_not_finite(column),))
    if isinstance(data_type, T.DateType):
        return _Value(column.cast("string"), (_year_out_of_range(column),))
    if isinstance(data_type, T.TimestampType):
        # Through micros since the epoch: every other way to text follows the session's time zone.
        utc = F.expr("timestamp_ntz'1970-01-01 00:00:00'") + F.make_dt_interval(
            secs=F.unix_micros(column).cast("decimal(24,6)") / F.lit(1_000_000)
        )
        return _Value(F.concat(_iso(utc), F.lit("Z")), (_year_out_of_range(utc),))
    if isinstance(data_type, T.TimestampNTZType):
        return _Value(_iso(column), (_year_out_of_range(column),))
    if isinstance(data_type, T.ArrayType):
        return _array(column, data_type, path)
    if isinstance(data_type, T.StructType):
        return _struct(column, data_type, path)
    if isinstance(data_type, T.MapType):
        return _map(column, data_type, path)
    raise _refusal(path, data_type, "JSON", "a type that JSON has: base64() for binary, a string for intervals")


def _array(column: Column, data_type: T.ArrayType, path: str) -> _Value:
    def render(element: Column) -> _Value:
        return _as_json(element, data_type.elementType, f"{path}[]")

    probe = render(F.lit(None).cast(data_type.elementType))
    rendered = F.transform(column, lambda e: render(e).column) if _bends(data_type.elementType) else column
    return _Value(rendered, _found_in(lambda any_of: F.exists(column, any_of), render, probe))


def _map(column: Column, data_type: T.MapType, path: str) -> _Value:
    if not (_is_text(data_type.keyType) or isinstance(data_type.keyType, _INTEGERS)):
        raise _refusal(path, data_type, "JSON", "a map with string or integer keys")

    def render(value: Column) -> _Value:
        return _as_json(value, data_type.valueType, f"{path}{{}}")

    probe = render(F.lit(None).cast(data_type.valueType))
    bends = _bends(data_type.valueType)
    rendered = F.transform_values(column, lambda _, v: render(v).column) if bends else column
    return _Value(rendered, _found_in(lambda any_of: F.exists(F.map_values(column), any_of), render, probe))


def _struct(column: Column, data_type: T.StructType, path: str) -> _Value:
    names = data_type.fieldNames()
    if len(set(names)) < len(names):
        raise _refusal(path, data_type, "JSON", "a struct whose fields have different names")
    values = [_as_json(column.getField(f.name), f.dataType, f"{path}.{f.name}") for f in data_type.fields]
    rendered = column
    if _bends(data_type):
        fields = F.struct(*(v.column.alias(n) for v, n in zip(values, names, strict=True)))
        rendered = F.when(column.isNotNull(), fields)
    return _Value(rendered, tuple(p for v in values for p in v.problems))


def _found_in(
    exists: Callable[[Callable[[Column], Column]], Column],
    render: Callable[[Column], _Value],
    probe: _Value,
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
    return F.isnan(column) | beyond, "is NaN or infinite, which JSON cannot hold"


def _year_out_of_range(column: Column) -> tuple[Column, str]:
    return ~F.year(column).between(1, 9999), "has a year outside 1 to 9999"


def _refusal(path: str, data_type: T.DataType, wanted: str, remedy: str) -> ContractError:
    return ContractError(
        f"column {path!r} is {data_type.simpleString()[:100]}, which has no exact rendering as {wanted}",
        column=path,
        remedy=f"give {remedy}",
    )
