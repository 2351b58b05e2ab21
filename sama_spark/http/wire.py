"""One HTTP exchange: it raises nothing for what the network does, ends by its deadline, and reads a bounded size.

The URL and the headers, which hold the key or a signature, live only in frames that are gone when an error is raised.
"""

from __future__ import annotations

import io
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import IO

import urllib3

from sama_spark.http.connections import Watch, new_manager
from sama_spark.http.failures import DeadlinePassed, Failure, NotKept, TooLarge, Unreadable, host_of, what_happened
from sama_spark.http.proxies import Proxy, proxy_for
from sama_spark.http.secrets import Redactor, Secret, hidden_from_logs, redact_urllib3_logs

Body = bytes | memoryview

LARGEST_REPLY = 256 << 20
"""Bytes of a 2xx reply, unpacked, where an exchange does not set its own limit."""
_LARGEST_REFUSAL = 1 << 20  # bytes of any other reply that are read; the rest is left

_READ_SIZE = 1 << 16
_SEND_SIZE = 1 << 18
_GZIP_OR_ZLIB, _BARE_DEFLATE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS

redact_urllib3_logs()


@dataclass(frozen=True)
class Reply:
    """A reply, with those of its headers that matter."""

    status: int
    request_id: str | None
    retry_after: str | None
    location: str | None = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class _Request:
    """One request, with all that limits the exchange."""

    method: str
    url: Secret
    body: Body | None = field(repr=False)
    deadline: float
    into: IO[bytes] | None
    most: int
    headers: Mapping[str, Secret]


class Wire:
    """A pool of connections, through a proxy where the environment names one.

    Certificates are checked against the authorities of REQUESTS_CA_BUNDLE, else SSL_CERT_FILE and SSL_CERT_DIR, else
    the system.

    Args:
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the reply's headers, and for each further piece of the reply.
        monotonic: the clock that deadlines are measured by.
        accept: the header `Accept`.
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
        most: int | None = None,
        *,
        headers: Mapping[str, Secret] | None = None,
    ) -> Reply | Failure:
        """Send one request and read the whole reply. Redirects are not followed, nothing is retried.

        Args:
            method: "GET", "POST" or "PUT".
            url: the address, with what may be secret in it.
            body: the body, None for none.
            redact: takes secrets out of log records and out of the failure.
            deadline: when the exchange has to end, by the clock `monotonic`.
            into: takes the body of a 2xx, piece by piece, in place of the reply.
            most: bytes that the body of a 2xx may have, unpacked; LARGEST_REPLY by default.
            headers: headers beside the usual ones, such as the key.
        """
        request = _Request(method, url, body, deadline, into, most or LARGEST_REPLY, headers or {})
        try:
            with hidden_from_logs(redact):
                return self._exchange(request, redact)
        except BaseException as error:
            interrupted = error
        # Ctrl-C and its like: raised without the frames that they came through, which hold the URL.
        interrupted.__context__ = interrupted.__cause__ = None
        raise interrupted.with_traceback(None)

    def _exchange(self, request: _Request, redact: Redactor) -> Reply | Failure:
        watch = Watch(request.deadline - self._monotonic(), outside=self._outside)
        try:
            with watch:
                reply = self._send(request)
            if watch.late and reply.status < 300:
                raise DeadlinePassed
            return reply
        except Exception as error:
            trouble, text, status = what_happened(error, watch)
            host = redact(host_of(request.url.reveal()))
            return Failure(trouble, redact(text), type(error).__name__, host, watch.begun, status)

    def _send(self, request: _Request) -> Reply:
        url, body = request.url.reveal(), request.body
        headers = self._headers | {name: value.reveal() for name, value in request.headers.items()}
        if request.method != "GET":
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body or b""))}
        left = request.deadline - self._monotonic()
        if left <= 0:
            raise DeadlinePassed
        response = self._manager(url).urlopen(
            request.method,
            url,
            body=self._pieces(body, request.deadline) if body else None,
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
            keep = _writing(request.into) if request.into and accepted else kept.write
            self._read(response, keep, request.most if accepted else _LARGEST_REFUSAL, request.deadline)
            whole = True
        except Exception:
            if accepted:  # of an error reply, the part that has come is enough
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
                raise TooLarge(most)
            keep(piece)
            if self._monotonic() > deadline:
                raise DeadlinePassed

    def _pieces(self, body: Body, deadline: float) -> Iterator[memoryview]:
        # urllib3 gives a body that is sent at once no more than the connect time-out; each piece gets that much.
        view = memoryview(body)
        for start in range(0, len(view), _SEND_SIZE):
            if self._monotonic() > deadline:
                raise DeadlinePassed
            yield view[start : start + _SEND_SIZE]

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(url)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = new_manager(proxy)
            return self._managers[proxy]

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()


def _writing(into: IO[bytes]) -> Callable[[bytes], object]:
    def write(piece: bytes) -> None:
        try:
            into.write(piece)
        except OSError as error:  # a full disk is no lost connection, and a repeat does not help
            raise NotKept(f"{type(error).__name__}: {error}") from None

    return write


def _packed(response: urllib3.BaseHTTPResponse, most: int) -> Iterator[bytes]:
    """Yield the body as it travels. More than `most` packed bytes are too large, whatever they unpack to."""
    size = 0
    while piece := response.read1(_READ_SIZE, decode_content=False):
        size += len(piece)
        if size > most:
            raise TooLarge(most)
        yield piece


def _unpacked(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the unpacked body in small pieces, however well it was packed. A piece may be empty."""
    encodings = [name for name in re.split(r"[,\s]+", encoding.lower()) if name not in ("", "identity")]
    if not encodings:
        yield from pieces
        return
    if encodings[1:] or encodings[0] not in ("gzip", "x-gzip", "deflate"):
        raise Unreadable(f"Content-Encoding is {encoding[:40]!r}, which was not asked for")
    stream, begun, parts = zlib.decompressobj(_GZIP_OR_ZLIB), False, 0
    for piece in pieces:
        left = piece
        while left:
            if stream.eof:  # gzip may have several parts
                stream, parts = zlib.decompressobj(_GZIP_OR_ZLIB), parts + 1
            try:
                unpacked = stream.decompress(left, _READ_SIZE)
            except zlib.error as error:
                if parts:  # bytes behind the last part mean nothing
                    return
                if begun or encodings != ["deflate"]:
                    raise Unreadable(f"it is no {encodings[0]}: {error}") from None
                stream = zlib.decompressobj(_BARE_DEFLATE)
                unpacked = stream.decompress(left, _READ_SIZE)
            begun = True
            yield unpacked
            left = stream.unused_data if stream.eof else stream.unconsumed_tail
    yield stream.flush()
    if begun and not stream.eof:
        raise Unreadable(f"its {encodings[0]} ends too soon")


def user_agent() -> str:
    """Return the header `User-Agent`, with the version of this package."""
    try:
        return f"sama-spark/{version('sama-spark')}"
    except PackageNotFoundError:
        return "sama-spark/0"
