"""The control interface: what people, time and failures do in the real SamaHub.

A command is `{"do": name, "with": arguments}`: the method of `Hub` of that name, whose signature says the types.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Literal, get_type_hints

import msgspec

from sama_spark.sandbox import clock
from sama_spark.sandbox.hub import Hub
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.refusals import bad_request
from sama_spark.sandbox.signing import ASSETS
from sama_spark.sandbox.task import Task, join_object

SEEDS = "application/x-ndjson"
COMMANDS: dict[str, Callable[..., Any]] = {
    method.__name__: method
    for method in (
        Hub.create_project, Hub.switch, Hub.annotate, Hub.set_state, Hub.tasks, Hub.batches, Hub.uploaded, Hub.calls,
        Hub.forget_calls, Hub.fail, Hub.heal, Hub.advance, Hub.reset,
    )
}  # fmt: skip


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """A command as it is sent."""

    do: str
    arguments: dict[str, Any] = msgspec.field(default_factory=dict, name="with")


def _parameters(method: Callable[..., Any]) -> type[msgspec.Struct]:
    """Return a struct with the parameters of `method`."""
    types = get_type_hints(method)
    fields: list[Any] = [
        (name, types[name]) if parameter.default is parameter.empty else (name, types[name], parameter.default)
        for name, parameter in list(inspect.signature(method).parameters.items())[1:]
    ]
    return msgspec.defstruct(method.__name__, fields, kw_only=True, forbid_unknown_fields=True)


_PARAMETERS = {name: _parameters(method) for name, method in COMMANDS.items()}


def arguments_of(command: str, given: object) -> dict[str, Any]:
    """Return the arguments of a command in their types. Raises ValueError for unknown names and wrong types."""
    return msgspec.structs.asdict(msgspec.convert(given, _PARAMETERS[command]))


def obey(hub: Hub, body: bytes) -> Any:
    """Run the command in `body`. Raises ValueError where the command makes no sense."""
    command = msgspec.json.decode(body, type=Command)
    if command.do not in COMMANDS:
        raise ValueError(f"there is no command {command.do[:40]!r}; known: {', '.join(COMMANDS)}")
    return COMMANDS[command.do](hub, **arguments_of(command.do, command.arguments))


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
    """Take ready-made deliveries, one JSON object a line, and return how many. A known id is delivered anew."""
    project = hub.project(project_id)
    project.advance()
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
    """Keep an asset; return a URL that works now. Each task that shows the asset signs its URL anew."""
    plain = re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name, re.ASCII) and not {".", ".."} & set(name.split("/"))
    if not plain or name.startswith("masks/"):
        raise bad_request(f"asset name {name!r}: letters, digits, . _ - and / only, and not below masks/")
    hub.assets[name] = (content, kind)
    return hub.signer.url("GET", ASSETS + name, hub.switches.asset_url_life)
