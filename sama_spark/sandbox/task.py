"""A task, and the lists by time from which tasks are read. Texts stay text: reads parse nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import msgspec

from sama_spark.sandbox.clock import to_text
from sama_spark.sandbox.definitions import OUTPUT_PREFIX

State = Literal["new", "in progress", "completed", "approved", "delivered", "rejected", "acknowledged"]
STATES: tuple[State, ...] = get_args(State)
Text = bytes | msgspec.Raw
dumps = msgspec.json.encode
EMPTY = b"{}"


def join_object(members: Mapping[str, Text]) -> bytes:
    """Return a JSON object from members whose values are JSON text already."""
    return b"{" + b",".join([b"%b:%b" % (dumps(name), bytes(value)) for name, value in members.items()]) + b"}"


@dataclass(slots=True, eq=False)
class Task:
    """A task. Times are nanoseconds.

    Attributes:
        sent: the data as it was sent, with pre-annotations; reads show `data` and `answers`.
        more: members of a seeded record beyond the known ones, each with its comma before it.
        completed: when the task last got answers.
        delivered: when the task was delivered; None again once the delivery was taken back.
        last_delivered: stays when a delivery is taken back.
        delivery_number: which of the project's deliveries is the task's; 0 where `delivered` is None.
    """

    id: str
    batch_id: int | None
    sent: Text
    created: int
    client_batch_id: str | None = None
    state: State = "new"
    priority: int = 0
    reserve_for: int | None = None
    duration: float | None = None
    primary_keys: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    answers: Text | None = None
    submitters: Text = EMPTY
    extras: Text = EMPTY
    more: bytes = b""
    completed: int | None = None
    delivered: int | None = None
    last_delivered: int | None = None
    delivery_number: int = 0
    _data: Text | None = None

    @property
    def data(self) -> Text:
        """The inputs: what was sent, without pre-annotations and nulls."""
        if self._data is None:
            members = msgspec.json.decode(self.sent, type=dict[str, msgspec.Raw])
            self._data = join_object(
                {
                    name: value
                    for name, value in members.items()
                    if not name.startswith(OUTPUT_PREFIX) and bytes(value) != b"null"
                }
            )
        return self._data

    def set_data(self, data: Text) -> None:
        """Let reads show these inputs."""
        self._data = data

    def pre_annotations(self) -> dict[str, bytes]:
        """Return the pre-annotations, JSON text by output name."""
        members = msgspec.json.decode(self.sent, type=dict[str, msgspec.Raw])
        return {
            name[len(OUTPUT_PREFIX) :]: bytes(value)
            for name, value in members.items()
            if name.startswith(OUTPUT_PREFIX) and bytes(value) != b"null"
        }

    def parts(self, project_id: int, *, as_delivery: bool, answers: bool, batch_fields: bool) -> list[Text]:
        """Return the record in the shape of deliveries or of status reads, as texts yet to be joined."""
        head = b'{"id":"%b","project_id":%d' % (self.id.encode(), project_id)
        if batch_fields:
            batch = b"null" if self.batch_id is None else b"%d" % self.batch_id
            head += b',"batch_id":%b,"client_batch_id":%b' % (batch, dumps(self.client_batch_id))
        delivered = "null" if self.delivered is None else f'"{to_text(self.delivered)}"'
        head += f',"created_at":"{to_text(self.created)}","delivered_at":{delivered}'.encode()
        head += b',"state":"%b","data":' % self.state.encode()
        parts: list[Text] = [head, self.data]
        # A rejected task shows its pre-annotations.
        shown = join_object(self.pre_annotations()) if self.state == "rejected" else self.answers
        if answers and shown is not None:
            parts += (b',"answers":', shown)
        elif answers and as_delivery:
            parts.append(b',"answers":{}')
        if as_delivery:
            parts += (b',"submitter_ids_by_step":', self.submitters, b',"_extras":', self.extras)
        else:
            parts.append(b',"priority":%d' % self.priority)
        parts += (self.more, b"}")
        return parts


Entry = tuple[int, str, int, Task]


class Timeline:
    """Tasks by (time, id), sorted when they are next read."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._sorted = True

    def add(self, ns: int, task: Task) -> None:
        """Add a task at a time."""
        entry = (ns, task.id, task.delivery_number, task)
        if self._entries and entry[:2] < self._entries[-1][:2]:
            self._sorted = False
        self._entries.append(entry)

    def drop(self, is_stale: Callable[[Task, int], bool]) -> None:
        """Drop the entries of tasks and delivery numbers that are stale."""
        self._entries = [entry for entry in self._entries if not is_stale(entry[3], entry[2])]

    def rows(self) -> list[Entry]:
        """Return all entries in order."""
        if not self._sorted:
            self._entries.sort(key=lambda entry: entry[:2])
            self._sorted = True
        return self._entries

    def since(self, ns: int, id_: str = "") -> int:
        """Return the index of the first entry at or after (ns, id)."""
        return bisect_left(self.rows(), (ns, id_), key=lambda entry: entry[:2])
