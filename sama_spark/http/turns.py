"""Turns: how many calls of one reader run at once."""

from __future__ import annotations

import threading

from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import RateLimitedError


class TurnsOver(Exception):
    """Whoever reads needs no more replies, so the call was not sent."""


class Turns:
    """Lets some calls run at once, and one at a time once the server has answered 429.

    Each try of a call is a turn of its own, `with turns: ...`: calls that wait for their next try are in nobody's way.

    Args:
        at_once: how many tries may run at the same time.

    Raises:
        TurnsOver: at the beginning of a turn, after `end`.
    """

    def __init__(self, at_once: int) -> None:
        self._changed = threading.Condition()
        self._at_once = at_once
        self._running = 0

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._at_once or self._running < self._at_once)
            if not self._at_once:
                raise TurnsOver
            self._running += 1

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def heed(self, error: ConnectorError | None) -> None:
        """Let one call run at a time from now on, if a try ended in 429."""
        if isinstance(error, RateLimitedError):
            with self._changed:
                self._at_once = min(self._at_once, 1)

    def end(self) -> None:
        """Let nobody begin another turn. The turns that run go on to their ends."""
        with self._changed:
            self._at_once = 0
            self._changed.notify_all()
