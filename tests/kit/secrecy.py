"""All that an error shows, and places of a call at which it can be interrupted."""

from __future__ import annotations

import pickle
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import sama_spark
from kit.scripted_server import KEY, Answer, Got

PACKAGE = str(Path(sama_spark.__file__).parent)
SECRETS = (KEY, urllib.parse.quote(KEY, safe=""), urllib.parse.quote(KEY), "s1gn4ture")


def assert_clean(text: str, *more: str) -> None:
    """See that no secret is in a text; `more`: further secrets."""
    for secret in (*SECRETS, *more):
        assert secret not in text
    assert KEY not in urllib.parse.unquote_plus(text)


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


def troubles(echo: Callable[[Got], Answer]) -> dict[str, Answer | Callable[[Got], Answer]]:
    """Replies that fail, most of them with the key in them."""
    return {
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


def interrupter(interruption: str, link: str, *, within: bool) -> Callable[..., None]:
    """Return a function that raises an interruption, perhaps while another error with secrets is under way."""

    def interrupt(*args: object, **kwargs: object) -> None:
        if within:
            try:
                raise OSError(f"while at {KEY} {link}")
            except OSError:
                raise INTERRUPTIONS[interruption]()  # noqa: B904 - a Ctrl-C knows of no cause
        raise INTERRUPTIONS[interruption]()

    return interrupt


def assert_frames_clean(error: BaseException, *own_files: str, more: tuple[str, ...] = ()) -> None:
    """See that no frame of an error shows a secret, but for frames of the test's own files."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert shown.__context__ is None
    assert shown.__cause__ is None
    for frame in shown.stack:
        # The link of a mask is an argument: it stays in the frames that were called with it.
        if frame.filename not in own_files and frame.name not in ("accepting", "download_mask"):
            assert_clean(f"{frame.name} {frame.line} {frame.locals}", *more)
