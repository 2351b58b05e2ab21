"""The bodies of replies, decoded to the shape that a call expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from sama_spark.api import broken_json, broken_replies
from sama_spark.api.task_text import Page, TaskText, task_text, task_text_of_odd_page
from sama_spark.http.dialect import ErrorsInReply

T = TypeVar("T")
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


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
    """Decode a JSON object."""
    reply = _anything.decode(body)
    if not isinstance(reply, dict):
        raise msgspec.ValidationError(f"Expected `object`, got `{type(reply).__name__}`")
    _refuse_errors(reply.get("errors"))
    return reply


def decode_object_or_nothing(body: bytes) -> dict[str, Any]:
    """Decode a JSON object, or {} for an empty body: for calls whose reply Sama does not document."""
    return decode_object(body) if body.strip() else {}


def decode_page(body: bytes) -> Page:
    """Decode the tasks of a page. A task that cannot be read has a `problem`, and the others are read all the same."""
    try:
        page = _pages.decode(body)
        body.decode()  # msgspec checks raw texts as JSON, but not as UTF-8
    except msgspec.ValidationError:
        raise
    except _NO_JSON as error:
        return [task_text_of_odd_page(text) for text in _apart(error, lambda: broken_replies.split_list(body, "tasks"))]
    _refuse_errors(page.errors)
    if page.tasks is msgspec.UNSET:
        raise msgspec.ValidationError("Object missing required field `tasks`")
    return [task_text(task) for task in page.tasks]


def decode_single_task(body: bytes) -> TaskText:
    """Decode the task under `task`. A task that cannot be read has a `problem`."""
    try:
        single = _single_tasks.decode(body)
        body.decode()
    except msgspec.ValidationError:
        raise
    except _NO_JSON as error:
        return task_text_of_odd_page(_apart(error, lambda: broken_replies.split_member(body, "task")))
    _refuse_errors(single.errors)
    if single.task is msgspec.UNSET:
        raise msgspec.ValidationError("Object missing required field `task`")
    return task_text(single.task)


def _apart(error: Exception, take: Callable[[], tuple[bytes, T]]) -> T:
    """Return what `take` finds in a body that is no JSON, and raise `ErrorsInReply` if the rest has errors."""
    try:
        around, found = take()
    except broken_replies.NoExtents:
        raise msgspec.DecodeError(str(error)) from None
    if place := broken_json.members(around).get("errors"):
        _refuse_errors(broken_json.lenient(around[slice(*place)]))
    return found


def _refuse_errors(found: Any) -> None:
    if found:
        raise ErrorsInReply
