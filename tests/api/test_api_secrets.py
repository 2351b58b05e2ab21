"""The key and signed URLs are in no error, chain, traceback, pickle, log, repr or vars."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
import signal
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sama_spark
from kit.fake_clock import FakeClock
from kit.scripted_server import KEY, Answer, Got, ScriptedServer, fixed_random, stamp, task
from sama_spark import api
from sama_spark.api import ApiClient, batches
from sama_spark.api.sama_errors import SamaError, of_sama
from sama_spark.errors import ConnectorError, InvalidInput
from sama_spark.http import call_errors
from sama_spark.http.call_errors import ServerError, of_vendor
from sama_spark.http.secrets import REDACTED, Redactor, Secret, redact_urls

INFO = "projects/42.json"
BATCHES = "projects/42/batches.json"
SECRETS = (KEY, urllib.parse.quote(KEY, safe=""), urllib.parse.quote(KEY), "s1gn4ture")


def echo(got: Got) -> Answer:
    """A server that repeats the key in every way it can."""
    quoted = urllib.parse.quote_plus(KEY)
    text = f"{KEY} {quoted} {quoted.lower()} https://x.invalid/a?access_key={quoted}&b=1"
    return Answer(400, {"errors": [{"type": KEY, "message": text}], "message": KEY}, {"X-Request-Id": KEY})


def assert_clean(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text
    assert KEY not in urllib.parse.unquote_plus(text)


PACKAGE = str(Path(api.__file__).parents[1])


def everything_in(error: BaseException, *, frames: bool = True) -> Iterator[str]:
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield from (str(one), repr(one), repr(one.args), repr(vars(one)))
        # The frames of the library; the test's own hold the key by intent.
        shown = traceback.TracebackException.from_exception(one, capture_locals=True)
        for frame in shown.stack:
            if frames and (frame.filename.startswith(PACKAGE) or "urllib3" in frame.filename):
                yield f"{frame.name} {frame.line} {frame.locals}"
        todo += [one.__cause__, one.__context__]
    yield pickle.dumps(error).decode("latin-1")
    yield repr(pickle.loads(pickle.dumps(error)))  # noqa: S301


TROUBLES: dict[str, Answer | Callable[[Got], Answer]] = {
    "echo": echo,
    "401": Answer(401, {"errors": [{"type": 401, "message": KEY}]}),
    "500": Answer(500, KEY.encode()),
    "429": Answer(429, b"", {"Retry-After": "100000"}),
    "html": Answer(200, f"<html>{KEY}</html>".encode()),
    "json of another shape": Answer(200, [KEY]),
    "errors in 200": Answer(200, {"errors": [KEY]}),
    "url in 200": Answer(200, b'["https:\\/\\/s3\\/f?X-Amz-Signature=s1gn4ture"]'),
    "url without a batch": Answer(200, b'{"tasks_put_url": "https://s3/f?X-Amz-Signature=s1gn4ture"'),
    "truncated": Answer(200, {"text": KEY * 9}, fault="truncate"),
    "dropped": Answer(fault="drop"),
    "hanging": Answer(fault="hang"),
    "redirect": Answer(302, b"", {"Location": f"http://127.0.0.1:1/?access_key={KEY}"}),
}
CALLS: dict[str, Callable[[ApiClient], object]] = {
    "info": lambda client: client.get_project_information("42"),
    "key as id": lambda client: client.get_project_information(KEY),
    "delivered": lambda client: list(client.get_delivered_tasks("42")),
    "since last call": lambda client: list(client.get_delivered_tasks_since_last_call("42")),
    "status": lambda client: list(client.get_multi_task_status("42")),
    "reject": lambda client: client.reject_task("42", "1", ["r"]),
    "create": lambda client: client.create_task_batch("42", [{"url": "u"}]),
    "start": lambda client: batches.start(client, "42", 7),
}
PATHS = [
    ("GET", INFO),
    ("GET", f"projects/{urllib.parse.quote(KEY, safe='')}.json"),
    ("GET", "projects/42/tasks/delivered.json"),
    ("POST", "projects/42/tasks/delivered.json"),
    ("GET", "projects/42/tasks.json"),
    ("PUT", "projects/42/tasks/1/reject.json"),
    ("POST", BATCHES),
    ("POST", "projects/42/batches/7/continue.json"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_error_path_shows_the_key(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, trouble: str, call: str
) -> None:
    caplog.set_level(logging.DEBUG)
    for method, path in PATHS:
        server.on(method, path, TROUBLES[trouble])
    client = ApiClient(
        KEY,
        silent=False,
        logger=logging.getLogger("users.own"),
        base_url=server.base_url,
        clock=FakeClock(),
        rng=fixed_random(),
        read_timeout=0.02,
        deadline=2,
    )
    with pytest.raises(SamaError) as caught:
        CALLS[call](client)
    # A caller's own mistake stays in the frames that were called with it.
    for text in everything_in(caught.value, frames=call != "key as id"):
        assert_clean(text)
    assert caplog.records
    for record in caplog.records:
        assert_clean(f"{record.getMessage()} {record.msg} {record.args} {record.exc_text}")
    assert any(record.name.startswith("urllib3") for record in caplog.records)


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_the_signed_url_is_secret_and_never_gets_the_key(
    server: ScriptedServer, client: ApiClient, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    server.on("POST", BATCHES, Answer(201, {"batch_id": 7, "tasks_put_url": server.upload_url}))
    told = f"<Error><Code>No</Code><Message>{server.upload_url}</Message></Error><StringToSign>s1gn4ture"
    server.on("PUT", "/store/file-1", Answer(status, b"" if status == 200 else told.encode()))
    batch = client.open_batch("42")
    assert batch.tasks_put_url == server.upload_url
    assert_clean(repr(batch))
    if status == 200:
        client.upload_tasks(batch, b"[]")
    else:
        with pytest.raises(SamaError) as caught:
            client.upload_tasks(batch, b"[]")
        for text in everything_in(caught.value):
            assert_clean(text)
            assert "/store/file-1" not in text
    for record in caplog.records:
        assert_clean(record.getMessage())
    put = next(got for got in server.calls if got.method == "PUT")
    assert put.query == {"X-Amz-Signature": "s1gn4ture", "X-Amz-Expires": "14400"}
    assert (put.headers["content-length"], put.headers["content-type"]) == ("2", "application/json")
    assert put.headers["accept"] == "application/json"
    assert "transfer-encoding" not in put.headers
    assert KEY not in json.dumps(put.headers)


def test_unusable_arguments_do_not_show_the_key() -> None:
    for options in ({"base_url": "ftp://x"}, {"base_url": "https://u:p@x/v2"}, {"status_page_size": 0}):
        with pytest.raises(api.InvalidInput) as caught:
            ApiClient(KEY, **options)  # type: ignore[arg-type]
        for text in everything_in(caught.value):
            assert_clean(text)
    for key in ("", "  ", "a\nb", "ключ", None):
        with pytest.raises(api.InvalidInput):
            ApiClient(key)  # type: ignore[arg-type]


def test_the_client_shows_itself_without_the_key(client: ApiClient) -> None:
    assert client.api_key == KEY
    for text in (repr(client), str(client), str(vars(client)), str(vars(client._transport))):
        assert_clean(text)
    for refused in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="API key"):
            refused(client)


def test_temporary_credentials_are_in_no_repr(server: ScriptedServer, client: ApiClient) -> None:
    given = {
        "access_key_id": "AKIA1",
        "secret_access_key": "sEcReT",
        "session_token": "t0ken",
        "expiration": "soon",
    }
    server.on("GET", "projects/42/credentials.json", Answer(200, given))
    credentials = client.get_temporary_credentials("42")
    assert credentials.secret_access_key == given["secret_access_key"]
    assert not any(secret in repr(credentials) for secret in ("AKIA1", "sEcReT", "t0ken"))
    server.on("GET", "projects/42/credentials.json", Answer(200, given | {"session_token": None}))
    with pytest.raises(api.InvalidResponse) as caught:
        client.get_temporary_credentials("42")
    assert not any("sEcReT" in text for text in everything_in(caught.value))


def test_errors_survive_pickling_with_all_they_hold() -> None:
    public = [getattr(sama_spark, name) for name in sama_spark.__all__ if name.endswith("Error") or name[0].isupper()]
    kinds = [kind for kind in public if isinstance(kind, type) and issubclass(kind, ConnectorError)]
    assert len(kinds) > 30
    for kind in [*kinds, *(of_sama(kind) for kind in kinds if kind.__module__ == call_errors.__name__)]:
        made = kind("text", remedy="do this")
        made.status, made.error_types, made.column = 400, ("A",), "c"
        again = pickle.loads(pickle.dumps(made))  # noqa: S301
        assert (type(again), vars(again), str(again)) == (kind, vars(made), str(made))
        assert str(again).endswith("Do this.")


def test_errors_of_calls_are_of_their_kind_and_of_their_vendor() -> None:
    class OtherError(ConnectorError):
        pass

    samas, others = of_sama(api.NotFoundError)("no task"), of_vendor(api.NotFoundError, OtherError)("no task")
    for error, root, not_root in ((samas, SamaError, OtherError), (others, OtherError, SamaError)):
        assert all(isinstance(error, tree) for tree in (api.NotFoundError, root, ConnectorError))
        assert not isinstance(error, not_root)
    assert of_sama(api.NotFoundError) is of_sama(api.NotFoundError)
    assert of_sama(api.BatchFailed) is api.BatchFailed
    assert of_sama(ConnectorError) is SamaError


def test_more_than_its_kind_survives_pickling() -> None:
    error = api.BatchFailed(
        "it failed", call="wait", project_id="42", batch_id=7, state="failed", messages=["m"], created_count=3
    )
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.messages, again.created_count, again.batch_id) == (("m",), 3, 7)
    assert api.RetriableHTTPExceptions is api.RetryableError
    assert issubclass(api.RateLimitedError, api.RetriableHTTPExceptions)


def test_an_interrupted_feed_shows_no_key_either(server: ScriptedServer, client: ApiClient) -> None:
    server.on("GET", "projects/42/tasks/delivered.json", Answer(200, {"tasks": [task(1, stamp(1))]}))
    with pytest.raises(api.InvalidResponse, match="again and again") as caught:
        list(client.get_delivered_tasks("42"))
    for text in everything_in(caught.value):
        assert_clean(text)


class Cancelled(BaseException):
    """As notebooks raise them, with arguments of its own."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why)


INTERRUPTIONS: dict[str, Callable[[], BaseException]] = {
    "Ctrl-C": KeyboardInterrupt,
    "exit": lambda: SystemExit(1),
    "generator": GeneratorExit,
    "notebook": lambda: Cancelled(why="cell"),
    "memory": lambda: MemoryError(f"for {KEY}"),
    "recursion": lambda: RecursionError(f"for {KEY}"),
    "unforeseen": lambda: AttributeError(f"of {KEY}"),
}
PLACES = {
    "connecting": "sama_spark.http.connections._Watched._new_conn",
    "sending": "sama_spark.http.connections._Watched.send",
    "headers": "http.client.HTTPResponse.begin",
    "body": "sama_spark.http.wire._unpacked",
    "proxy": "sama_spark.http.wire.proxy_for",
}


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_interrupted_call_shows_no_url(
    server: ScriptedServer,
    make_client: Callable[..., ApiClient],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interruption: str,
    place: str,
    within: bool,
) -> None:
    server.on("GET", INFO, Answer(200, {}))
    server.on("POST", BATCHES, Answer(201, {"batch_id": 7, "tasks_put_url": server.upload_url}))
    client = make_client(deadline=1.0)
    batch = client.open_batch("42")
    client.close()

    def interrupt(*args: object, **kwargs: object) -> None:
        if within:
            try:
                raise OSError(f"while at {KEY} {server.upload_url}")
            except OSError:
                raise INTERRUPTIONS[interruption]()  # noqa: B904 - a Ctrl-C knows of no cause
        raise INTERRUPTIONS[interruption]()

    kind = type(INTERRUPTIONS[interruption]())
    monkeypatch.setattr(PLACES[place], interrupt)
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: client.get_project_information("42"),
        "put": lambda: client.upload_tasks(batch, b"[]"),
        "mask": lambda: client.download_mask("42", server.upload_url, tmp_path / "m"),
    }
    for call in calls.values():
        with pytest.raises(SamaError if issubclass(kind, Exception) else kind) as caught:
            call()
        if not issubclass(kind, Exception):
            assert caught.value.args == INTERRUPTIONS[interruption]().args
        assert_frames_clean(caught.value)


def assert_frames_clean(error: BaseException) -> None:
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert shown.__context__ is None
    assert shown.__cause__ is None
    for frame in shown.stack:
        # The link of a mask is an argument: it stays in the frames that were called with it.
        if frame.filename != __file__ and frame.name not in ("accepting", "download_mask"):
            assert_clean(f"{frame.name} {frame.line} {frame.locals}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of one that comes in a destructor
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no signals")
def test_a_real_ctrl_c_shows_no_url_and_locks_nothing(server: ScriptedServer) -> None:
    """At whatever moment of a call it comes."""
    server.on("GET", INFO, Answer(200, {"text": "x" * 100_000}))
    main = threading.get_ident()
    timers: list[threading.Timer] = []
    caught: list[BaseException] = []

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def call_until_interrupted(seconds: float) -> None:
        timers.append(threading.Timer(seconds, lambda: signal.pthread_kill(main, signal.SIGUSR1)))
        timers[-1].start()
        ends = time.monotonic() + seconds + 1
        while time.monotonic() < ends:
            client.get_project_information("42")

    before = signal.signal(signal.SIGUSR1, interrupt)
    client = ApiClient(KEY, base_url=server.base_url)
    try:
        for number in range(60):
            try:
                call_until_interrupted(0.0005 + number * 0.0001)
            except KeyboardInterrupt as error:  # noqa: PERF203
                caught.append(error)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        for timer in timers:
            timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert len(caught) > 50
    for error in caught:
        seen: BaseException | None = error
        while seen is not None:
            shown = traceback.TracebackException.from_exception(seen, capture_locals=True)
            assert not any("urllib3" in frame.filename or "http/client" in frame.filename for frame in shown.stack)
            seen = seen.__context__


keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@given(keys, st.text(max_size=30), st.text(max_size=30))
def test_redaction_leaves_no_spelling_of_the_key(key: str, before: str, after: str) -> None:
    redact = Redactor(Secret(key))
    for spelling in (
        key,
        urllib.parse.quote(key),
        urllib.parse.quote(key, safe=""),
        urllib.parse.quote_plus(key),
        json.dumps(key)[1:-1],
    ):
        assert key not in redact(f"{before}{spelling}{after}").replace(REDACTED, "\0")
        assert spelling not in redact(f"{before}{spelling}{after}").replace(REDACTED, "\0")


# With a sign that no name of a parameter has: "Signatur" alone is a part of one.
@given(st.text(st.characters(categories=["L", "N"]), min_size=8, max_size=20).map("§{}".format))
def test_redaction_drops_queries_of_urls_and_secret_parameters(secret: str) -> None:
    for text in (
        f"see https://host/path?{secret}",
        f'{{"u": "https:\\/\\/host\\/p?a=1\\u0026Signature={secret}"}}',
        f"GET /v2/x.json?access_key={secret}&page=1 HTTP/1.1",
        f"PUT /f?X-Amz-Signature={secret}&x=1",
        f"X-Amz-Credential={secret} X-Amz-Security-Token={secret}",
    ):
        assert secret not in redact_urls(text)
    assert "page=1" in redact_urls("GET /v2/x.json?access_key=a&page=1 HTTP/1.1")


@given(st.text(st.sampled_from("htps:/\\?&=keysig<> '\"a.%")))
def test_redaction_of_any_text_leaves_no_query_of_a_url(text: str) -> None:
    cleaned = redact_urls(text)
    assert not re.search(r"""https?:\\?/\\?/[^\s"'<>?]*\?[^\s"'<>]""", cleaned)
    assert not re.search(r"""(key|sig)=[^&\s"'<>]""", cleaned)
    assert redact_urls(cleaned) == cleaned


def test_a_key_is_taken_out_before_a_page_is_cut(server: ScriptedServer, client: ApiClient) -> None:
    for size in range(19_900, 20_010, 7):
        server.on("GET", INFO, Answer(403, b"<script>" + b"x" * size + b"</script>" + KEY.encode() * 3))
        with pytest.raises(SamaError) as caught:
            client.get_project_information("42")
        assert KEY[:6] not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InvalidInput("the rows lack `x`", remedy="give them `x`"), "the rows lack `x`. Give them `x`."),
        (InvalidInput("2 rows:\n  a\n  b", remedy="client.resume helps"), "2 rows:\n  a\n  b. client.resume helps."),
        (
            ServerError("Down!", call="open batch", status=503, remedy="`wait`, then again?"),
            "open batch failed: Down! (HTTP 503). A retry can help. `wait`, then again?",
        ),
    ],
)
def test_an_error_reads_as_sentences(error: SamaError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_key_echoed_in_utf_16_is_not_shown(
    encoding: str, status: int, server: ScriptedServer, make_client: Callable[..., ApiClient]
) -> None:
    server.on("GET", "projects/42.json", Answer(status, f"no such key: {KEY} !".encode(encoding)))
    with pytest.raises(SamaError) as caught:
        make_client().get_project_information(42)
    shown = re.sub(r"[\s\0]", "", str(caught.value))
    assert "nosuchkey" in shown
    assert KEY not in shown


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("escape", ["\\u{:04x}", "\\u{:04X}", "&#{};", "&#x{:X};", "%{:02x}", "%25{:02X}"])
def test_a_key_echoed_in_escapes_of_others_is_not_shown(
    escape: str, status: int, server: ScriptedServer, make_client: Callable[..., ApiClient]
) -> None:
    echoed = "".join(letter if letter.isalnum() else escape.format(ord(letter)) for letter in KEY)
    server.on("GET", "projects/42.json", Answer(status, f'{{"detail": "no such key {echoed} !", x'.encode()))
    with pytest.raises(SamaError) as caught:
        make_client().get_project_information(42)
    assert echoed not in str(caught.value)
    assert KEY not in str(caught.value)
