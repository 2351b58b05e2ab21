"""A real HTTP server on a port of its own that does what a script says, faults included."""

from __future__ import annotations

import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trustme

KEY = "k3y+with/odd=chars%&#~"


@dataclass
class Got:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What to reply, whole or with a fault: drop, truncate, trickle, trickle headers, hang."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    @property
    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Step = Answer | Callable[[Got], Answer]


class ScriptedServer:
    """`on` scripts a route: its steps are used up one by one, the last one for ever."""

    def __init__(self) -> None:
        self.calls: list[Got] = []
        self._routes: dict[tuple[str, str], list[Step]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                script._serve(self)

            do_GET = do_POST = do_PUT = _serve  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *args: Any) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._http.server_port}"
        self.base_url = f"{self.origin}/v2"
        self.upload_url = f"{self.origin}/store/file-1?X-Amz-Signature=s1gn4ture&X-Amz-Expires=14400"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def on(self, method: str, path: str, *steps: Step) -> None:
        with self._lock:
            self._routes[method, path] = list(steps)

    def speak_tls(self, authority: trustme.CA) -> None:
        """From now on, with a certificate of `authority`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.base_url = self.base_url.replace("http:", "https:")

    def count(self, method: str, path: str) -> int:
        return sum((got.method, got.path) == (method, path) for got in self.calls)

    def close(self) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        got = Got(
            handler.command,
            parts.path.removeprefix("/v2/"),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(int(handler.headers.get("Content-Length", 0))),
        )
        with self._lock:
            self.calls.append(got)
            steps = self._routes.get((got.method, got.path), [Answer(404, {"message": "no such route"})])
            step = steps.pop(0) if len(steps) > 1 else steps[0]
        answer = step(got) if callable(step) else step
        self._reply(handler, answer)

    def _reply(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        body = answer.bytes
        if answer.fault == "hang":
            self._closing.wait(20)
        if answer.fault in ("hang", "drop"):
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **answer.headers}
        head = f"HTTP/1.1 {answer.status} Scripted\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        if answer.fault == "trickle headers":
            self._trickle(handler, head.encode())
        elif answer.fault == "trickle":
            handler.wfile.write(head.encode())
            self._trickle(handler, body)
        elif answer.fault == "truncate":
            handler.wfile.write(head.encode() + body[: len(body) // 2])
            handler.close_connection = True
        else:
            handler.wfile.write(head.encode() + body)

    def _trickle(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        handler.close_connection = True
        for place in range(len(data)):
            if self._closing.is_set():
                return
            handler.wfile.write(data[place : place + 1])
            handler.wfile.flush()
            time.sleep(0.05)


def task(number: int, delivered_at: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": f"{number:024x}", "project_id": 42, "delivered_at": delivered_at, **more}


def stamp(second: int) -> str:
    return f"2024-03-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.123Z"


def fixed_random() -> random.Random:
    return random.Random(7)
