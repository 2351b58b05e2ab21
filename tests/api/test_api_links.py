"""Where links of Sama's may lead: from https to https alone, and from the internet to nothing inside."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from kit.fake_clock import FakeClock
from kit.rogue_server import Rogue, says
from kit.scripted_server import KEY, Answer, ScriptedServer
from sama_spark import api
from sama_spark.api import ApiClient, WaitingBatch, batches
from sama_spark.http.connections import is_inside

INSIDE = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.1.",
    "0.0.0.0",  # noqa: S104
    "169.254.169.254",
    "10.0.0.1",
    "10.1",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fd00::1]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
]
OUTSIDE = [
    "api.sama.com",
    "s3.amazonaws.com",
    "8.8.8.8",
    "1.1",
    "[2606:4700::1111]",
    "local.host",
    "localhost.com",
    "ä",
]


@pytest.mark.parametrize("host", INSIDE)
def test_inside(host: str) -> None:
    assert is_inside(host.strip("[]"))


@pytest.mark.parametrize("host", OUTSIDE)
def test_outside(host: str) -> None:
    assert not is_inside(host.strip("[]"))


def public(**options: object) -> ApiClient:
    return ApiClient(KEY, base_url="https://api.sama.com/v2", clock=FakeClock(), deadline=5, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", INSIDE)
def test_an_api_on_the_internet_leads_to_nothing_inside(host: str, tmp_path: Path) -> None:
    with pytest.raises(api.LinkRefused, match="private network") as caught:
        public().download_mask("42", f"https://{host}/m.png?X-Amz-Signature=s1gn4ture", tmp_path / "m")
    assert not caught.value.retryable
    assert "s1gn4ture" not in str(caught.value)
    with pytest.raises(api.InvalidResponse, match="private network"):
        public().upload_tasks(WaitingBatch(7, f"https://{host}/f?X-Amz-Signature=s1gn4ture"), b"[]")


def test_a_name_of_this_machine_is_found_out_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the name: what counts is where the connection leads."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more, **rest: real("127.0.0.1", *more, **rest))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    with Rogue(says(b"")) as rogue:
        link = f"https://metadata.example:{rogue.port}/m.png"
        with pytest.raises(api.LinkRefused, match="this machine"):
            public().download_mask("42", link, tmp_path / "m")
        with pytest.raises(api.ConnectionFailed, match="this machine") as caught:
            public().upload_tasks(WaitingBatch(7, link), b"[]")
    assert not any(rogue.heard)
    assert not caught.value.retryable


@pytest.mark.parametrize("link", ["http://s3.invalid/m.png", "HTTP://s3.invalid/m.png", "http://127.0.0.1:9/m.png"])
def test_https_never_leads_to_http(link: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(api.LinkRefused, match="no https address"):
        public().download_mask("42", link, tmp_path / "m")
    with pytest.raises(api.InvalidResponse, match="no https address"):
        public().upload_tasks(WaitingBatch(7, link), b"[]")
    assert not caplog.records


def test_an_upload_in_the_clear_is_refused_and_its_batch_cancelled(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca"))
    server.speak_tls(authority)
    server.on("POST", "projects/42/batches.json", Answer(201, {"batch_id": 7, "tasks_put_url": server.upload_url}))
    server.on("POST", "projects/42/batches/7/cancel.json", Answer(200))
    client = ApiClient(KEY, base_url=server.base_url, clock=FakeClock(), deadline=5)
    with pytest.raises(api.InvalidResponse, match="no https address"):
        batches.upload(client, "42", b"[]")
    assert [got.path for got in server.calls] == ["projects/42/batches.json", "projects/42/batches/7/cancel.json"]
    # The API is on this machine, so a store may be too.
    secure = server.upload_url.replace("http:", "https:")
    server.on("PUT", "/store/file-1", Answer(200, b""))
    client.upload_tasks(WaitingBatch(7, secure), b"[]")


@pytest.mark.parametrize("fault", ["trickle", "trickle headers", "hang"])
def test_a_reply_that_never_ends_within_tls_is_hung_up_on(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca"))
    server.speak_tls(authority)
    server.on("GET", "projects/42.json", Answer(200, {}), Answer(200, {"text": "x" * 1000}, fault=fault))
    client = ApiClient(KEY, base_url=server.base_url, deadline=1.0, read_timeout=20)
    client.get_project_information("42")  # so that the connection is there already
    with pytest.raises(api.RequestTimedOut):
        client.get_project_information("42")


def test_a_mask_that_cannot_be_written_is_an_error_of_ours(
    server: ScriptedServer, make_client: Callable[..., ApiClient], tmp_path: Path
) -> None:
    server.on("GET", "/store/m.png", Answer(body=b"x"))
    for place in (tmp_path, tmp_path / "no" / "folder"):
        with pytest.raises(api.SamaError, match="cannot be written") as caught:
            make_client().download_mask("42", f"{server.origin}/store/m.png", place)
        assert not caught.value.retryable
    assert server.calls == []
