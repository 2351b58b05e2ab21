"""Python values to JSON by their Spark type: the table of `render`, where there is no JVM.

It gives the same bytes, refusals and problems as `render`, with two exceptions: it refuses VARIANT, and the digits of
some floats differ (see `exact_values`). A property test compares the two.

A value is what `collect()` or Arrow's `to_pylist()` gives. A date may also be the days since 1970 and a timestamp the
microseconds since 1970 in UTC; a datetime without a zone is taken as UTC. Whoever has timestamps in another zone
converts them first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import isfinite
from typing import Any, NamedTuple

from pyspark.sql import types as T

from sama_spark import exact_values as exact
from sama_spark.exact import DATE_TEXT, FRACTIONS, INTEGERS, is_flat, is_text
from sama_spark.exact_values import quoted
from sama_spark.outbound.creation_schema import Rule
from sama_spark.outbound.render import (
    INTEGER_TEXT,
    NO_DATE_TEXT,
    NO_INTEGER_TEXT,
    NO_YEAR,
    NOT_FINITE,
    check_object,
    is_native_json,
    none_of,
    not_whole,
    outside,
    refusal,
)

ProblemsFound = list[tuple[int, str]]
"""The problems of a value: each with its place in the order of `render`, and its reason."""

Write = Callable[[Any, ProblemsFound], bytes]
"""Takes a value that is not null, appends its problems and returns its JSON, or nothing where a problem leaves none.
Workers unpickle it, so it is made of module functions."""

_integer_text = re.compile(INTEGER_TEXT.replace(r"\z", r"\Z"), re.ASCII).match
_date_text = re.compile(DATE_TEXT.replace(r"\z", r"\Z"), re.ASCII).match


class Rendered(NamedTuple):
    """The JSON of a column's values, None for nulls, and the first problem of each row that has one."""

    json: list[bytes | None]
    problems: Mapping[int, str]


@dataclass(frozen=True)
class Renderer:
    """Renders the values of one column."""

    write: Write

    def of(self, values: Iterable[Any]) -> Rendered:
        """Return the JSON of these values, and what is wrong with them."""
        json: list[bytes | None] = []
        problems: dict[int, str] = {}
        found: ProblemsFound = []
        for row, value in enumerate(values):
            json.append(None if value is None else self.write(value, found) or None)
            if found:
                problems[row] = min(found)[1]
                found.clear()
        return Rendered(json, problems)


def renderer(data_type: T.DataType, rule: Rule, path: str) -> Renderer:
    """Return what renders values of a plain type as the rule wants them. `path` names the column in errors.

    Raises:
        ContractError: the type has no exact rendering.
    """
    if rule.kind == "string":
        write = _as_text(data_type, path)
        if rule.options:
            options = frozenset(map(quoted, rule.options))
            write = partial(_one_of, write=write, options=options, reason=none_of(rule))
    elif rule.kind == "integer":
        write = _as_integer(data_type, rule, path)
    elif rule.kind == "date":
        write = _as_date(data_type, path)
    elif rule.kind == "json" and not is_native_json(data_type):
        raise refusal(path, data_type, "a structured value", "a struct, array, map or variant, or JSON text")
    else:
        write = _as_json(data_type, path, count())
    return Renderer(write)


def _as_json(data_type: T.DataType, path: str, places: Iterator[int]) -> Write:
    """Return what writes values of this type where no schema says more. `places` numbers the problems."""
    check_object(data_type, path)
    if is_text(data_type):
        return _text
    for kind, write in _WITHOUT_PROBLEMS.items():
        if isinstance(data_type, kind):
            return write
    if type(data_type) in _WITH_PROBLEMS:
        return partial(_WITH_PROBLEMS[type(data_type)], place=next(places))
    if isinstance(data_type, T.ArrayType):
        return partial(_array, element=_as_json(data_type.elementType, f"{path}[]", places))
    if isinstance(data_type, T.StructType):
        members = [(quoted(f.name) + b":", _as_json(f.dataType, f"{path}.{f.name}", places)) for f in data_type.fields]
        return partial(_struct, members=tuple(members))
    if isinstance(data_type, T.MapType):
        return partial(_map, element=_as_json(data_type.valueType, f"{path}{{}}", places))
    if data_type.typeName() == "variant":
        raise refusal(
            path, data_type, "JSON in a writer", "its text (to_json()), or use Client.create_task_batch_from_table"
        )
    raise refusal(path, data_type, "JSON", "a type that JSON has: base64() for binary, a string for intervals")


def _as_text(data_type: T.DataType, path: str) -> Write:
    if not is_flat(data_type):
        raise refusal(path, data_type, "text", "a string: to_json() for nested values, base64() for binary")
    if isinstance(data_type, T.DecimalType):
        return _digits_in_quotes
    write = _as_json(data_type, path, count())
    return write if write is _text else partial(_in_quotes, write=write)


def _as_integer(data_type: T.DataType, rule: Rule, path: str) -> Write:
    if isinstance(data_type, INTEGERS):
        return partial(_integer_in_range, rule=rule)
    if is_text(data_type):
        return partial(_integer_of_text, rule=rule)
    if isinstance(data_type, (T.DecimalType, *FRACTIONS)):
        return partial(_whole, rule=rule)
    raise refusal(path, data_type, "an integer", "an integer column, cast as you mean it")


def _as_date(data_type: T.DataType, path: str) -> Write:
    if isinstance(data_type, T.DateType):
        return partial(_day, place=0)
    if is_text(data_type):
        return _date_of_text
    raise refusal(path, data_type, "a date", "a date column (to_date()) or YYYY-MM-DD text")


# --- flat values


def _text(value: str, _: ProblemsFound) -> bytes:
    return quoted(value)


def _integer(value: int, _: ProblemsFound) -> bytes:
    return b"%d" % value


def _boolean(value: bool, _: ProblemsFound) -> bytes:
    return b"true" if value else b"false"


def _decimal(value: Any, _: ProblemsFound) -> bytes:
    return str(value).encode()  # with an exponent below a millionth, as `to_json` writes it


def _digits_in_quotes(value: Any, _: ProblemsFound) -> bytes:
    return b'"%b"' % exact.digits(value).encode()


def _double(value: float, found: ProblemsFound, place: int) -> bytes:
    if isfinite(value):
        return exact.double(value).encode()
    found.append((place, NOT_FINITE))
    return b'"%b"' % exact.double(value).encode()


def _single(value: float, found: ProblemsFound, place: int) -> bytes:
    return exact.single(value).encode() if isfinite(value) else _double(value, found, place)


def _day(value: Any, found: ProblemsFound, place: int) -> bytes:
    days = exact.day_number(value)
    if not exact.has_year(days):
        found.append((place, NO_YEAR))
    return b'"%b"' % exact.day(days).encode()


def _moment(value: Any, found: ProblemsFound, place: int, zone: bytes) -> bytes:
    micros = exact.micros(value)
    if not exact.has_year(exact.day_of(micros)):
        found.append((place, NO_YEAR))
    return b'"%b%b"' % (exact.moment(micros).encode(), zone)


_WITHOUT_PROBLEMS: Mapping[type[T.DataType] | tuple[type[T.DataType], ...], Write] = {
    INTEGERS: _integer,
    T.BooleanType: _boolean,
    T.DecimalType: _decimal,
}
_WITH_PROBLEMS: Mapping[type[T.DataType], Callable[..., bytes]] = {
    T.FloatType: _single,
    T.DoubleType: _double,
    T.DateType: _day,
    T.TimestampType: partial(_moment, zone=b"Z"),
    T.TimestampNTZType: partial(_moment, zone=b""),
}

# --- nested values


def _array(values: Iterable[Any], found: ProblemsFound, element: Write) -> bytes:
    return b"[" + b",".join([b"null" if v is None else element(v, found) for v in values]) + b"]"


def _map(values: Any, found: ProblemsFound, element: Write) -> bytes:
    pairs = values.items() if isinstance(values, Mapping) else values
    members = [quoted(str(k)) + (b":null" if v is None else b":%b" % element(v, found)) for k, v in pairs]
    return b"{" + b",".join(members) + b"}"


def _struct(values: Any, found: ProblemsFound, members: tuple[tuple[bytes, Write], ...]) -> bytes:
    parts = values.values() if isinstance(values, Mapping) else values
    there = [key + write(v, found) for (key, write), v in zip(members, parts, strict=True) if v is not None]
    return b"{" + b",".join(there) + b"}"


# --- by a rule


def _in_quotes(value: Any, found: ProblemsFound, write: Write) -> bytes:
    json = write(value, found)
    return json if json[:1] == b'"' else b'"%b"' % json


def _one_of(value: Any, found: ProblemsFound, write: Write, options: frozenset[bytes], reason: str) -> bytes:
    json = write(value, found)
    if json not in options:
        found.append((1, reason))
    return json


def _integer_in_range(value: int, found: ProblemsFound, rule: Rule) -> bytes:
    if not rule.minimum <= value <= rule.maximum:
        found.append((1, outside(rule)))
    return b"%d" % value


def _integer_of_text(value: str, found: ProblemsFound, rule: Rule) -> bytes:
    if _integer_text(value):
        return _integer_in_range(int(value), found, rule)
    found.append((0, NO_INTEGER_TEXT))
    return b""


def _whole(value: Any, found: ProblemsFound, rule: Rule) -> bytes:
    if isfinite(value) and value == int(value) and rule.minimum <= value <= rule.maximum:
        return b"%d" % int(value)
    found.append((0, not_whole(rule)))
    return b""


def _date_of_text(value: str, found: ProblemsFound) -> bytes:
    if not _date_text(value):
        found.append((0, NO_DATE_TEXT))
    return quoted(value)
