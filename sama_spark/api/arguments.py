"""Arguments that every call rests on, checked before anything is sent."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from .errors import InvalidInput

_DAY = 86_400  # seconds
_LABEL = re.compile("[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")  # of a host's name


def seconds_of(value: float, name: str) -> float:
    """Seconds to wait: above 0, and a day at most."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _DAY:
        raise InvalidInput(
            f"{name} is {value!r}: seconds are due, above 0 and at most {_DAY:,}",
            column=name,
            remedy="Nothing was sent.",
        )
    return float(value)


def base_url_of(base_url: str) -> str:
    """The API's address without a last slash: one that can be asked, whatever is there."""
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
        remedy='Give one like "https://api.sama.com/v2", without blanks, query, user or password.',
    )
