"""Values that could not be made, marked so that their rows are reported like other rows that cannot become tasks.

Helpers such as `boxes_to_output` return columns. A column that raises would end the whole job. So where such a helper
cannot make a value, it writes a text that begins with `MARK`, somewhere within the value's usual structure.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

MARK = "not a pre-annotation (sama_spark): "
BEFORE_VALUE = ", this row has "
PROBLEM = "problem"
"""The field of shapes that holds such a text. It is null in good values, so no task has it."""

_mark = MARK.encode()


def is_marked(json: bytes) -> bool:
    """Return whether this text has a marked value somewhere."""
    return _mark in json


def problem_in(value: Any) -> tuple[str, str] | None:
    """Return why a value (of JSON, or JSON text) could not be made, and from what; None for a good one."""
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
