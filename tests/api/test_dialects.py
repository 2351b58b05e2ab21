"""However a vendor takes its key, the key arrives there and shows nowhere else; errors are the vendor's own."""

from __future__ import annotations

import ast
import base64
import json
import logging
import pickle
import re
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from small_dialects import DIALECTS, NameTaken, OtherError

import sama_spark.http
from kit.fake_clock import FakeClock
from kit.scripted_server import KEY, Answer, Got, ScriptedServer, fixed_random
from kit.secrecy import INTERRUPTIONS, PLACES, assert_clean, assert_frames_clean, everything_in, interrupter, troubles
from sama_spark.api.sama_errors import SamaError
from sama_spark.errors import ConnectorError
from sama_spark.http import call_errors
from sama_spark.http.call import Call
from sama_spark.http.dialect import Dialect
from sama_spark.http.retry import Safety
from sama_spark.http.secrets import Secret
from sama_spark.http.transport import Transport

IN_BASE64 = base64.b64encode(f"user:{KEY}".encode()).decode()
READ = Call("read things", "GET", "things", Safety.FREE, query={"page": 1})
CHANGE = Call("change things", "POST", "things", Safety.ONCE, body=b"{}")
PUT = Call("put the file", "PUT", "<link>", Safety.FREE, body=b"[]")
CALLS = {"read": READ, "change": CHANGE, "key as id": Call("see", "GET", "things", Safety.FREE, project_id=KEY)}


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    made: Dialect = DIALECTS[request.param](Secret(KEY))
    return made


@pytest.fixture
def hidden(dialect: Dialect) -> list[str]:
    """All forms of the key in this dialect."""
    return [secret.reveal() for secret in dialect.secrets]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def transport(server: ScriptedServer, dialect: Dialect, said: list[str]) -> Transport:
    return transport_of(server, dialect, said)


def transport_of(server: ScriptedServer, dialect: Dialect, said: list[str], read_timeout: float = 5.0) -> Transport:
    return Transport(
        dialect,
        server.base_url,
        connect_timeout=5,
        read_timeout=read_timeout,
        deadline=2,
        report=said.append,
        warn=said.append,
        clock=FakeClock(),
        rng=fixed_random(),
    )


def things(body: bytes) -> dict[str, int]:
    return msgspec.json.decode(body, type=dict[str, int])


def echo(got: Got) -> Answer:
    """A server that repeats the key in every way it can, and the request's headers and query as they came."""
    quoted = urllib.parse.quote_plus(KEY)
    text = f"{KEY} {quoted} {IN_BASE64} {urllib.parse.quote(IN_BASE64, safe='')} {got.headers} {got.query}"
    link = f"https://x.invalid/a?token={quoted}"
    return Answer(400, {"code": KEY, "error": f"{text} {link}"}, {"X-Request-Id": IN_BASE64})


TROUBLES = troubles(echo) | {
    "echo in a page": lambda got: Answer(403, f"<html>{echo(got).bytes.decode()}</html>".encode()),
    "echo in XML": lambda _: Answer(403, f"<Error><Code>{KEY}</Code><Message>{IN_BASE64}</Message></Error>".encode()),
}


def test_the_key_arrives_where_the_dialect_puts_it_and_nowhere_else(
    server: ScriptedServer, transport: Transport, dialect: Dialect
) -> None:
    server.on("GET", "things", Answer(200, {"a": 1}))
    assert transport.send(READ, things) == {"a": 1}
    (got,) = server.calls
    token = got.query.pop("token", None)
    authorization = got.headers.pop("authorization", None)
    expected = {"InQuery": (KEY, None), "Bearer": (None, f"Bearer {KEY}"), "Basic": (None, f"Basic {IN_BASE64}")}
    assert (token, authorization) == expected[type(dialect).__name__]
    assert got.query == {"page": "1"}
    assert_clean(json.dumps(vars(got) | {"body": ""}), IN_BASE64)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.filterwarnings("always")
def test_no_error_path_shows_the_key(
    server: ScriptedServer,
    dialect: Dialect,
    said: list[str],
    hidden: list[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    trouble: str,
    call: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    for method in ("GET", "POST"):
        server.on(method, "things", TROUBLES[trouble])
    with pytest.raises(OtherError) as caught:
        transport_of(server, dialect, said, read_timeout=0.02).send(CALLS[call], things)
    assert not isinstance(caught.value, SamaError)
    # A caller's own mistake stays in the frames that were called with it.
    for text in everything_in(caught.value, frames=call != "key as id"):
        assert_clean(text, *hidden)
    assert said
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    for record in caplog.records:
        assert_clean(f"{record.getMessage()} {record.msg} {record.args} {record.exc_text}", *hidden)
    for text in (*said, *(str(warning.message) for warning in recwarn)):
        assert_clean(text, *hidden)


def test_a_key_is_taken_out_before_a_page_is_cut(
    server: ScriptedServer, transport: Transport, hidden: list[str]
) -> None:
    for secret in hidden:
        for size in range(19_900, 20_010, 7):
            server.on("GET", "things", Answer(403, b"<script>" + b"x" * size + b"</script>" + secret.encode() * 3))
            with pytest.raises(OtherError) as caught:
                transport.send(READ, things)
            assert secret[:6] not in str(caught.value)


@pytest.mark.parametrize("status", [200, 403, 500])
def test_a_store_never_gets_the_key(
    server: ScriptedServer, transport: Transport, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    told = f"<Error><Code>No</Code><Message>{server.upload_url}</Message></Error>"
    server.on("PUT", "/store/file-1", Answer(status, b"" if status == 200 else told.encode()))
    if status == 200:
        transport.upload(Secret(server.upload_url), PUT)
    else:
        with pytest.raises(OtherError) as caught:
            transport.upload(Secret(server.upload_url), PUT)
        assert isinstance(caught.value, call_errors.UploadUrlRefused) == (status == 403)
        for text in everything_in(caught.value):
            assert_clean(text, "/store/file-1")
    for record in caplog.records:
        assert_clean(record.getMessage())
    for got in server.calls:
        assert "token" not in got.query
        assert "authorization" not in got.headers
        assert KEY not in json.dumps(got.headers)


def test_a_redirect_is_not_followed(server: ScriptedServer, transport: Transport) -> None:
    server.on("GET", "things", Answer(307, b"", {"Location": f"{server.base_url}/elsewhere"}))
    with pytest.raises(call_errors.RedirectRefused):
        transport.send(READ, things)
    assert server.count("GET", "elsewhere") == 0


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("interruption", ["Ctrl-C", "notebook", "unforeseen"])
def test_an_interrupted_call_shows_no_key(
    server: ScriptedServer, transport: Transport, monkeypatch: pytest.MonkeyPatch, interruption: str, place: str
) -> None:
    server.on("GET", "things", Answer(200, {}))
    monkeypatch.setattr(PLACES[place], interrupter(interruption, server.upload_url, within=True))
    kind = type(INTERRUPTIONS[interruption]())
    with pytest.raises(OtherError if issubclass(kind, Exception) else kind) as caught:
        transport.send(READ, things)
    assert_frames_clean(caught.value, __file__, more=(IN_BASE64,))


def test_transport_and_dialect_show_themselves_without_the_key(transport: Transport, dialect: Dialect) -> None:
    for thing in (transport, transport._attempts, dialect):
        for text in (repr(thing), str(thing), repr(vars(thing))):
            assert_clean(text, IN_BASE64)
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(thing)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, call_errors.BadRequestError),
        (401, call_errors.AuthenticationError),
        (404, call_errors.NotFoundError),
        (409, NameTaken),
        (429, call_errors.RateLimitedError),
        (503, call_errors.ServerError),
    ],
)
def test_an_error_is_of_the_kind_and_in_the_words_of_the_vendor(
    server: ScriptedServer, transport: Transport, status: int, kind: type[ConnectorError]
) -> None:
    server.on("GET", "things", Answer(status, {"code": "E7", "error": "no such luck"}))
    with pytest.raises(OtherError, match="no such luck") as caught:
        transport.send(READ, things)
    assert isinstance(caught.value, kind)
    assert (caught.value.status, caught.value.error_types) == (status, ("E7",))
    assert "Sama" not in str(caught.value)


def test_a_reply_of_somebody_in_between_is_not_the_vendors(server: ScriptedServer, transport: Transport) -> None:
    server.on("GET", "things", Answer(403, b"<html>Blocked by policy</html>"))
    with pytest.raises(call_errors.AuthenticationError, match=r"Blocked by policy.*no JSON of Other's") as caught:
        transport.send(READ, things)
    assert isinstance(caught.value, OtherError)


def test_a_reply_that_is_too_large_tells_what_the_vendors_client_can_do(
    server: ScriptedServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sama_spark.http.wire._READ_SIZE", 1)
    monkeypatch.setattr("sama_spark.http.wire.LARGEST_REPLY", 10)
    server.on("GET", "things", Answer(200, {"a": 10**12}))
    with pytest.raises(call_errors.InvalidResponse, match="Ask for smaller pages"):
        transport.send(READ, things)


def test_each_try_passes_by_the_one_who_looks_on(server: ScriptedServer, transport: Transport) -> None:
    server.on("GET", "things", Answer(503), Answer(503), Answer(200, {"a": 1}))
    tries: list[str] = []

    def around(call: Call, attempt: Callable[[], object]) -> object:
        tries.append(call.what)
        return attempt()

    transport.around = around  # type: ignore[assignment]
    assert transport.send(READ, things) == {"a": 1}
    assert tries == ["read things"] * 3


HTTP = sorted(Path(sama_spark.http.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("module", HTTP, ids=lambda module: module.stem)
def test_http_knows_no_vendor(module: Path) -> None:
    text = module.read_text()
    found = [
        name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.startswith("sama_spark")
    ]
    below = re.compile(r"sama_spark\.(http(\..*)?|errors|arguments)")
    assert [name for name in found if not below.fullmatch(name)] == []
    assert not re.search(r"sama(?!_spark|-spark)", text, re.IGNORECASE)
