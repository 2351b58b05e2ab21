"""The kinds of errors of a call over HTTP, shared by all vendors.

The error that a call raises belongs to one kind below and to the vendor's own root error. So `except NotFoundError`
catches a 404 of any vendor, and `except` with a vendor's root error catches all errors of that vendor's calls.
"""

from __future__ import annotations

from typing import Any, TypeVar

from sama_spark.errors import ConnectorError

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "ConnectionFailed",
    "InvalidResponse",
    "LinkRefused",
    "NotFoundError",
    "RateLimitedError",
    "RedirectRefused",
    "RequestTimedOut",
    "RetryableError",
    "ServerError",
    "UploadUrlRefused",
]


Kind = TypeVar("Kind", bound=ConnectorError)


def of_vendor(kind: type[Kind], root: type[ConnectorError]) -> type[Kind]:
    """Return the class of errors that are of `kind` and of the vendor's `root`.

    If `kind` has the root above it already, return `kind`; if `kind` is above the root, return the root.
    """
    if issubclass(kind, root):
        return kind
    if issubclass(root, kind):
        return root
    if (kind, root) not in _made:
        members = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce__": _reduce}
        _made[kind, root] = type(kind.__name__, (kind, root), members)
    return _made[kind, root]


_made: dict[tuple[type[ConnectorError], type[ConnectorError]], type] = {}


def _reduce(error: ConnectorError) -> tuple[Any, ...]:
    # A class made by `of_vendor` has no name under which pickle could import the class.
    kind, root = type(error).__bases__
    return _again, (kind, root, error.args), vars(error)


def _again(kind: type[ConnectorError], root: type[ConnectorError], args: tuple[Any, ...]) -> ConnectorError:
    return of_vendor(kind, root)(*args)


def kind_of_status(status: int) -> type[ConnectorError]:
    """Return the kind of error that an HTTP status stands for. A status below 300 counts as 400."""
    if status >= 500:
        return ServerError
    if 300 <= status < 400:
        return RedirectRefused
    return {
        401: AuthenticationError,
        403: AuthenticationError,
        404: NotFoundError,
        407: ConnectionFailed,
        429: RateLimitedError,
    }.get(status, BadRequestError)


class BadRequestError(ConnectorError):
    """The server refused the request (400, 422 and other 4xx)."""

    remedy = "Change what is sent; the message above is the server's own."


class AuthenticationError(ConnectorError):
    """401 or 403: the key is wrong, or API access is not enabled for the project."""

    remedy = "Check the API key, and that API access is enabled for this project."


class NotFoundError(ConnectorError):
    """404: the object does not exist, or this key may not see it."""

    remedy = "Check the ids; 404 also means that this API key may not see the object."


class RedirectRefused(ConnectorError):
    """The server redirects. A redirect is not followed, because the API key would travel to another address."""

    remedy = "Check base_url."


class InvalidResponse(ConnectorError):
    """The reply is not what the API gives here, but HTML, truncated, empty or of another shape."""

    remedy = "Look for a proxy in between, and check base_url."


class UploadUrlRefused(ConnectorError):
    """The signed upload URL has expired or is refused; a new batch gives a new URL."""

    remedy = "Open a new batch and upload again."


class LinkRefused(ConnectorError):
    """A link in a task has expired, or does not lead to a file."""

    remedy = "Read the task again: that gives a new link."


class RetryableError(ConnectorError):
    """A failure that passes: a rate limit, a server error, a lost connection, a time-out."""

    retryable = True


class RateLimitedError(RetryableError):
    """429 until the call's deadline: too many calls."""

    remedy = "Call less often; the limit is per API key."


class ServerError(RetryableError):
    """The server, or a gateway before the server, answers 5xx."""


class ConnectionFailed(RetryableError):
    """There is no connection, or the connection was lost before the whole reply had arrived."""

    remedy = "Check base_url, proxy settings and that this machine may reach it."


class RequestTimedOut(RetryableError):
    """The server did not answer in time, or not before the call's deadline."""
