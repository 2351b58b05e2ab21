"""One HTTP exchange: never raises for what the network does, and always ends.

The URL, which holds the key or a signature, lives only in frames that are gone when an error is raised.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3 import exceptions as broken

from .secrets import Redactor, Secret, hidden_from_logs, redact_urllib3_logs

Body = bytes | memoryview

_READ_SIZE = 1 << 18
_SEND_SIZE = 1 << 18

redact_urllib3_logs()


class Trouble(Enum):
    """What kept a reply from arriving."""

    NOT_CONNECTED = "no connection"
    LOST = "connection lost"
    TRUNCATED = "truncated reply"
    TIMED_OUT = "timed out"
    UNTRUSTED = "certificate not accepted"
    UNSENDABLE = "cannot be sent"
    NOT_KEPT = "cannot be written"


@dataclass(frozen=True)
class Failure:
    trouble: Trouble
    text: str


@dataclass(frozen=True)
class Reply:
    status: int
    request_id: str | None
    retry_after: str | None
    body: bytes = field(repr=False)


class _DeadlinePassed(Exception):
    pass


class _NotKept(Exception):
    pass


class _HeadersInTime:
    """Hangs up on a server that trickles its headers: a socket time-out starts anew with every byte."""

    def getresponse(self: Any) -> Any:
        late = threading.Event()
        sock = self.sock

        def hang_up() -> None:
            late.set()
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except (OSError, TypeError):
                sock.close()

        watchdog = threading.Timer(self.timeout, hang_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            response = super().getresponse()  # type: ignore[misc]
        except (OSError, http.client.HTTPException, ValueError):
            if not late.is_set():
                raise
        else:
            if not late.is_set():
                return response
        finally:
            watchdog.cancel()
        raise TimeoutError("the reply's headers took too long")


class _Connection(_HeadersInTime, urllib3.connection.HTTPConnection):
    pass


class _TlsConnection(_HeadersInTime, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Wire:
    """A pool of connections, through the environment's proxy where it names one.

    Certificates are held against the system's authorities, or those of SSL_CERT_FILE, SSL_CERT_DIR or, before these,
    REQUESTS_CA_BUNDLE.

    Args:
        connect_timeout, read_timeout: seconds to wait for a connection, and for the reply's headers and
            each further piece of it.
        monotonic: the clock that deadlines are measured by.
    """

    def __init__(self, *, connect_timeout: float, read_timeout: float, monotonic: Callable[[], float]) -> None:
        self._headers = {
            "User-Agent": user_agent(),
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
        }
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._monotonic = monotonic
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def exchange(
        self,
        method: str,
        url: Secret,
        body: Body | None,
        redact: Redactor,
        deadline: float,
        into: IO[bytes] | None = None,
    ) -> Reply | Failure:
        """Send one request and read the whole reply. Redirects are not followed, nothing is retried.

        `into`: takes the body of a 2xx, piece by piece, in place of the reply.
        """
        with hidden_from_logs(redact):
            try:
                return self._send(method, url.reveal(), body, deadline, into)
            except _DeadlinePassed:
                return Failure(Trouble.TIMED_OUT, "the call's deadline passed")
            except _NotKept as error:
                return Failure(Trouble.NOT_KEPT, str(error))
            except (broken.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                return Failure(_trouble(error), redact(f"{type(error).__name__}: {error}"))

    def _send(self, method: str, url: str, body: Body | None, deadline: float, into: IO[bytes] | None) -> Reply:
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
        whole = False
        try:
            pieces: list[bytes] = []
            keep = _writing(into) if into and 200 <= response.status < 300 else pieces.append
            while piece := response.read1(_READ_SIZE, decode_content=True):
                keep(piece)
                if self._monotonic() > deadline:
                    raise _DeadlinePassed
            whole = True
        finally:
            if not whole:
                response.close()
            response.release_conn()
        return Reply(
            status=response.status,
            request_id=response.headers.get("x-request-id") or response.headers.get("x-amz-request-id"),
            retry_after=response.headers.get("retry-after"),
            body=b"".join(pieces),
        )

    def _pieces(self, body: Body, deadline: float) -> Iterator[memoryview]:
        # urllib3 gives a body sent in one go no more than the connect time-out; pieces get it each.
        view = memoryview(body)
        for start in range(0, len(view), _SEND_SIZE):
            if self._monotonic() > deadline:
                raise _DeadlinePassed
            yield view[start : start + _SEND_SIZE]

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = _proxy_for(url)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = _new_manager(proxy)
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


def user_agent() -> str:
    try:
        return f"sama-spark/{version('sama-spark')}"
    except PackageNotFoundError:
        return "sama-spark/0"


def connections(url: str) -> urllib3.PoolManager:
    """What leads to `url`: by the environment's proxy and certificate authorities, as a `Wire`."""
    return _new_manager(_proxy_for(url))


def _new_manager(proxy: str | None) -> urllib3.PoolManager:
    # OpenSSL itself heeds SSL_CERT_FILE and SSL_CERT_DIR; this one is what `requests` and Databricks' guides set.
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or None
    if bundle and not Path(bundle).exists():
        raise ValueError(f"REQUESTS_CA_BUNDLE names {bundle}, which is not there")
    authorities: dict[str, Any] = {"ca_cert_dir" if bundle and Path(bundle).is_dir() else "ca_certs": bundle}
    if proxy is None:
        manager = urllib3.PoolManager(maxsize=16, **authorities)
    else:
        login = urlsplit(proxy)
        auth = f"{unquote(login.username)}:{unquote(login.password or '')}" if login.username else None
        headers = urllib3.make_headers(proxy_basic_auth=auth)
        manager = urllib3.ProxyManager(proxy, maxsize=16, proxy_headers=headers, **authorities)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    proxies: Mapping[str, str] = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, broken.ProxyError):
        return _trouble(error.original_error) if error.original_error else Trouble.NOT_CONNECTED
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args):
        return Trouble.UNTRUSTED
    known: list[tuple[type[Exception] | tuple[type[Exception], ...], Trouble]] = [
        ((broken.NewConnectionError, broken.ConnectTimeoutError), Trouble.NOT_CONNECTED),
        ((broken.TimeoutError, TimeoutError), Trouble.TIMED_OUT),
        ((broken.IncompleteRead, broken.DecodeError, http.client.IncompleteRead), Trouble.TRUNCATED),
        ((broken.ProtocolError, broken.SSLError, http.client.HTTPException, OSError), Trouble.LOST),
    ]
    for kind, trouble in known:
        if isinstance(error, kind):
            inner = error.args[-1] if error.args else None
            if isinstance(inner, (broken.IncompleteRead, http.client.IncompleteRead)):
                return Trouble.TRUNCATED
            return trouble
    return Trouble.UNSENDABLE
