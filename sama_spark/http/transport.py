"""The only place that calls an API: it repeats calls where that is safe, until they succeed or their time is over."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from sama_spark.arguments import check_seconds
from sama_spark.http.attempts import Attempt, Attempts, FailedTry
from sama_spark.http.call import Call
from sama_spark.http.call_errors import InvalidResponse, LinkRefused, RateLimitedError
from sama_spark.http.dialect import Dialect
from sama_spark.http.retry import LONGEST_WAIT, Clock, Repeat, backoff, may_repeat, pacer_for
from sama_spark.http.secrets import Secret

T = TypeVar("T")
_log = logging.getLogger("sama_spark")

# A large body on a slow link gets more time than the deadline alone: bytes per second.
_SLOWEST_UPLOAD = 250_000

_FEW_TRIES = 3
_FIRST_CONTACT = 30.0  # seconds for a server that has never answered
_SECOND_WARNING, _FURTHER_WARNINGS = 10.0, 30.0  # seconds after the warning before


class Transport:
    """Sends calls to one server with one key; safe to share between threads.

    Args:
        dialect: how the vendor's API is spoken; holds the key.
        base_url: the API's address up to and including the version.
        connect_timeout: seconds to wait for a connection; above 0, a day at most.
        read_timeout: seconds to wait for the reply, and for each piece of the reply; above 0, a day at most.
        deadline: seconds for a call with all its retries; above 0, a day at most.
        report: takes one readable line per call.
        warn: takes a line now and then while a call that fails is tried again.
        clock, rng: time and chance, for tests to replace.

    Attributes:
        base_url: the API's address, without a slash at its end.
        deadline: seconds for a call with all its retries.
        around: runs each try of a call, and by default does nothing else. Tests put their own function here, to see
            or to stop a try.

    Raises:
        InvalidInput: an argument cannot be used.
    """

    def __init__(
        self,
        dialect: Dialect,
        base_url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        deadline: float,
        report: Callable[[str], None],
        warn: Callable[[str], None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.around: Callable[[Call, Callable[[], Attempt[Any]]], Attempt[Any]] = lambda _, attempt: attempt()
        self._attempts = Attempts(
            dialect, base_url, connect_timeout=connect_timeout, read_timeout=read_timeout, clock=clock
        )
        self.base_url = self._attempts.base_url
        self.deadline = check_seconds(deadline, "deadline", above_zero=True, most=LONGEST_WAIT)
        self._report = report
        self._warn = warn
        self._clock = clock
        self._rng = rng
        self._pacer = pacer_for(clock, dialect.secrets[0], self.base_url)
        self._no_warning_until = -math.inf

    def __repr__(self) -> str:
        return f"Transport({vars(self).get('base_url')!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a transport is not pickled, because it holds the API key: make one where it is used")

    def send(self, call: Call, decode: Callable[[bytes], T]) -> T:
        """Send a call, repeat it where that is safe, and return what `decode` makes of the reply's body.

        Args:
            call: the call.
            decode: makes a value of the body of a 2xx. Raises msgspec.DecodeError for a body that is no JSON,
                msgspec.ValidationError for another shape, `ErrorsInReply` for a body that says that the call failed.

        Raises:
            ConnectorError: the call failed for good, as the vendor's own error and of a kind in `call_errors`.
        """
        return self._repeat(call, lambda deadline: self._attempts.send(call, decode, deadline))

    def upload(self, url: Secret, call: Call) -> None:
        """PUT `call.body` to a signed URL, without the key. A 2xx is success, its body may be empty."""
        self._attempts.check_link(url, call, InvalidResponse)
        self._repeat(call, lambda deadline: self._attempts.upload(url, call, deadline))

    def download(self, url: Secret, call: Call, into: Path) -> None:
        """GET a signed URL, without the key, into a file. Each try begins the file anew."""
        self._attempts.check_link(url, call, LinkRefused)
        self._repeat(call, lambda deadline: self._attempts.download(url, call, into, deadline))

    def redact(self, text: str) -> str:
        """Return a text of the server's without the key and without the queries of URLs."""
        return self._attempts.redact(text)

    def close(self) -> None:
        """Close idle connections; the transport stays usable."""
        self._attempts.close()

    def _repeat(self, call: Call, attempt: Callable[[float], Attempt[T]]) -> T:
        seconds = self._seconds_for(call)
        started = None
        lasting_failures, next_warning = 0, 0.0
        for number in count(1):
            if call.paced:
                self._pacer.wait()
            asked = self._clock.monotonic()
            with call.turns or nullcontext():
                now = self._clock.monotonic()
                started = now if started is None else started + now - asked  # to wait for a turn is no failure
                made = self.around(call, partial(attempt, started + seconds))
                _slow_down(call, made.failed)
            spent = self._clock.monotonic() - started
            failed = made.failed
            if failed is None:
                self._say(call, made.note, number, spent)
                return made.value  # type: ignore[return-value]
            error = failed.error
            transient = failed.repeat is not Repeat.NEVER
            if not may_repeat(call.safety, transient=transient, surely_not_done=failed.surely_not_done):
                break
            lasting_failures += failed.repeat is Repeat.A_FEW_TIMES
            # A server that has never answered may never do so.
            is_new = failed.unreachable and not self._attempts.is_answered
            time = min(seconds, _FIRST_CONTACT) if is_new else seconds
            delay = failed.retry_after or backoff(number, self._rng)
            if lasting_failures >= _FEW_TRIES or spent + delay >= time:
                error.message += f" (given up after {number} tries in {spent:.0f} s)"
                break
            if spent >= next_warning and self._warn_of(call, failed, made.note, time - spent):
                next_warning = spent + (_FURTHER_WARNINGS if next_warning else _SECOND_WARNING)
            _log.debug("%s: %s; try %d in %.2f s", call.what, made.note, number + 1, delay)
            self._clock.sleep(delay)
        self._say(call, made.note, number, spent)
        raise error

    def _seconds_for(self, call: Call) -> float:
        seconds = self.deadline
        if call.deadline is not None:
            seconds = check_seconds(call.deadline, "deadline", above_zero=True, most=LONGEST_WAIT)
        return seconds + len(call.body or b"") / _SLOWEST_UPLOAD

    def _warn_of(self, call: Call, failed: FailedTry, note: str, left: float) -> bool:
        now = self._clock.monotonic()
        if isinstance(failed.error, RateLimitedError):  # where many calls meet the limit, one warning is enough
            if now < self._no_warning_until:
                return False
            self._no_warning_until = now + _FURTHER_WARNINGS
        what = call.what if call.project_id is None else f"{call.what} of project {call.project_id}"
        going_on = f"trying for {left:.0f} s more" if failed.repeat is Repeat.UNTIL_DEADLINE else "trying again"
        self._warn(self.redact(f"{note}: {what}, {going_on}"))
        return True

    def _say(self, call: Call, note: str, tries: int, spent: float) -> None:
        again = f", try {tries}" if tries > 1 else ""
        self._report(self.redact(f"{call.method} {call.path} -> {note} in {spent:.2f} s{again}"))


def _slow_down(call: Call, failed: FailedTry | None) -> None:
    """Slow other calls down, before the next of them begins, if the server has answered 429."""
    if call.turns and failed is not None and isinstance(failed.error, RateLimitedError):
        call.turns.slow_down(failed.retry_after or 0.0)
