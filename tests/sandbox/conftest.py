"""A sandbox for all tests of this folder, emptied before each, and plain HTTP to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import urllib3

from sama_spark.sandbox import Sandbox

JSON = {"Content-Type": "application/json"}
INPUTS: dict[str, Any] = {
    "url": {"type": "string", "required": True},
    "count": "integer",
    "day": "date",
    "client_batch_id": "string",
}
OUTPUTS: dict[str, Any] = {
    "objects": {"type": "image", "tags": {"kind": {"type": "dropdown", "options": ["car", "bus"]}}},
    "weather": {"type": "checkbox", "options": ["rain", "sun"]},
    "note": "text",
}


class Reply(NamedTuple):
    status: int
    body: Any
    headers: Any

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.body["errors"][0]
        return error


class Http:
    """Calls of one project, by plain urllib3 without retries."""

    def __init__(self, sandbox: Sandbox, project: int) -> None:
        self.sandbox, self.project = sandbox, project
        self.pool = urllib3.PoolManager(retries=False, timeout=10)

    def call(self, method: str, path: str, body: Any = None, /, **query: Any) -> Reply:
        query = {
            "access_key": self.sandbox.api_key,
            **{name.rstrip("_"): value for name, value in query.items()},
        }
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        fields = [(name, str(value)) for name, value in query.items() if value is not None]
        url = f"{self.sandbox.base_url}/projects/{self.project}{path}?{urlencode(fields)}"
        reply = self.pool.request(method, url, body=content, headers=JSON)
        return Reply(reply.status, json.loads(reply.data) if reply.data else None, reply.headers)

    def get(self, path: str, /, **query: Any) -> Reply:
        return self.call("GET", path, **query)

    def post(self, path: str, body: Any = None, /, **query: Any) -> Reply:
        return self.call("POST", path, body, **query)

    def put(self, path: str, body: Any = None, /, **query: Any) -> Reply:
        return self.call("PUT", path, body, **query)

    def open(self) -> tuple[int, str]:
        opened = self.post("/batches.json", {"notification_email": None, "tasks_file_name": "t"}).body
        return opened["batch_id"], opened["tasks_put_url"]

    def store(self, url: str, body: Any) -> urllib3.BaseHTTPResponse:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.pool.request("PUT", url, body=content, headers=JSON)

    def upload(self, tasks: Any) -> int:
        """open, put and continue; gives the batch id."""
        batch_id, url = self.open()
        assert self.store(url, tasks).status == 200
        assert self.post(f"/batches/{batch_id}/continue.json").status == 202
        return batch_id

    def create(self, count: int = 1, **data: Any) -> list[str]:
        """Creates tasks and gives their ids."""
        batch_id = self.upload([{"data": {"url": f"u{number}", **data}} for number in range(count)])
        return [item["id"] for item in self.get(f"/batches/{batch_id}.json").body["tasks"]]


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox(status_calls_per_second=None) as sandbox:
        yield sandbox


@pytest.fixture
def http(sandbox: Sandbox) -> Http:
    return Http(sandbox, sandbox.create_project(INPUTS, OUTPUTS))
