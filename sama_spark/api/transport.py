"""The only place that sends: retries by safety, pacing, deadlines, redaction, typed errors."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar
from urllib.parse import quote_plus, urlsplit

import msgspec

from .call import Call
from .errors import (
    ConnectionFailed,
    InvalidInput,
    InvalidResponse,
    LinkRefused,
    RequestTimedOut,
    SamaError,
    ServerError,
    UploadUrlRefused,
)
from .replies import ErrorsInReply, error_class, excerpt, read_problem
from .retry import REPEATABLE_STATUSES, Clock, Safety, backoff, may_repeat, pacer_for, parse_retry_after
from .secrets import Redactor, Secret, redactor_for_upload
from .wire import Failure, Reply, Trouble, Wire

T = TypeVar("T")
_log = logging.getLogger("sama_spark")

# A large body on a slow link gets more time than the deadline alone: bytes per second.
_SLOWEST_UPLOAD = 250_000


@dataclass(frozen=True)
class _Problem:
    error: SamaError
    transient: bool = False
    surely_not_done: bool = False
    retry_after: float | None = None


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
        connect_timeout, read_timeout: seconds, for each attempt.
        deadline: seconds for a call with all its retries.
        report: takes one readable line per call.
        clock, rng: time and chance, for tests to replace.
    """

    def __init__(
        self,
        key: Secret,
        base_url: str,
        *,
        connect_timeout: float,
        read_timeout: float,
        deadline: float,
        report: Callable[[str], None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.base_url = _checked(base_url)
        self._key = key
        self._deadline = deadline
        self._report = report
        self._clock = clock
        self._rng = rng
        self._redact = Redactor(key)
        self._pacer = pacer_for(clock, key, self.base_url)
        new_wire = partial(
            Wire,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            monotonic=clock.monotonic,
        )
        self._wire = new_wire()
        # Signed URLs lead to another host: no connection of theirs ever carries the key.
        self._store_wire = new_wire()

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
        self._repeat(call, lambda deadline: self._attempt_upload(url, call, deadline))

    def download(self, url: Secret, call: Call, into: Path) -> None:
        """GET a signed URL, without the key, into a file, which is begun anew with each try."""
        self._repeat(call, lambda deadline: self._attempt_download(url, call, into, deadline))

    def redact(self, text: str) -> str:
        """A text of the server's without the key and without the queries of URLs."""
        return self._redact(text)

    def close(self) -> None:
        """Close idle connections; the transport stays usable."""
        self._wire.close()
        self._store_wire.close()

    def _repeat(self, call: Call, attempt: Callable[[float], _Attempt[T]]) -> T:
        started = deadline = None
        for number in count(1):
            if call.paced:
                self._pacer.wait()
            if started is None or deadline is None:
                started = self._clock.monotonic()
                deadline = started + (call.deadline or self._deadline) + len(call.body or b"") / _SLOWEST_UPLOAD
            made = attempt(deadline)
            problem = made.problem
            spent = self._clock.monotonic() - started
            if problem is None:
                self._say(call, made.note, number, spent)
                return made.value  # type: ignore[return-value]
            error = problem.error
            if not may_repeat(call.safety, transient=problem.transient, surely_not_done=problem.surely_not_done):
                break
            delay = problem.retry_after or backoff(number, self._rng)
            if started + spent + delay >= deadline:
                error.message += f" (given up after {number} tries in {spent:.0f} s)"
                break
            _log.debug("%s: %s; try %d in %.2f s", call.what, made.note, number + 1, delay)
            self._clock.sleep(delay)
        self._say(call, made.note, number, spent)
        raise error

    def _say(self, call: Call, note: str, tries: int, spent: float) -> None:
        again = f", try {tries}" if tries > 1 else ""
        self._report(self._redact(f"{call.method} {call.path} -> {note} in {spent:.2f} s{again}"))

    def _attempt(self, call: Call, decode: Callable[[bytes], T], deadline: float) -> _Attempt[T]:
        reply = self._wire.exchange(call.method, self._url(call), call.body, self._redact, deadline)
        if isinstance(reply, Failure):
            return self._failed(call, reply)
        if not 200 <= reply.status < 300:
            return self._refused(call, reply)
        note = f"{reply.status}, {len(reply.body):,} bytes"
        # Each error is made outside of its `except`, so that none is chained to one that saw the reply.
        flaw, transient = "", False
        try:
            return _Attempt(decode(reply.body), note=note)
        except ErrorsInReply:
            pass
        except msgspec.ValidationError as error:
            flaw = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            flaw, transient = f"no valid JSON: {error}", True
        if not flaw:
            return self._refused(call, reply)
        # JSON may hold customers' data, credentials or signed URLs, so only other texts are shown.
        shown = "" if reply.body[:1] in (b"{", b"[") else f"; the reply is: {read_problem(reply.body)[1]}"
        invalid = self._error(InvalidResponse, call, flaw + shown, reply)
        return self._attempt_of(call, invalid, f"{note}, {flaw}", transient=transient)

    def _attempt_upload(self, url: Secret, call: Call, deadline: float) -> _Attempt[None]:
        redact = redactor_for_upload(url.reveal())
        reply = self._store_wire.exchange("PUT", url, call.body, redact, deadline)
        if isinstance(reply, Failure):
            return self._failed(call, reply)
        if 200 <= reply.status < 300:
            note = f"{reply.status}, {len(call.body or b''):,} bytes sent"
            if not reply.body.lstrip().startswith(b"<"):
                return _Attempt(note=note)
            # A store answers with nothing; a proxy's page, or XML, means that it has not got the file.
            invalid = self._error(InvalidResponse, call, "a page where the store's answer is due", reply)
            return self._attempt_of(call, invalid, f"{note}, a page", transient=True)
        return self._refused(call, reply, redact, UploadUrlRefused)

    def _attempt_download(self, url: Secret, call: Call, into: Path, deadline: float) -> _Attempt[None]:
        redact = redactor_for_upload(url.reveal())
        with into.open("wb") as file:
            reply = self._store_wire.exchange("GET", url, None, redact, deadline, file)
        if isinstance(reply, Failure):
            return self._failed(call, reply, LinkRefused)
        if 200 <= reply.status < 300:
            return _Attempt(note=f"{reply.status}, {into.stat().st_size:,} bytes")
        return self._refused(call, reply, redact, LinkRefused)

    def _url(self, call: Call) -> Secret:
        further = call.query_text()
        key = quote_plus(self._key.reveal())
        return Secret(f"{self.base_url}/{call.path}?access_key={key}{further and '&'}{further}")

    def _failed(self, call: Call, failure: Failure, unsendable: type[SamaError] = ConnectionFailed) -> _Attempt[Any]:
        kinds: dict[Trouble, type[SamaError]] = {
            Trouble.TIMED_OUT: RequestTimedOut,
            Trouble.TRUNCATED: InvalidResponse,
            Trouble.UNSENDABLE: unsendable,
            Trouble.NOT_KEPT: SamaError,
        }
        error = self._error(
            kinds.get(failure.trouble, ConnectionFailed), call, f"{failure.trouble.value}: {failure.text}"
        )
        transient = failure.trouble not in (Trouble.UNTRUSTED, Trouble.UNSENDABLE, Trouble.NOT_KEPT)
        not_done = failure.trouble in (Trouble.NOT_CONNECTED, Trouble.UNTRUSTED, Trouble.UNSENDABLE)
        return self._attempt_of(call, error, failure.trouble.value, transient=transient, surely_not_done=not_done)

    def _refused(
        self, call: Call, reply: Reply, redact: Redactor | None = None, by_store: type[SamaError] | None = None
    ) -> _Attempt[Any]:
        types, message = read_problem(reply.body)
        kind = error_class(reply.status, types)
        if redact is not None:
            message = redact(message)
        if by_store is not None and 400 <= reply.status < 500 and reply.status not in (413, 429):
            kind = by_store
        error = self._error(kind, call, message or f"HTTP {reply.status} without a message", reply, types)
        return self._attempt_of(
            call,
            error,
            f"HTTP {reply.status}",
            transient=reply.status in REPEATABLE_STATUSES,
            surely_not_done=not issubclass(kind, ServerError),
            retry_after=parse_retry_after(reply.retry_after, self._clock.time()),
        )

    def _attempt_of(
        self,
        call: Call,
        error: SamaError,
        note: str,
        *,
        transient: bool,
        surely_not_done: bool = False,
        retry_after: float | None = None,
    ) -> _Attempt[Any]:
        error.maybe_done = call.safety is not Safety.FREE and not surely_not_done
        error.retryable = transient and not error.maybe_done
        return _Attempt(problem=_Problem(error, transient, surely_not_done, retry_after), note=note)

    def _error(
        self,
        kind: type[SamaError],
        call: Call,
        message: str,
        reply: Reply | None = None,
        types: tuple[str, ...] = (),
    ) -> SamaError:
        def clean(value: str | int | None) -> str | int | None:
            # A key passed in place of an id must not show either.
            return self._redact(value) if isinstance(value, str) else value

        return kind(
            excerpt(self._redact(message)),
            call=call.what,
            status=reply.status if reply else None,
            error_types=tuple(self._redact(name) for name in types),
            request_id=self._redact(reply.request_id) if reply and reply.request_id else None,
            project_id=clean(call.project_id),
            batch_id=clean(call.batch_id),
        )


def _checked(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise InvalidInput(
            "base_url is not a plain http(s) address",
            remedy='Give one like "https://api.sama.com/v2", without query, user or password.',
        )
    return base_url.rstrip("/")
