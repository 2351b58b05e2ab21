"""Text of Python values, exact: what `exact` writes of a column in the JVM, without Spark.

The text of a float is the shortest that reads back as the same number, written as Java writes it. Java before 19 writes
a digit too many for some numbers; both texts read back alike.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from math import isfinite, isnan
from struct import pack

import msgspec

_encode = msgspec.json.Encoder().encode
_ESCAPES = re.compile(rb"\\(?:u00[0-9a-f]{2}|.)")

_EPOCH, _EPOCH_DAY = datetime(1970, 1, 1), date(1970, 1, 1).toordinal()
_MICRO, _DAY = timedelta(microseconds=1), 24 * 60 * 60 * 1_000_000
_CYCLE = 146_097  # days of 400 years
_FIRST_DAY, _LAST_DAY = date.min.toordinal() - _EPOCH_DAY, date.max.toordinal() - _EPOCH_DAY


def quoted(text: str) -> bytes:
    """Return a JSON string. Its escapes are those that Spark writes."""
    json = _encode(text)
    if b"\\u00" in json:
        return _ESCAPES.sub(lambda found: b"\\u" + found[0][2:].upper() if len(found[0]) > 2 else found[0], json)
    return json


def digits(number: Decimal) -> str:
    """Return a decimal's digits, without an exponent."""
    return format(number, "f")


def double(number: float) -> str:
    """Return what Java's Double.toString gives: from 1e-3 up to 1e7 plain, else with an exponent."""
    if 1e-3 <= abs(number) < 1e7 or not number:
        return repr(number)
    if not isfinite(number):
        return "NaN" if isnan(number) else "Infinity" if number > 0 else "-Infinity"
    shortest = repr(number)
    two_digits = f"{number:.1e}"  # Java never writes fewer, and takes the closest with two: 4.9E-324, not 5E-324
    return _as_java_writes(two_digits if float(two_digits) == number else shortest)


def single(number: float) -> str:
    """Return what Java's Float.toString gives: 0.1f is 0.1, and not the double next to it."""
    if not number or not isfinite(number):
        return double(number)
    in_four_bytes = pack("f", number)
    shortest = f"{number:.8e}"
    for places in range(1, 8):
        text = f"{number:.{places}e}"
        if pack("f", float(text)) == in_four_bytes:
            shortest = text
            break
    return repr(float(shortest)) if 1e-3 <= abs(number) < 1e7 else _as_java_writes(shortest)


def _as_java_writes(text: str) -> str:
    sign, figures, exponent = Decimal(text).as_tuple()
    plain = "".join(map(str, figures)).rstrip("0")
    power = len(figures) + int(exponent) - 1
    return f"{'-' * sign}{plain[0]}.{plain[1:] or '0'}E{power}"


def day_number(day: date | int) -> int:
    """Return the days since 1970."""
    return day if isinstance(day, int) else day.toordinal() - _EPOCH_DAY


def micros(moment: datetime | int) -> int:
    """Return the microseconds since 1970 in UTC. A datetime without a zone is taken as UTC."""
    if isinstance(moment, int):
        return moment
    naive = moment.astimezone(timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment
    return (naive - _EPOCH) // _MICRO


def has_year(days: int) -> bool:
    """Return whether a day, in days since 1970, lies in the years 1 to 9999."""
    return _FIRST_DAY <= days <= _LAST_DAY


def day_of(micros: int) -> int:
    """Return the day, in days since 1970, of a moment in microseconds."""
    return micros // _DAY


def day(days: int) -> str:
    """Return YYYY-MM-DD, with a sign where the year needs one."""
    if has_year(days):
        return date.fromordinal(days + _EPOCH_DAY).isoformat()
    cycles, rest = divmod(days + _EPOCH_DAY - 1, _CYCLE)
    within = date.fromordinal(rest + 1)
    year = within.year + 400 * cycles
    return f"{'+' if year > 9999 else '-' if year < 0 else ''}{abs(year):04}-{within:%m-%d}"


def moment(micros: int) -> str:
    """Return YYYY-MM-DDTHH:MM:SS with as much of a fraction as there is."""
    days, time = divmod(micros, _DAY)
    text = (_EPOCH + time * _MICRO).isoformat()
    return day(days) + (text.rstrip("0") if "." in text else text)[10:]
