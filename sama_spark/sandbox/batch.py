"""Batches: each waits for a file and then creates tasks from that file, item by item along the clock."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from sama_spark.sandbox.clock import NS, HubClock
from sama_spark.sandbox.definitions import INT32, Definition, Error, schema_error
from sama_spark.sandbox.refusals import bad_request
from sama_spark.sandbox.switches import Switches


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """A task as a client sends it."""

    data: msgspec.Raw
    priority: int | None = 0
    submit: bool | None = False
    duration: float | None = None
    reserve_for: int | None = None
    group: str | None = None
    primary_keys: list[str] | None = None

    def __post_init__(self) -> None:
        if self.priority is not None and self.priority not in INT32:
            raise ValueError(f"priority {self.priority} is not a 32-bit integer")


class Owner(Protocol):
    """What a batch needs of its project."""

    switches: Switches
    clock: HubClock
    definition: Definition

    def new_id(self) -> str: ...

    def create(self, id_: str, batch_id: int | None, item: Item, at: int) -> object: ...


class Entry:
    """One item of a batch: its future task id, and what is wrong with it."""

    __slots__ = ("canceled", "errors", "id", "item", "raw")

    def __init__(self, id_: str, item: Item | None, raw: msgspec.Raw, errors: list[Error]) -> None:
        self.id, self.item, self.raw, self.errors, self.canceled = id_, item, raw, errors, False


class CreationJob:
    """A batch creation job. `stored` is the file in the upload store."""

    def __init__(self, project: Owner, id_: int, *, file_name: str, email: str | None) -> None:
        self.project, self.id, self.file_name, self.email = project, id_, file_name, email
        self.stored: bytes | None = None
        self.state = "waiting"
        self.messages: list[str] = []
        self.entries: list[Entry] = []
        self._body: bytes | None = None  # what creation runs on, until it is parsed
        self._started = 0
        self._delay = 0
        self._done = 0  # entries that became a task or failed
        self._created = 0

    @property
    def running(self) -> bool:
        """Whether the job was continued and is not over."""
        return self.state in ("queued", "processing")

    @property
    def finished(self) -> bool:
        """Whether the job is over."""
        return self.state in ("completed", "failed", "canceled")

    def continue_job(self) -> None:
        """Start the job, as Sama does on `continue`.

        Raises:
            ApiError: 400 without a file, or the second time (unless the switch `second_continue` says `obey`).
        """
        if self.stored is None:
            raise bad_request(f"batch {self.id} has no uploaded tasks file")
        if self.state != "waiting" and self.project.switches.second_continue == "refuse":
            raise bad_request(f"batch {self.id} is {self.state}, not waiting")
        if self.state != "waiting":
            self._again()
        else:
            self.start(self.stored)

    def _again(self) -> None:
        self._delay = 0
        self.advance()
        if self.stored is None or self.state in ("failed", "canceled"):
            raise bad_request(f"batch {self.id} is {self.state}")
        before, counts = self.entries, (self._done, self._created)
        self.start(self.stored)
        self._parse()
        self.entries = before + self.entries
        self._done, self._created = counts
        self.advance()

    def start(self, body: bytes) -> None:
        """Begin to create the tasks in `body`."""
        switches = self.project.switches
        self._body, self._started = body, self.project.clock.now()
        self._delay = int(switches.creation_delay * NS)
        self.state = "queued"

    def cancel(self) -> None:
        """Stop the job: tasks that are not created yet never will be.

        Raises:
            ApiError: 400 once the job is over.
        """
        self.advance()
        if self.state in ("completed", "failed"):
            raise bad_request(f"batch {self.id} is {self.state} and cannot be canceled")
        if self.state != "canceled":
            self._parse()
            for entry in self.entries[self._done :]:
                entry.canceled = True
            self.state = "canceled"
            self.messages.append(f"canceled; {self._created} tasks created before")

    def advance(self) -> None:
        """Advance the job to the clock's time."""
        if not self.running:
            return
        self._parse()
        if self.finished:
            return
        passed = self._passed()
        self.state = "queued" if passed < 0.2 else "processing"
        due = self._due(passed)
        for position in range(self._done, due):
            self._create(self.entries[position], self._started + self._delay)
        self._done = max(self._done, due)
        if passed >= 1:
            self.state = "completed"
            failed = len(self.entries) - self._created
            self.messages.append(f"{self._created} tasks created, {failed} failed")

    def _passed(self) -> float:
        """Return the share of the creation delay that is over."""
        passed = self.project.clock.now() - self._started
        return 1.0 if passed >= self._delay else passed / self._delay

    def _due(self, passed: float) -> int:
        """Return how many tasks are due: they are created one after another in the second half of the delay."""
        return len(self.entries) if passed >= 1 else max(0, int((passed - 0.5) * 2 * len(self.entries)))

    def _parse(self) -> None:
        """Read the file, once. A file that cannot be read fails the job when its time is over."""
        if self._body is None:
            return
        try:
            raws = msgspec.json.decode(self._body, type=list[msgspec.Raw])
            most = self.project.switches.upload_max_tasks
            if most is not None and len(raws) > most:
                raise ValueError(f"{len(raws)} tasks are more than the {most} that one file may hold")
        except ValueError as error:
            if self._passed() >= 1:
                self.state = "failed"
                self.messages.append(f"tasks file {self.file_name}: {error}")
            return
        self._body = None
        self.entries = [self._read(raw) for raw in raws]

    def _read(self, raw: msgspec.Raw) -> Entry:
        try:
            item = msgspec.json.decode(raw, type=Item)
        except ValueError as error:
            return Entry(self.project.new_id(), None, raw, [schema_error(str(error))])
        return Entry(self.project.new_id(), item, item.data, self.project.definition.check(item.data))

    def _create(self, entry: Entry, at: int) -> None:
        if entry.errors or entry.item is None:
            return
        self._created += 1
        self.project.create(entry.id, self.id, entry.item, at)

    def _item_state(self, position: int, passed: float) -> str:
        entry = self.entries[position]
        if entry.canceled:
            return "canceled"
        if position < self._done:
            return "failed" if entry.errors else "created"
        return "queued" if passed < 0.2 else "preprocessing" if passed < 0.4 else "ready"

    def status(self, page: int, page_size: int, *, omit_failed_data: bool) -> dict[str, Any]:
        """Return the job as clients read it. `page_size` 0 leaves the items out."""
        self.advance()
        switches = self.project.switches
        answer: dict[str, Any] = {
            "batch_id": self.id,
            switches.job_state_key: self.state,
            "created_count": self._created,
            "messages": self.messages,
        }
        if page_size:
            first = (page - 1) * page_size
            passed = 1.0 if self.finished else self._passed() if self.running else 0.0
            items: list[dict[str, Any]] = []
            for position in range(first, min(first + page_size, len(self.entries))):
                entry, state = self.entries[position], self._item_state(position, passed)
                item: dict[str, Any] = {switches.item_id_key: entry.id, switches.item_state_key: state}
                if state == "failed":
                    if not omit_failed_data:
                        item["data"] = entry.raw
                    item["errors"] = entry.errors
                items.append(item)
            answer["tasks"] = items
        return answer
