"""Ids as callers have them: numbers of any type, and text with blanks around it. Converted where that is exact."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from contextlib import suppress
from numbers import Number
from typing import Any

from sama_spark.errors import InvalidInput

_MOST_CHARACTERS = 200
_MOST, _MOST_DIGITS = 2**63, 64
_OF_A_TASK = 24  # hexadecimal digits, which may all be decimal, or zeros
_REMEDY = "give Sama's id as a number or its text, such as 4242; nothing was sent"
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?").fullmatch
_NONE = frozenset({"", ".", "..", "none", "null", "nan", "nat", "<na>", "inf", "true", "false"})


def id_of(value: Any, name: str) -> str | int:
    """Return the id of a project, batch or task: a whole number above 0, or a text without blanks around it.

    Whole floats and decimals, which pandas makes of ids, count as their number, also in text: 4242.0 is 4242.

    Args:
        value: what the caller gave.
        name: the argument's name, for the error.

    Raises:
        InvalidInput: this is no id. The error does not show a text, which may be a key in a wrong place.
    """
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER(text):
            number = re.sub(r"\.0*$", "", text)
            is_zero = len(number) < _OF_A_TASK and not number.strip("0")
            if not number.isdigit() or len(number) > _MOST_DIGITS or is_zero:
                raise InvalidInput(f"{name} is a number, but no id", column=name, remedy=_REMEDY)
            return number
        looks_well = len(text) <= _MOST_CHARACTERS and text.isascii() and text.isprintable() and "://" not in text
        if looks_well and text.casefold() not in _NONE:
            return text
        raise InvalidInput(f"{name} is a text that is no id", column=name, remedy=_REMEDY)
    integer = whole(value)
    if integer is None or not 0 < integer < _MOST:
        raise InvalidInput(f"{name} is {_shown(value)}, which is no id", column=name, remedy=_REMEDY)
    return integer


def number_of(value: Any, name: str) -> int:
    """Return the id of a batch as a number, for ids that are compared or kept."""
    found = id_of(value, name)
    if isinstance(found, str) and not found.isdigit():
        raise InvalidInput(f"{name} is a text that is no number", column=name, remedy=_REMEDY)
    return int(found)


def client_id_of(value: Any, name: str) -> str:
    """Return a `client_batch_id`, which is any text of the user's own; whole numbers count as their text."""
    number = None if isinstance(value, str) else whole(value)
    text = value.strip() if isinstance(value, str) else "" if number is None else str(number)
    if not text or not text.isprintable():
        raise InvalidInput(f"{name} is {_shown(value)}, which is no id", column=name, remedy="give its text")
    return text


def ids_of(values: Any, name: str) -> list[str | int]:
    """Return a list of ids, each as `id_of` has it."""
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        raise InvalidInput(f"{name} is {_shown(values)}, which is no list of ids", column=name, remedy=_REMEDY)
    return [id_of(value, f"{name}[{i}]") for i, value in enumerate(values)]


def landed_ids_of(values: Any, name: str) -> list[str | int]:
    """Return a list of ids of tasks in tables: as `ids_of`, and any text that Sama gave as an id."""
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        return ids_of(values, name)
    return [_landed_id_of(value, f"{name}[{i}]") for i, value in enumerate(values)]


def _landed_id_of(value: Any, name: str) -> str | int:
    try:
        return id_of(value, name)
    except InvalidInput:
        text = value.strip() if isinstance(value, str) else ""
        if _NUMBER(text) or text.casefold() in _NONE:
            raise
        return str(value)


def whole(value: Any) -> int | None:
    """Return the whole number that `value` is, of whatever numeric type; None for any other value."""
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):  # numpy's too
        return None
    with suppress(TypeError):
        return operator.index(value)
    with suppress(TypeError, ValueError, ArithmeticError):  # floats and decimals; NaN and infinities have no int()
        if isinstance(value, Number) and value == (number := int(value)):  # type: ignore[call-overload]
            return int(number)
    return None


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (int, float)) else f"a {type(value).__name__}"
