"""Python records as the JSON that Sama accepts: exact, or refused before anything is sent."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from sama_spark.api.marked_values import is_marked, problem_in
from sama_spark.arguments import shown
from sama_spark.errors import InvalidInput, InvalidRowsError
from sama_spark.exact_values import digits
from sama_spark.http.secrets import redact_urls

_INT32 = range(-(2**31), 2**31)


def checked_priority(priority: Any) -> int:
    """Return the priority as an int.

    Raises:
        InvalidInput: it is no integer of signed 32 bits, which the API takes.
    """
    number = None
    with suppress(TypeError):
        number = operator.index(priority)
    if number is None or isinstance(priority, bool) or number not in _INT32:
        raise InvalidInput(
            f"priority {shown(priority)} is no integer from -2147483648 to 2147483647",
            column="priority",
            remedy="Lower numbers are served first; 0 is the default.",
        )
    return number


def json_value(value: Any) -> Any:
    """Return a value that `json` cannot write as one that it can.

    date -> "YYYY-MM-DD"; datetime and numpy.datetime64 -> RFC 3339 (UTC if there is no zone); Decimal -> text of its
    digits, without an exponent; UUID -> its text; numpy scalars -> number, boolean or text (float32 in its shortest
    form); numpy arrays -> lists; other mappings -> objects.

    Raises:
        TypeError: the value has no JSON form.
    """
    if isinstance(value, datetime) and value.isoformat() != "NaT":  # pandas' NaT is a datetime
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).isoformat()
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal) and value.is_finite():
        return digits(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if type(value).__module__.partition(".")[0] == "numpy":
        return _numpy_value(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _numpy_value(value: Any) -> Any:
    name = type(value).__name__
    if name == "ndarray":
        return [_numpy_value(item) if hasattr(item, "dtype") else item for item in value]
    if name == "datetime64" and str(value) != "NaT":
        return str(value) if len(str(value)) == 10 else f"{value}Z"
    if name in ("float16", "float32"):
        return float(str(value))
    plain = value.item()
    if isinstance(plain, (bool, int, float, str)) and name != "timedelta64":
        return plain
    raise TypeError(f"a numpy {name} has no JSON form")


def to_json(value: Any) -> bytes:
    """Return JSON text.

    Raises:
        ValueError, TypeError: a value is NaN or infinite, or `json_value` refuses it.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=json_value).encode()


def tasks_body(records: Iterable[Mapping[str, Any]], *, priority: int = 0, submit: bool = False) -> bytes:
    """Return the body of a tasks file: an array of {"data", "priority", "submit"}. No records give no bytes.

    Raises:
        InvalidInput: `priority` is no integer of 32 bits.
        InvalidRowsError: a record is no mapping, or a value has no JSON form; it names the record and the key.
    """
    common = f',"priority":{checked_priority(priority)},"submit":{"true" if submit else "false"}}}'.encode()
    items = [b'{"data":' + _record_json(record, place) + common for place, record in enumerate(records)]
    return b"[" + b",".join(items) + b"]" if items else b""


def _record_json(record: Mapping[str, Any], place: int) -> bytes:
    if isinstance(record, Mapping):
        json = b""
        with suppress(TypeError, ValueError, RecursionError):
            json = to_json(record)
        if not json or is_marked(json):
            raise _refusal(record, place)
        return json
    raise InvalidRowsError(
        f"record {place} is a {type(record).__name__}, not a dict of inputs",
        rows=[f"record {place}"],
        remedy='Give each task as a dict, such as {"url": "https://..."}.',
    )


def _refusal(record: Mapping[str, Any], place: int) -> InvalidRowsError:
    """Return the error that names the key whose value cannot be sent."""
    reasons = ((str(key), _why_not(key, value)) for key, value in record.items())
    column, reason = next(((key, why) for key, why in reasons if why), (None, "it has no JSON form"))
    return InvalidRowsError(
        f"record {place}, key {column!r}: {reason}",
        column=column,
        rows=[f"record {place}"],
        remedy="Leave the key out for no value, or convert the value first. Nothing was sent.",
    )


def _why_not(key: Any, value: Any) -> str:
    if problem := problem_in(value):
        return redact_urls(": ".join(problem))
    try:
        to_json({key: value})
    except UnicodeError:
        return "text with half a surrogate pair"
    except RecursionError:
        return "nested too deep"
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def checked_records(tasks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks without their null members, after a check.

    Args:
        tasks: each with `data`, and optionally `priority`, `submit`, `duration` and `reserve_for`.

    Raises:
        InvalidInput: a priority is no integer of 32 bits.
        InvalidRowsError: a task has no `data`, an unknown member, or data that has no JSON form.
    """
    items = []
    for place, task in enumerate(tasks):
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            raise InvalidRowsError(
                f"task {place} has no `data`",
                rows=[f"task {place}"],
                remedy='Give each as {"data": {...}}, with priority and so on beside it. Nothing was sent.',
            )
        unknown = sorted(set(task) - {"data", "priority", "submit", "duration", "reserve_for"})
        if unknown:
            raise InvalidRowsError(f"task {place} has an unknown field {unknown[0]!r}", column=str(unknown[0]))
        _record_json(task["data"], place)
        item = {name: value for name, value in task.items() if value is not None}
        checked_priority(item.get("priority", 0))
        if "duration" in item and not item.get("submit"):
            raise InvalidRowsError(
                f"task {place} has a duration but is not submitted",
                column="duration",
                remedy="Set submit=True.",
            )
        items.append(item)
    return items
