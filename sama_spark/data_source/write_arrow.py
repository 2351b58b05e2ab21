"""Arrow columns to JSON, type by type. `values` says which type goes which way."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

import msgspec

from sama_spark.outbound.render import NO_YEAR, NOT_FINITE

if TYPE_CHECKING:
    import pyarrow as pa

Json = list[bytes | None]


@dataclass(frozen=True)
class Rendered:
    """A column's JSON, None for null, and what is wrong: positions and reason, in the order of `render.Value`."""

    json: Json
    problems: tuple[tuple[set[int], str], ...] = ()


Renderer = Callable[["pa.Array"], Rendered]
"""Takes the values of one column. Travels to workers, so it is made of module functions."""

_encode = msgspec.json.Encoder().encode

_EPOCH, _EPOCH_DAY = datetime(1970, 1, 1), 719_163
_DAY = 24 * 60 * 60 * 1_000_000
_CYCLE = 146_097  # days of 400 years
_FIRST_DAY, _LAST_DAY = date.min.toordinal() - _EPOCH_DAY, date.max.toordinal() - _EPOCH_DAY


# --- flat values


def text(array: pa.Array) -> Rendered:
    return Rendered([None if v is None else _encode(v) for v in array.to_pylist()])


def integer(array: pa.Array) -> Rendered:
    return Rendered([None if v is None else b"%d" % v for v in array.to_pylist()])


def boolean(array: pa.Array) -> Rendered:
    return Rendered([None if v is None else b"true" if v else b"false" for v in array.to_pylist()])


def decimal(array: pa.Array) -> Rendered:
    return Rendered([None if v is None else format(v, "f").encode() for v in array.to_pylist()])


def fraction(array: pa.Array, write: Callable[[float], str] = repr) -> Rendered:
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


def as_java_writes(number: float) -> str:
    """Java's Double.toString: from 1e-3 up to 1e7 plain, else with an exponent; always a fraction."""
    text = repr(number)
    if 1e-3 <= abs(number) < 1e7 or not number or not isfinite(number):
        return text
    sign, digits, exponent = Decimal(text).as_tuple()
    figures = "".join(map(str, digits)).rstrip("0")
    power = len(digits) + int(exponent) - 1
    return f"{'-' * sign}{figures[0]}.{figures[1:] or '0'}E{power}"


def day(array: pa.Array) -> Rendered:
    import pyarrow as pa

    days = array.cast(pa.int32()).to_pylist()
    beyond = {i for i, day in enumerate(days) if day is not None and not _FIRST_DAY <= day <= _LAST_DAY}
    return Rendered([None if day is None else b'"%b"' % _day_text(day).encode() for day in days], ((beyond, NO_YEAR),))


def _day_text(day: int) -> str:
    if _FIRST_DAY <= day <= _LAST_DAY:
        return date.fromordinal(day + _EPOCH_DAY).isoformat()
    cycles, rest = divmod(day + _EPOCH_DAY - 1, _CYCLE)
    within = date.fromordinal(rest + 1)
    year = within.year + 400 * cycles
    return f"{'+' if year > 9999 else '-' if year < 0 else ''}{abs(year):04}-{within:%m-%d}"


def moment(array: pa.Array, end: str) -> Rendered:
    import pyarrow as pa

    micros = array.cast(pa.int64()).to_pylist()
    beyond = {i for i, v in enumerate(micros) if v is not None and not _FIRST_DAY <= v // _DAY <= _LAST_DAY}
    return Rendered(
        [None if v is None else b'"%b%b"' % (_moment_text(v).encode(), end.encode()) for v in micros],
        ((beyond, NO_YEAR),),
    )


def _moment_text(micros: int) -> str:
    day, time = divmod(micros, _DAY)
    moment = (_EPOCH + timedelta(microseconds=time)).isoformat()
    return _day_text(day) + (moment.rstrip("0") if "." in moment else moment)[10:]


# --- nested values


def array(array: pa.Array, element: Renderer) -> Rendered:
    return _ranges(array, element, array.values, b"[", b"]", ())


def mapping(array: pa.Array, value: Renderer) -> Rendered:
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
    if not len(array):  # its offsets may be none, or anything
        return elements.slice(0, 0)
    first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
    return elements.slice(first, last - first)


def struct(array: pa.Array, fields: tuple[tuple[bytes, Renderer], ...]) -> Rendered:
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
