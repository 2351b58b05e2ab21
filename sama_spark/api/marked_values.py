"""Marks for values that could not be made, so that their rows are rejected one by one.

Helpers such as `boxes_to_output` return columns, and a column that raises would end the whole job. So in place of a
value that cannot be made they put a text that begins with `MARK`, in the shape of the value.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

MARK = "not a pre-annotation (sama_spark): "
BEFORE_VALUE = ", this row has "
PROBLEM = "problem"
"""The field of shapes that holds such a text. The field is null in good values, and so in no task."""

_mark = MARK.encode()


def is_marked(json: bytes) -> bool:
    """Return True if this JSON text has a value that could not be made."""
    return _mark in json


def problem_in(value: Any) -> tuple[str, str] | None:
    """Return why a value (of JSON, or JSON text) could not be made, and from what; None for a good value."""
    if isinstance(value, str):
        if MARK not in value:
            return None
        if value[:1] in ("{", "["):  # the whole value as JSON text
            with suppress(msgspec.DecodeError):
                return problem_in(msgspec.json.decode(value))
        reason, _, shown = value.partition(MARK)[2].partition(BEFORE_VALUE)
        return f"is no pre-annotation: {reason}", shown
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for part in parts if (found := problem_in(part))), None)
