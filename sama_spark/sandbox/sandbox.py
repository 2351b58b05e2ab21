"""Sandbox: starts a local SamaHub in a process of its own, and stands in for staff, time and bad luck."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import urllib3

from sama_spark.sandbox import control
from sama_spark.sandbox.faults import CONTROL, Fault
from sama_spark.sandbox.guard import CONTROL_KEY
from sama_spark.sandbox.server import DEFAULT_KEY

# Uploads of megabytes come and go: glibc is told to keep their memory, which halves the cost of a PUT.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 31),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
SEED_CHUNK = 8 * 1024 * 1024
JsonTask = str | bytes | Mapping[str, Any]


class SandboxError(RuntimeError):
    """The sandbox did not start, or refused a command; the text says which and why."""


class Sandbox:
    """A local SamaHub with its upload store, over real HTTP on loopback.

        with Sandbox() as sandbox:
            project = sandbox.create_project(inputs={"url": "string"}, outputs={"objects": "image"})
            client = Client(sandbox.api_key, base_url=sandbox.base_url)
            ...
            sandbox.annotate(project)

    port: 0, the default, takes a free one.
    switches: what Sama leaves open, by the names of `Switches`.

    It holds everything in memory. The process ends with `stop()`, with the `with` block, or with its parent.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1", api_key: str = DEFAULT_KEY, **switches: Any) -> None:
        self.api_key = api_key
        self.base_url = ""
        self._address = (host, port)
        self._switches = switches
        self._process: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=120))

    @classmethod
    def at(cls, base_url: str, api_key: str = DEFAULT_KEY) -> Sandbox:
        """Controls a sandbox that runs already, one that `sama-spark sandbox` started for instance, with its key."""
        sandbox = cls(api_key=api_key)
        sandbox.base_url = base_url
        return sandbox

    def start(self) -> Sandbox:
        """Starts the server and waits until it answers. Raises SandboxError where it does not."""
        if self._process is not None:
            raise SandboxError("the sandbox runs already")
        host, port = self._address
        package_root = str(Path(__file__).parents[2])
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        server = [sys.executable, "-m", "sama_spark.sandbox", "--with-parent"]
        self._process = subprocess.Popen(  # noqa: S603
            [*server, "--host", host, "--port", str(port), "--api-key", self.api_key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**_KEEP_MEMORY, **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the program that uses the sandbox
        )
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        said: dict[str, str] = msgspec.json.decode(line) if line else {"error": "the process ended at once"}
        if "error" in said:
            self.stop()
            raise SandboxError(f"The sandbox did not start. {said['error']}")
        self.base_url = said["base_url"]
        if self._switches:
            self.switch(**self._switches)
        return self

    def stop(self) -> None:
        """Ends the server and forgets all that it held. Stopping twice is fine."""
        process, self._process = self._process, None
        self._http.clear()
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Sandbox:
        return self.start() if self._process is None and not self.base_url else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Sandbox({self.base_url or 'not running'})"

    @property
    def pid(self) -> int:
        """Process id of the server that this object started."""
        if self._process is None:
            raise SandboxError("this object did not start a server")
        return self._process.pid

    # --- what staff do

    def create_project(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        project_id: int | None = None,
        api_key: str | None = None,
        client_batch_input: str = "client_batch_id",
        **switches: Any,
    ) -> int:
        """Makes a project and gives its id.

        inputs: type by name, `string`, `integer` or `date`; `{"type": "integer", "required": True}` where it
            must be there (a plain type is optional).
        outputs: type by name, one of text, date, dropdown, radio, checkbox, menu, image (vector), raster,
            video, 3d; or `{"type": "checkbox", "options": ["rain", "sun"]}`, and for image outputs
            `{"type": "image", "tags": {"kind": {"type": "dropdown", "options": [...]}}}`. Without `options`
            any option is accepted.
        api_key: the key that sees the project; the sandbox's own by default.
        client_batch_input: the input that reads show as `client_batch_id`.
        switches: for this project alone, by the names of `Switches`.
        """
        command = control.CreateProject(
            inputs=dict(inputs),
            outputs=dict(outputs or {}),
            name=name,
            project_id=project_id,
            api_key=api_key,
            client_batch_input=client_batch_input,
            switches=switches,
        )
        return int(self._run(command))

    def switch(self, project_id: int | None = None, **changes: Any) -> None:
        """Changes switches of one project, or of the sandbox and all its projects."""
        self._run(control.Switch(project_id=project_id, changes=changes))

    def annotate(
        self,
        project_id: int,
        fraction: float = 1.0,
        *,
        batch_id: int | None = None,
        task_ids: Iterable[str] | None = None,
        corrections: bool = True,
        delivered_at: str | None = None,
    ) -> int:
        """Lets the annotators finish and deliver what is pending; gives how many tasks they delivered.

        Pending are new tasks, those in progress and those rejected, which get a later `delivered_at`.
        fraction: the share of them, urgent and old ones first.
        corrections: False delivers the pre-annotations as they came and adds nothing.
        delivered_at: one time for all, instead of now.
        """
        ids = None if task_ids is None else list(task_ids)
        command = control.Annotate(
            project_id=project_id,
            fraction=fraction,
            batch_id=batch_id,
            task_ids=ids,
            corrections=corrections,
            delivered_at=delivered_at,
        )
        return int(self._run(command))

    def deliver(self, project_id: int, tasks: Iterable[JsonTask]) -> int:
        """Puts ready-made deliveries into a project: dicts or lines of JSON text, in the shape of deliveries.

        What a task leaves out is made up; its `data` and `answers` are kept to the byte. An id that the
        project has already is a delivery anew. Gives how many there were.
        """
        return sum(int(self._post(f"seed?project_id={project_id}", chunk, control.SEEDS)) for chunk in _chunks(tasks))

    def set_state(self, project_id: int, task_ids: Iterable[str], state: str) -> None:
        """Puts tasks into `state` with what goes with it; into `delivered` with the answers they have."""
        body = {"command": "set_state", "project_id": project_id, "task_ids": list(task_ids), "state": state}
        self._run(body)

    def add_asset(self, content: bytes, name: str, content_type: str = "application/octet-stream") -> str:
        """Hosts a file and gives its URL, an input value like any other; reads show it signed anew."""
        return str(self._post(f"asset?name={name}", content, content_type))

    # --- what there is

    def tasks(self, project_id: int) -> list[dict[str, Any]]:
        """All tasks in order of creation, with `data` as it was sent."""
        tasks: list[dict[str, Any]] = self._run(control.Tasks(project_id=project_id))
        return tasks

    def batches(self, project_id: int) -> list[dict[str, Any]]:
        """All batches, those that wait for a file included."""
        batches: list[dict[str, Any]] = self._run(control.Batches(project_id=project_id))
        return batches

    def uploaded(self, project_id: int, batch_id: int) -> str | None:
        """The text of the file that was uploaded for a batch."""
        text: str | None = self._run(control.Upload(project_id=project_id, batch_id=batch_id))
        return text

    def calls(self) -> dict[str, int]:
        """How often each call was made, by its short name: open, put, continue, status, delivered..."""
        counts: dict[str, int] = self._run(control.Calls())["counts"]
        return counts

    def requests(self, call: str | None = None) -> list[dict[str, Any]]:
        """The last requests (10,000 at most) in order: call, method, path, query, has_key, headers, status.

        Neither the key nor a signature is in them.
        """
        log: list[dict[str, Any]] = self._run(control.Calls())["log"]
        return [request for request in log if call in (None, request["call"])]

    def forget_calls(self) -> None:
        self._run(control.ForgetCalls())

    # --- time and bad luck

    def fail(self, call: str | None = None, **fault: Any) -> None:
        """Lets calls fail.

        call: short name as in `calls()`, or `schema` for both schemas; or `method=` and `path=` (a regular
            expression that is searched in the path).
        kind: `status` (default) answers `status` (500) with `body` or an `errors` body; `drop` closes the
            connection without a reply; `truncate` breaks off half-way through the real reply; `html` and
            `json` answer 200 with a page, or with JSON of the wrong shape (`body`); `redirect` to `location`;
            `slow` waits `seconds` before the real reply; `expired` is S3's answer to an expired URL.
        after: True lets the call have its effect first (`truncate` always does, `slow` always answers).
        times: how many calls (1); None for all until `heal()`. skip: how many calls go well before.
        retry_after: seconds, sent as `Retry-After`; `retry_after_form="date"` sends it as a date.
        """
        try:
            self._run(control.Fail(fault=msgspec.convert({"call": call, **fault}, Fault)))
        except msgspec.ValidationError as error:
            raise ValueError(f"there is no such fault: {error}") from None

    def heal(self) -> None:
        """Takes back all faults."""
        self._run(control.Heal())

    def advance(self, seconds: float) -> None:
        """Moves the sandbox's clock on, so that URLs expire and tasks get created without waiting."""
        self._run(control.Advance(seconds=seconds))

    def reset(self) -> None:
        """Forgets projects, faults, calls, switches (those given to `Sandbox` stay) and the clock's shift."""
        self._run(control.Reset())
        if self._switches:
            self.switch(**self._switches)

    def _run(self, command: control.Command | dict[str, Any]) -> Any:
        return self._post("command", msgspec.json.encode(command), "application/json")

    def _post(self, path: str, body: bytes, kind: str) -> Any:
        if not self.base_url:
            raise SandboxError("the sandbox is not running: use `with Sandbox() as sandbox:` or .start()")
        url = self.base_url.removesuffix("/v2") + CONTROL + path
        reply = self._http.request("POST", url, body=body, headers={"Content-Type": kind, CONTROL_KEY: self.api_key})
        if reply.status != 200:
            raise SandboxError(f"The sandbox refused: {reply.data.decode()[:2000]}")
        return msgspec.json.decode(reply.data)


def _chunks(tasks: Iterable[JsonTask]) -> Iterator[bytes]:
    """Lines of JSON, cut into bodies of a bounded size."""
    lines: list[bytes] = []
    size = 0
    for task in tasks:
        line = task.encode() if isinstance(task, str) else task
        text = line.rstrip(b"\n") if isinstance(line, bytes) else msgspec.json.encode(line)
        lines.append(text)
        size += len(text)
        if size >= SEED_CHUNK:
            yield b"\n".join(lines)
            lines, size = [], 0
    if lines:
        yield b"\n".join(lines)
