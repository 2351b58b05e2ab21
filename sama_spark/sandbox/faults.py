"""Faults on demand, counts of calls and a log of requests: the layer of the server behind `guard`."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sama_spark.sandbox.refusals import ApiError, StoreError
from sama_spark.sandbox.signing import ASSETS, UPLOADS

CONTROL = "/_sandbox/"
LOGGED = 10_000
SECRET_QUERY = ("access_key", "Signature")
HEADERS = (b"accept", b"content-length", b"content-type", b"transfer-encoding", b"user-agent", b"expect")
TRANSPORT = "sama.transport"
Kind = Literal["status", "drop", "truncate", "html", "json", "redirect", "slow", "expired"]

PROJECT = "/v2/projects/{project_id}"
CALLS = {  # method and path of each call of the API, below PROJECT
    "open": ("POST", "/batches.json"),
    "continue": ("POST", "/batches/{batch_id}/continue.json"),
    "cancel": ("POST", "/batches/{batch_id}/cancel.json"),
    "status": ("GET", "/batches/{batch_id}.json"),
    "delivered": ("GET", "/tasks/delivered.json"),
    "since_last_call": ("POST", "/tasks/delivered.json"),
    "bulk_update": ("POST", "/tasks/bulk_update.json"),
    "delete": ("POST", "/tasks/delete_tasks.json"),
    "multi_status": ("GET", "/tasks.json"),
    "create_task": ("POST", "/tasks.json"),
    "task_status": ("GET", "/tasks/{task_id:task}.json"),
    "priority": ("PUT", "/tasks/{task_id:task}.json"),
    "reject": ("PUT", "/tasks/{task_id:task}/reject.json"),
    "acknowledge": ("PUT", "/tasks/{task_id:task}/acknowledge.json"),
    "submit": ("PUT", "/tasks/{task_id:task}/submit.json"),
    "create_schema": ("GET", "/schemas/create_task.json"),
    "deliver_schema": ("GET", "/schemas/deliver_task.json"),
    "info": ("GET", ".json"),
    "stats": ("GET", "/stats.json"),
    "credentials": ("GET", "/credentials.json"),
}
_PATTERNS = {
    name: (method, re.compile(re.sub("{.*?}", "[^/]+", path.replace(".json", r"\.json"))))
    for name, method, path in (
        ("put", "PUT", f"{UPLOADS}.*"),
        ("asset", "GET", f"{ASSETS}.*"),
        *((name, method, PROJECT + path) for name, (method, path) in CALLS.items()),
    )
}


def call_name(method: str, path: str) -> str:
    """Return the short name of a call, `other` for what is no call of the API."""
    found = (name for name, (wanted, pattern) in _PATTERNS.items() if method == wanted and pattern.fullmatch(path))
    return next(found, "other")


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong, where, and how often; `Sandbox.fail` explains the fields."""

    call: str | None = None
    method: str | None = None
    path: str | None = None
    kind: Kind = "status"
    status: int = 500
    body: str | None = None
    seconds: float = 1.0
    location: str = "/elsewhere"
    retry_after: float | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"
    after: bool = False
    times: int | None = 1
    skip: int = 0

    def __post_init__(self) -> None:
        if self.call is not None and self.call != "schema" and self.call not in _PATTERNS:
            raise ValueError(f"unknown call {self.call!r}; known: schema, {', '.join(_PATTERNS)}")
        if self.call is self.method is self.path is None:
            raise ValueError("say which calls fail: call, method or path")
        try:
            re.compile(self.path or "")
        except re.error as error:
            raise ValueError(f"path {self.path!r} is no regular expression: {error}") from None
        if not (200 <= self.status <= 599 and 0 <= self.seconds <= 3600 and 0 <= (self.retry_after or 0) <= 1e9):
            raise ValueError("status is 200 to 599, seconds 0 to 3600, retry_after 0 to 1e9")

    def takes(self, call: str, method: str, path: str) -> bool:
        """Return whether this fault hits the request, and count the request if the fault means its call."""
        if self.times == 0 or not self._matches(call, method, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def _matches(self, call: str, method: str, path: str) -> bool:
        return (
            (self.call is None or self.call == call or (self.call == "schema" and call.endswith("_schema")))
            and (self.method is None or self.method == method)
            and (self.path is None or re.search(self.path, path) is not None)
        )

    def answer(self, path: str) -> Response:
        """Return the reply that takes the real one's place. The stores speak XML."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            moment = datetime.now(timezone.utc) + timedelta(seconds=self.retry_after)
            as_date = self.retry_after_form == "date"
            headers["Retry-After"] = format_datetime(moment, usegmt=True) if as_date else f"{self.retry_after:g}"
        match self.kind:
            case "html":
                page = self.body or "<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>"
                return Response(page, 200, headers, "text/html")
            case "json":
                return Response(self.body or '{"unexpected": []}', 200, headers, "application/json")
            case "redirect":
                return RedirectResponse(self.location, 302, headers)
            case "expired":
                return StoreError(403, "AccessDenied", "Request has expired").response()
            case _ if self.body is not None:
                reply = Response(self.body, self.status, headers, "application/json")
            case _ if path.startswith((UPLOADS, ASSETS)):
                reply = StoreError(self.status, "InternalError", "injected fault").response()
            case _:
                reply = ApiError(self.status, "injected fault").response()
        reply.headers.update(headers)
        return reply


class Traffic:
    """The faults that wait, and the calls that were made."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget faults, counts and log."""
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self.log: deque[dict[str, Any]] = deque(maxlen=LOGGED)

    def note(self, scope: Scope, call: str) -> dict[str, Any]:
        """Count a request and log it without its secrets; return its entry in the log."""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        entry: dict[str, Any] = {
            "call": call,
            "method": scope["method"],
            "path": scope["path"],
            "query": {name: value for name, value in pairs if name not in SECRET_QUERY},
            "has_key": any(name == "access_key" for name, _ in pairs),
            "headers": {k.decode(): v.decode("latin-1") for k, v in scope["headers"] if k in HEADERS},
            "connection": scope["client"][1] if scope.get("client") else None,
            "status": None,
        }
        self.counts[call] += 1
        self.log.append(entry)
        return entry

    def fault(self, call: str, method: str, path: str) -> Fault | None:
        """Return the first fault that hits the request."""
        return next((fault for fault in self.faults if fault.takes(call, method, path)), None)


class FaultLayer:
    """ASGI middleware that notes each request and lets the waiting faults happen."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self.app, self.traffic = app, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self.app(scope, receive, send)
            return
        call = call_name(scope["method"], scope["path"])
        entry = self.traffic.note(scope, call)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            await send(message)

        fault = self.traffic.fault(call, scope["method"], scope["path"])
        with suppress(ClientDisconnect):  # a client that hung up half-way: nothing happened
            if fault is None:
                await self.app(scope, receive, noting)
            else:
                entry["fault"] = fault.kind
                await self._fail(fault, scope, receive, noting)

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            await self.app(scope, receive, send)
            return
        real = _Kept()
        if fault.after or fault.kind == "truncate":
            await self.app(scope, receive, real)
        if fault.kind == "drop":
            scope[TRANSPORT].abort()
            await _gone(receive)
        elif fault.kind == "truncate":
            await send(real.start)
            half = real.body[: len(real.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            scope[TRANSPORT].close()
            await _gone(receive)
        else:
            if not fault.after:
                await _read_all(receive)
            await fault.answer(scope["path"])(scope, receive, send)


class _Kept:
    """Keeps a reply instead of sending it."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")


async def _read_all(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _gone(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass
