"""Arrow columns to what their JSON has to say: the table of `render`, for workers that hold no JVM columns.

The text of a float or double is the shortest that reads back as the same number. Java before 19 writes a digit more
for a few numbers beyond 1e9 (float) or 1e16 (double), and so `render` does there; both read back alike.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

import msgspec
from pyspark.sql import types as T

from sama_spark.outbound.render import (
    DATE_TEXT,
    FRACTIONS,
    INTEGER_TEXT,
    INTEGERS,
    NO_DATE_TEXT,
    NO_INTEGER_TEXT,
    NO_YEAR,
    NOT_FINITE,
    is_native_json,
    is_text,
    none_of,
    not_whole,
    outside,
    refusal,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from sama_spark.outbound.contract import Rule

Json = list[bytes | None]


@dataclass(frozen=True)
class Rendered:
    """A column's JSON, None for null, and what is wrong: positions and reason, in the order of `render.Value`."""

    json: Json
    problems: tuple[tuple[set[int], str], ...] = ()


Renderer = Callable[["pa.Array"], Rendered]
"""Takes the values of one column. Travels to workers, so it is made of module functions."""

_encode = msgspec.json.Encoder().encode
_integer_text = re.compile(INTEGER_TEXT.replace(r"\z", r"\Z"), re.ASCII).match
_date_text = re.compile(DATE_TEXT.replace(r"\z", r"\Z"), re.ASCII).match

_EPOCH, _EPOCH_DAY = datetime(1970, 1, 1), 719_163
_DAY = 24 * 60 * 60 * 1_000_000
_CYCLE = 146_097  # days of 400 years
_FIRST_DAY, _LAST_DAY = date.min.toordinal() - _EPOCH_DAY, date.max.toordinal() - _EPOCH_DAY


def renderer(data_type: T.DataType, rule: Rule, path: str) -> Renderer:
    """How columns of this type are rendered as the rule wants them; `path` names the column in errors.

    Raises:
        ContractError: the type has no exact rendering.
    """
    if rule.kind == "string":
        text = _as_text(data_type, path)
        options = frozenset(map(_encode, rule.options))
        return partial(_one_of, inner=text, options=options, reason=none_of(rule)) if options else text
    if rule.kind == "integer":
        return _as_integer(data_type, rule, path)
    if rule.kind == "date":
        return _as_date(data_type, path)
    if rule.kind == "json" and not is_native_json(data_type):
        raise refusal(path, data_type, "a structured value", "a struct, array, map or variant, or JSON text")
    return as_json(data_type, path)


def as_json(data_type: T.DataType, path: str) -> Renderer:
    """How columns of this type are rendered where no schema says more.

    Raises:
        ContractError: the type has no exact rendering.
    """
    if is_text(data_type):
        return _text
    for kind, flat in _FLAT.items():
        if isinstance(data_type, kind):
            return flat
    if isinstance(data_type, T.ArrayType):
        return partial(_list, element=as_json(data_type.elementType, f"{path}[]"))
    if isinstance(data_type, T.StructType):
        names = data_type.fieldNames()
        if len(set(names)) < len(names):
            raise refusal(path, data_type, "JSON", "a struct whose fields have different names")
        fields = tuple((_encode(f.name) + b":", as_json(f.dataType, f"{path}.{f.name}")) for f in data_type.fields)
        return partial(_struct, fields=fields)
    if isinstance(data_type, T.MapType):
        if not (is_text(data_type.keyType) or isinstance(data_type.keyType, INTEGERS)):
            raise refusal(path, data_type, "JSON", "a map with string or integer keys")
        return partial(_map, value=as_json(data_type.valueType, f"{path}{{}}"))
    if data_type.typeName() == "variant":
        raise refusal(
            path, data_type, "JSON in a writer", "its text (to_json()), or use Client.create_task_batch_from_table"
        )
    raise refusal(path, data_type, "JSON", "a type that JSON has: base64() for binary, a string for intervals")


def _as_text(data_type: T.DataType, path: str) -> Renderer:
    if is_text(data_type):
        return _text
    if isinstance(data_type, (*INTEGERS, T.BooleanType, T.DecimalType)):
        return partial(_in_quotes, inner=as_json(data_type, path))
    if isinstance(data_type, FRACTIONS):
        return partial(_in_quotes, inner=partial(_fraction, write=_as_java_writes))
    if isinstance(data_type, (T.DateType, T.TimestampType, T.TimestampNTZType)):
        return as_json(data_type, path)
    raise refusal(path, data_type, "text", "a string: to_json() for nested values, base64() for binary")


def _as_integer(data_type: T.DataType, rule: Rule, path: str) -> Renderer:
    if isinstance(data_type, INTEGERS):
        return partial(_in_range, rule=rule)
    if is_text(data_type):
        return partial(_integer_of_text, rule=rule)
    if isinstance(data_type, (T.DecimalType, *FRACTIONS)):
        return partial(_whole, rule=rule)
    raise refusal(path, data_type, "an integer", "an integer column, cast as you mean it")


def _as_date(data_type: T.DataType, path: str) -> Renderer:
    if isinstance(data_type, T.DateType):
        return _date
    if is_text(data_type):
        return _date_of_text
    raise refusal(path, data_type, "a date", "a date column (to_date()) or YYYY-MM-DD text")


# --- flat values


def _nothing(array: pa.Array) -> Rendered:
    return Rendered([None] * len(array))


def _text(array: pa.Array) -> Rendered:
    return Rendered([None if v is None else _encode(v) for v in array.to_pylist()])


def _integer(array: pa.Array) -> Rendered:
    return Rendered([None if v is None else b"%d" % v for v in array.to_pylist()])


def _boolean(array: pa.Array) -> Rendered:
    return Rendered([None if v is None else b"true" if v else b"false" for v in array.to_pylist()])


def _decimal(array: pa.Array) -> Rendered:
    return Rendered([None if v is None else format(v, "f").encode() for v in array.to_pylist()])


def _fraction(array: pa.Array, write: Callable[[float], str] = repr) -> Rendered:
    numbers = _exact(array)
    beyond = {i for i, v in enumerate(numbers) if v is not None and not isfinite(v)}
    json: Json = [None if v is None else write(v).encode() for v in numbers]
    for i in beyond:
        json[i] = _encode(_name(numbers[i]))
    return Rendered(json, ((beyond, NOT_FINITE),))


def _exact(array: pa.Array) -> list[Any]:
    """A float's shortest text as a number: 0.1f is 0.1, and not the double next to it."""
    import pyarrow as pa

    if pa.types.is_float32(array.type):
        return [None if v is None else float(v) for v in array.cast(pa.string()).to_pylist()]
    found: list[Any] = array.to_pylist()
    return found


def _name(number: Any) -> str:
    return "NaN" if isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _as_java_writes(number: float) -> str:
    """Java's Double.toString: from 1e-3 up to 1e7 plain, else with an exponent; always a fraction."""
    text = repr(number)
    if 1e-3 <= abs(number) < 1e7 or not number or not isfinite(number):
        return text
    sign, digits, exponent = Decimal(text).as_tuple()
    figures = "".join(map(str, digits)).rstrip("0")
    power = len(digits) + int(exponent) - 1
    return f"{'-' * sign}{figures[0]}.{figures[1:] or '0'}E{power}"


def _date(array: pa.Array) -> Rendered:
    import pyarrow as pa

    days = array.cast(pa.int32()).to_pylist()
    beyond = {i for i, day in enumerate(days) if day is not None and not _FIRST_DAY <= day <= _LAST_DAY}
    return Rendered([None if day is None else b'"%b"' % _day(day).encode() for day in days], ((beyond, NO_YEAR),))


def _day(day: int) -> str:
    if _FIRST_DAY <= day <= _LAST_DAY:
        return date.fromordinal(day + _EPOCH_DAY).isoformat()
    cycles, rest = divmod(day + _EPOCH_DAY - 1, _CYCLE)
    within = date.fromordinal(rest + 1)
    year = within.year + 400 * cycles
    return f"{'+' if year > 9999 else '-' if year < 0 else ''}{abs(year):04}-{within:%m-%d}"


def _timestamp(array: pa.Array, end: str) -> Rendered:
    import pyarrow as pa

    micros = array.cast(pa.int64()).to_pylist()
    beyond = {i for i, v in enumerate(micros) if v is not None and not _FIRST_DAY <= v // _DAY <= _LAST_DAY}
    return Rendered(
        [None if v is None else b'"%b%b"' % (_moment(v).encode(), end.encode()) for v in micros],
        ((beyond, NO_YEAR),),
    )


def _moment(micros: int) -> str:
    day, time = divmod(micros, _DAY)
    moment = (_EPOCH + timedelta(microseconds=time)).isoformat()
    return _day(day) + (moment.rstrip("0") if "." in moment else moment)[10:]


_FLAT: dict[type[T.DataType] | tuple[type[T.DataType], ...], Renderer] = {
    INTEGERS: _integer,
    T.BooleanType: _boolean,
    T.DecimalType: _decimal,
    T.NullType: _nothing,
    FRACTIONS: _fraction,
    T.DateType: _date,
    T.TimestampType: partial(_timestamp, end="Z"),
    T.TimestampNTZType: partial(_timestamp, end=""),
}

# --- for a rule


def _in_quotes(array: pa.Array, inner: Renderer) -> Rendered:
    found = inner(array)
    return Rendered([v if v is None or v[:1] == b'"' else b'"%b"' % v for v in found.json], found.problems)


def _one_of(array: pa.Array, inner: Renderer, options: frozenset[bytes], reason: str) -> Rendered:
    found = inner(array)
    others = {i for i, v in enumerate(found.json) if v is not None and v not in options}
    return Rendered(found.json, (*found.problems, (others, reason)))


def _in_range(array: pa.Array, rule: Rule) -> Rendered:
    return Rendered(_integer(array).json, _out_of_range(array.to_pylist(), rule))


def _out_of_range(numbers: Iterable[Any], rule: Rule) -> tuple[tuple[set[int], str], ...]:
    beyond = {i for i, v in enumerate(numbers) if v is not None and not rule.minimum <= v <= rule.maximum}
    return ((beyond, outside(rule)),)


def _integer_of_text(array: pa.Array, rule: Rule) -> Rendered:
    texts = array.to_pylist()
    numbers = [int(v) if v is not None and _integer_text(v) else None for v in texts]
    wrong = {i for i, v in enumerate(texts) if v is not None and numbers[i] is None}
    json = [None if v is None else b"%d" % v for v in numbers]
    return Rendered(json, ((wrong, NO_INTEGER_TEXT), *_out_of_range(numbers, rule)))


def _whole(array: pa.Array, rule: Rule) -> Rendered:
    values = array.to_pylist()
    fits = [v is not None and isfinite(v) and v == int(v) and rule.minimum <= v <= rule.maximum for v in values]
    wrong = {i for i, v in enumerate(values) if v is not None and not fits[i]}
    json = [b"%d" % int(v) if fit else None for v, fit in zip(values, fits, strict=True)]
    return Rendered(json, ((wrong, not_whole(rule)),))


def _date_of_text(array: pa.Array) -> Rendered:
    texts = array.to_pylist()
    wrong = {i for i, v in enumerate(texts) if v is not None and not _is_date(v)}
    return Rendered(_text(array).json, ((wrong, NO_DATE_TEXT),))


def _is_date(text: str) -> bool:
    try:
        return bool(_date_text(text) and date.fromisoformat(text))
    except ValueError:
        return False


# --- nested values


def _list(array: pa.Array, element: Renderer) -> Rendered:
    return _ranges(array, element, array.values, b"[", b"]", ())


def _map(array: pa.Array, value: Renderer) -> Rendered:
    keys = [_encode(str(key)) + b":" for key in _part(array, array.keys).to_pylist()]
    return _ranges(array, value, array.items, b"{", b"}", keys)


def _ranges(
    array: pa.Array, element: Renderer, elements: pa.Array, begin: bytes, end: bytes, keys: Sequence[bytes]
) -> Rendered:
    ends = array.offsets.to_pylist()
    present = array.is_valid().to_pylist()
    inner = element(_part(array, elements))
    members = [b"null" if v is None else v for v in inner.json]
    if keys:
        members = [key + member for key, member in zip(keys, members, strict=True)]
    begun = ends[0] if ends else 0
    json: Json = [
        begin + b",".join(members[start - begun : stop - begun]) + end if there else None
        for start, stop, there in zip(ends[:-1], ends[1:], present, strict=True)
    ]

    def holders(bad: set[int]) -> set[int]:
        return {i for i in (bisect_right(ends, place + begun) - 1 for place in bad) if present[i]}

    return Rendered(json, tuple((holders(bad), reason) for bad, reason in inner.problems))


def _part(array: pa.Array, elements: pa.Array) -> pa.Array:
    """Of all elements those of this array, which may be a slice."""
    ends = array.offsets
    if not len(ends):
        return elements.slice(0, 0)
    first, last = ends[0].as_py(), ends[-1].as_py()
    return elements.slice(first, last - first)


def _struct(array: pa.Array, fields: tuple[tuple[bytes, Renderer], ...]) -> Rendered:
    found = [render(child) for (_, render), child in zip(fields, array.flatten(), strict=True)]
    members = [
        [None if v is None else key + v for v in part.json] for (key, _), part in zip(fields, found, strict=True)
    ]
    rows = zip(*members, strict=True) if members else ((),) * len(array)
    json: Json = [
        b"{" + b",".join(filter(None, row)) + b"}" if there else None
        for row, there in zip(rows, array.is_valid().to_pylist(), strict=True)
    ]
    return Rendered(json, tuple(problem for part in found for problem in part.problems))
