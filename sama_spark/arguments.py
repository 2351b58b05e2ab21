"""Checks of what callers give, before anything is sent. Each error names its argument."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from sama_spark.errors import InvalidInput
from sama_spark.ids import client_id_of, id_of, landed_ids_of

_LABEL = re.compile("[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")  # of a host's name
LONGEST = 4_096  # characters of a name or a path


def check_whole(value: Any, name: str, least: int) -> int:
    """Return a whole number of `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{name} is {shown(value)}", column=name, remedy="give a whole number")
    if value < least:
        raise InvalidInput(f"{name} is {value}", column=name, remedy=f"give a number of {least} or more")
    return value


def check_seconds(value: Any, name: str, *, above_zero: bool = False, most: float = math.inf) -> float:
    """Return a number of seconds, 0 or more.

    Args:
        value: what the caller gave.
        name: the argument's name, for the error.
        above_zero: True to reject 0.
        most: the largest number that is allowed.
    """
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fits or not 0 <= value <= most or (above_zero and value == 0):
        least = "above 0" if above_zero else "0 or more"
        at_most = f" and at most {most:,.0f}" if most < math.inf else ""
        raise InvalidInput(f"{name} is {shown(value)}", column=name, remedy=f"give seconds, {least}{at_most}")
    seconds: float = value
    return seconds


def base_url_of(base_url: str) -> str:
    """Return an API's address without a slash at its end.

    Raises:
        InvalidInput: this is no plain http(s) address.
    """
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        if ":" in host:
            ip_address(host)
        elif len(host) > 253 or not all(map(_LABEL.fullmatch, host.removesuffix(".").split("."))):
            raise ValueError
        plain = base_url.isascii() and base_url.isprintable() and not re.search(r"[\s?#@\\]", base_url)
        if not plain or parts.scheme not in ("http", "https") or parts.port == 0:
            raise ValueError
        return base_url.rstrip("/")
    except (ValueError, TypeError, AttributeError):
        pass
    # Outside of the `except`: the address may hold a password.
    raise InvalidInput(
        "base_url is not a plain http(s) address",
        remedy='Give one like "https://api.example.com/v2", without blanks, query, user or password.',
    )


def check_text(value: Any, name: str) -> str:
    """Return a text of 1 to 4,096 characters that are not all blank."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise InvalidInput(
            f"{name} is {shown(value)}", column=name, remedy=f"give a text of 1 to {LONGEST:,} characters"
        )
    return value


def check_texts(**values: Any) -> None:
    """Check each text as `check_text` does; None is allowed."""
    for name, value in values.items():
        if value is not None:
            check_text(value, name)


def check_yes_no(value: Any, name: str) -> None:
    """Reject everything but True and False."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} is {shown(value)}", column=name, remedy="give True or False")


def check_one_of(value: Any, name: str, options: Sequence[str]) -> None:
    """Reject everything but these texts."""
    if not isinstance(value, str) or value not in options:
        raise InvalidInput(f"{name}={shown(value)} is not understood", column=name, remedy=f"give one of {options}")


def check_function(value: Any, name: str) -> None:
    """Reject everything but functions and None."""
    if value is not None and not callable(value):
        raise InvalidInput(f"{name} is {shown(value)}", column=name, remedy="give a function")


def check_mapping(value: Any, name: str) -> None:
    """Reject everything but mappings."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} is {shown(value)}", column=name, remedy="give a dict")


def names_of(value: Any, name: str) -> tuple[str, ...]:
    """Return one name, or several, as a tuple."""
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        names = tuple(value)
        if all(isinstance(one, str) for one in names):
            return names
    raise InvalidInput(f"{name} is {shown(value)}", column=name, remedy="give the name of a column, or a list of names")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return which of `known` looks most like `name`, whatever the case; None if none does."""
    in_lower_case = {other.strip().lower(): other for other in known}
    found = get_close_matches(name.strip().lower(), in_lower_case, n=1)
    return in_lower_case[found[0]] if found else None


def do_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question to end a sentence with if one of `known` looks like `name`, else nothing."""
    found = nearest(name, known)
    return f" (do you mean `{found}`?)" if found else ""


def _text(value: Any, name: str) -> Any:
    return value if value is None else check_text(value, name)


def _texts(value: Any, name: str) -> Any:
    return value if value is None or isinstance(value, str) else names_of(value, name)


def _records(value: Any, name: str) -> Any:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InvalidInput(f"{name} is {shown(value)}", column=name, remedy="give a list of dicts")
    return value


ARGUMENTS: dict[str, Callable[[Any, str], Any]] = {
    "project_id": id_of,
    "batch_id": id_of,
    "task_id": id_of,
    "task_ids": landed_ids_of,
    "client_batch_id": client_id_of,
    "client_batch_id_match_type": _text,
    "consumer": _text,
    "notification_email": _text,
    "tasks_file_name": _text,
    "primary_keys": _texts,
    "timeout": check_seconds,
    "deadline": check_seconds,
    "task_data_records": _records,
    "tasks": _records,
    "first": partial(check_whole, least=1),
}
"""By the name of an argument: the function that checks and converts it. Takes value and name, returns the value."""


def shown(value: Any) -> str:
    """Return a value as errors show it: long texts and objects only by length or type, since they may be anything."""
    if isinstance(value, str) and len(value) > 100:
        return f"a text of {len(value):,} characters"
    return repr(value) if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"
