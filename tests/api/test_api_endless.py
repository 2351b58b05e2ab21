"""Every exchange ends by its deadline, whatever the other side does, and takes no more than its bound."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kit.fake_clock import FakeClock
from kit.rogue_server import OK_HEAD, Rogue, Speech, for_ever, says, silent
from kit.scripted_server import KEY, Answer, ScriptedServer
from sama_spark import api
from sama_spark.api import ApiClient
from sama_spark.api.sama_errors import of_sama
from sama_spark.http import wire

CHUNKED = OK_HEAD + b"Transfer-Encoding: chunked\r\n"
GZIPPED = OK_HEAD + b"Content-Encoding: gzip\r\n"
GZIP_HEAD = b"\x1f\x8b\x08\x08\0\0\0\0\0\3"
EMPTY_PART = gzip.compress(b"")

ENDLESS: dict[str, Speech] = {
    "nothing": silent,
    "status line": for_ever(b"HTTP/1.1 ", b"2"),
    "a header": for_ever(OK_HEAD + b"X: ", b"x"),
    "headers": for_ever(OK_HEAD, b"X: x\r\n", 0.05),
    "100 Continue": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 Continue at once": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.001),
    "body by bytes": for_ever(OK_HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "body until it is closed": for_ever(OK_HEAD + b"\r\n", b"x"),
    "chunk's extension": for_ever(CHUNKED + b"\r\n5;", b"x"),
    "chunks": for_ever(CHUNKED + b"\r\n", b"1\r\nx\r\n"),
    "chunk's size": for_ever(CHUNKED + b"\r\n", b"0"),
    "trailers": for_ever(CHUNKED + b"\r\n2\r\n{}\r\n0\r\n", b"X: x\r\n"),
    "a trailer": for_ever(CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX: ", b"x"),
    "gzip's file name": for_ever(GZIPPED + b"\r\n" + GZIP_HEAD, b"x"),
    "gzip's file name at once": for_ever(GZIPPED + b"\r\n" + GZIP_HEAD, b"x" * 1000, 0.001),
    "gzip's empty parts": for_ever(GZIPPED + b"\r\n", EMPTY_PART * 50, 0.005),
    "error page": for_ever(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n", b"x"),
}


def asked(base_url: str, **options: Any) -> tuple[Exception | None, float]:
    """The outcome of a call with a deadline of a second, and how long it took."""
    client = ApiClient(KEY, base_url=base_url, **{"deadline": 1.0, "read_timeout": 30.0, **options})
    started = time.monotonic()
    try:
        client.get_project_information("42")
    except Exception as error:
        return error, time.monotonic() - started
    finally:
        client.close()
    return None, time.monotonic() - started


def test_what_never_ends_is_hung_up_on() -> None:
    rogues = {name: Rogue(speech) for name, speech in ENDLESS.items()}
    with ThreadPoolExecutor(len(rogues)) as pool:
        made = dict(zip(rogues, pool.map(lambda one: asked(f"http://{one.place}/v2"), rogues.values()), strict=True))
    for rogue in rogues.values():
        rogue.close()
    kinds = {name: type(error).__bases__[0] for name, (error, _) in made.items()}
    assert kinds.pop("error page") in (api.ServerError, api.RequestTimedOut)
    assert kinds == dict.fromkeys(kinds, api.RequestTimedOut)
    assert max(seconds for _, seconds in made.values()) < 4


@pytest.mark.slow
def test_a_handshake_and_a_proxy_that_never_end_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handshake = for_ever(b"\x16\x03\x03\x40\x00", b"\2")
    speeches = {"nothing": silent, "reply": for_ever(b"HTTP/1.1 200 ", b"x"), "headers": for_ever(OK_HEAD, b"X: x\r\n")}
    with Rogue(handshake, read_first=False) as rogue:
        error, seconds = asked(f"https://{rogue.place}/v2")
    assert isinstance(error, api.SamaError)
    assert seconds < 4
    for speech in speeches.values():
        with Rogue(speech) as proxy:
            monkeypatch.setenv("https_proxy", f"http://{proxy.place}")
            error, seconds = asked("https://sama.invalid/v2")
        assert isinstance(error, api.RequestTimedOut | api.ConnectionFailed)
        assert seconds < 4


@pytest.mark.slow
def test_an_upload_that_nobody_takes_ends(server: ScriptedServer) -> None:
    server.on("POST", "projects/42/batches.json", Answer(201, {"batch_id": 7, "tasks_put_url": "placeholder"}))
    with Rogue(silent) as store:
        url = f"http://{store.place}/f?X-Amz-Signature=s1gn4ture"
        server.on("POST", "projects/42/batches.json", Answer(201, {"batch_id": 7, "tasks_put_url": url}))
        client = ApiClient(KEY, base_url=server.base_url, deadline=1.0, connect_timeout=20, read_timeout=20)
        batch = client.open_batch("42")
        started = time.monotonic()
        with pytest.raises(api.RequestTimedOut):
            client.upload_tasks(batch, b" " * 250_000 + b"x" * 250_000)
        assert time.monotonic() - started < 6


def test_a_mask_that_never_ends_ends(server: ScriptedServer, tmp_path: Path) -> None:
    with Rogue(for_ever(OK_HEAD + b"\r\n", b"x" * 1000)) as store:
        client = ApiClient(KEY, base_url=server.base_url, deadline=1.0)
        with pytest.raises(api.RequestTimedOut):
            client.download_mask("42", f"http://{store.place}/m.png", tmp_path / "m")


def test_no_thread_and_no_connection_stays(server: ScriptedServer, client: ApiClient) -> None:
    server.on("GET", "projects/42.json", Answer(200, {}), Answer(fault="drop"), Answer(200, {}))
    watches = watches_at_work()
    handles = open_handles()
    for _ in range(30):
        client.get_project_information("42")
    for _ in range(100):  # a thread takes a moment to end
        if watches_at_work() <= watches:
            break
        time.sleep(0.05)
    assert watches_at_work() <= watches
    assert open_handles() <= handles + 4


def watches_at_work() -> int:
    return sum(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def open_handles() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def packed(megabytes: int, pack: Callable[[], Any]) -> bytes:
    packer = pack()
    return b"".join([*(packer.compress(b" " * 1_000_000) for _ in range(megabytes)), packer.flush()])


PACKERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "gzip": ("gzip", lambda: zlib.compressobj(wbits=31)),
    "zlib": ("deflate", lambda: zlib.compressobj(wbits=15)),
    "deflate": ("deflate", lambda: zlib.compressobj(wbits=-15)),
}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_bomb_takes_no_memory(
    server: ScriptedServer,
    make_client: Callable[..., ApiClient],
    monkeypatch: pytest.MonkeyPatch,
    packer: str,
    status: int,
) -> None:
    largest, kept = 0, 0
    unpacked = wire._unpacked

    def watched(pieces: Any, encoding: str) -> Any:
        nonlocal largest, kept
        for piece in unpacked(pieces, encoding):
            largest, kept = max(largest, len(piece)), kept + len(piece)
            yield piece

    monkeypatch.setattr(wire, "_unpacked", watched)
    monkeypatch.setattr(wire.Wire.exchange, "__defaults__", (None, 8_000_000))
    encoding, pack = PACKERS[packer]
    server.on("GET", "projects/42.json", Answer(status, packed(40, pack), {"Content-Encoding": encoding}))
    with pytest.raises(api.SamaError, match=r"more than 8,000,000 bytes|HTTP \d+") as caught:
        make_client(deadline=0.5).get_project_information("42")
    assert largest <= 100_000
    if status == 200:
        assert type(caught.value) is of_sama(api.InvalidResponse)
        assert "page_size" in caught.value.remedy
        assert kept < 8_200_000
        assert len(server.calls) == 1
    elif status == 400:
        assert kept < 1_200_000


def test_a_reply_has_a_bound_however_it_comes() -> None:
    most = wire.LARGEST_REPLY

    def endless(rogue: Rogue, connection: Any) -> None:
        connection.sendall(OK_HEAD + b"\r\n")
        for _ in range(2 * most // 1_000_000):
            connection.sendall(b" " * 1_000_000)

    with Rogue(endless) as rogue:
        error, _ = asked(f"http://{rogue.place}/v2", deadline=60.0)
    assert type(error) is of_sama(api.InvalidResponse)
    assert f"more than {most:,} bytes" in str(error)
    assert not error.retryable


def test_a_mask_has_a_bound(
    server: ScriptedServer, client: ApiClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sama_spark.http.attempts._LARGEST_FILE", 1_000_000)
    link = f"{server.origin}/store/m.png"
    server.on("GET", "/store/m.png", Answer(200, b"x" * 1_000_001))
    with pytest.raises(api.LinkRefused, match="more than 1,000,000 bytes"):
        client.download_mask("42", link, tmp_path / "m")
    assert len(server.calls) == 1
    server.on("GET", "/store/m.png", Answer(200, b"x" * 1_000_000))
    client.download_mask("42", link, tmp_path / "m")
    assert (tmp_path / "m").stat().st_size == 1_000_000


def test_no_memory_is_an_error_of_ours(client: ApiClient, server: ScriptedServer, monkeypatch: Any) -> None:
    server.on("GET", "projects/42.json", Answer(200, {}))

    def none_left(*args: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(wire, "_unpacked", none_left)
    with pytest.raises(api.InvalidResponse, match="no memory"):
        client.get_project_information("42")


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b'{"id": 42}'), "gzip"),
        (gzip.compress(b'{"id": 42}'), "x-gzip"),
        (gzip.compress(b'{"id": 42}'), "GZIP"),
        (gzip.compress(b'{"id"') + gzip.compress(b": 42}"), "gzip"),
        (gzip.compress(b'{"id": 42}') + b"\0" * 40, "gzip"),
        (zlib.compress(b'{"id": 42}'), "deflate"),
        (zlib.compress(b'{"id": 42}')[2:-4], "deflate"),
        (b'{"id": 42}', "identity"),
        (b'{"id": 42}', ""),
        (gzip.compress(b'{"id": 42}'), "gzip, identity"),
    ],
)
def test_what_is_packed_is_unpacked(server: ScriptedServer, client: ApiClient, body: bytes, encoding: str) -> None:
    server.on("GET", "projects/42.json", Answer(200, body, {"Content-Encoding": encoding}))
    assert client.get_project_information("42") == {"id": 42}


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 131_072, 1_000_003])
@pytest.mark.parametrize("packer", PACKERS)
def test_packed_replies_of_any_size_come_whole(
    server: ScriptedServer, client: ApiClient, packer: str, size: int
) -> None:
    encoding, pack = PACKERS[packer]
    compress = pack()
    body = b'{"text": "' + b"a" * size + b'"}'
    packed_body = compress.compress(body) + compress.flush()
    server.on("GET", "projects/42.json", Answer(200, packed_body, {"Content-Encoding": encoding}))
    assert client.get_project_information("42") == {"text": "a" * size}


HOSTILE = {
    "script": b"<script" * 150_000,
    "open tags": b"<" * 1_000_000,
    "closed tags": b"<a>" * 300_000,
    "addresses": b"http://" * 150_000,
    "dots": b"a." * 500_000,
    "names": b"key=" * 250_000,
    "dashes": b"-" * 1_000_000,
    "error without end": b"<Error>" + b"<Code>" * 160_000,
    "message without end": b"<Error><Message>" + b"x" * 1_000_000,
    "query": b"http://h?" + b"x" * 1_000_000,
    "blanks": b" " * 1_000_000,
    "errors": b'{"errors": [' + b'{"type": 1, "message": "http://http://"},' * 24_000 + b"1]}",
    "deep": b"[" * 1_000_000,
    "deep errors": b'{"errors": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}",
    "digits": b'{"errors": [{"type": "' + b"9" * 900_000 + b'"}]}',
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("page", HOSTILE)
def test_a_hostile_page_costs_nothing(
    server: ScriptedServer, make_client: Callable[..., ApiClient], clock: FakeClock, page: str, status: int
) -> None:
    server.on("GET", "projects/42.json", Answer(status, HOSTILE[page]))
    with pytest.raises(api.SamaError) as caught:
        make_client(deadline=1.0).get_project_information("42")
    assert len(str(caught.value)) < 2_000
    assert all(len(kind) <= 600 for kind in caught.value.error_types)


def test_a_page_that_says_nothing_much_is_still_told(server: ScriptedServer, client: ApiClient) -> None:
    page = (
        b"<html><style>a { b: c }</style><script>if (1 < 2) { x() }</script><h1>Sign  in</h1>\n 1 < 2 &amp; so</html>"
    )
    server.on("GET", "projects/42.json", Answer(400, page))
    with pytest.raises(api.BadRequestError) as caught:
        client.get_project_information("42")
    assert caught.value.message == "Sign in 1 < 2 &amp; so"


@pytest.mark.parametrize(
    "said", [says(b"SSH-2.0-x\r\n"), says(b"\x15\x03\x01\0\2\2\x46"), says(b"HTTP/1.1 abc\r\n\r\n")]
)
def test_what_is_no_http_is_not_asked_for_long(said: Speech) -> None:
    clock = FakeClock()
    with Rogue(said) as rogue:
        error, _ = asked(f"http://{rogue.place}/v2", clock=clock, deadline=300.0)
    assert isinstance(error, api.InvalidResponse)
    assert len(rogue.heard) == 3
    assert not error.retryable
