"""Turns: how many calls of one reader run at once."""

from __future__ import annotations

import math
import threading
from collections import deque

from sama_spark.http.retry import Clock


class TurnsOver(Exception):
    """Whoever reads needs no more replies, so the call was not sent."""


class Turns:
    """Lets some calls run at once, and one at a time once the server has answered 429. First come, first served.

    Each try of a call is a turn of its own, `with turns: ...`: a call that waits for its next try holds up no other.

    Args:
        at_once: how many tries may run at the same time.
        clock: measures and waits.

    Raises:
        TurnsOver: at the beginning of a turn, after `end`.
    """

    def __init__(self, at_once: int, clock: Clock) -> None:
        self._changed = threading.Condition()
        self._at_once = at_once
        self._running = 0
        self._queue: deque[object] = deque()
        self._clock = clock
        self._not_before = -math.inf

    def __enter__(self) -> None:
        place = object()
        with self._changed:
            self._queue.append(place)
        try:
            while (pause := self._begun(place)) > 0:
                self._clock.sleep(pause)
        finally:
            with self._changed:
                self._queue.remove(place)
                self._changed.notify_all()

    def _begun(self, place: object) -> float:
        """Wait for the turn of this place, and begin it. Return 0, or for how many seconds the server wants no call."""
        with self._changed:
            self._changed.wait_for(lambda: not self._at_once or self._is_free(place))
            if not self._at_once:
                raise TurnsOver
            pause = self._not_before - self._clock.monotonic()
            if pause > 0:
                return pause
            self._running += 1
            return 0.0

    def _is_free(self, place: object) -> bool:
        return self._queue[0] is place and self._running < self._at_once

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def slow_down(self, seconds: float) -> None:
        """Let one call run at a time from now on, the next one after so many seconds: the server has answered 429."""
        with self._changed:
            self._at_once = min(self._at_once, 1)
            self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    def end(self) -> None:
        """Let nobody begin another turn. The turns that run go on to their ends."""
        with self._changed:
            self._at_once = 0
            self._changed.notify_all()
