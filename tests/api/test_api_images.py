"""Images of pictures come by the same wire: bounded, by the environment's proxy, over redirects, and they end."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest

from kit.rogue_server import OK_HEAD, Rogue, for_ever
from kit.scripted_server import Answer, ScriptedServer

pytest.importorskip("PIL")
from PIL import Image

from sama_spark.pictures import images
from sama_spark.pictures.images import Unreadable, read_image

NONE: Any = None
CONTENT = io.BytesIO()
Image.new("RGB", (4, 3)).save(CONTENT, "PNG")
PNG = CONTENT.getvalue()


def moved(to: str) -> Answer:
    return Answer(302, b"", {"Location": to})


def test_redirects_are_followed_to_an_end(server: ScriptedServer) -> None:
    server.on("GET", "/i.png", Answer(200, PNG))
    server.on("GET", "/a", moved("/b"))
    server.on("GET", "/b", moved(f"{server.origin}/i.png"))
    server.on("GET", "/round", moved("/round"))
    server.on("GET", "/file", moved("file:///etc/passwd"))
    server.on("GET", "/odd", moved("http://[::1"))
    server.on("GET", "/none", Answer(302, b""))
    assert read_image(NONE, f"{server.origin}/a").size == (4, 3)
    for path, why in {"round": "on and on", "file": "no http", "odd": "no address", "none": "answers 302"}.items():
        with pytest.raises(Unreadable, match=why):
            read_image(NONE, f"{server.origin}/{path}")
    assert server.count("GET", "/round") == 6
    assert all(got.headers["accept"] == "*/*" for got in server.calls)


def test_no_proxy_is_read_in_all_its_forms_here_too(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on("GET", "/i.png", Answer(200, PNG))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    place = server.origin.removeprefix("http://")
    for exceptions in (place, "127.0.0.0/8"):
        monkeypatch.setenv("no_proxy", exceptions)
        assert read_image(NONE, f"{server.origin}/i.png").size == (4, 3)
    monkeypatch.setenv("no_proxy", "example.com")
    with pytest.raises(Unreadable):
        read_image(NONE, f"{server.origin}/i.png")


def test_an_image_has_a_bound_and_an_end(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_MOST_BYTES", 1_000_000)
    server.on("GET", "/i.png", Answer(200, b"x" * 1_000_001))
    with pytest.raises(Unreadable, match="larger than 1 MB"):
        read_image(NONE, f"{server.origin}/i.png")
    monkeypatch.setattr(images, "_LONGEST", 0.5)
    started = time.monotonic()
    with Rogue(for_ever(OK_HEAD + b"\r\n", b"x")) as rogue, pytest.raises(Unreadable, match="cannot be reached"):
        read_image(NONE, f"http://{rogue.place}/i.png?signature=s3cret")
    assert time.monotonic() - started < 5
