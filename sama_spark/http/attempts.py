"""One try of a call: what comes back becomes a value, or an error that knows whether a repeat can help."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from sama_spark.arguments import base_url_of, check_seconds
from sama_spark.errors import ConnectorError
from sama_spark.http.call import Call
from sama_spark.http.call_errors import (
    BadRequestError,
    ConnectionFailed,
    InvalidResponse,
    LinkRefused,
    RequestTimedOut,
    ServerError,
    UploadUrlRefused,
    of_vendor,
)
from sama_spark.http.connections import is_inside
from sama_spark.http.dialect import Dialect, ErrorsInReply, Problem
from sama_spark.http.error_pages import excerpt, read_page, redacted
from sama_spark.http.failures import Failure, Trouble
from sama_spark.http.retry import LONGEST_WAIT, REPEATABLE_STATUSES, Clock, Repeat, Safety, parse_retry_after
from sama_spark.http.secrets import Redactor, Secret, redactor_for_link
from sama_spark.http.wire import Reply, Wire

T = TypeVar("T")

_LARGEST_FILE = 512 << 20  # bytes of what a link leads to
_PROXYS_LOGIN = "Give the proxy's login: HTTPS_PROXY=http://user:password@host:port, user and password percent-encoded."
_PROXYS_LEAVE = "Ask who runs the proxy to let this host through, or name it in NO_PROXY."


@dataclass(frozen=True)
class FailedTry:
    """Why a try failed.

    Attributes:
        error: what to raise if the call is not sent again.
        repeat: how often the try is worth a repeat.
        surely_not_done: True if the server has not carried out the call.
        retry_after: seconds that the server asks to wait, None where it asks for nothing.
        unreachable: True if there was no connection, which stays so where an address is wrong.
    """

    error: ConnectorError
    repeat: Repeat
    surely_not_done: bool = False
    retry_after: float | None = None
    unreachable: bool = False


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """What one try gave: a value or a failure, and a note for the log."""

    value: T | None = field(default=None, repr=False)
    failed: FailedTry | None = None
    note: str = ""


class Attempts:
    """Tries calls to one server, each try by itself; see `Transport` for the arguments.

    Attributes:
        is_answered: True once any server has answered this client.
        redact: takes the key and the queries of URLs out of a text.
    """

    def __init__(
        self, dialect: Dialect, base_url: str, *, connect_timeout: float, read_timeout: float, clock: Clock
    ) -> None:
        self.base_url = base_url_of(base_url)
        self.is_answered = False
        self.redact = Redactor(*dialect.secrets)
        self._dialect = dialect
        self._clock = clock
        new_wire = partial(
            Wire,
            connect_timeout=check_seconds(connect_timeout, "connect_timeout", above_zero=True, most=LONGEST_WAIT),
            read_timeout=check_seconds(read_timeout, "read_timeout", above_zero=True, most=LONGEST_WAIT),
            monotonic=clock.monotonic,
        )
        parts = urlsplit(self.base_url)
        self._is_public = parts.scheme == "https" and not is_inside(parts.hostname or "")
        self._wire = new_wire()
        # Signed URLs lead to another host: no connection to that host ever carries the key.
        self._store_wire = new_wire(outside=self._is_public)

    def close(self) -> None:
        """Close idle connections."""
        self._wire.close()
        self._store_wire.close()

    def send(self, call: Call, decode: Callable[[bytes], T], deadline: float) -> Attempt[T]:
        """Send the call with the key, and decode the body of a 2xx."""
        url, headers = self._dialect.signed(f"{self.base_url}/{call.path_and_query()}")
        reply = self._wire.exchange(call.method, url, call.body, self.redact, deadline, headers=headers)
        if isinstance(reply, Failure):
            return self._failed(call, reply)
        self.is_answered = True
        if not 200 <= reply.status < 300:
            return self._refused(call, reply)
        note = f"{reply.status}, {len(reply.body):,} bytes"
        # Each error is made outside of its `except`, so that none is chained to an error that saw the reply.
        flaw, repeat = "", Repeat.NEVER
        try:
            return Attempt(decode(reply.body.removeprefix(BOM_UTF8)), note=note)
        except ErrorsInReply:
            pass
        except msgspec.ValidationError as error:
            flaw = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            flaw, repeat = f"no valid JSON: {error}", Repeat.A_FEW_TIMES
        except RecursionError:
            flaw = "it is nested too deep"
        except MemoryError:
            flaw = "this machine has no memory for it"
        if not flaw:
            return self._refused(call, reply)
        # JSON may hold customers' data, credentials or signed URLs, so only other texts are shown.
        is_json = reply.body[:1] in (b"{", b"[")
        shown = "" if is_json else f"; the reply is: {self._problem(reply, self.redact).message or 'empty'}"
        invalid = self.error(InvalidResponse, call, flaw + shown, reply)
        return _attempt_of(call, invalid, f"{note}, {flaw}", repeat)

    def upload(self, url: Secret, call: Call, deadline: float) -> Attempt[None]:
        """PUT the call's body to a signed URL, without the key."""
        redact = redactor_for_link(url.reveal())
        reply = self._store_wire.exchange("PUT", url, call.body, redact, deadline)
        if isinstance(reply, Failure):
            return self._failed(call, reply)
        self.is_answered = True
        if not 200 <= reply.status < 300:
            return self._refused(call, reply, redact, UploadUrlRefused)
        note = f"{reply.status}, {len(call.body or b''):,} bytes sent"
        if not reply.body.lstrip().startswith(b"<"):
            return Attempt(note=note)
        # A store's answer is empty. A proxy's page, or XML, means that the store does not have the file.
        invalid = self.error(InvalidResponse, call, "a page where the store's answer is due", reply)
        return _attempt_of(call, invalid, f"{note}, a page", Repeat.A_FEW_TIMES)

    def download(self, url: Secret, call: Call, into: Path, deadline: float) -> Attempt[None]:
        """GET a link into a file, without the key."""
        redact = redactor_for_link(url.reveal())
        try:
            with into.open("wb") as file:
                reply = self._store_wire.exchange("GET", url, None, redact, deadline, file, _LARGEST_FILE)
            size = into.stat().st_size
        except OSError as error:
            kind = type(error).__name__
            reply = Failure(Trouble.NOT_KEPT, f"{kind}: {error}", kind, "the link", sent=False)
        if isinstance(reply, Failure):
            return self._failed(call, reply, is_link=True)
        self.is_answered = True
        if 200 <= reply.status < 300:
            return Attempt(note=f"{reply.status}, {size:,} bytes")
        return self._refused(call, reply, redact, LinkRefused)

    def check_link(self, url: Secret, call: Call, kind: type[ConnectorError]) -> None:
        """Raise an error of `kind` for a link that leads out of https, or from the internet into a private network."""
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
            raise self.error(kind, call, f"{problem}; nothing was sent there")

    def error(
        self,
        kind: type[ConnectorError],
        call: Call,
        message: str,
        reply: Reply | None = None,
        types: tuple[str, ...] = (),
    ) -> ConnectorError:
        """Return the vendor's error of a kind, with every text redacted."""

        def clean(value: str | int | None) -> str | int | None:
            # A key that was passed in place of an id must not show either.
            return self.redact(value) if isinstance(value, str) else value

        return of_vendor(kind, self._dialect.root)(
            excerpt(self.redact(message)),
            call=call.what,
            status=reply.status if reply else None,
            error_types=tuple(self.redact(name) for name in types),
            request_id=self.redact(reply.request_id) if reply and reply.request_id else None,
            project_id=clean(call.project_id),
            batch_id=clean(call.batch_id),
        )

    def _failed(self, call: Call, failure: Failure, *, is_link: bool = False) -> Attempt[Any]:
        """Return the failure of a try without a reply."""
        trouble, status = failure.trouble, failure.status
        kind = _KINDS.get(trouble, ConnectionFailed)
        if is_link and trouble in (Trouble.UNSENDABLE, Trouble.TOO_LARGE):
            kind = LinkRefused
        repeat = _REPEATS.get(trouble, Repeat.UNTIL_DEADLINE)
        if trouble is Trouble.PROXY and status is not None and status < 500 and status != 429:
            repeat = Repeat.NEVER
        note = self.redact(str(failure))
        error = self.error(kind, call, note)
        error.status = status
        if trouble is Trouble.PROXY:
            error.remedy = _PROXYS_LOGIN if status == 407 else _PROXYS_LEAVE
        elif trouble is Trouble.TOO_LARGE and not is_link:
            error.remedy = self._dialect.ask_for_less
        return _attempt_of(
            call,
            error,
            note,
            repeat,
            surely_not_done=not failure.sent,
            unreachable=trouble in (Trouble.NOT_CONNECTED, Trouble.PROXY),
        )

    def _refused(
        self, call: Call, reply: Reply, redact: Redactor | None = None, by_store: type[ConnectorError] | None = None
    ) -> Attempt[Any]:
        """Return the failure that an error reply stands for; `by_store` is the kind where a store refuses a link."""
        problem = self._problem(reply, redact or self.redact)
        kind = problem.kind
        if by_store is not None and 400 <= reply.status < 500 and reply.status not in (407, 413, 429):
            kind = by_store
        message = problem.message or f"HTTP {reply.status} without a message"
        error = self.error(kind, call, message, reply, problem.types)
        error.remedy = self._remedy(error, problem)
        return _attempt_of(
            call,
            error,
            f"HTTP {reply.status} from {urlsplit(self.base_url).netloc if by_store is None else 'a store'}",
            Repeat.UNTIL_DEADLINE if reply.status in REPEATABLE_STATUSES else Repeat.NEVER,
            surely_not_done=not issubclass(kind, ServerError),
            retry_after=parse_retry_after(reply.retry_after, self._clock.time()),
        )

    def _problem(self, reply: Reply, redact: Redactor) -> Problem:
        own = self._dialect.problem(reply.status, reply.body)
        return read_page(reply.status, reply.body, redact) if own is None else redacted(own, redact)

    def _remedy(self, error: ConnectorError, problem: Problem) -> str:
        if error.status == 407:
            return _PROXYS_LOGIN
        if problem.by == "api":
            return error.remedy
        # "The server's own" message is not the store's, and not the page's.
        own = "" if error.remedy == BadRequestError.remedy else error.remedy
        not_the_apis = (
            f"The reply is no JSON of {self._dialect.vendor}'s: a proxy or a gateway in between may have written it."
        )
        return own if problem.by == "store" else f"{not_the_apis} {own}".rstrip()


def _attempt_of(
    call: Call,
    error: ConnectorError,
    note: str,
    repeat: Repeat,
    *,
    surely_not_done: bool = False,
    retry_after: float | None = None,
    unreachable: bool = False,
) -> Attempt[Any]:
    error.maybe_done = call.safety is not Safety.FREE and not surely_not_done
    error.retryable = repeat is Repeat.UNTIL_DEADLINE and not error.maybe_done
    return Attempt(failed=FailedTry(error, repeat, surely_not_done, retry_after, unreachable), note=note)


_KINDS: dict[Trouble, type[ConnectorError]] = {
    Trouble.TIMED_OUT: RequestTimedOut,
    Trouble.TRUNCATED: InvalidResponse,
    Trouble.UNREADABLE: InvalidResponse,
    Trouble.TOO_LARGE: InvalidResponse,
    Trouble.NOT_KEPT: ConnectorError,
}
_REPEATS = {
    Trouble.NO_TLS: Repeat.A_FEW_TIMES,
    Trouble.UNREADABLE: Repeat.A_FEW_TIMES,
    Trouble.UNTRUSTED: Repeat.NEVER,
    Trouble.TOO_LARGE: Repeat.NEVER,
    Trouble.UNSENDABLE: Repeat.NEVER,
    Trouble.NOT_KEPT: Repeat.NEVER,
}
