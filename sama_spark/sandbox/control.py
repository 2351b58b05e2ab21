"""The commands of the control interface: what staff, time and bad luck do in the real SamaHub.

A command is a struct that Sandbox fills in and the server runs.
"""

from __future__ import annotations

import gc
import re
from typing import Any, Literal

import msgspec

from sama_spark.sandbox import clock
from sama_spark.sandbox.annotators import annotate
from sama_spark.sandbox.faults import Fault
from sama_spark.sandbox.hub import Hub
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.refusals import bad_request
from sama_spark.sandbox.signing import ASSETS
from sama_spark.sandbox.switches import change
from sama_spark.sandbox.task import Task, join_object

SEEDS = "application/x-ndjson"
State = Literal["new", "in progress", "completed", "approved", "delivered", "rejected", "acknowledged"]


class Command(msgspec.Struct, tag_field="command", forbid_unknown_fields=True):
    def run(self, hub: Hub) -> Any:
        raise NotImplementedError


class CreateProject(Command, tag="create_project"):
    inputs: dict[str, Any]
    outputs: dict[str, Any] = {}
    name: str | None = None
    project_id: int | None = None
    api_key: str | None = None
    client_batch_input: str = "client_batch_id"
    switches: dict[str, Any] = {}

    def run(self, hub: Hub) -> int:
        project = hub.create_project(
            self.inputs,
            self.outputs,
            name=self.name,
            project_id=self.project_id,
            api_key=self.api_key,
            client_batch_input=self.client_batch_input,
        )
        project.switches = change(project.switches, self.switches)
        return project.id


class Switch(Command, tag="switch"):
    changes: dict[str, Any]
    project_id: int | None = None

    def run(self, hub: Hub) -> None:
        projects = list(hub.projects.values()) if self.project_id is None else [hub.project(self.project_id)]
        changed = [change(project.switches, self.changes) for project in projects]
        if self.project_id is None:
            hub.switches = change(hub.switches, self.changes)
        for project, switches in zip(projects, changed, strict=True):
            project.switches = switches


class Annotate(Command, tag="annotate"):
    project_id: int
    fraction: float = 1.0
    batch_id: int | None = None
    task_ids: list[str] | None = None
    corrections: bool = True
    delivered_at: str | None = None

    def run(self, hub: Hub) -> int:

        return annotate(
            hub.project(self.project_id),
            hub.origin,
            fraction=self.fraction,
            batch_id=self.batch_id,
            task_ids=self.task_ids,
            corrections=self.corrections,
            delivered_at=None if self.delivered_at is None else clock.from_text(self.delivered_at),
        )


class SetState(Command, tag="set_state"):
    project_id: int
    task_ids: list[str]
    state: State

    def run(self, hub: Hub) -> None:
        project = hub.project(self.project_id)
        for task in [project.task(task_id) for task_id in self.task_ids]:
            project.move(task, self.state)


class Tasks(Command, tag="tasks"):
    project_id: int

    def run(self, hub: Hub) -> list[dict[str, Any]]:
        project = hub.project(self.project_id)
        project.settle()
        return [_listed(row[3]) for row in project.created.rows()]


def _listed(task: Task) -> dict[str, Any]:

    return {
        "id": task.id,
        "batch_id": task.batch_id,
        "client_batch_id": task.client_batch_id,
        "state": task.state,
        "priority": task.priority,
        "created_at": clock.to_text(task.created),
        "delivered_at": None if task.delivered is None else clock.to_text(task.delivered),
        "data": msgspec.Raw(task.sent),
        "answers": None if task.answers is None else msgspec.Raw(task.answers),
        "reserve_for": task.reserve_for,
        "duration": task.duration,
        "reasons": task.reasons,
    }


class Batches(Command, tag="batches"):
    project_id: int

    def run(self, hub: Hub) -> list[dict[str, Any]]:
        project = hub.project(self.project_id)
        project.settle()
        return [
            {
                "batch_id": batch.id,
                "state": batch.state,
                "tasks_file_name": batch.file_name,
                "notification_email": batch.email,
                "uploaded_bytes": None if batch.stored is None else len(batch.stored),
            }
            for batch in project.batches.values()
        ]


class Upload(Command, tag="upload"):
    project_id: int
    batch_id: int

    def run(self, hub: Hub) -> str | None:
        stored = hub.project(self.project_id).batch(self.batch_id).stored
        return None if stored is None else stored.decode()


class Fail(Command, tag="fail"):
    fault: Fault

    def run(self, hub: Hub) -> None:
        hub.traffic.faults.append(self.fault)


class Heal(Command, tag="heal"):
    def run(self, hub: Hub) -> None:
        hub.traffic.faults.clear()


class Calls(Command, tag="calls"):
    def run(self, hub: Hub) -> dict[str, Any]:
        return {"counts": hub.traffic.counts, "log": list(hub.traffic.log)}


class ForgetCalls(Command, tag="forget_calls"):
    def run(self, hub: Hub) -> None:
        hub.traffic.counts.clear()
        hub.traffic.log.clear()


class Advance(Command, tag="advance"):
    seconds: float

    def run(self, hub: Hub) -> None:
        hub.clock.advance(self.seconds)


class Reset(Command, tag="reset"):
    def run(self, hub: Hub) -> None:
        hub.clear()
        hub.clock.shift_ns = 0
        gc.collect()  # projects and batches know each other, and the collector comes by rarely


_COMMANDS = msgspec.json.Decoder(
    CreateProject | Switch | Annotate | SetState | Tasks | Batches | Upload | Fail | Heal | Calls
    | ForgetCalls | Advance | Reset
)  # fmt: skip


def obey(hub: Hub, body: bytes) -> Any:
    """Runs the command in `body`. Raises ValueError where it makes no sense."""
    return _COMMANDS.decode(body).run(hub)


class Seed(msgspec.Struct):
    """A ready-made delivered task, in the shape of deliveries; what is left out is made up."""

    id: str | None = None
    project_id: int | None = None
    batch_id: int | None = None
    client_batch_id: str | None = None
    created_at: str | None = None
    delivered_at: str | None = None
    state: Literal["delivered", "acknowledged"] = "delivered"
    priority: int = 0
    data: msgspec.Raw = msgspec.Raw(b"{}")
    answers: msgspec.Raw = msgspec.Raw(b"{}")
    submitter_ids_by_step: msgspec.Raw = msgspec.Raw(b"{}")
    extras: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"{}"), name="_extras")


_KNOWN = frozenset(Seed.__struct_encode_fields__)


def seed(hub: Hub, project_id: int, lines: bytes) -> int:
    """Takes ready-made deliveries, one JSON object a line; a known id is a delivery anew."""

    project = hub.project(project_id)
    project.settle()
    seeds = msgspec.json.Decoder(Seed).decode_lines(lines)
    members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode_lines(lines)
    for one, by_name in zip(seeds, members, strict=True):
        _deliver(project, one, {name: by_name[name] for name in by_name.keys() - _KNOWN})
    return len(seeds)


def _deliver(project: Project, one: Seed, more: dict[str, msgspec.Raw]) -> None:

    if one.id is not None and re.fullmatch("[0-9a-f]{24}", one.id) is None:
        raise ValueError(f"id {one.id!r} is not 24 lower-case hex digits")
    delivered = None if one.delivered_at is None else clock.from_text(one.delivered_at)
    task = project.tasks.get(one.id) if one.id is not None else None
    if task is None:
        now = clock.to_milliseconds(project.clock.now()) if delivered is None else delivered
        created = now if one.created_at is None else clock.from_text(one.created_at)
        task = Task(one.id or project.new_id(), one.batch_id, one.data, created)
        task.priority, task.client_batch_id = one.priority, one.client_batch_id
        project.add(task)
    task.sent = one.data
    task.set_data(one.data)
    task.submitters, task.extras = one.submitter_ids_by_step, one.extras
    task.more = b"," + join_object(more)[1:-1] if more else b""
    project.deliver(task, one.answers, delivered)
    task.state = one.state


def add_asset(hub: Hub, name: str, content: bytes, kind: str) -> str:
    """Keeps an asset; gives a URL that works now and is signed anew wherever a task shows it."""

    plain = re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name, re.ASCII) and not {".", ".."} & set(name.split("/"))
    if not plain or name.startswith("masks/"):
        raise bad_request(f"asset name {name!r}: letters, digits, . _ - and / only, and not below masks/")
    hub.assets[name] = (content, kind)
    return hub.signer.url("GET", ASSETS + name, hub.switches.asset_url_life)
