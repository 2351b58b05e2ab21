"""Time as the sandbox sees it, and timestamps as Sama writes and reads them."""

from __future__ import annotations

import re
import time
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

NS = 1_000_000_000
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?)?", re.ASCII)


class HubClock:
    """The wall clock with a shift, so that tests of expiry take no time."""

    def __init__(self) -> None:
        self.shift_ns = 0

    def now(self) -> int:
        """Return nanoseconds since 1970."""
        return time.time_ns() + self.shift_ns

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.shift_ns += int(seconds * NS)


def to_text(ns: int) -> str:
    """Return UTC with milliseconds and `Z`, as Sama writes it; finer digits only where the value has them."""
    seconds, rest = divmod(ns, NS)
    millis, finer = divmod(rest, 1_000_000)
    more = f"{finer:06d}".rstrip("0") if finer else ""
    return f"{_to_second(seconds)}.{millis:03d}{more}Z"


@lru_cache(maxsize=4096)
def _to_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def from_text(text: str) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 timestamp (up to 9 fraction digits) or of a bare date, in UTC.

    Raises:
        ValueError: `text` is neither.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 timestamp: {text[:40]!r}")
    day, clock_time, fraction, zone = match.groups()
    if zone in (None, "Z", "z"):
        zone = "+00:00"
    moment = datetime.fromisoformat(f"{day}T{clock_time or '00:00:00'}{zone}")
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since // timedelta(seconds=1)) * NS + int((fraction or "").ljust(9, "0"))


def is_date(text: str) -> bool:
    """Return whether `text` is a calendar day written `YYYY-mm-dd`."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def to_milliseconds(ns: int) -> int:
    """Cut to whole milliseconds, the resolution of Sama's own timestamps."""
    return ns - ns % 1_000_000
