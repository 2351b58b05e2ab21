"""Python records to the JSON that Sama takes: exact, or refused before anything is sent."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from .errors import InvalidInput, InvalidRowsError

_INT32 = range(-(2**31), 2**31)


def checked_priority(priority: Any) -> int:
    """A priority that fits the API's signed 32 bits."""
    number = None
    try:
        number = operator.index(priority)
    except TypeError:
        pass
    if number is None or isinstance(priority, bool) or number not in _INT32:
        raise InvalidInput(
            f"priority {priority!r} is no integer from -2147483648 to 2147483647",
            column="priority",
            remedy="Lower numbers are served first; 0 is the default.",
        )
    return number


def render(value: Any) -> Any:
    """What JSON has no word for, as Sama takes it; TypeError for the rest.

    date -> "YYYY-MM-DD"; datetime and numpy.datetime64 -> RFC 3339 (without a zone it is taken as UTC);
    Decimal and UUID -> their text; numpy scalars -> number, boolean or text (float32 in its shortest form);
    numpy arrays -> lists; other mappings -> objects.
    """
    if isinstance(value, datetime) and value == value:  # pandas' NaT is a datetime, and unequal to itself
        return value.isoformat() if value.tzinfo else value.replace(tzinfo=timezone.utc).isoformat()
    if isinstance(value, date) and value == value:
        return value.isoformat()
    if isinstance(value, UUID) or (isinstance(value, Decimal) and value.is_finite()):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if type(value).__module__.partition(".")[0] == "numpy":
        return _render_numpy(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _render_numpy(value: Any) -> Any:
    name = type(value).__name__
    if name == "ndarray":
        return [_render_numpy(item) if hasattr(item, "dtype") else item for item in value]
    if name == "datetime64" and str(value) != "NaT":
        return str(value) if len(str(value)) == 10 else f"{value}Z"
    if name in ("float16", "float32"):
        return float(str(value))
    plain = value.item()
    if isinstance(plain, (bool, int, float, str)) and name != "timedelta64":
        return plain
    raise TypeError(f"a numpy {name} has no JSON form")


def to_json(value: Any) -> bytes:
    """JSON text; raises ValueError or TypeError for NaN, Infinity and what `render` refuses."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=render
    ).encode()


def tasks_body(records: Iterable[Mapping[str, Any]], *, priority: int = 0, submit: bool = False) -> bytes:
    """The body of a tasks file: an array of {"data", "priority", "submit"}. Empty for no records."""
    common = f',"priority":{checked_priority(priority)},"submit":{"true" if submit else "false"}}}'.encode()
    items = [b'{"data":' + _record_json(record, place) + common for place, record in enumerate(records)]
    return b"[" + b",".join(items) + b"]" if items else b""


def _record_json(record: Mapping[str, Any], place: int) -> bytes:
    if isinstance(record, Mapping):
        try:
            return to_json(record)
        except (TypeError, ValueError, RecursionError):
            pass
        raise _refusal(record, place)
    raise InvalidRowsError(
        f"record {place} is a {type(record).__name__}, not a dict of inputs",
        rows=[f"record {place}"],
        remedy='Give each task as a dict, such as {"url": "https://..."}.',
    )


def _refusal(record: Mapping[str, Any], place: int) -> InvalidRowsError:
    """Names the key whose value cannot be sent."""
    column, reason = None, "it cannot be written as JSON"
    for key, value in record.items():
        try:
            to_json({key: value})
        except (TypeError, ValueError, RecursionError) as error:
            column, reason = str(key), "" if isinstance(error, UnicodeError) else str(error)
            break
    return InvalidRowsError(
        f"record {place}, key {column!r}: {reason or 'text that is not Unicode'}",
        column=column,
        rows=[f"record {place}"],
        remedy="Leave the key out for no value, or convert the value first. Nothing was sent.",
    )
