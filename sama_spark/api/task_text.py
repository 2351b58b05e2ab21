"""A task as the server wrote it: the text stays whole, and only its outermost members are read."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from sama_spark.api import broken_json

_NOTHING = msgspec.Raw(b"null")
_LINK = re.compile(rb'(https?:[^"?\s]*)\?[^"]*')  # signed anew at every reading
_ESCAPE = re.compile(rb"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)
# The stage ends its lines with U+001E, which JSON has only as an escape.
_NEVER, _UNREADABLE = b"\x1e", "\ufffd".encode()


class TaskText(msgspec.Struct, gc=False):
    """One task's JSON text, and the members of the task that this package needs.

    Attributes:
        id, delivered_at: as in the text, of whatever type; None where they are missing.
        data, answers: their own JSON text, `null` where they are missing.
        text: the whole task, to the byte. In a task that is no valid JSON, bytes that are no UTF-8 are U+FFFD.
        problem: why this is no usable task: no valid JSON, or no id. None for a usable task.
    """

    id: Any = None
    delivered_at: Any = None
    data: msgspec.Raw = _NOTHING
    answers: msgspec.Raw = _NOTHING
    text: msgspec.Raw = _NOTHING
    problem: Any = None


Page = list[TaskText]
"""The tasks of one reply, in the server's order."""

_surface = msgspec.json.Decoder(TaskText)


def task_text(text: msgspec.Raw) -> TaskText:
    """Read a task's outermost members, in one pass over its text, which is UTF-8. Raise nothing."""
    try:
        task = _surface.decode(text)
        task.text, task.problem = text, None
    except (msgspec.DecodeError, RecursionError) as error:
        task = _odd_text(bytes(text), str(error))
    if not isinstance(task.id, str | int) or isinstance(task.id, bool) or task.id == "":
        task.id, task.problem = None, task.problem or "it has no id"
    return task


def task_text_of_odd_page(text: bytes) -> TaskText:
    """Read a task as `task_text` does, from any text. Bytes that are no UTF-8 become U+FFFD."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        plain = text.decode(errors="replace").encode().replace(_NEVER, _UNREADABLE)
        task = task_text(msgspec.Raw(plain))
        task.problem = f"not UTF-8 at byte {error.start}"
        return task
    return task_text(msgspec.Raw(text.replace(_NEVER, _UNREADABLE)))


def without_links(task: TaskText) -> bytes:
    """Return the task's text with links cut at their query, whose signature changes with every reading."""
    return _LINK.sub(rb"\1", bytes(task.text))


def as_dict(task: TaskText) -> dict[str, Any]:
    """Return the task in Python's types; of a task that is no valid JSON, those members that can be read.

    A number that no type holds, or a value that is no JSON, becomes its text.
    """
    try:
        found = msgspec.json.decode(task.text)
        if isinstance(found, dict):
            return found
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    text = bytes(task.text)
    return {name: broken_json.lenient(text[begin:end]) for name, (begin, end) in broken_json.members(text).items()}


def _odd_text(text: bytes, problem: str) -> TaskText:
    """Read a task that the strict parser rejects, member by member.

    Half a surrogate pair in an escape is valid JSON, though that parser rejects it.
    """
    if _is_valid(_ESCAPE.sub(_harmless, text)):
        problem = ""
    task = TaskText(text=msgspec.Raw(text), problem=problem or None)
    for name, (begin, end) in broken_json.members(text).items():
        if name in ("id", "delivered_at"):
            value = broken_json.lenient(text[begin:end])
            setattr(task, name, broken_json.without_surrogates(value) if isinstance(value, str) else value)
        elif name in ("data", "answers"):
            setattr(task, name, msgspec.Raw(memoryview(text)[begin:end]))
    return task


def _harmless(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if len(escape[0]) > 2 else escape[0]


def _is_valid(text: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(text, type=dict[str, msgspec.Raw]), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
