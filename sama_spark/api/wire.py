"""One HTTP exchange: never raises for what the network does, always ends, and takes no more than it was told to.

The URL, which holds the key or a signature, lives only in frames that are gone when an error is raised.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import IO
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions as broken

from .connections import BundleMissing, NotOutside, Watch, new_manager
from .proxies import Proxy, ProxyUnusable, proxy_for
from .secrets import Redactor, Secret, hidden_from_logs, redact_urllib3_logs

Body = bytes | memoryview

LARGEST_REPLY = 256 << 20
"""Bytes of a 2xx reply, unpacked, unless an exchange says otherwise."""
_LARGEST_REFUSAL = 1 << 20  # of any other reply this much is read, and the rest left

_READ_SIZE = 1 << 16
_SEND_SIZE = 1 << 18
_GZIP_OR_ZLIB, _BARE_DEFLATE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS

redact_urllib3_logs()


class Trouble(Enum):
    """What kept a reply from arriving; the words go before the host's name."""

    NOT_CONNECTED = "no connection to"
    NO_TLS = "no TLS with"
    UNTRUSTED = "certificate not accepted of"
    PROXY = "the proxy refuses the way to"
    LOST = "connection lost to"
    TRUNCATED = "truncated reply from"
    TIMED_OUT = "timed out:"
    UNREADABLE = "unreadable reply from"
    TOO_LARGE = "too large a reply from"
    UNSENDABLE = "cannot be sent to"
    NOT_KEPT = "cannot be written: what comes from"


@dataclass(frozen=True)
class Failure:
    """Why there is no reply.

    Attributes:
        text: the reason, in words.
        kind: the name of the exception that it was.
        host: the host and port that it was for.
        sent: the request, or a part of it, may have arrived.
        status: of a proxy's refusal, None for all others.
    """

    trouble: Trouble
    text: str
    kind: str
    host: str
    sent: bool
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.trouble.value} {self.host} ({self.text})"


@dataclass(frozen=True)
class Reply:
    status: int
    request_id: str | None
    retry_after: str | None
    location: str | None = field(repr=False)
    body: bytes = field(repr=False)


class _DeadlinePassed(Exception):
    pass


class _NotKept(Exception):
    pass


class _TooLarge(Exception):
    pass


class _Unreadable(Exception):
    pass


class Wire:
    """A pool of connections, through the environment's proxy where it names one.

    Certificates are held against the system's authorities, or those of SSL_CERT_FILE, SSL_CERT_DIR or, before these,
    REQUESTS_CA_BUNDLE.

    Args:
        connect_timeout, read_timeout: seconds to wait for a connection, and for the reply's headers and
            each further piece of it.
        monotonic: the clock that deadlines are measured by.
        accept: what replies may be.
        outside: True to connect to no address of this machine.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        read_timeout: float,
        monotonic: Callable[[], float],
        accept: str = "application/json",
        outside: bool = False,
    ) -> None:
        self._headers = {"User-Agent": user_agent(), "Accept": accept, "Accept-Encoding": "gzip, deflate"}
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._monotonic = monotonic
        self._outside = outside
        self._managers: dict[Proxy | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def exchange(
        self,
        method: str,
        url: Secret,
        body: Body | None,
        redact: Redactor,
        deadline: float,
        into: IO[bytes] | None = None,
        most: int = LARGEST_REPLY,
    ) -> Reply | Failure:
        """Send one request and read the whole reply. Redirects are not followed, nothing is retried.

        `into`: takes the body of a 2xx, piece by piece, in place of the reply.
        `most`: bytes that the body of a 2xx may have, unpacked.
        """
        try:
            with hidden_from_logs(redact):
                return self._exchange(method, url, body, redact, deadline, into, most)
        except BaseException as error:
            interrupted = error
        # Ctrl-C and its like: without the frames that they came through, which hold the URL.
        interrupted.__context__ = interrupted.__cause__ = None
        raise interrupted.with_traceback(None)

    def _exchange(
        self,
        method: str,
        url: Secret,
        body: Body | None,
        redact: Redactor,
        deadline: float,
        into: IO[bytes] | None,
        most: int,
    ) -> Reply | Failure:
        watch = Watch(deadline - self._monotonic(), outside=self._outside)
        try:
            with watch:
                reply = self._send(method, url.reveal(), body, deadline, into, most)
            if watch.late and reply.status < 300:
                raise _DeadlinePassed
            return reply
        except Exception as error:
            trouble, text, status = _what_happened(error, watch)
            host = redact(_host(url.reveal()))
            return Failure(trouble, redact(text), type(error).__name__, host, watch.begun, status)

    def _send(
        self, method: str, url: str, body: Body | None, deadline: float, into: IO[bytes] | None, most: int
    ) -> Reply:
        headers = dict(self._headers)
        if method != "GET":
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body or b""))}
        left = deadline - self._monotonic()
        if left <= 0:
            raise _DeadlinePassed
        response = self._manager(url).urlopen(
            method,
            url,
            body=self._pieces(body, deadline) if body else None,
            headers=headers,
            timeout=urllib3.Timeout(connect=min(self._connect_timeout, left), read=min(self._read_timeout, left)),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        accepted = 200 <= response.status < 300
        kept = io.BytesIO()
        whole = False
        try:
            keep = _writing(into) if into and accepted else kept.write
            self._read(response, keep, most if accepted else _LARGEST_REFUSAL, deadline)
            whole = True
        except Exception:
            if accepted:  # of a refusal, what has come of it will do
                raise
        finally:
            if not whole:
                response.close()
            response.release_conn()
        return Reply(
            status=response.status,
            request_id=response.headers.get("x-request-id") or response.headers.get("x-amz-request-id"),
            retry_after=response.headers.get("retry-after"),
            location=response.headers.get("location"),
            body=kept.getvalue(),
        )

    def _read(
        self, response: urllib3.BaseHTTPResponse, keep: Callable[[bytes], object], most: int, deadline: float
    ) -> None:
        size = 0
        packed = _packed(response, most)
        for piece in _unpacked(packed, response.headers.get("content-encoding", "")):
            size += len(piece)
            if size > most:
                raise _TooLarge(most)
            keep(piece)
            if self._monotonic() > deadline:
                raise _DeadlinePassed

    def _pieces(self, body: Body, deadline: float) -> Iterator[memoryview]:
        # urllib3 gives a body sent in one go no more than the connect time-out; pieces get it each.
        view = memoryview(body)
        for start in range(0, len(view), _SEND_SIZE):
            if self._monotonic() > deadline:
                raise _DeadlinePassed
            yield view[start : start + _SEND_SIZE]

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(url)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = new_manager(proxy)
            return self._managers[proxy]

    def close(self) -> None:
        with self._lock:
            for manager in self._managers.values():
                manager.clear()

    def __repr__(self) -> str:
        return "Wire()"


def _writing(into: IO[bytes]) -> Callable[[bytes], object]:
    def write(piece: bytes) -> None:
        try:
            into.write(piece)
        except OSError as error:  # a full disk is no lost connection, and not to be tried again
            raise _NotKept(f"{type(error).__name__}: {error}") from None

    return write


def _packed(response: urllib3.BaseHTTPResponse, most: int) -> Iterator[bytes]:
    """The body as it travels. Packed to more than `most` is too large as well, whatever it may unpack to."""
    size = 0
    while piece := response.read1(_READ_SIZE, decode_content=False):
        size += len(piece)
        if size > most:
            raise _TooLarge(most)
        yield piece


def _unpacked(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The body's own bytes, in pieces that stay small, however well they were packed. A piece may be empty."""
    encodings = [name for name in re.split(r"[,\s]+", encoding.lower()) if name not in ("", "identity")]
    if not encodings:
        yield from pieces
        return
    if encodings[1:] or encodings[0] not in ("gzip", "x-gzip", "deflate"):
        raise _Unreadable(f"Content-Encoding is {encoding[:40]!r}, which was not asked for")
    stream, begun, parts = zlib.decompressobj(_GZIP_OR_ZLIB), False, 0
    for piece in pieces:
        left = piece
        while left:
            if stream.eof:  # gzip may have several parts
                stream, parts = zlib.decompressobj(_GZIP_OR_ZLIB), parts + 1
            try:
                unpacked = stream.decompress(left, _READ_SIZE)
            except zlib.error as error:
                if parts:  # what follows the last part is nothing
                    return
                if begun or encodings != ["deflate"]:
                    raise _Unreadable(f"it is no {encodings[0]}: {error}") from None
                stream = zlib.decompressobj(_BARE_DEFLATE)
                unpacked = stream.decompress(left, _READ_SIZE)
            begun = True
            yield unpacked
            left = stream.unused_data if stream.eof else stream.unconsumed_tail
    yield stream.flush()
    if begun and not stream.eof:
        raise _Unreadable(f"its {encodings[0]} ends too soon")


def user_agent() -> str:
    try:
        return f"sama-spark/{version('sama-spark')}"
    except PackageNotFoundError:
        return "sama-spark/0"


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "no host"
    except ValueError:
        return "no host"


def _what_happened(error: Exception, watch: Watch) -> tuple[Trouble, str, int | None]:
    """The trouble, its reason in words, and the status of a proxy's refusal."""
    if isinstance(error, _NotKept):
        return Trouble.NOT_KEPT, str(error), None
    if isinstance(error, (ProxyUnusable, BundleMissing, NotOutside)):
        return Trouble.UNSENDABLE, str(error), None
    if isinstance(error, MemoryError):
        return Trouble.TOO_LARGE, "this machine has no memory for it", None
    if isinstance(error, _TooLarge):
        return Trouble.TOO_LARGE, f"more than {error.args[0]:,} bytes", None
    if watch.late or isinstance(error, _DeadlinePassed):
        return Trouble.TIMED_OUT, "the call's deadline passed", None
    if isinstance(error, _Unreadable):
        return Trouble.UNREADABLE, str(error), None
    causes = list(_causes(error))
    text = _words(causes[-1])
    if any(isinstance(cause, broken.ProxyError) for cause in causes):
        text = f"its proxy: {text}"
    for cause in causes:
        refused = re.match(r"Tunnel connection failed: (\d{3})(.*)", str(cause), re.S)
        if refused:
            return Trouble.PROXY, f"HTTP {refused[1]}{refused[2][:100].rstrip()}", int(refused[1])
    return _trouble(causes, watch.begun), text, None


def _trouble(causes: list[BaseException], begun: bool) -> Trouble:
    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if has(ssl.SSLCertVerificationError):
        return Trouble.UNTRUSTED
    if has(broken.NewConnectionError, broken.ConnectTimeoutError):
        return Trouble.NOT_CONNECTED
    if has(http.client.IncompleteRead):  # urllib3's own is one of these
        return Trouble.TRUNCATED
    if has(broken.TimeoutError, TimeoutError):
        return Trouble.TIMED_OUT
    passing = has(ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    if not begun and has(ssl.SSLError) and not passing:
        return Trouble.NO_TLS
    if has(OSError):
        return Trouble.LOST if begun else Trouble.NOT_CONNECTED
    return Trouble.UNREADABLE if begun else Trouble.UNSENDABLE


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was made of, the innermost last."""
    seen: list[BaseException] = []
    while error is not None and not any(error is known for known in seen):
        yield error
        seen.append(error)
        within = [one for one in error.args if isinstance(one, BaseException)]
        error = within[-1] if within else error.__cause__


def _words(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return f"unknown host: {error.strerror}"
    if isinstance(error, (TimeoutError, broken.TimeoutError)):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror[0].lower() + error.strerror[1:]
    return f"{type(error).__name__}: {error}"
