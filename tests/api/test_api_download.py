"""What a signed link leads to comes whole or not at all, and the key never goes there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.fake_clock import FakeClock
from kit.scripted_server import KEY, Answer, ScriptedServer
from sama_spark import api
from sama_spark.api import ApiClient

MASK = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4000 + b"IEND\xaeB`\x82"


@pytest.fixture
def link(server: ScriptedServer) -> str:
    return f"{server.origin}/store/m.png?X-Amz-Signature=s1gn4ture"


def test_it_goes_to_the_file_without_the_key(
    server: ScriptedServer, client: ApiClient, link: str, tmp_path: Path
) -> None:
    server.on("GET", "/store/m.png", Answer(body=MASK))
    client.download_mask("42", link, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == MASK
    (got,) = server.calls
    assert got.query == {"X-Amz-Signature": "s1gn4ture"}
    assert KEY not in str(got)


def test_each_try_begins_anew(server: ScriptedServer, client: ApiClient, link: str, tmp_path: Path) -> None:
    server.on(
        "GET", "/store/m.png", Answer(body=MASK, fault="truncate"), Answer(503), Answer(fault="drop"), Answer(body=MASK)
    )
    client.download_mask("42", link, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == MASK


@pytest.mark.parametrize("fault", ["truncate", "drop"])
def test_what_breaks_off_for_ever_is_an_error(
    server: ScriptedServer, client: ApiClient, clock: FakeClock, link: str, tmp_path: Path, fault: str
) -> None:
    server.on("GET", "/store/m.png", Answer(body=MASK, fault=fault))
    with pytest.raises((api.InvalidResponse, api.ConnectionFailed)) as caught:
        client.download_mask("42", link, tmp_path / "m")
    assert caught.value.retryable
    assert sum(clock.sleeps) > 60
    assert "s1gn4ture" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_dead_link_is_not_asked_again(
    server: ScriptedServer, client: ApiClient, link: str, tmp_path: Path, status: int
) -> None:
    page = f"<Error><Code>AccessDenied</Code><Message>Request has expired {link}</Message></Error>".encode()
    server.on("GET", "/store/m.png", Answer(status, page))
    with pytest.raises(api.LinkRefused, match="Request has expired") as caught:
        client.download_mask("42", link, tmp_path / "m")
    assert len(server.calls) == 1
    assert "s1gn4ture" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "mask.png", "s3://bucket/m.png", "http://[", "http://a b/m.png"])
def test_what_is_no_link_is_refused(client: ApiClient, tmp_path: Path, url: str) -> None:
    with pytest.raises(api.LinkRefused):
        client.download_mask("42", url, tmp_path / "m")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that takes nothing")
def test_a_full_disk_is_an_error_at_once(
    server: ScriptedServer, client: ApiClient, clock: FakeClock, link: str
) -> None:
    server.on("GET", "/store/m.png", Answer(body=MASK))
    with pytest.raises(api.SamaError, match="No space left") as caught:
        client.download_mask("42", link, Path("/dev/full"))
    assert type(caught.value) is api.SamaError
    assert not clock.sleeps
