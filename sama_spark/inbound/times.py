"""Times of deliveries, in microseconds since 1970: Python values, by the rules of `inbound.table.as_timestamp`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

# Old samples write 20240301T10:15:30, and no zone means UTC.
_TIME = re.compile(
    r"(?:(\d{4})-(\d\d)-(\d\d)[T ]|(\d{4})(\d\d)(\d\d)T)"
    r"(?:(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?|(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?)"
    r"(?:Z| ?(?:UTC|GMT)|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)
_SINCE_1970 = re.compile(r"\d{10}|\d{13}", re.ASCII)
# One day inside the years 1 to 9999, so that Python has these times in every zone.
LEAST, MOST = -62_135_510_400_000_000, 253_402_214_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICRO = timedelta(microseconds=1)


def micros(text: Any) -> int | None:
    """Return the time that a text means, without digits below a microsecond; None if the text is no time.

    Times at the very ends of the years 1 to 9999, which some zones do not have, give None too.
    """
    found = _micros(text)
    return found if found is not None and LEAST <= found < MOST else None


def _micros(text: Any) -> int | None:
    plain = str(text).strip() if isinstance(text, str | int) else ""
    if _SINCE_1970.fullmatch(plain):  # in seconds, or in milliseconds
        return int(plain) * (1_000_000 if len(plain) == 10 else 1000)
    found = _TIME.fullmatch(plain)
    if found is None:
        return None
    *parts, sign, zone_hours, zone_minutes = found.groups()
    year, month, day = parts[:3] if parts[0] else parts[3:6]
    hour, minute, second, fraction = parts[6:10] if parts[6] else parts[10:]
    try:
        time = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=timezone.utc)
    except ValueError:
        return None
    whole = of_datetime(time) + int((fraction or "").ljust(6, "0")[:6])
    if sign is None:
        return whole
    ahead = int(zone_hours) * 60 + int(zone_minutes)
    if int(zone_minutes) > 59 or ahead > 18 * 60:
        return None
    return whole - int(f"{sign}{ahead}") * 60_000_000


def of_datetime(time: datetime) -> int:
    """Return a time with a zone in microseconds since 1970."""
    return (time - _EPOCH) // _MICRO


def to_text(time: int) -> str:
    """Return RFC 3339 in UTC, to the microsecond."""
    return (_EPOCH + time * _MICRO).isoformat(timespec="microseconds").replace("+00:00", "Z")
