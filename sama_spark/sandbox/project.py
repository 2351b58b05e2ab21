"""A project: its definitions, its tasks and the states they go through."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import msgspec

from sama_spark.sandbox.batch import CreationJob, Item
from sama_spark.sandbox.clock import HubClock, to_milliseconds
from sama_spark.sandbox.definitions import NULL, Definition, Input, Output
from sama_spark.sandbox.refusals import bad_request, not_found
from sama_spark.sandbox.switches import Switches
from sama_spark.sandbox.task import State, Task, Text, Timeline, join_object

MILLISECOND = 1_000_000
_IMAGE_METADATA = {
    "Original url": b'"https://assets.invalid/original.jpg"',
    "Original file name": b'"original.jpg"',
    "Size": b'"102400"',
    "Height": b'"480"',
    "Width": b'"640"',
}


class Consumer:
    """What a consumer has read of the delivered list: all before `low`, and the deliveries in `seen`."""

    def __init__(self) -> None:
        self.low: tuple[int, str] = (-(2**80), "")
        self.seen: set[int] = set()


class Project:
    """A project with its tasks and batches. Reads show its input `client_batch_input` as `client_batch_id`."""

    def __init__(
        self,
        id_: int,
        name: str,
        inputs: dict[str, Input],
        outputs: dict[str, Output],
        *,
        api_key: str,
        switches: Switches,
        clock: HubClock,
        client_batch_input: str,
    ) -> None:
        self.id, self.name, self.inputs, self.outputs = id_, name, inputs, outputs
        self.definition = Definition(inputs, outputs)
        self.api_key, self.switches, self.clock = api_key, switches, clock
        self.client_batch_input = client_batch_input
        self.tasks: dict[str, Task] = {}
        self.created = Timeline()
        self.deliveries = Timeline()
        self.consumers: dict[str | None, Consumer] = {}
        self.batches: dict[int, CreationJob] = {}
        self._machine = secrets.token_hex(3) + f"{id_ & 0xFFFF:04x}"
        self._ids = 0
        self._delivery_number = 0

    def new_id(self) -> str:
        """Return 24 hex digits that begin with the time, as Sama's ids do."""
        self._ids += 1
        return f"{self.clock.now() // 10**9 & 0xFFFFFFFF:08x}{self._machine}{self._ids & 0xFFFFFF:06x}"

    def advance(self) -> None:
        """Create the tasks that are due. No thread does this: each look at the project does."""
        for batch in self.batches.values():
            batch.advance()

    def task(self, task_id: str) -> Task:
        """Return a task. Raises ApiError (404) where there is none."""
        self.advance()
        try:
            return self.tasks[task_id]
        except KeyError:
            raise not_found(f"task {task_id}") from None

    def batch(self, batch_id: int) -> CreationJob:
        """Return a batch. Raises ApiError (404) where there is none."""
        try:
            return self.batches[batch_id]
        except KeyError:
            raise not_found(f"batch {batch_id}") from None

    def create(self, id_: str, batch_id: int | None, item: Item, at: int) -> Task:
        """Create a task at the time `at` (nanoseconds)."""
        task = Task(id_, batch_id, item.data, to_milliseconds(at))
        task.priority, task.reserve_for = item.priority or 0, item.reserve_for
        task.duration, task.primary_keys = item.duration, item.primary_keys or []
        if self.client_batch_input in self.inputs:
            value = msgspec.json.decode(item.data, type=dict[str, msgspec.Raw]).get(self.client_batch_input)
            if value is not None and bytes(value) != NULL:
                plain = msgspec.json.decode(value)
                task.client_batch_id = plain if isinstance(plain, str) else str(plain)
        if self.switches.image_metadata:
            members = msgspec.json.decode(task.data, type=dict[str, msgspec.Raw])
            task.set_data(join_object({**members, **self._image_metadata()}))
        if item.submit:
            self.complete(task, join_object(task.pre_annotations()))
        self.add(task)
        return task

    def _image_metadata(self) -> dict[str, bytes]:
        images = [name for name, output in self.outputs.items() if output.type in ("image", "raster")]
        return {f"{name} {suffix}": value for name in images for suffix, value in _IMAGE_METADATA.items()}

    def add(self, task: Task) -> None:
        """Take up a task."""
        self.tasks[task.id] = task
        self.created.add(task.created, task)

    def complete(self, task: Task, answers: Text, *, state: State = "completed") -> None:
        """Give a task its answers and put it into `state`."""
        task.answers, task.state = answers, state
        task.completed = to_milliseconds(self.clock.now())

    def deliver(self, task: Task, answers: Text, at: int | None = None) -> None:
        """Deliver a task, strictly later than the last time."""
        now = to_milliseconds(self.clock.now()) if at is None else at
        if task.last_delivered is not None:
            now = max(now, to_milliseconds(task.last_delivered) + MILLISECOND)
        again = task.delivered is not None
        self._delivery_number += 1
        task.answers, task.state, task.delivery_number = answers, "delivered", self._delivery_number
        task.delivered = task.last_delivered = now
        task.completed = task.completed or now
        if again:
            self._drop_old_deliveries()
        self.deliveries.add(now, task)
        for consumer in self.consumers.values():
            consumer.low = min(consumer.low, (now, task.id))

    def withdraw(self, tasks: Iterable[Task], state: State) -> None:
        """Take tasks out of the delivered list, into `state`."""
        for task in tasks:
            task.state, task.delivered, task.delivery_number = state, None, 0
        self._drop_old_deliveries()

    def _drop_old_deliveries(self) -> None:
        self.deliveries.drop(lambda task, number: number != task.delivery_number)

    def move(self, task: Task, state: State) -> None:
        """Put a task into `state` as staff could, with what that state needs: answers, a delivery."""
        if state in ("delivered", "acknowledged"):
            if task.delivered is None:
                self.deliver(task, task.answers or join_object(task.pre_annotations()))
            task.state = state
        elif task.delivered is not None:
            self.withdraw([task], state)
        elif state in ("completed", "approved"):
            self.complete(task, task.answers or join_object(task.pre_annotations()), state=state)
        else:
            task.state = state

    def reject(self, task: Task, reasons: list[str]) -> None:
        """Reject a task. Raises ApiError (400) where its state does not allow that."""
        allowed = ("delivered", "completed", "approved") if self.switches.reject_early else ("delivered",)
        if task.state not in allowed:
            raise bad_request(f"task {task.id} is {task.state}; only {', '.join(allowed)} tasks can be rejected")
        task.reasons = reasons
        self.withdraw([task], "rejected")

    def acknowledge(self, task: Task) -> None:
        """Acknowledge a delivered task. Raises ApiError (400) for any other."""
        if task.state not in ("delivered", "acknowledged"):
            raise bad_request(f"task {task.id} is {task.state}; only delivered tasks can be acknowledged")
        task.state = "acknowledged"

    def submit(self, task: Task, answers: dict[str, msgspec.Raw]) -> None:
        """Complete a task with these answers. Raises ApiError (400) where state or answers do not allow that."""
        if task.state not in ("new", "in progress", "rejected"):
            raise bad_request(f"task {task.id} is {task.state} and cannot be submitted")
        for name, value in answers.items():
            if name not in self.outputs:
                raise bad_request(f"Invalid output name: {name}")
            try:
                self.outputs[name].check(bytes(value))
            except ValueError as error:
                raise bad_request(f"answer {name}: {error}") from None
        self.complete(task, join_object(answers))

    def delete(self, tasks: list[Task]) -> None:
        """Delete new tasks. Raises ApiError (400) where one is not new any more."""
        late = [task.id for task in tasks if task.state != "new"]
        if late:
            raise bad_request(f"only new tasks can be deleted, these are not: {', '.join(late[:20])}")
        for task in tasks:
            self.tasks.pop(task.id, None)
        self.created.drop(lambda task, _: task.id not in self.tasks)
