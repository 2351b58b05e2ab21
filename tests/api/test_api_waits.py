"""Waits say so while they last, and what does not pass is not waited for."""

from __future__ import annotations

import gc
import gzip
import itertools
import logging
import re
import socket
from typing import Any

import pytest

from kit.fake_clock import FakeClock
from kit.rogue_server import Rogue, says
from kit.scripted_server import KEY, Answer, ScriptedServer, fixed_random
from sama_spark import api
from sama_spark.api import ApiClient
from sama_spark.http import retry

INFO = "projects/42.json"
BATCHES = "projects/42/batches.json"


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{closed.getsockname()[1]}"


def words(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def client_of(base_url: str, clock: FakeClock, **options: Any) -> ApiClient:
    return ApiClient(KEY, base_url=base_url, clock=clock, rng=fixed_random(), **options)


def test_a_wait_says_so_at_once_and_now_and_then(
    server: ScriptedServer, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("GET", INFO, Answer(503, b"down"))
    times: list[float] = []
    started = clock.now

    class Watching(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
            times.append(clock.now - started)

    watching = Watching(logging.WARNING)
    logging.getLogger("sama_spark").addHandler(watching)
    try:
        with pytest.raises(api.ServerError):
            client_of(server.base_url, clock).get_project_information("42")
    finally:
        logging.getLogger("sama_spark").removeHandler(watching)
    said = words(caplog)
    assert 6 <= len(said) <= 12
    assert times[0] == 0
    assert 10 <= times[1] <= 45
    assert all(later - before >= 30 for before, later in itertools.pairwise(times[1:]))
    left = [int(re.search(r"trying for (\d+) s more", line)[1]) for line in said]  # type: ignore[index]
    assert left[0] == 300
    assert left == sorted(left, reverse=True)
    assert all("HTTP 503" in line and "project 42" in line for line in said)


def test_nobody_there_is_told_and_given_up_soon(
    nobody: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(f"http://{nobody}/v2", clock)
    with pytest.raises(api.ConnectionFailed, match="connection refused") as caught:
        client.get_project_information("4242")
    assert 10 < sum(clock.sleeps) <= 30
    assert caught.value.retryable
    first, *others = words(caplog)
    assert f"no connection to {nobody} (connection refused): get project" in first
    assert "of project 4242, trying for 30 s more" in first
    assert len(others) <= 2
    clock.sleeps.clear()
    with pytest.raises(api.ConnectionFailed):
        client_of(f"http://{nobody}/v2", clock, deadline=5).get_project_information("4242")
    assert sum(clock.sleeps) <= 5


def test_an_unknown_host_is_given_up_soon(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(api.ConnectionFailed, match="unknown host"):
        client_of("https://sama.invalid/v2", clock).get_project_information("42")
    assert sum(clock.sleeps) <= 30
    assert "no connection to sama.invalid (unknown host" in words(caplog)[0]


def test_who_has_answered_once_is_waited_for(
    server: ScriptedServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("GET", INFO, Answer(404))
    client = client_of(server.base_url, clock)
    with pytest.raises(api.NotFoundError):
        client.get_project_information("42")
    client.close()
    server.close()
    with pytest.raises(api.ConnectionFailed):
        client.get_project_information("42")
    assert sum(clock.sleeps) > 200


@pytest.mark.parametrize("how", ["silent", "printed", "logged"])
def test_each_word_is_said_once_and_where_the_others_go(
    nobody: str, how: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("users.own")
    caplog.set_level(logging.INFO)
    options: dict[str, Any] = {"silent": how == "silent", "logger": logger if how == "logged" else None, "deadline": 3}
    with pytest.raises(api.ConnectionFailed):
        client_of(f"http://{nobody}/v2", FakeClock(), **options).get_project_information("42")
    waits = "trying for 3 s more"
    printed = capsys.readouterr().out.count(waits)
    logged = [record.name for record in caplog.records if waits in record.getMessage()]
    assert printed == (how == "printed")
    assert logged == {"silent": ["sama_spark"], "printed": [], "logged": ["users.own"]}[how]


def test_many_calls_that_are_told_to_slow_down_say_one_word(
    server: ScriptedServer, client: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        server.on("GET", INFO, Answer(429, {}, {"Retry-After": "1"}), Answer(200))
        client.get_project_information("42")
    assert len(words(caplog)) == 1


def test_what_works_says_nothing(server: ScriptedServer, client: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    server.on("GET", INFO, Answer(200))
    client.get_project_information("42")
    server.on("GET", INFO, Answer(404))
    with pytest.raises(api.NotFoundError):
        client.get_project_information("42")
    assert words(caplog) == []


def test_a_word_shows_no_key(server: ScriptedServer, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    server.on("GET", "projects/k3y%2Bwith%2Fodd%3Dchars%25%26%23~.json", Answer(503))
    with pytest.raises(api.ServerError):
        client_of(server.base_url, clock, deadline=3).get_project_information(KEY)
    assert words(caplog)
    assert not any(KEY in line for line in words(caplog))


FLAWS = {
    "login page": Answer(200, b"<html>Please sign in</html>"),
    "login page, until it is closed": Answer(200, b"<html>Please</html>", {"Connection": "close"}),
    "empty": Answer(200, b""),
    "blank": Answer(200, b" \r\n"),
    "no content": Answer(204, b""),
    "text": Answer(200, b"OK"),
    "cut": Answer(200, b'{"id": 42, "name"'),
    "two": Answer(200, b"{}{}"),
    "no UTF-8": Answer(200, b'{"id": "\xff\xfe"}'),
    "brotli": Answer(200, b"\x0b\x02\x80{}\x03", {"Content-Encoding": "br"}),
    "zstd": Answer(200, b"\x28\xb5\x2f\xfd", {"Content-Encoding": "zstd"}),
    "gzip untold": Answer(200, gzip.compress(b"{}")),
    "no gzip": Answer(200, b"{}", {"Content-Encoding": "gzip"}),
    "no deflate": Answer(200, b"{}{}{}", {"Content-Encoding": "deflate"}),
    "half a gzip": Answer(200, gzip.compress(b'{"id": 42}')[:-12], {"Content-Encoding": "gzip"}),
    "gzip twice": Answer(200, gzip.compress(gzip.compress(b"{}")), {"Content-Encoding": "gzip, gzip"}),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_whole_reply_that_is_no_json_is_tried_three_times(
    server: ScriptedServer, client: ApiClient, clock: FakeClock, flaw: str
) -> None:
    server.on("GET", INFO, FLAWS[flaw])
    with pytest.raises(api.InvalidResponse, match="given up after 3 tries") as caught:
        client.get_project_information("42")
    assert len(server.calls) == 3
    assert sum(clock.sleeps) < 10
    assert not caught.value.retryable
    assert "proxy" in str(caught.value)
    if "login" in flaw:
        assert "Please" in str(caught.value)
    server.on("GET", INFO, FLAWS[flaw], FLAWS[flaw], Answer(200, {"id": 42}))
    assert client.get_project_information("42") == {"id": 42}


def test_a_flaw_among_failures_that_pass_is_counted_alone(server: ScriptedServer, client: ApiClient) -> None:
    flaw, down = Answer(200, b"<html>"), Answer(503)
    server.on("GET", INFO, down, down, down, flaw, down, flaw, down, Answer(200, {"id": 42}))
    assert client.get_project_information("42") == {"id": 42}
    server.on("GET", INFO, down, flaw, down, flaw, down, flaw, down, Answer(200, {"id": 42}))
    with pytest.raises(api.InvalidResponse):
        client.get_project_information("42")


def test_a_reply_that_is_cut_on_its_way_is_waited_for(
    server: ScriptedServer, client: ApiClient, clock: FakeClock
) -> None:
    server.on("GET", INFO, Answer(200, {"text": "x" * 100}, fault="truncate"))
    with pytest.raises(api.InvalidResponse, match="truncated") as caught:
        client.get_project_information("42")
    assert sum(clock.sleeps) > 200
    assert caught.value.retryable


def test_a_page_where_the_stores_answer_is_due_is_tried_three_times(server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", BATCHES, Answer(201, {"batch_id": 7, "tasks_put_url": server.upload_url}))
    server.on("PUT", "/store/file-1", Answer(200, b"<html>Please sign in</html>"))
    with pytest.raises(api.InvalidResponse, match="a page where the store's answer is due") as caught:
        client.upload_tasks(client.open_batch("42"), b"[]")
    assert server.count("PUT", "/store/file-1") == 3
    assert not caught.value.retryable


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\0\2\2\x46", b"hello\r\n"])
def test_tls_with_what_speaks_none_is_tried_three_times(clock: FakeClock, said: bytes) -> None:
    with Rogue(says(said)) as rogue:
        with pytest.raises(api.ConnectionFailed, match="no TLS with") as caught:
            client_of(f"https://{rogue.place}/v2", clock).reject_task("42", "1", ["r"])
        assert len(rogue.heard) == 3
    assert not caught.value.retryable
    assert not caught.value.maybe_done


@pytest.mark.parametrize("how", ["handshake", "request"])
def test_what_was_surely_not_sent_is_told_from_what_may_have_been(
    server: ScriptedServer, clock: FakeClock, how: str
) -> None:
    if how == "handshake":
        with Rogue(says(b"")) as rogue, pytest.raises(api.ConnectionFailed) as caught:
            client_of(f"https://{rogue.place}/v2", clock, deadline=20).reject_task("42", "1", ["r"])
        assert len(rogue.heard) > 1
    else:
        with Rogue(says(b"")) as rogue, pytest.raises(api.ConnectionFailed) as caught:
            client_of(f"http://{rogue.place}/v2", clock, deadline=20).reject_task("42", "1", ["r"])
        assert len(rogue.heard) == 1
    assert caught.value.maybe_done == (how == "request")


@pytest.mark.parametrize(
    "value", ["1e999", "-1", "9" * 5000, "inf", "nan", "", " ", "soon", "0", "1" + "0" * 300, "Mon", "\xff" * 90]
)
def test_a_wait_that_cannot_be_meant_is_no_error_of_its_own(
    server: ScriptedServer, client: ApiClient, clock: FakeClock, value: str
) -> None:
    server.on("GET", INFO, Answer(503, {}, {"Retry-After": value.encode().decode("latin-1")}), Answer(200, {"id": 42}))
    try:
        assert client.get_project_information("42") == {"id": 42}
    except api.ServerError as error:
        assert "given up" in str(error)
    assert sum(clock.sleeps) < 300


def test_clients_that_are_gone_leave_no_pacer() -> None:
    before = len(retry._pacers)
    for number in range(200):
        ApiClient(f"key-{number}", base_url="http://127.0.0.1:9/v2")
    gc.collect()
    assert len(retry._pacers) <= before + 1
