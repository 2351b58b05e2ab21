"""Python values as text: nothing is lost, and all is written as Java writes it."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sama_spark import exact_values as exact

JAVA = re.compile(r"-?(0|[1-9]\d*)\.\d+(E-?[1-9]\d*)?")


def shortest(number: float | np.float32) -> int:
    """How many digits numpy needs for it; Java never writes fewer than two."""
    digits = np.format_float_scientific(number, unique=True, trim="0").partition("e")[0]
    return max(2, sum(character.isdigit() for character in digits))


def assert_as_java_writes(text: str, number: float) -> None:
    assert JAVA.fullmatch(text)
    assert ("E" in text) == (number != 0 and not 1e-3 <= abs(number) < 1e7)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles(number: float) -> None:
    text = exact.double(number)
    assert float(text) == number
    assert str(float(text)) == str(number), "the sign of zero too"
    assert_as_java_writes(text, number)
    if "E" in text:
        assert sum(c.isdigit() for c in text.partition("E")[0]) == shortest(number)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_floats(number: float) -> None:
    text = exact.single(number)
    assert np.float32(text) == np.float32(number)
    assert_as_java_writes(text, number)
    if "E" in text:
        assert sum(c.isdigit() for c in text.partition("E")[0]) == shortest(np.float32(number))


@pytest.mark.parametrize(
    ("write", "number", "text"),
    [
        (exact.double, 5e-324, "4.9E-324"),
        (exact.double, 1e-323, "9.9E-324"),
        (exact.double, 1e7, "1.0E7"),
        (exact.double, 9999999.0, "9999999.0"),
        (exact.double, -0.0, "-0.0"),
        (exact.double, 0.00099, "9.9E-4"),
        (exact.double, float("nan"), "NaN"),
        (exact.double, float("-inf"), "-Infinity"),
        (exact.single, float(np.float32(0.1)), "0.1"),
        (exact.single, float(np.float32(1e-45)), "1.4E-45"),
        (exact.single, float(np.float32(3.4028235e38)), "3.4028235E38"),
        (exact.single, 16777216.0, "1.6777216E7"),
        (exact.digits, Decimal("1E-7"), "0.0000001"),
        (exact.digits, Decimal("-1.50E+3"), "-1500"),
        (exact.digits, Decimal("0E-18"), "0.000000000000000000"),
    ],
)
def test_numbers_that_are_known(write: object, number: object, text: str) -> None:
    assert callable(write)
    assert write(number) == text


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["\x1f", "\\u001f", "\\\x1f", "\\\\u00e9"]))
def test_texts_read_back(text: str) -> None:
    quoted = exact.quoted(text)
    assert json.loads(quoted) == text
    assert not re.search(rb"[\x00-\x1f]", quoted)


def test_escapes_are_those_of_spark() -> None:
    assert (
        exact.quoted('\x00\x1f\b\f\n\r\t"\\/\x7fé\u2028')
        == '"\\u0000\\u001F\\b\\f\\n\\r\\t\\"\\\\/\x7fé\u2028"'.encode()
    )


@given(st.dates())
def test_days(day: date) -> None:
    number = exact.day_number(day)
    assert exact.day_number(number) == number
    assert exact.has_year(number)
    assert exact.day(number) == day.isoformat()


@pytest.mark.parametrize(
    ("days", "text"), [(2_932_897, "+10000-01-01"), (-719_163, "0000-12-31"), (-719_529, "-0001-12-31")]
)
def test_days_that_python_does_not_have(days: int, text: str) -> None:
    assert not exact.has_year(days)
    assert exact.day(days) == text


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_moments(wall: datetime, minutes: int) -> None:
    micros = exact.micros(wall)
    assert exact.micros(wall.replace(tzinfo=timezone.utc)) == exact.micros(micros) == micros
    whole, point, fraction = exact.moment(micros).partition(".")
    assert datetime.fromisoformat(f"{whole}.{fraction.ljust(6, '0')}") == wall
    assert bool(point) == bool(wall.microsecond)
    assert not fraction.endswith("0")
    if timedelta(days=1) < wall - datetime.min and timedelta(days=1) < datetime.max - wall:
        zoned = wall.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        assert exact.micros(zoned) == micros - minutes * 60_000_000
