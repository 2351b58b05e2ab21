"""A task as the server wrote it: its text stays whole, and only its surface is looked at."""

from __future__ import annotations

from typing import Any

import msgspec

_NOTHING = msgspec.Raw(b"null")


class TaskText(msgspec.Struct, gc=False):
    """One task's JSON text, and views of what is needed of it.

    Attributes:
        id, delivered_at: as in the text, whatever they are; None where they are missing.
        data, answers: their own JSON text, `null` where they are missing.
        text: the whole task, to the byte.
    """

    id: Any = None
    delivered_at: Any = None
    data: msgspec.Raw = _NOTHING
    answers: msgspec.Raw = _NOTHING
    text: msgspec.Raw = _NOTHING


Page = list[TaskText]
"""What one call gave: the tasks in the server's order."""

_surface = msgspec.json.Decoder(TaskText)


def task_text(text: msgspec.Raw) -> TaskText:
    """Looks at a task's surface, in one pass over its text.

    Raises:
        msgspec.DecodeError: it is no JSON object.
    """
    task = _surface.decode(text)
    task.text = text
    return task
