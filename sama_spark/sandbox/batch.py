"""Batches: waiting for a file, then creating tasks from it, item by item along the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sama_spark.sandbox.clock import NS, to_milliseconds
from sama_spark.sandbox.definitions import INT32, OUTPUT_PREFIX
from sama_spark.sandbox.refusals import bad_request
from sama_spark.sandbox.task import Task, join_object

if TYPE_CHECKING:
    from sama_spark.sandbox.project import Project

NULL = b"null"
METADATA = (
    "Original url", "Original file name", "Size", "Height", "Width", "Files", "Frames per second",
    "Total frames", "Duration",
)  # fmt: skip


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


Error = dict[str, Any]  # {"type": ..., "message": ...}


class Entry:
    """One item of a batch: its future task id, and what is wrong with it."""

    __slots__ = ("canceled", "errors", "id", "item", "raw")

    def __init__(self, id_: str, item: Item | None, raw: msgspec.Raw, errors: list[Error]) -> None:
        self.id, self.item, self.raw, self.errors, self.canceled = id_, item, raw, errors, False


class Batch:
    """A batch creation job. `stored` is the file in the upload store, `body` what creation runs on."""

    def __init__(self, project: Project, id_: int, *, file_name: str, email: str | None) -> None:
        self.project, self.id, self.file_name, self.email = project, id_, file_name, email
        self.stored: bytes | None = None
        self.state = "waiting"
        self.messages: list[str] = []
        self.entries: list[Entry] = []
        self._body: bytes | None = None
        self._started = 0
        self._delay = 0
        self._done = 0  # entries that became a task or failed
        self._created = 0

    @property
    def finished(self) -> bool:
        return self.state in ("completed", "failed", "canceled")

    def resume(self) -> None:
        """`continue`. Raises a 400 without a file, or a second time (unless the switch obeys)."""
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
        self.settle()
        if self.stored is None or self.state in ("failed", "canceled"):
            raise bad_request(f"batch {self.id} is {self.state}")
        before, counts = self.entries, (self._done, self._created)
        self.start(self.stored)
        self._parse()
        self.entries = before + self.entries
        self._done, self._created = counts
        self.settle()

    def start(self, body: bytes) -> None:
        switches = self.project.switches
        self._body, self._started = body, self.project.clock.now()
        self._delay = int(switches.creation_delay * NS)
        self.state = "queued"
        if self not in self.project.running:
            self.project.running.append(self)

    def cancel(self) -> None:
        """Tasks that are not created yet never will be. Raises a 400 once the job is over."""
        self.settle()
        if self.state in ("completed", "failed"):
            raise bad_request(f"batch {self.id} is {self.state} and cannot be canceled")
        if self.state != "canceled":
            self._parse()
            for entry in self.entries[self._done :]:
                entry.canceled = True
            self.state = "canceled"
            self.messages.append(f"canceled; {self._created} tasks created before")

    def settle(self) -> None:
        """Moves the job to where it has to be by now."""
        if self.finished or self.state == "waiting":
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
        """The share of the creation delay that is over."""
        passed = self.project.clock.now() - self._started
        return 1.0 if passed >= self._delay else passed / self._delay

    def _due(self, passed: float) -> int:
        """Items are created one after another in the second half of the delay."""
        return len(self.entries) if passed >= 1 else max(0, int((passed - 0.5) * 2 * len(self.entries)))

    def _parse(self) -> None:
        """Reads the file once. A file that cannot be read fails the job when its time is over."""
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
        return Entry(self.project.new_id(), item, item.data, check_data(self.project, item.data))

    def _create(self, entry: Entry, at: int) -> None:
        if entry.errors or entry.item is None:
            return
        self._created += 1
        self.project.add(create_task(self.project, entry.id, self.id, entry.item, at))

    def _item_state(self, position: int, passed: float) -> str:
        entry = self.entries[position]
        if entry.canceled:
            return "canceled"
        if position < self._done:
            return "failed" if entry.errors else "created"
        return "queued" if passed < 0.2 else "preprocessing" if passed < 0.4 else "ready"

    def status(self, page: int, page_size: int, *, omit_failed_data: bool) -> dict[str, Any]:
        """The job as clients read it. `page_size` 0 leaves the items out."""
        self.settle()
        switches = self.project.switches
        answer: dict[str, Any] = {
            "batch_id": self.id,
            switches.job_state_key: self.state,
            "created_count": self._created,
            "messages": self.messages,
        }
        if page_size:
            first = (page - 1) * page_size
            passed = 1.0 if self.finished else self._passed() if self.state != "waiting" else 0.0
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


def schema_error(message: str) -> Error:
    return {"type": "InvalidInputSchema", "message": message}


def check_data(project: Project, raw: msgspec.Raw) -> list[Error]:
    """What is wrong with a task's data; empty when it fits the project."""
    try:
        data = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except ValueError as error:
        return [schema_error(f"data: {error}")]
    problems: list[str] = []
    unknown_outputs: list[str] = []
    absent = set(project.required)
    for name, value in data.items():
        text = bytes(value)
        field = project.inputs.get(name)
        output = project.outputs.get(name[len(OUTPUT_PREFIX) :]) if field is None else None
        try:
            if field is not None:
                if text != NULL:
                    absent.discard(name)
                    field.check(text)
            elif output is not None:
                if text != NULL:
                    output.check(text)
            elif name.startswith(OUTPUT_PREFIX):
                unknown_outputs.append(name[len(OUTPUT_PREFIX) :])
            elif not _is_metadata(project, name):
                problems.append(f"{name} is not an input of the project")
        except ValueError as error:
            problems.append(f"{name} {error}")
    problems += [f"{name} is required" for name in project.required if name in absent]
    errors = [schema_error(problem) for problem in problems]
    if unknown_outputs:
        message = f"Invalid seeded output name(s): {', '.join(unknown_outputs)}"
        errors.append({"type": 400, "message": message})
    return errors


def _is_metadata(project: Project, name: str) -> bool:
    """Whether it is one of the platform's own `<output> Original url`, ..."""
    return any(name == f"{output} {suffix}" for output in project.outputs for suffix in METADATA)


def create_task(project: Project, id_: str, batch_id: int | None, item: Item, at: int) -> Task:
    task = Task(id_, batch_id, item.data, to_milliseconds(at))
    task.priority, task.reserve_for = item.priority or 0, item.reserve_for
    task.duration, task.primary_keys = item.duration, item.primary_keys or []
    name = project.client_batch_input
    if name in project.inputs:
        value = msgspec.json.decode(item.data, type=dict[str, msgspec.Raw]).get(name)
        if value is not None and bytes(value) != NULL:
            plain = msgspec.json.decode(value)
            task.client_batch_id = plain if isinstance(plain, str) else str(plain)
    if project.switches.image_metadata:
        members = msgspec.json.decode(task.data, type=dict[str, msgspec.Raw])
        task.set_data(join_object({**members, **_metadata(project)}))
    if item.submit:
        project.complete(task, join_object(task.pre_annotations()))
    return task


def _metadata(project: Project) -> dict[str, bytes]:
    values = {
        "Original url": b'"https://assets.invalid/original.jpg"',
        "Original file name": b'"original.jpg"',
        "Size": b'"102400"',
        "Height": b'"480"',
        "Width": b'"640"',
    }
    return {
        f"{name} {suffix}": value
        for name, output in project.outputs.items()
        if output.type in ("image", "raster")
        for suffix, value in values.items()
    }
