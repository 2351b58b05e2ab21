"""A value that could not be made says so itself, so that its row is told as any row that cannot become a task.

Helpers such as `boxes_to_output` give columns, and a column that raises would end the whole job. So what they put in
place of a value that cannot be made is a text that begins with `MARK`, in whatever shape the value has.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

MARK = "not a pre-annotation (sama_spark): "
BEFORE_VALUE = ", this row has "
PROBLEM = "problem"
"""The field of shapes that holds such a text. It is null in good values, and so in no task."""

_mark = MARK.encode()


def is_marked(json: bytes) -> bool:
    """Whether a value that could not be made stands somewhere in this text."""
    return _mark in json


def problem_in(value: Any) -> tuple[str, str] | None:
    """Why a value (of JSON, or JSON text) could not be made, and what it was to be made of; None for a good one."""
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
