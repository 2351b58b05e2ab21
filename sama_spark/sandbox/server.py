"""The process: sockets, uvicorn, and the end of it."""

from __future__ import annotations

import errno
import gc
import os
import select
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sama_spark.plain_yaml import NotYaml, read_yaml
from sama_spark.sandbox.app import build
from sama_spark.sandbox.control import arguments_of
from sama_spark.sandbox.faults import TRANSPORT
from sama_spark.sandbox.guard import Guard
from sama_spark.sandbox.hub import Hub

DEFAULT_KEY = "sandbox-key"


class PortTakenError(OSError):
    """The port is in use, or cannot be had."""


class _Protocol(HttpToolsProtocol):
    """Hands each connection to the fault layer, which has to break some."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound already, so that the port is known and stays ours."""
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = (
            "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        )
        raise PortTakenError(
            f"Port {port} on {host} {reason}. Choose another one, or 0 for any that is free."
        ) from None
    listener.listen(1024)
    return listener


def serve(
    host: str,
    port: int,
    api_key: str,
    ready: Callable[[str], None],
    *,
    with_parent: bool = False,
    first: dict[str, Any] | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or (`with_parent`) the end of stdin.

    Args:
        host: address to listen at.
        port: 0 takes a free one.
        api_key: the key that calls need.
        ready: called with the base URL once there is one.
        with_parent: end when stdin closes.
        first: arguments of `create_project`, for a project to begin with.

    Raises:
        PortTakenError: the port cannot be had.
    """
    listener = _listen(host, port)
    address, port = listener.getsockname()[:2]
    origin = f"http://{'127.0.0.1' if address == '0.0.0.0' else address}:{port}"  # noqa: S104
    gc.set_threshold(50_000, 50, 100)  # hundreds of thousands of tasks live long; walking them is a waste
    hub = Hub(origin, api_key)
    if first is not None:
        hub.create_project(**first)
    config = uvicorn.Config(
        Guard(build(hub), address, [host]),
        http=_Protocol,
        lifespan="off",
        ws="none",
        access_log=False,
        proxy_headers=False,
        log_level="error",
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    if with_parent:
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    ready(f"{origin}/v2")
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _end_with_parent(server: Any) -> None:
    """End the server when stdin closes, or when the parent is gone but a fork of the parent holds the pipe."""
    parent = os.getppid()
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], 1.0)
        if readable and not os.read(sys.stdin.fileno(), 1024):
            break
    server.should_exit = True


def run(port: int, host: str = "127.0.0.1", api_key: str = DEFAULT_KEY, *, project: str | None = None) -> int:
    """Serve in the foreground for a person, until Ctrl-C; return the exit status.

    Args:
        port: 0 takes a free one. For a port that is taken, stderr says so and the status is 1.
        host: address to listen at.
        api_key: the key that calls need.
        project: a YAML file with the parameters of `Sandbox.create_project`, for a project to begin with.
    """
    try:
        first = None if project is None else _project_in(Path(project))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        print(f"{project} describes no project: {said}", file=sys.stderr)
        return 1

    def ready(base_url: str) -> None:
        print(_WELCOME.format(base_url=base_url, api_key=api_key), flush=True)

    try:
        serve(host, port, api_key, ready, first=first)
    except PortTakenError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _project_in(file: Path) -> dict[str, Any]:
    """Return the arguments of `create_project` in a YAML file. Raises ValueError where they make no sense."""
    try:
        project = arguments_of("create_project", read_yaml(file))
        Hub("", "").create_project(**project)  # whether it makes sense
    except NotYaml as error:
        raise ValueError(f"line {error.line}: {error.why}" if error.line else error.why) from None
    return project


_WELCOME = """\
Sandbox of SamaHub, in memory: it forgets everything when it ends (Ctrl-C).

  base URL  {base_url}
  API key   {api_key}

Make a project and deliver its tasks from Python:

  from sama_spark.sandbox import Sandbox
  sandbox = Sandbox.at("{base_url}", "{api_key}")
  project = sandbox.create_project(inputs={{"url": "string"}}, outputs={{"objects": "image"}})
  sandbox.annotate(project)
"""
