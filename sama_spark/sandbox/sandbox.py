"""`Sandbox`: a local SamaHub in a process of its own, with people, a clock and failures at will."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from subprocess import Popen
from types import TracebackType
from typing import Any

import msgspec
import urllib3

from sama_spark.sandbox import control
from sama_spark.sandbox.faults import CONTROL, Fault
from sama_spark.sandbox.guard import CONTROL_KEY
from sama_spark.sandbox.server import DEFAULT_KEY
from sama_spark.sandbox.server_process import SandboxError, start_server, stop_server

SEED_CHUNK = 8 * 1024 * 1024
JsonTask = str | bytes | Mapping[str, Any]


class Sandbox:
    """A local SamaHub with its upload store, over real HTTP on loopback.

        with Sandbox() as sandbox:
            project = sandbox.create_project(inputs={"url": "string"}, outputs={"objects": "image"})
            client = Client(sandbox.api_key, base_url=sandbox.base_url)
            ...
            sandbox.annotate(project)

    The sandbox holds everything in memory. Its process ends with `stop()`, with the `with` block, or with its parent.

    Args:
        port: 0, the default, takes a free one.
        host: address to listen at.
        api_key: the key that calls of the API and of the control interface need.
        switches: what Sama leaves open, by the names of `Switches`.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1", api_key: str = DEFAULT_KEY, **switches: Any) -> None:
        self.api_key = api_key
        self.base_url = ""
        self._address = (host, port)
        self._switches = switches
        self._process: Popen[bytes] | None = None
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=120))

    @classmethod
    def at(cls, base_url: str, api_key: str = DEFAULT_KEY) -> Sandbox:
        """Return a `Sandbox` for one that runs already (`sama-spark sandbox` starts such), with its key."""
        sandbox = cls(api_key=api_key)
        sandbox.base_url = base_url
        return sandbox

    def start(self) -> Sandbox:
        """Start the server and wait until it answers. Raises SandboxError where it does not."""
        if self._process is not None:
            raise SandboxError("the sandbox runs already")
        self._process, self.base_url = start_server(*self._address, self.api_key)
        if self._switches:
            self.switch(**self._switches)
        return self

    def stop(self) -> None:
        """End the server and all that it held. Stopping twice is fine."""
        self._http.clear()
        process, self._process = self._process, None
        if process is not None:
            stop_server(process)

    def __enter__(self) -> Sandbox:
        return self if self.base_url else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Sandbox({self.base_url or 'not running'})"

    @property
    def pid(self) -> int:
        """Process id of the server that this object started. Raises SandboxError where it started none."""
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
        """Make a project and return its id.

        Args:
            inputs: type by name, `string`, `integer` or `date`; `{"type": "integer", "required": True}` for an input
                that every task must have (`"integer"` is optional).
            outputs: type by name, one of text, date, dropdown, radio, checkbox, menu, image (vector), raster,
                video, 3d; or `{"type": "checkbox", "options": ["rain", "sun"]}`, and for image outputs
                `{"type": "image", "tags": {"kind": {"type": "dropdown", "options": [...]}}}`. Without `options`
                any option is accepted.
            name: made up by default.
            project_id: the next free one by default.
            api_key: the key that sees the project; the sandbox's own by default.
            client_batch_input: the input that reads show as `client_batch_id`.
            switches: for this project alone, by the names of `Switches`.
        """
        return int(
            self._do(
                "create_project",
                inputs=inputs,
                outputs=outputs,
                name=name,
                project_id=project_id,
                api_key=api_key,
                client_batch_input=client_batch_input,
                switches=switches,
            )
        )

    def switch(self, project_id: int | None = None, **changes: Any) -> None:
        """Change switches of one project, or of the sandbox and all its projects."""
        self._do("switch", project_id=project_id, changes=changes)

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
        """Let the annotators finish and deliver what is pending; return how many tasks they delivered.

        Pending are new tasks, those in progress and those rejected, which get a later `delivered_at`.

        Args:
            project_id: number of the project.
            fraction: the share of the pending tasks that is delivered, urgent and old ones first.
            batch_id: tasks of this batch alone.
            task_ids: these tasks alone.
            corrections: False delivers the pre-annotations as they came and adds nothing.
            delivered_at: one time for all (RFC 3339), instead of now.
        """
        return int(
            self._do(
                "annotate",
                project_id=project_id,
                fraction=fraction,
                batch_id=batch_id,
                task_ids=None if task_ids is None else list(task_ids),
                corrections=corrections,
                delivered_at=delivered_at,
            )
        )

    def deliver(self, project_id: int, tasks: Iterable[JsonTask]) -> int:
        """Put ready-made deliveries into a project and return how many.

        Tasks are dicts or lines of JSON text, in the shape of deliveries. What a task leaves out is made up; its
        `data` and `answers` are kept to the byte. A task whose id the project has already is delivered anew.
        """
        return sum(int(self._post(f"seed?project_id={project_id}", chunk, control.SEEDS)) for chunk in _chunks(tasks))

    def set_state(self, project_id: int, task_ids: Iterable[str], state: str) -> None:
        """Put tasks into `state`, with what that state needs: `delivered` tasks get the answers that they have."""
        self._do("set_state", project_id=project_id, task_ids=list(task_ids), state=state)

    def add_asset(self, content: bytes, name: str, content_type: str = "application/octet-stream") -> str:
        """Host a file and return its URL, an input value like any other. Reads show the URL signed anew."""
        return str(self._post(f"asset?name={name}", content, content_type))

    # --- what there is

    def tasks(self, project_id: int) -> list[dict[str, Any]]:
        """Return all tasks in order of creation, with `data` as it was sent."""
        return list(self._do("tasks", project_id=project_id))

    def batches(self, project_id: int) -> list[dict[str, Any]]:
        """Return all batches, those that wait for a file included."""
        return list(self._do("batches", project_id=project_id))

    def uploaded(self, project_id: int, batch_id: int) -> str | None:
        """Return the text of the file that was uploaded for a batch, None where there is none."""
        text: str | None = self._do("uploaded", project_id=project_id, batch_id=batch_id)
        return text

    def calls(self) -> dict[str, int]:
        """Return how often each call was made, by its short name: open, put, continue, status, delivered..."""
        return dict(self._do("calls")["counts"])

    def requests(self, call: str | None = None) -> list[dict[str, Any]]:
        """Return the last requests (10,000 at most) in order: call, method, path, query, has_key, headers, status.

        Neither the key nor a signature is in them.
        """
        return [request for request in self._do("calls")["log"] if call in (None, request["call"])]

    def forget_calls(self) -> None:
        """Forget the counts and the requests."""
        self._do("forget_calls")

    # --- time and bad luck

    def fail(self, call: str | None = None, **fault: Any) -> None:
        """Let calls fail.

        Args:
            call: short name as in `calls()`, or `schema` for both schemas. Instead of it: `method=` and `path=`
                (a regular expression that is searched in the path).
            fault: by name:
                kind: `status` (default) answers `status` (500) with `body` or an `errors` body; `drop` closes the
                connection without a reply; `truncate` breaks off half-way through the real reply; `html` and
                `json` answer 200 with a page, or with JSON of the wrong shape (`body`); `redirect` to `location`;
                `slow` waits `seconds` before the real reply; `expired` is S3's answer to an expired URL.
                after: True lets the call have its effect first (`truncate` always does, `slow` always answers).
                times: how many calls fail (1); None: all until `heal()`. skip: how many calls go well before.
                retry_after: seconds, sent as `Retry-After`; with `retry_after_form="date"` as a date.

        Raises:
            ValueError: there is no such fault.
        """
        try:
            checked = msgspec.convert({"call": call, **fault}, Fault)
        except msgspec.ValidationError as error:
            raise ValueError(f"there is no such fault: {error}") from None
        self._do("fail", fault=checked)

    def heal(self) -> None:
        """Take back all faults."""
        self._do("heal")

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock on, so that URLs expire and tasks get created without waiting."""
        self._do("advance", seconds=seconds)

    def reset(self) -> None:
        """Forget projects, faults, calls, switches (those given to `Sandbox` stay) and the clock's shift."""
        self._do("reset")
        if self._switches:
            self.switch(**self._switches)

    def _do(self, command: str, **arguments: Any) -> Any:
        """Send a command: a method of `Hub`, with its arguments by name."""
        return self._post("command", msgspec.json.encode({"do": command, "with": arguments}), "application/json")

    def _post(self, path: str, body: bytes, kind: str) -> Any:
        if not self.base_url:
            raise SandboxError("the sandbox is not running: use `with Sandbox() as sandbox:` or .start()")
        url = self.base_url.removesuffix("/v2") + CONTROL + path
        reply = self._http.request("POST", url, body=body, headers={"Content-Type": kind, CONTROL_KEY: self.api_key})
        if reply.status != 200:
            raise SandboxError(f"The sandbox refused: {reply.data.decode()[:2000]}")
        return msgspec.json.decode(reply.data)


def _chunks(tasks: Iterable[JsonTask]) -> Iterator[bytes]:
    """Yield the tasks as lines of JSON, in bodies of a bounded size."""
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
