"""A project: its definitions, its tasks and the states they go through."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from sama_spark.sandbox.clock import Clock, to_milliseconds
from sama_spark.sandbox.definitions import Input, Output
from sama_spark.sandbox.refusals import bad_request, not_found
from sama_spark.sandbox.switches import Switches
from sama_spark.sandbox.task import Task, Text, Timeline, join_object

if TYPE_CHECKING:
    from sama_spark.sandbox.batch import Batch

MILLISECOND = 1_000_000


class Consumer:
    """What a consumer has read of the delivered list: the deliveries in `seen`, all those before `low`."""

    def __init__(self) -> None:
        self.low: tuple[int, str] = (-(2**80), "")
        self.seen: set[int] = set()


class Project:
    """`api_key`: the key that sees it. `client_batch_input`: the input read back as `client_batch_id`."""

    def __init__(
        self,
        id_: int,
        name: str,
        inputs: dict[str, Input],
        outputs: dict[str, Output],
        *,
        api_key: str,
        switches: Switches,
        clock: Clock,
        client_batch_input: str = "client_batch_id",
    ) -> None:
        self.id, self.name, self.inputs, self.outputs = id_, name, inputs, outputs
        self.api_key, self.switches, self.clock = api_key, switches, clock
        self.client_batch_input = client_batch_input
        self.required = [name for name, field in inputs.items() if field.required]
        self.tasks: dict[str, Task] = {}
        self.created = Timeline()
        self.delivered = Timeline()
        self.consumers: dict[str | None, Consumer] = {}
        self.batches: dict[int, Batch] = {}
        self.running: list[Batch] = []  # continued, not all tasks created yet
        self._machine = secrets.token_hex(3) + f"{id_ & 0xFFFF:04x}"
        self._ids = 0
        self._deliveries = 0

    def new_id(self) -> str:
        """Twenty-four hex digits that begin with the time, as Sama's ids do."""
        self._ids += 1
        return f"{self.clock.now() // 10**9 & 0xFFFFFFFF:08x}{self._machine}{self._ids & 0xFFFFFF:06x}"

    def settle(self) -> None:
        """Creates the tasks that are due: creation follows the clock, at the next look, not a thread."""
        if self.running:
            for batch in self.running:
                batch.settle()
            self.running = [batch for batch in self.running if not batch.finished]

    def task(self, task_id: str) -> Task:
        self.settle()
        try:
            return self.tasks[task_id]
        except KeyError:
            raise not_found(f"task {task_id}") from None

    def batch(self, batch_id: int) -> Batch:
        try:
            return self.batches[batch_id]
        except KeyError:
            raise not_found(f"batch {batch_id}") from None

    def add(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.created.add(task.created, task)

    def complete(self, task: Task, answers: Text, *, state: str = "completed") -> None:
        task.answers, task.state = answers, state
        task.completed = task.submitted = to_milliseconds(self.clock.now())

    def deliver(self, task: Task, answers: Text, at: int | None = None) -> None:
        """A new delivery, strictly later than the task's last one."""
        now = to_milliseconds(self.clock.now()) if at is None else at
        if task.last_delivered is not None:
            now = max(now, to_milliseconds(task.last_delivered) + MILLISECOND)
        again = task.delivered is not None
        self._deliveries += 1
        task.answers, task.state, task.delivery = answers, "delivered", self._deliveries
        task.delivered = task.last_delivered = now
        task.completed = task.completed or now
        task.submitted = task.submitted or now
        if again:
            self.delivered.drop_stale()
        self.delivered.add(now, task)
        for consumer in self.consumers.values():
            consumer.low = min(consumer.low, (now, task.id))

    def withdraw(self, tasks: Iterable[Task], state: str) -> None:
        """Takes the tasks out of the delivered list."""
        for task in tasks:
            task.state, task.delivered, task.delivery = state, None, 0
        self.delivered.drop_stale()

    def move(self, task: Task, state: str) -> None:
        """Puts a task into `state` as staff could, with what goes with it."""
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
        allowed = ("delivered", "completed", "approved") if self.switches.reject_early else ("delivered",)
        if task.state not in allowed:
            raise bad_request(f"task {task.id} is {task.state}; only {', '.join(allowed)} tasks can be rejected")
        task.reasons = reasons
        self.withdraw([task], "rejected")

    def acknowledge(self, task: Task) -> None:
        if task.state not in ("delivered", "acknowledged"):
            raise bad_request(f"task {task.id} is {task.state}; only delivered tasks can be acknowledged")
        task.state = "acknowledged"

    def submit(self, task: Task, answers: dict[str, msgspec.Raw]) -> None:
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
        late = [task.id for task in tasks if task.state != "new"]
        if late:
            raise bad_request(f"only new tasks can be deleted, these are not: {', '.join(late[:20])}")
        for task in tasks:
            self.tasks.pop(task.id, None)
        self.created.drop_stale(set(self.tasks))
