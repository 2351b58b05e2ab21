"""The environment's proxy: when it is used, what it says, and that its password shows nowhere."""

from __future__ import annotations

import socket
import threading
import traceback
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from kit.fake_clock import FakeClock
from kit.rogue_server import Rogue, says
from kit.scripted_server import KEY, Answer, ScriptedServer
from sama_spark import api
from sama_spark.api import ApiClient
from sama_spark.http.proxies import Proxy, ProxyUnusable, proxy_for

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def goes_through(url: str, exceptions: str, monkeypatch: pytest.MonkeyPatch, variable: str = "NO_PROXY") -> bool:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv(variable, exceptions)
    return proxy_for(url) is not None


EXCEPTED = [
    ("https://api.sama.com/v2", "api.sama.com"),
    ("https://api.sama.com/v2", "sama.com"),
    ("https://api.sama.com/v2", ".sama.com"),
    ("https://api.sama.com/v2", "*.sama.com"),
    ("https://api.sama.com/v2", "API.Sama.COM"),
    ("https://API.SAMA.com/v2", ".sama.com"),
    ("https://api.sama.com/v2", "api.sama.com."),
    ("https://api.sama.com./v2", "api.sama.com"),
    ("https://api.sama.com/v2", "com"),
    ("https://api.sama.com/v2", "*"),
    ("https://api.sama.com/v2", " * "),
    ("https://api.sama.com/v2", "a, *"),
    ("https://api.sama.com/v2", "a, b ,sama.com ,c"),
    ("https://api.sama.com/v2", "a b sama.com"),
    ("https://api.sama.com/v2", ",,sama.com,"),
    ("https://api.sama.com/v2", "api.sama.com:443"),
    ("http://api.sama.com/v2", "api.sama.com:80"),
    ("https://api.sama.com:8443/v2", "api.sama.com:8443"),
    ("https://api.sama.com:8443/v2", ".sama.com:8443"),
    ("https://api.sama.com:8443/v2", "sama.com"),
    ("http://localhost:9/", "localhost"),
    ("http://sub.localhost:9/", "localhost"),
    ("http://127.0.0.1:9/", "127.0.0.1"),
    ("http://127.0.0.1:9/", "127.0.0.1:9"),
    ("http://127.0.0.1:9/", "127.0.0.0/8"),
    ("http://127.0.0.1:9/", "127.0.0.0/255.0.0.0"),
    ("http://127.0.0.1:9/", "127.0.0.7/8"),
    ("http://10.1.2.3/", "10.1.2.3/32"),
    ("http://10.1.2.3/", "192.168.0.0/16,10.0.0.0/8"),
    ("http://10.1.2.3/", "0.0.0.0/0"),
    ("http://[::1]:9/", "::1"),
    ("http://[::1]:9/", "[::1]"),
    ("http://[::1]:9/", "[::1]:9"),
    ("http://[::1]:9/", "0:0:0:0:0:0:0:1"),
    ("http://[::1]:9/", "::/64"),
    ("http://[fd00::7]/", "fd00::/8"),
    ("http://[fd00::7]/", "[fd00::]/8"),
    ("http://[::ffff:10.1.2.3]/", "10.0.0.0/8"),
    ("http://[FD00::7]/", "fd00:0::7"),
]
NOT_EXCEPTED = [
    ("https://api.sama.com/v2", ""),
    ("https://api.sama.com/v2", " , ,"),
    ("https://api.sama.com/v2", "pi.sama.com"),
    ("https://api.sama.com/v2", "ama.com"),
    ("https://api.sama.com/v2", "xsama.com"),
    ("https://api.sama.com/v2", "api.sama.com.evil"),
    ("https://api.sama.com/v2", "api.sama"),
    ("https://api.sama.com/v2", "api.sama.com:8443"),
    ("https://api.sama.com/v2", "sama.com:80"),
    ("http://api.sama.com/v2", "sama.com:443"),
    ("https://sama.com/v2", "api.sama.com"),
    ("https://api.sama.com/v2", "10.0.0.0/8"),
    ("https://api.sama.com/v2", "."),
    ("https://api.sama.com/v2", "10.0.0.0/99"),
    ("http://127.0.0.1:9/", "localhost"),
    ("http://127.0.0.1:9/", "127.0.0.1:10"),
    ("http://127.0.0.1:9/", "7.0.0.1"),
    ("http://127.0.0.1:9/", "128.0.0.0/8"),
    ("http://10.1.2.3/", "10.1.2.3/33"),
    ("http://10.1.2.3/", "fd00::/8"),
    ("http://[::1]:9/", "[::1]:10"),
    ("http://[::1]:9/", "::2"),
    ("http://[fd00::7]/", "fe00::/8"),
    ("http://[fd00::7]/", "10.0.0.0/8"),
]


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(("url", "exceptions"), EXCEPTED)
def test_no_proxy_excepts(url: str, exceptions: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not goes_through(url, exceptions, monkeypatch, variable)


@pytest.mark.parametrize(("url", "exceptions"), NOT_EXCEPTED)
def test_no_proxy_excepts_nothing_else(url: str, exceptions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert goes_through(url, exceptions, monkeypatch)


@given(st.ip_addresses(), st.text("0123456789abcdef.:/[]*,% ", max_size=30), st.integers(1, 65535))
def test_no_list_of_exceptions_is_an_error(address: Any, exceptions: str, port: int) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    with pytest.MonkeyPatch.context() as patch:
        through = goes_through(f"http://{host}:{port}/", exceptions, patch)
        assert not goes_through(f"http://{host}:{port}/", f"{exceptions},{host}:{port}", patch)
        if not exceptions.strip(" ,"):
            assert through


READ = [
    ("proxy.invalid:3128", "http://proxy.invalid:3128", None),
    ("http://proxy.invalid", "http://proxy.invalid:80", None),
    ("HTTP://proxy.invalid:3128/", "http://proxy.invalid:3128", None),
    ("https://proxy.invalid", "https://proxy.invalid:443", None),
    (" http://proxy.invalid:3128 ", "http://proxy.invalid:3128", None),
    ("http://[::1]:3128", "http://[::1]:3128", None),
    ("http://me:word@proxy.invalid:3128", "http://proxy.invalid:3128", "me:word"),
    ("me:word@proxy.invalid:3128", "http://proxy.invalid:3128", "me:word"),
    ("http://me@proxy.invalid:3128", "http://proxy.invalid:3128", "me:"),
    ("http://me:p%40ss%3A@proxy.invalid:3128", "http://proxy.invalid:3128", "me:p@ss:"),
    ("http://me:a@b@proxy.invalid:3128", "http://proxy.invalid:3128", "me:a@b"),
    ("http://me:a#b/c?d:e@proxy.invalid:3128", "http://proxy.invalid:3128", "me:a#b/c?d:e"),
    ("http://me:a://b@proxy.invalid:3128", "http://proxy.invalid:3128", "me:a://b"),
    ("http://me:100%@proxy.invalid:3128", "http://proxy.invalid:3128", "me:100%"),
    ("http://me:%C3%A4@proxy.invalid:3128", "http://proxy.invalid:3128", "me:ä"),
    ("http://do%5Cmain:ключ@proxy.invalid:3128", "http://proxy.invalid:3128", "do\\main:ключ"),
]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(("text", "url", "login"), READ)
def test_a_proxy_is_read(
    text: str, url: str, login: str | None, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    found = proxy_for("https://api.sama.com/v2")
    assert isinstance(found, Proxy)
    assert found.url == url
    token = dict(found.headers).get("proxy-authorization")
    assert (token and b64decode(token.removeprefix("Basic ")).decode()) == login
    assert not login or login not in repr(found)


UNREADABLE = [
    "http://user:hunter2@host:99999",
    "http://user:hunter2@host:port",
    "http://user:hunter2@",
    "http://user:hunter2@ho st:1",
    "http://user:hunter2@[::1",
    "http://user:hunter2@host:0x50",
    "ftp://user:hunter2@host:21",
    "socks5://user:hunter2@host:1080",
    "SOCKS5H://user:hunter2@host:1080",
    "socks://user:hunter2@host:1080",
    '"http://user:hunter2@host:3128"',
    "http://user:hunter2@höst:1",
    "http://user:hunter2@host:-1",
    "://user:hunter2@host",
]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("text", UNREADABLE)
def test_a_proxy_that_cannot_be_read_shows_no_password(
    text: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(api.ConnectionFailed, match=variable) as caught:
        ApiClient(KEY, base_url="https://api.sama.com/v2", clock=FakeClock()).get_project_information("42")
    assert not caught.value.retryable
    assert not caught.value.maybe_done
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "hunter2" not in shown.replace(repr(text), "")  # but for the test's own frame
    assert ("SOCKS" in str(caught.value)) == ("socks" in text.lower())
    with pytest.raises(ProxyUnusable):
        proxy_for("https://api.sama.com/v2")


def client_of(url: str, **options: Any) -> ApiClient:
    return ApiClient(KEY, base_url=url, clock=FakeClock(), **{"deadline": 300.0, **options})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407])
def test_what_a_proxy_refuses_is_told_as_its_word(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Rogue(says(f"HTTP/1.1 {status} Not for you\r\nContent-Length: 0\r\n\r\n".encode())) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@{proxy.place}")
        with pytest.raises(api.ConnectionFailed, match="proxy") as caught:
            client_of("https://sama.invalid/v2").get_project_information("42")
        assert len(proxy.heard) == 1
    error = caught.value
    assert (error.status, error.retryable, error.maybe_done) == (status, False, False)
    assert ("HTTPS_PROXY=http://user:password@host:port" in str(error)) == (status == 407)
    assert "server's own" not in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_proxy_that_is_in_trouble_is_tried_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Rogue(says(f"HTTP/1.1 {status} In trouble\r\n\r\n".encode())) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.place}")
        with pytest.raises(api.ConnectionFailed, match=r"proxy refuses the way to sama\.invalid") as caught:
            client_of("https://sama.invalid/v2").reject_task("42", "1", ["r"])
        assert len(proxy.heard) > 3
    assert (caught.value.retryable, caught.value.maybe_done) == (True, False)


def test_407_without_a_tunnel_is_the_proxys_too(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.origin)
    server.on("GET", "http://sama.invalid/v2/projects/42.json", Answer(407, b"<html>Log in</html>"))
    server.on("GET", "projects/42.json", Answer(407, b"<html>Log in</html>"))
    with pytest.raises(api.ConnectionFailed, match="user:password@host:port") as caught:
        client_of("http://sama.invalid/v2").get_project_information("42")
    assert not caught.value.retryable
    assert "server's own" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_told_as_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with Rogue(says(b"")) as gone:
        place = gone.place
    for url in ("http://sama.invalid/v2", "https://sama.invalid/v2"):
        monkeypatch.setenv(f"{url.partition(':')[0].upper()}_PROXY", f"http://user:hunter2@{place}")
        with pytest.raises(api.ConnectionFailed, match="its proxy: connection refused") as caught:
            client_of(url).get_project_information("42")
        assert "hunter2" not in str(caught.value)


PAGE = b"<html><h1>Blocked by policy</h1></html>"


@pytest.mark.parametrize("body", [PAGE, b"", b"denied", b'{"error": "blocked"}', b"[]", b"null", b'{"errors": []}'])
@pytest.mark.parametrize("status", [400, 403, 404, 409, 503])
def test_the_word_of_a_gateway_is_not_told_as_samas(
    server: ScriptedServer, client: ApiClient, status: int, body: bytes
) -> None:
    server.on("GET", "projects/42.json", Answer(status, body))
    with pytest.raises(api.SamaError, match="proxy or a gateway") as caught:
        client.get_project_information("42")
    assert "server's own" not in str(caught.value)


@pytest.mark.parametrize("body", [{"errors": [{"type": 400, "message": "no"}]}, {"message": "no"}, {"errors": "no"}])
def test_samas_word_is_told_as_samas(server: ScriptedServer, client: ApiClient, body: object) -> None:
    server.on("GET", "projects/42.json", Answer(400, body))
    with pytest.raises(api.BadRequestError, match="server's own") as caught:
        client.get_project_information("42")
    assert "gateway" not in str(caught.value)


def test_a_stores_word_is_told_as_neither(server: ScriptedServer, client: ApiClient, tmp_path: Path) -> None:
    answer = Answer(413, b"<Error><Code>EntityTooLarge</Code><Message>too large</Message></Error>")
    server.on("GET", "/store/m.png", answer)
    with pytest.raises(api.BadRequestError, match="too large") as caught:
        client.download_mask("42", f"{server.origin}/store/m.png", tmp_path / "m")
    assert "server's own" not in str(caught.value)
    assert "gateway" not in str(caught.value)


def test_a_tunnel_leads_through_a_proxy_with_login(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that joins the two sides: what travels within is TLS, and the login is the proxy's alone."""
    authority = trustme.CA()
    server.speak_tls(authority)
    server.on("GET", "projects/42.json", Answer(200, {"id": 42}))

    def join(rogue: Rogue, inner: socket.socket) -> None:
        inner.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        host, port = server.origin.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as outer:

            def back() -> None:
                while piece := outer.recv(65536):
                    inner.sendall(piece)

            threading.Thread(target=back, daemon=True).start()
            while piece := inner.recv(65536):
                outer.sendall(piece)

    with Rogue(join) as proxy, authority.cert_pem.tempfile() as bundle:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@{proxy.place}")
        client = client_of(server.base_url, deadline=5)
        assert client.get_project_information("42") == {"id": 42}
        assert client.get_project_information("42") == {"id": 42}
        client.close()
    (heard,) = proxy.heard
    assert heard.startswith(b"CONNECT 127.0.0.1:")
    assert b"Basic " in heard
    assert "proxy-authorization" not in server.calls[0].headers
