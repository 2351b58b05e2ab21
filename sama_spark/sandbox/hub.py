"""The whole of a sandbox: projects, keys, stores, limits and the clock, and what people can do with them."""

from __future__ import annotations

import gc
from itertools import count
from typing import Any

import msgspec

from sama_spark.sandbox import annotators, clock
from sama_spark.sandbox.batch import CreationJob
from sama_spark.sandbox.clock import NS, HubClock
from sama_spark.sandbox.definitions import inputs_of, outputs_of
from sama_spark.sandbox.faults import Fault, Traffic
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.refusals import ApiError, bad_request, not_found
from sama_spark.sandbox.signing import Signer
from sama_spark.sandbox.switches import Switches, change
from sama_spark.sandbox.task import State, Task

TOLERANCE = 0.95  # a client that paces itself to a second must not fail for the network's jitter


class Hub:
    """Everything that one sandbox process holds. The methods of `control.COMMANDS` are documented in `Sandbox`."""

    def __init__(self, origin: str, api_key: str) -> None:
        self.origin, self.api_key = origin, api_key
        self.clock = HubClock()
        self.signer = Signer(self.clock, origin)
        self.traffic = Traffic()
        self.clear()

    def clear(self) -> None:
        """Forget projects, keys, assets, switches, faults and calls."""
        self.switches = Switches()
        self.keys = {self.api_key}
        self.projects: dict[int, Project] = {}
        self.assets: dict[str, tuple[bytes, str]] = {}
        self._project_ids, self._batch_ids = count(4242), count(70001)
        self._last_calls: dict[tuple[str, str], int] = {}
        self.traffic.clear()

    # --- what staff do

    def create_project(
        self,
        inputs: dict[str, Any],
        outputs: dict[str, Any] | None = None,
        name: str | None = None,
        project_id: int | None = None,
        api_key: str | None = None,
        client_batch_input: str = "client_batch_id",
        switches: dict[str, Any] | None = None,
    ) -> int:
        """Make a project and return its id."""
        free = (id_ for id_ in self._project_ids if id_ not in self.projects)  # ids may have been named
        id_ = next(free) if project_id is None else project_id
        if id_ in self.projects:
            raise bad_request(f"project {id_} exists already")
        project = Project(
            id_,
            name or f"Sandbox project {id_}",
            inputs_of(inputs),
            outputs_of(outputs or {}),
            api_key=api_key or self.api_key,
            switches=change(self.switches, switches or {}),
            clock=self.clock,
            client_batch_input=client_batch_input,
        )
        self.keys.add(project.api_key)
        self.projects[id_] = project
        return id_

    def switch(self, changes: dict[str, Any], project_id: int | None = None) -> None:
        """Change switches of one project, or of the sandbox and all its projects."""
        projects = list(self.projects.values()) if project_id is None else [self.project(project_id)]
        changed = [change(project.switches, changes) for project in projects]
        if project_id is None:
            self.switches = change(self.switches, changes)
        for project, switches in zip(projects, changed, strict=True):
            project.switches = switches

    def annotate(
        self,
        project_id: int,
        fraction: float = 1.0,
        batch_id: int | None = None,
        task_ids: list[str] | None = None,
        corrections: bool = True,
        delivered_at: str | None = None,
    ) -> int:
        """Let the annotators finish and deliver what is pending, urgent and old tasks first; return how many tasks."""
        project = self.project(project_id)
        at = None if delivered_at is None else clock.from_text(delivered_at)
        project.advance()
        pending = [
            task
            for task in project.tasks.values()
            if task.state not in ("delivered", "acknowledged")
            and (batch_id is None or task.batch_id == batch_id)
            and (task_ids is None or task.id in task_ids)
        ]
        pending.sort(key=lambda task: (task.priority, task.created, task.id))
        taken = pending[: round(fraction * len(pending))]
        for task in taken:
            annotators.finish(project, task, self.origin, corrections=corrections, delivered_at=at)
        return len(taken)

    def set_state(self, project_id: int, task_ids: list[str], state: State) -> None:
        """Put tasks into `state`."""
        project = self.project(project_id)
        for task in [project.task(task_id) for task_id in task_ids]:
            project.move(task, state)

    # --- what there is

    def tasks(self, project_id: int) -> list[dict[str, Any]]:
        """List all tasks in order of creation."""
        project = self.project(project_id)
        project.advance()
        return [_listed(row[3]) for row in project.created.rows()]

    def batches(self, project_id: int) -> list[dict[str, Any]]:
        """List all batches."""
        project = self.project(project_id)
        project.advance()
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

    def uploaded(self, project_id: int, batch_id: int) -> str | None:
        """Return the text of a batch's file."""
        stored = self.project(project_id).batch(batch_id).stored
        return None if stored is None else stored.decode()

    def calls(self) -> dict[str, Any]:
        """Return the counts of calls and the log of requests."""
        return {"counts": self.traffic.counts, "log": list(self.traffic.log)}

    def forget_calls(self) -> None:
        """Empty counts and log."""
        self.traffic.counts.clear()
        self.traffic.log.clear()

    # --- time and bad luck

    def fail(self, fault: Fault) -> None:
        """Let calls fail."""
        self.traffic.faults.append(fault)

    def heal(self) -> None:
        """Take back all faults."""
        self.traffic.faults.clear()

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.clock.advance(seconds)

    def reset(self) -> None:
        """Forget everything, the clock's shift too."""
        self.clear()
        self.clock.shift_ns = 0
        gc.collect()  # projects and batches know each other, and the collector comes by rarely

    # --- what calls of the API need

    def project(self, project_id: int) -> Project:
        """Return a project. Raises ApiError (404) where there is none."""
        try:
            return self.projects[project_id]
        except KeyError:
            raise not_found(f"project {project_id}") from None

    def new_batch(self, project: Project, *, file_name: str, email: str | None) -> CreationJob:
        """Open a batch."""
        batch = CreationJob(project, next(self._batch_ids), file_name=file_name, email=email)
        project.batches[batch.id] = batch
        return batch

    def limit(self, api_key: str, call: str, per_second: float | None) -> None:
        """Raise ApiError (429) for a call that comes too soon after the last one that was let through."""
        if per_second is None:
            return
        now, key = self.clock.now(), (api_key, call)
        last = self._last_calls.get(key)
        if last is not None and now - last < TOLERANCE * NS / per_second:
            headers = {"Retry-After": "1"} if self.switches.retry_after else None
            raise ApiError(429, "Rate limit exceeded", headers=headers)
        self._last_calls[key] = now


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
