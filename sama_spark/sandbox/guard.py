"""Who may talk to a sandbox: programs, and no web page that a browser on this machine has open."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from sama_spark.sandbox.refusals import ApiError
from sama_spark.sandbox.signing import ASSETS

CONTROL_KEY = "X-Sandbox-Key"


class Guard:
    """ASGI middleware that refuses what browsers send for pages, and names that are not the sandbox's own.

    The headers `Origin` and `Sec-Fetch-Site` show a page of another origin. `Host` shows a page whose own name was
    made to lead here (DNS rebinding). A sandbox that listens to more than this machine answers to any address, and
    to names without a dot, as local networks have them.
    """

    def __init__(self, app: ASGIApp, address: str, names: Iterable[str] = ()) -> None:
        self.app = app
        self._is_local = ip_address(address).is_loopback
        self._names = {"localhost", *(name.lower() for name in names if name)}
        if not self._is_local:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (why := self._refusal(scope)):
            remedy = "use the sandbox from a program on this machine, by the base URL that it has printed"
            await ApiError(403, f"{why}: {remedy}").response()(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str:
        headers = [(name, value.decode("latin-1")) for name, value in scope["headers"]]
        if any(name == b"origin" for name, _ in headers):
            return "the sandbox does not answer web pages (header Origin)"
        sites = [value for name, value in headers if name == b"sec-fetch-site"]
        if any(site in ("cross-site", "same-site") for site in sites) and not scope["path"].startswith(ASSETS):
            return "the sandbox does not answer web pages (header Sec-Fetch-Site)"
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return "the header Host is no name of this sandbox"
        return ""

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        except ValueError:
            return False
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            return ip_address(name).is_loopback or not self._is_local
        except ValueError:
            return not self._is_local and name != "" and "." not in name


def check_control(request: Request, api_key: str, kind: str | None) -> None:
    """Refuse a control call without the sandbox's key in a header, which no page can send unasked.

    kind: the content type that is due, None where any is.

    Raises:
        ApiError: 401, or 415 for another content type.
    """
    given = request.headers.get(CONTROL_KEY, "")
    if not hmac.compare_digest(given.encode(), api_key.encode()):
        raise ApiError(
            401, f"a control call needs the sandbox's key in the header {CONTROL_KEY}: Sandbox.at(base_url, api_key)"
        )
    if kind is not None:
        check_kind(request, kind)


def check_kind(request: Request, kind: str) -> None:
    """Raise ApiError (415) unless `kind` is the content type of the request."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != kind:
        raise ApiError(415, f"Content-Type has to be {kind}")
