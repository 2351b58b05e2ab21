"""What replies mean: bodies decoded to the shape that is due, error bodies to typed errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from sama_spark.api import broken_json
from sama_spark.api.sama_errors import InvalidInputSchema
from sama_spark.api.task_text import Page, TaskText, task_text, task_text_of_odd_page
from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import (
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitedError,
    RedirectRefused,
    ServerError,
)
from sama_spark.http.secrets import REDACTED, Redactor

T = TypeVar("T")
_EXCERPT = 500
_LOOKED_AT = 20_000  # characters of a page that are looked at
_REDACTED = 1 << 16  # bytes or characters of it that are freed of secrets first
_LONGEST_TYPE = 100
_MESSAGES = 20  # of a reply's errors
_NOT_SAMAS = "The reply is no JSON of Sama's: a proxy or a gateway in between may have written it."
PROXYS_LOGIN = "Give the proxy's login: HTTPS_PROXY=http://user:password@host:port, user and password percent-encoded."
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ErrorsInReply(Exception):
    """A 2xx reply whose body says that the call failed."""


class _Page(msgspec.Struct):
    tasks: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    errors: Any = None


class _SingleTask(msgspec.Struct):
    task: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    errors: Any = None


_pages = msgspec.json.Decoder(_Page)
_single_tasks = msgspec.json.Decoder(_SingleTask)
_anything = msgspec.json.Decoder()


def decode_object(body: bytes) -> dict[str, Any]:
    """A JSON object."""
    reply = _anything.decode(body)
    if not isinstance(reply, dict):
        raise msgspec.ValidationError(f"Expected `object`, got `{type(reply).__name__}`")
    _refuse_errors(reply.get("errors"))
    return reply


def decode_object_or_nothing(body: bytes) -> dict[str, Any]:
    """A JSON object, or {} for an empty body: for calls whose reply Sama does not document."""
    return decode_object(body) if body.strip() else {}


def decode_page(body: bytes) -> Page:
    """The tasks of a page. One that cannot be read has a `problem`, and the others come all the same."""
    try:
        page = _pages.decode(body)
        body.decode()  # raw texts are checked as JSON but not as UTF-8
    except msgspec.ValidationError:
        raise
    except _NO_JSON as error:
        return [task_text_of_odd_page(text) for text in _apart(error, lambda: broken_json.split_list(body, "tasks"))]
    _refuse_errors(page.errors)
    if page.tasks is msgspec.UNSET:
        raise msgspec.ValidationError("Object missing required field `tasks`")
    return [task_text(task) for task in page.tasks]


def decode_single_task(body: bytes) -> TaskText:
    """The task under `task`. One that cannot be read has a `problem`."""
    try:
        single = _single_tasks.decode(body)
        body.decode()
    except msgspec.ValidationError:
        raise
    except _NO_JSON as error:
        return task_text_of_odd_page(_apart(error, lambda: broken_json.split_member(body, "task")))
    _refuse_errors(single.errors)
    if single.task is msgspec.UNSET:
        raise msgspec.ValidationError("Object missing required field `task`")
    return task_text(single.task)


def _apart(error: Exception, take: Callable[[], tuple[bytes, T]]) -> T:
    """What is in a body that is no JSON, if that can be told apart from what is around it."""
    try:
        around, found = take()
    except broken_json.NoExtents:
        raise msgspec.DecodeError(str(error)) from None
    if place := broken_json.members(around).get("errors"):
        _refuse_errors(broken_json.lenient(around[slice(*place)]))
    return found


def _refuse_errors(found: Any) -> None:
    if found:
        raise ErrorsInReply


def error_class(status: int, types: tuple[str, ...]) -> type[ConnectorError]:
    """The error for a reply: its own error type says more than its status."""
    if "InvalidInputSchema" in types:
        return InvalidInputSchema
    numbers = [int(kind) for kind in types if re.fullmatch("[1-5][0-9]{2}", kind)]
    if status < 300:
        status = numbers[0] if numbers else 400
    if status >= 500:
        return ServerError
    if status < 400:
        return RedirectRefused
    return {
        401: AuthenticationError,
        403: AuthenticationError,
        404: NotFoundError,
        429: RateLimitedError,
    }.get(status, BadRequestError)


@dataclass(frozen=True)
class Problem:
    """What a reply says that went wrong, redacted.

    Attributes:
        types: the error types that it names.
        message: what it says, empty if nothing.
        by: who speaks: "Sama", whose errors are JSON, a "store", whose are XML, or a "page" of somebody in between.
    """

    types: tuple[str, ...]
    message: str
    by: Literal["Sama", "store", "page"]


def remedy_of(error: ConnectorError, problem: Problem) -> str:
    """What can be done about an error, by who has spoken."""
    if error.status == 407:
        return PROXYS_LOGIN
    if problem.by == "Sama":
        return error.remedy
    own = "" if error.remedy == BadRequestError.remedy else error.remedy
    return own if problem.by == "store" else f"{_NOT_SAMAS} {own}".rstrip()


def read_problem(body: bytes, redact: Redactor) -> Problem:
    """Error types and message of an error body: `errors`, else `message`, else XML, else its text."""
    try:
        types, messages = _read_json(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        types, messages = [], []
    if not messages:
        return _read_text(body, redact)
    message = redact("; ".join(messages)[:_REDACTED])
    return Problem(tuple(_type(name, redact) for name in types), message, "Sama")


def _read_json(reply: Any) -> tuple[list[str], list[str]]:
    found = reply.get("errors") if isinstance(reply, dict) else None
    items = [item for item in (found if isinstance(found, list) else [found]) if item][:_MESSAGES]
    types = [str(item["type"]) for item in items if isinstance(item, dict) and item.get("type")]
    messages = [str(item.get("message") or item) if isinstance(item, dict) else str(item) for item in items]
    if not messages and isinstance(reply, dict) and reply.get("message"):
        messages = [str(reply["message"])]
    return types, messages


def _read_text(body: bytes, redact: Redactor) -> Problem:
    # Redacted before it is cut: half a key is no key that could be found.
    # Without NULs UTF-16 reads as text, in which the key is found too.
    text = redact(body[:_REDACTED].replace(b"\0", b"").decode(errors="replace"))[:_LOOKED_AT]
    if "<Error>" in text:  # of a store's XML only code and message: the rest repeats what was signed
        code, message = _within("Code", text), _within("Message", text)
        return Problem((_type(code, redact),) if code else (), message or "refused", "store")
    return Problem((), " ".join(_without_tags(text).split()), "page")


def _type(name: str, redact: Redactor) -> str:
    return redact(name[:_REDACTED])[:_LONGEST_TYPE]


def _within(tag: str, xml: str) -> str:
    return xml.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


def _without_tags(html: str) -> str:
    """The text between tags, less scripts and styles."""
    first, *parts = html.split("<")
    texts, within = [first], ""
    for part in parts:
        tag, closed, text = part.partition(">")
        name = tag[:8].lower()
        if within:
            within = "" if name.startswith(f"/{within}") else within
        else:
            within = next((kind for kind in ("script", "style") if name.startswith(kind)), "")
        if not within:
            texts.append(text if closed and not part.startswith(REDACTED[1:]) else f"<{part}")
    return " ".join(texts)


def excerpt(text: str) -> str:
    """The start of a text that others wrote, short enough for a log line."""
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "..."
