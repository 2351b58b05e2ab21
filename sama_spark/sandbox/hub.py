"""The whole of a sandbox: projects, keys, stores, limits and the clock."""

from __future__ import annotations

from itertools import count
from typing import Any

from sama_spark.sandbox.batch import Batch
from sama_spark.sandbox.clock import NS, Clock
from sama_spark.sandbox.definitions import inputs_of, outputs_of
from sama_spark.sandbox.faults import Traffic
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.refusals import ApiError, bad_request, not_found
from sama_spark.sandbox.signing import Signer
from sama_spark.sandbox.switches import Switches

TOLERANCE = 0.95  # a client that paces itself to a second must not fail for the network's jitter


class Hub:
    """Everything that one sandbox process holds."""

    def __init__(self, origin: str, api_key: str) -> None:
        self.origin, self.api_key = origin, api_key
        self.clock = Clock()
        self.signer = Signer(self.clock, origin)
        self.traffic = Traffic()
        self.clear()

    def clear(self) -> None:
        self.switches = Switches()
        self.keys = {self.api_key}
        self.projects: dict[int, Project] = {}
        self.assets: dict[str, tuple[bytes, str]] = {}
        self._project_ids, self._batch_ids = count(4242), count(70001)
        self._last_calls: dict[tuple[str, str], int] = {}
        self.traffic.clear()

    def create_project(
        self,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        *,
        name: str | None = None,
        project_id: int | None = None,
        api_key: str | None = None,
        client_batch_input: str = "client_batch_id",
    ) -> Project:
        free = (id_ for id_ in self._project_ids if id_ not in self.projects)  # ids may have been named
        id_ = next(free) if project_id is None else project_id
        if id_ in self.projects:
            raise bad_request(f"project {id_} exists already")
        project = Project(
            id_,
            name or f"Sandbox project {id_}",
            inputs_of(inputs),
            outputs_of(outputs),
            api_key=api_key or self.api_key,
            switches=self.switches,
            clock=self.clock,
            client_batch_input=client_batch_input,
        )
        self.keys.add(project.api_key)
        self.projects[id_] = project
        return project

    def project(self, project_id: int) -> Project:
        try:
            return self.projects[project_id]
        except KeyError:
            raise not_found(f"project {project_id}") from None

    def visible_project(self, api_key: str, project_id: int) -> Project:
        """401 where the project has no API access, 404 where the key does not see it."""
        project = self.project(project_id)
        if project.api_key != api_key:
            raise not_found(f"project {project_id}")
        if not project.switches.api_access:
            raise ApiError(401, "You are not authorised: API access is not enabled for this project")
        return project

    def new_batch(self, project: Project, *, file_name: str, email: str | None) -> Batch:
        batch = Batch(project, next(self._batch_ids), file_name=file_name, email=email)
        project.batches[batch.id] = batch
        return batch

    def limit(self, api_key: str, call: str, per_second: float | None) -> None:
        """429 for a call that comes too soon after the last one that was let through."""
        if per_second is None:
            return
        now, key = self.clock.now(), (api_key, call)
        last = self._last_calls.get(key)
        if last is not None and now - last < TOLERANCE * NS / per_second:
            headers = {"Retry-After": "1"} if self.switches.retry_after else None
            raise ApiError(429, "Rate limit exceeded", headers=headers)
        self._last_calls[key] = now
