"""Connections that are cut when an exchange's time is over, whatever the other side does meanwhile."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import urllib3

from sama_spark.http.proxies import Proxy, address_of


class NotOutside(Exception):
    """The host should be on the internet, and is this machine or one beside it."""


class BundleMissing(Exception):
    """REQUESTS_CA_BUNDLE names a file that does not exist."""


class Watch:
    """Cuts the connection of an exchange whose time is over.

    A socket's own time-out does not do that: it starts anew with every byte that comes.

    Args:
        seconds: how long the exchange may take.
        outside: True to connect to no address of this machine.

    Attributes:
        late: True if the time was over before the exchange was.
        begun: True if there was a connection, so that the request, or a part of it, may have arrived.
    """

    def __init__(self, seconds: float, *, outside: bool = False) -> None:
        self.late = False
        self.begun = False
        self.outside = outside
        self._double: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(max(seconds, 0.0), self._hang_up)
        self._timer.daemon = True

    def __enter__(self) -> Watch:
        self._token = _watch.set(self)
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        _watch.reset(self._token)
        with self._lock:
            if self._double is not None:
                self._double.close()
                self._double = None

    def guard(self, sock: socket.socket) -> None:
        """Cut this connection, too, when the time is over."""
        with self._lock:
            if self._double is None:
                # A second handle on the same connection: TLS takes over the first one.
                self._double = socket.fromfd(sock.fileno(), sock.family, sock.type)
            if self.late:
                self._shut()

    def _hang_up(self) -> None:
        with self._lock:
            self.late = True
            self._shut()

    def _shut(self) -> None:
        if self._double is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._double.shutdown(socket.SHUT_RDWR)


_watch: ContextVar[Watch] = ContextVar("sama_spark_watch")


class _Watched:
    """A connection that the `Watch` of the running exchange can cut."""

    _is_open = False

    def _new_conn(self: Any) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        watch = _watch.get()
        if watch.outside and self.proxy is None and _is_this_machine(sock):
            sock.close()
            raise NotOutside("its host is this machine")
        watch.guard(sock)
        return sock

    def connect(self: Any) -> None:
        self._is_open = False
        super().connect()  # type: ignore[misc]
        self._is_open = True

    def send(self: Any, data: Any) -> None:
        if self.sock is None:
            self.connect()
        if self._is_open:  # if not, this request is for a proxy on the way
            watch = _watch.get()
            watch.guard(self.sock)
            watch.begun = True
        super().send(data)  # type: ignore[misc]


class _Connection(_Watched, urllib3.connection.HTTPConnection):
    pass


class _TlsConnection(_Watched, urllib3.connection.HTTPSConnection):
    pass


class _Idle:
    """Idle connections, in a queue without locks: a Ctrl-C can leave Python's own queues locked for ever."""

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._waiting: list[Any] = []

    def qsize(self) -> int:
        return len(self._waiting)

    def put(self, connection: Any, block: bool = False) -> None:  # noqa: ARG002 - as a queue's
        if len(self._waiting) >= self._maxsize:
            raise queue.Full
        self._waiting.append(connection)

    def get(self, block: bool = False, timeout: float | None = None) -> Any:  # noqa: ARG002
        try:
            return self._waiting.pop()
        except IndexError:
            raise queue.Empty from None


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection
    QueueCls = _Idle  # type: ignore[assignment]


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
    QueueCls = _Idle  # type: ignore[assignment]


def new_manager(proxy: Proxy | None) -> urllib3.PoolManager:
    """Return a manager of connections, for use under a `Watch` only.

    Raises:
        BundleMissing: REQUESTS_CA_BUNDLE names a file that does not exist.
    """
    # OpenSSL itself heeds SSL_CERT_FILE and SSL_CERT_DIR. REQUESTS_CA_BUNDLE is what Databricks' guides set.
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or None
    if bundle and not Path(bundle).exists():
        raise BundleMissing(f"REQUESTS_CA_BUNDLE names {bundle}, which is not there")
    authorities: dict[str, Any] = {"ca_cert_dir" if bundle and Path(bundle).is_dir() else "ca_certs": bundle}
    manager = (
        urllib3.PoolManager(maxsize=16, **authorities)
        if proxy is None
        else urllib3.ProxyManager(proxy.url, maxsize=16, proxy_headers=dict(proxy.headers), **authorities)
    )
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def is_inside(host: str) -> bool:
    """Return True if a host is, by its name alone, this machine or one of a private network."""
    name = host.rstrip(".").lower()
    address = _address(name)
    if address is not None:
        return not address.is_global or address.is_multicast
    return name == "localhost" or name.endswith(".localhost")


def _is_this_machine(sock: socket.socket) -> bool:
    address = _address(sock.getpeername()[0])
    return address is not None and (address.is_loopback or address.is_link_local or address.is_unspecified)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address of a host that is no name, in any spelling: 127.1 and 0x7f000001 are 127.0.0.1."""
    try:
        return address_of(host) or IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):  # a UnicodeError is a ValueError
        return None
