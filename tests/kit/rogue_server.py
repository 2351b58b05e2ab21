"""A server that speaks in bytes: each connection is handed to a function, which may never end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable

Speech = Callable[["Rogue", socket.socket], None]
OK_HEAD = b"HTTP/1.1 200 OK\r\n"


class Rogue:
    """Listens on 127.0.0.1 until it is closed; `heard` has the beginning of what came on each connection."""

    def __init__(self, speech: Speech, *, read_first: bool = True) -> None:
        self.heard: list[bytes] = []
        self.closing = threading.Event()
        self._speech = speech
        self._read_first = read_first
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        self.place = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if self._read_first:
                self.heard.append(connection.recv(65536))
            self._speech(self, connection)

    def close(self) -> None:
        self.closing.set()
        self._socket.close()

    def __enter__(self) -> Rogue:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def says(*parts: bytes) -> Speech:
    """What is said once; then it hangs up."""

    def speech(_: Rogue, connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return speech


def for_ever(before: bytes, again: bytes | Iterable[bytes], pause: float = 0.02) -> Speech:
    """`before`, then `again` and again."""

    def speech(rogue: Rogue, connection: socket.socket) -> None:
        connection.sendall(before)
        while not rogue.closing.is_set():
            for part in [again] if isinstance(again, bytes) else again:
                connection.sendall(part)
                time.sleep(pause)

    return speech


def silent(rogue: Rogue, _: socket.socket) -> None:
    rogue.closing.wait(30)
