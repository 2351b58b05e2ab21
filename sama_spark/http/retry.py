"""Decides whether a call is sent again and after how long, and paces calls. Callers bring clock and random numbers."""

from __future__ import annotations

import hashlib
import math
import random
import re
import threading
import time
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Protocol
from weakref import WeakValueDictionary

from sama_spark.http.secrets import Secret

REPEATABLE_STATUSES = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT = 86_400.0  # seconds that a call or one of its tries may be given
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0  # seconds; the first is doubled with each try
_PACE = 1.0  # seconds between two calls that a `Pacer` lets through


class Clock(Protocol):
    """Time as the transport needs it; tests bring their own."""

    def monotonic(self) -> float:
        """Return seconds from any beginning, never less than before."""

    def time(self) -> float:
        """Return seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True)
class SystemClock:
    """The real time. All instances are equal, so clients share their pacing."""

    def monotonic(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def time(self) -> float:
        """Return `time.time()`."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        time.sleep(seconds)


class Safety(Enum):
    """What happens if a call is carried out twice."""

    FREE = "free"
    """Nothing that matters: the call is repeated after every failure that may pass."""
    ONCE = "once"
    """The effect comes twice: the call is repeated only if the server has surely not carried it out."""
    NEVER = "never"
    """Data is lost, because the server's cursor moves with each call: the call is never repeated."""


class Repeat(Enum):
    """How often a failed try is worth a repeat."""

    NEVER = "the failure stays as it is"
    A_FEW_TIMES = "the failure may last"
    UNTIL_DEADLINE = "the failure passes"


def may_repeat(safety: Safety, *, transient: bool, surely_not_done: bool) -> bool:
    """Return True if a failed call may be sent again."""
    if safety is Safety.NEVER or not transient:
        return False
    return safety is Safety.FREE or surely_not_done


def backoff(attempt: int, rng: random.Random) -> float:
    """Return the seconds to wait after failed try number `attempt` (from 1): exponential, with full jitter."""
    # At least a little: several small numbers in a row would hammer the server.
    return max(0.05, rng.uniform(0, min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(attempt, 16))))


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, None for a header that asks for nothing usable.

    urllib3 has a function for this, but takes the time from the system and raises for nonsense.

    Args:
        value: the header, whole seconds or an HTTP date.
        now: seconds since the epoch, which an HTTP date is compared with.
    """
    if value is None:
        return None
    text = value.strip()[:100]  # no date is longer
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        seconds = float(text)
    else:
        try:
            when = parsedate_to_datetime(text)
            if when.tzinfo is None:
                when = when.replace(tzinfo=timezone.utc)
            seconds = when.timestamp() - now
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
    return seconds if seconds > 0 and not math.isnan(seconds) else None


class Pacer:
    """Lets one call through per second, in the order in which callers ask."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = -math.inf

    def wait(self) -> None:
        """Wait for this caller's turn."""
        with self._lock:
            now = self._clock.monotonic()
            turn = max(now, self._free_at)
            self._free_at = turn + _PACE
        if turn > now:
            self._clock.sleep(turn - now)


# A pacer is dropped with the last client that uses its key.
_pacers: WeakValueDictionary[tuple[Clock, bytes, str], Pacer] = WeakValueDictionary()
_pacers_lock = threading.Lock()


def pacer_for(clock: Clock, key: Secret, base_url: str) -> Pacer:
    """Return the one pacer of this process for a key and server: the server limits the key, not the client."""
    identity = (clock, hashlib.sha256(key.reveal().encode()).digest(), base_url)
    with _pacers_lock:
        return _pacers.setdefault(identity, Pacer(clock))
