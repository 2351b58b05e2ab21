"""The only place that sends: retries by safety, pacing, deadlines, redaction, typed errors."""

from __future__ import annotations

import logging
import math
import random
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar
from urllib.parse import quote_plus, urlsplit

import msgspec

from sama_spark.api.replies import PROXYS_LOGIN, ErrorsInReply, error_class, excerpt, read_problem, remedy_of
from sama_spark.arguments import base_url_of, seconds_of
from sama_spark.errors import ConnectorError
from sama_spark.http.call import Call
from sama_spark.http.call_errors import (
    ConnectionFailed,
    InvalidResponse,
    LinkRefused,
    RateLimitedError,
    RequestTimedOut,
    ServerError,
    UploadUrlRefused,
    of_vendor,
)
from sama_spark.http.connections import is_inside
from sama_spark.http.failures import Failure, Trouble
from sama_spark.http.retry import REPEATABLE_STATUSES, Clock, Safety, backoff, may_repeat, pacer_for, parse_retry_after
from sama_spark.http.secrets import Redactor, Secret, redactor_for_upload
from sama_spark.http.wire import Reply, Wire

T = TypeVar("T")
_log = logging.getLogger("sama_spark")

# A large body on a slow link gets more time than the deadline alone: bytes per second.
_SLOWEST_UPLOAD = 250_000

_LARGEST_FILE = 512 << 20  # bytes of what a link leads to
_FLAW_TRIES = 3
_FIRST_CONTACT = 30.0  # seconds
_SECOND_WORD, _FURTHER_WORDS = 10.0, 30.0  # seconds after the word before


class _Hope(Enum):
    """What trying again may bring."""

    NONE = "it stays as it is"
    LITTLE = "it may be a flaw that repeats itself: a few tries"
    SOME = "it passes: tries until the deadline"


@dataclass(frozen=True)
class _Problem:
    """A failed try. `unreachable`: nobody was there, as for ever where an address is wrong."""

    error: ConnectorError
    hope: _Hope
    surely_not_done: bool = False
    retry_after: float | None = None
    unreachable: bool = False


@dataclass(frozen=True)
class _Attempt(Generic[T]):
    value: T | None = field(default=None, repr=False)
    problem: _Problem | None = None
    note: str = ""


class Transport:
    """Sends calls to one Sama server with one key; safe to share between threads.

    Args:
        key: the API key, sent as the query parameter `access_key` and nowhere else.
        base_url: up to and including the version.
        root: the root of the vendor's errors, of which all that calls raise are.
        connect_timeout, read_timeout: seconds, for each attempt.
        deadline: seconds for a call with all its retries.
        report: takes one readable line per call.
        warn: takes a line now and then while a call that fails is tried again.
        clock, rng: time and chance, for tests to replace.
    """

    def __init__(
        self,
        key: Secret,
        base_url: str,
        *,
        root: type[ConnectorError],
        connect_timeout: float,
        read_timeout: float,
        deadline: float,
        report: Callable[[str], None],
        warn: Callable[[str], None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.base_url = base_url_of(base_url)
        self._root = root
        self._key = key
        self._deadline = seconds_of(deadline, "deadline")
        self._report = report
        self._warn = warn
        self._clock = clock
        self._rng = rng
        self._redact = Redactor(key)
        self._pacer = pacer_for(clock, key, self.base_url)
        new_wire = partial(
            Wire,
            connect_timeout=seconds_of(connect_timeout, "connect_timeout"),
            read_timeout=seconds_of(read_timeout, "read_timeout"),
            monotonic=clock.monotonic,
        )
        self._wire = new_wire()
        parts = urlsplit(self.base_url)
        self._is_public = parts.scheme == "https" and not is_inside(parts.hostname or "")
        # Signed URLs lead to another host: no connection of theirs ever carries the key.
        self._store_wire = new_wire(outside=self._is_public)
        self._is_answered = False
        self._hushed_until = -math.inf

    @property
    def deadline(self) -> float:
        """Seconds for a call with all its retries."""
        return self._deadline

    def __repr__(self) -> str:
        return f"Transport({vars(self).get('base_url')!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Sama client is not pickled, because it holds the API key: make one where it is used")

    def send(self, call: Call, decode: Callable[[bytes], T]) -> T:
        """Send a call, repeat it where that is safe, and give what `decode` makes of the reply's body.

        `decode` raises msgspec.DecodeError for what is no JSON and msgspec.ValidationError for another shape.
        """
        return self._repeat(call, lambda deadline: self._attempt(call, decode, deadline))

    def upload(self, url: Secret, call: Call) -> None:
        """PUT `call.body` to a signed URL, without the key. A 2xx is success, its body may be empty."""
        self._check_link(url, call, InvalidResponse)
        self._repeat(call, lambda deadline: self._attempt_upload(url, call, deadline))

    def download(self, url: Secret, call: Call, into: Path) -> None:
        """GET a signed URL, without the key, into a file, which is begun anew with each try."""
        self._check_link(url, call, LinkRefused)
        self._repeat(call, lambda deadline: self._attempt_download(url, call, into, deadline))

    def redact(self, text: str) -> str:
        """A text of the server's without the key and without the queries of URLs."""
        return self._redact(text)

    def _check_link(self, url: Secret, call: Call, kind: type[ConnectorError]) -> None:
        """From an API behind TLS on the internet no link leads out of either."""
        problem = ""
        try:
            parts = urlsplit(url.reveal())
            if self.base_url.startswith("https:") and parts.scheme != "https":
                problem = "its link is no https address, and the API's is one"
            elif self._is_public and is_inside(parts.hostname or ""):
                problem = "its link leads into a private network, or to this machine"
        except ValueError:
            problem = "its link is no address"
        if problem:
            raise self._error(kind, call, f"{problem}; nothing was sent there")

    def close(self) -> None:
        """Close idle connections; the transport stays usable."""
        self._wire.close()
        self._store_wire.close()

    def _repeat(self, call: Call, attempt: Callable[[float], _Attempt[T]]) -> T:
        seconds = self._deadline if call.deadline is None else seconds_of(call.deadline, "deadline")
        seconds += len(call.body or b"") / _SLOWEST_UPLOAD
        started = None
        flaws, next_word = 0, 0.0
        for number in count(1):
            if call.paced:
                self._pacer.wait()
            if started is None:
                started = self._clock.monotonic()
            made = attempt(started + seconds)
            spent = self._clock.monotonic() - started
            problem = made.problem
            if problem is None:
                self._say(call, made.note, number, spent)
                return made.value  # type: ignore[return-value]
            error = problem.error
            transient = problem.hope is not _Hope.NONE
            if not may_repeat(call.safety, transient=transient, surely_not_done=problem.surely_not_done):
                break
            flaws += problem.hope is _Hope.LITTLE
            # Who has never answered may never do.
            time = min(seconds, _FIRST_CONTACT) if problem.unreachable and not self._is_answered else seconds
            delay = problem.retry_after or backoff(number, self._rng)
            if flaws >= _FLAW_TRIES or spent + delay >= time:
                error.message += f" (given up after {number} tries in {spent:.0f} s)"
                break
            if spent >= next_word and self._warn_of(call, problem, made.note, time - spent):
                next_word = spent + (_FURTHER_WORDS if next_word else _SECOND_WORD)
            _log.debug("%s: %s; try %d in %.2f s", call.what, made.note, number + 1, delay)
            self._clock.sleep(delay)
        self._say(call, made.note, number, spent)
        raise error

    def _warn_of(self, call: Call, problem: _Problem, note: str, left: float) -> bool:
        now = self._clock.monotonic()
        if isinstance(problem.error, RateLimitedError):  # where many calls meet it, one word is enough
            if now < self._hushed_until:
                return False
            self._hushed_until = now + _FURTHER_WORDS
        what = call.what if call.project_id is None else f"{call.what} of project {call.project_id}"
        going_on = f"trying for {left:.0f} s more" if problem.hope is _Hope.SOME else "trying again"
        self._warn(self._redact(f"{note}: {what}, {going_on}"))
        return True

    def _say(self, call: Call, note: str, tries: int, spent: float) -> None:
        again = f", try {tries}" if tries > 1 else ""
        self._report(self._redact(f"{call.method} {call.path} -> {note} in {spent:.2f} s{again}"))

    def _attempt(self, call: Call, decode: Callable[[bytes], T], deadline: float) -> _Attempt[T]:
        reply = self._wire.exchange(call.method, self._url(call), call.body, self._redact, deadline)
        if isinstance(reply, Failure):
            return self._failed(call, reply)
        self._is_answered = True
        if not 200 <= reply.status < 300:
            return self._refused(call, reply)
        note = f"{reply.status}, {len(reply.body):,} bytes"
        # Each error is made outside of its `except`, so that none is chained to one that saw the reply.
        flaw, hope = "", _Hope.NONE
        try:
            return _Attempt(decode(reply.body.removeprefix(BOM_UTF8)), note=note)
        except ErrorsInReply:
            pass
        except msgspec.ValidationError as error:
            flaw = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            flaw, hope = f"no valid JSON: {error}", _Hope.LITTLE
        except RecursionError:
            flaw = "it is nested too deep"
        except MemoryError:
            flaw = "this machine has no memory for it"
        if not flaw:
            return self._refused(call, reply)
        # JSON may hold customers' data, credentials or signed URLs, so only other texts are shown.
        is_json = reply.body[:1] in (b"{", b"[")
        shown = "" if is_json else f"; the reply is: {read_problem(reply.body, self._redact).message or 'empty'}"
        invalid = self._error(InvalidResponse, call, flaw + shown, reply)
        return self._attempt_of(call, invalid, f"{note}, {flaw}", hope=hope)

    def _attempt_upload(self, url: Secret, call: Call, deadline: float) -> _Attempt[None]:
        redact = redactor_for_upload(url.reveal())
        reply = self._store_wire.exchange("PUT", url, call.body, redact, deadline)
        if isinstance(reply, Failure):
            return self._failed(call, reply)
        self._is_answered = True
        if 200 <= reply.status < 300:
            note = f"{reply.status}, {len(call.body or b''):,} bytes sent"
            if not reply.body.lstrip().startswith(b"<"):
                return _Attempt(note=note)
            # A store answers with nothing; a proxy's page, or XML, means that it has not got the file.
            invalid = self._error(InvalidResponse, call, "a page where the store's answer is due", reply)
            return self._attempt_of(call, invalid, f"{note}, a page", hope=_Hope.LITTLE)
        return self._refused(call, reply, redact, UploadUrlRefused)

    def _attempt_download(self, url: Secret, call: Call, into: Path, deadline: float) -> _Attempt[None]:
        redact = redactor_for_upload(url.reveal())
        try:
            with into.open("wb") as file:
                reply = self._store_wire.exchange("GET", url, None, redact, deadline, file, _LARGEST_FILE)
            size = into.stat().st_size
        except OSError as error:
            kind = type(error).__name__
            reply = Failure(Trouble.NOT_KEPT, f"{kind}: {error}", kind, "the link", sent=False)
        if isinstance(reply, Failure):
            return self._failed(call, reply, LinkRefused)
        self._is_answered = True
        if 200 <= reply.status < 300:
            return _Attempt(note=f"{reply.status}, {size:,} bytes")
        return self._refused(call, reply, redact, LinkRefused)

    def _url(self, call: Call) -> Secret:
        further = call.query_text()
        return Secret(
            f"{self.base_url}/{call.path}?access_key={quote_plus(self._key.reveal())}{further and '&'}{further}"
        )

    def _failed(self, call: Call, failure: Failure, by_link: type[ConnectorError] | None = None) -> _Attempt[Any]:
        trouble = failure.trouble
        kind = _KINDS.get(trouble, ConnectionFailed)
        if by_link and trouble in (Trouble.UNSENDABLE, Trouble.TOO_LARGE):
            kind = by_link
        hope = _HOPES.get(trouble, _Hope.SOME)
        if trouble is Trouble.PROXY and failure.status is not None and failure.status < 500 and failure.status != 429:
            hope = _Hope.NONE
        note = self._redact(str(failure))
        error = self._error(kind, call, note)
        error.status = failure.status
        if failure.status == 407:
            error.remedy = PROXYS_LOGIN
        elif trouble is Trouble.PROXY:
            error.remedy = "Ask who runs the proxy to let this host through, or name it in NO_PROXY."
        elif trouble is Trouble.TOO_LARGE and not by_link:
            error.remedy = "Ask for less at a time: delivered_page_size, status_page_size and batch_page_size."
        return self._attempt_of(
            call,
            error,
            note,
            hope=hope,
            surely_not_done=not failure.sent,
            unreachable=trouble in (Trouble.NOT_CONNECTED, Trouble.PROXY),
        )

    def _refused(
        self, call: Call, reply: Reply, redact: Redactor | None = None, by_store: type[ConnectorError] | None = None
    ) -> _Attempt[Any]:
        problem = read_problem(reply.body, redact or self._redact)
        kind = error_class(reply.status, problem.types)
        if reply.status == 407:
            kind = ConnectionFailed
        elif by_store is not None and 400 <= reply.status < 500 and reply.status not in (413, 429):
            kind = by_store
        message = problem.message or f"HTTP {reply.status} without a message"
        error = self._error(kind, call, message, reply, problem.types)
        error.remedy = remedy_of(error, problem)
        return self._attempt_of(
            call,
            error,
            f"HTTP {reply.status} from {urlsplit(self.base_url).netloc if by_store is None else 'a store'}",
            hope=_Hope.SOME if reply.status in REPEATABLE_STATUSES else _Hope.NONE,
            surely_not_done=not issubclass(kind, ServerError),
            retry_after=parse_retry_after(reply.retry_after, self._clock.time()),
        )

    def _attempt_of(
        self,
        call: Call,
        error: ConnectorError,
        note: str,
        *,
        hope: _Hope,
        surely_not_done: bool = False,
        retry_after: float | None = None,
        unreachable: bool = False,
    ) -> _Attempt[Any]:
        error.maybe_done = call.safety is not Safety.FREE and not surely_not_done
        error.retryable = hope is _Hope.SOME and not error.maybe_done
        return _Attempt(problem=_Problem(error, hope, surely_not_done, retry_after, unreachable), note=note)

    def _error(
        self,
        kind: type[ConnectorError],
        call: Call,
        message: str,
        reply: Reply | None = None,
        types: tuple[str, ...] = (),
    ) -> ConnectorError:
        def clean(value: str | int | None) -> str | int | None:
            # A key passed in place of an id must not show either.
            return self._redact(value) if isinstance(value, str) else value

        return of_vendor(kind, self._root)(
            excerpt(self._redact(message)),
            call=call.what,
            status=reply.status if reply else None,
            error_types=tuple(self._redact(name) for name in types),
            request_id=self._redact(reply.request_id) if reply and reply.request_id else None,
            project_id=clean(call.project_id),
            batch_id=clean(call.batch_id),
        )


_KINDS: dict[Trouble, type[ConnectorError]] = {
    Trouble.TIMED_OUT: RequestTimedOut,
    Trouble.TRUNCATED: InvalidResponse,
    Trouble.UNREADABLE: InvalidResponse,
    Trouble.TOO_LARGE: InvalidResponse,
    Trouble.NOT_KEPT: ConnectorError,
}
_HOPES = {
    Trouble.NO_TLS: _Hope.LITTLE,
    Trouble.UNREADABLE: _Hope.LITTLE,
    Trouble.UNTRUSTED: _Hope.NONE,
    Trouble.TOO_LARGE: _Hope.NONE,
    Trouble.UNSENDABLE: _Hope.NONE,
    Trouble.NOT_KEPT: _Hope.NONE,
}
