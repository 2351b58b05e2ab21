"""Why no reply has arrived, by the exceptions of urllib3 and Python."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from urllib3 import exceptions as broken

from sama_spark.http.connections import BundleMissing, NotOutside, Watch
from sama_spark.http.proxies import ProxyUnusable


class Trouble(Enum):
    """Why no reply has arrived. The value begins the error text, before the host's name."""

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
        trouble: the kind of failure.
        text: the reason, in words.
        kind: the name of the exception.
        host: host and port of the request.
        sent: True if the request, or a part of it, may have arrived.
        status: the HTTP status with which a proxy refused, None for all other failures.
    """

    trouble: Trouble
    text: str
    kind: str
    host: str
    sent: bool
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.trouble.value} {self.host} ({self.text})"


class DeadlinePassed(Exception):
    """The call's deadline has passed."""


class NotKept(Exception):
    """The reply cannot be written to its file."""


class TooLarge(Exception):
    """The reply is larger than allowed. The argument is the number of bytes that are allowed."""


class Unreadable(Exception):
    """The reply is packed in a way that cannot be undone."""


def host_of(url: str) -> str:
    """Return host and port of a URL, without user, password, path and query."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "no host"
    except ValueError:
        return "no host"


def what_happened(error: Exception, watch: Watch) -> tuple[Trouble, str, int | None]:
    """Return the trouble, its reason in words, and the status with which a proxy refused."""
    if isinstance(error, NotKept):
        return Trouble.NOT_KEPT, str(error), None
    if isinstance(error, (ProxyUnusable, BundleMissing, NotOutside)):
        return Trouble.UNSENDABLE, str(error), None
    if isinstance(error, MemoryError):
        return Trouble.TOO_LARGE, "this machine has no memory for it", None
    if isinstance(error, TooLarge):
        return Trouble.TOO_LARGE, f"more than {error.args[0]:,} bytes", None
    if watch.late or isinstance(error, DeadlinePassed):
        return Trouble.TIMED_OUT, "the call's deadline passed", None
    if isinstance(error, Unreadable):
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
    """Yield an error and the errors behind it, the innermost last."""
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
