"""The server in a process of its own, which ends with the program that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

# Uploads of megabytes come and go: glibc keeps their memory, which halves the cost of a PUT.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 31),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


class SandboxError(RuntimeError):
    """The sandbox did not start, or refused a command; the text says which and why."""


class ServerProcess:
    """At most one process, `python -m sama_spark.sandbox`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether this object has started a process and not stopped it."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Process id. Raises SandboxError where this object started no process."""
        if self._process is None:
            raise SandboxError("this object did not start a server")
        return self._process.pid

    def start(self, host: str, port: int, api_key: str) -> str:
        """Start the server, wait until it answers, and return its base URL. Raises SandboxError where it does not."""
        if self._process is not None:
            raise SandboxError("the sandbox runs already")
        package_root = str(Path(__file__).parents[2])
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        server = [sys.executable, "-m", "sama_spark.sandbox", "--with-parent"]
        self._process = subprocess.Popen(  # noqa: S603
            [*server, "--host", host, "--port", str(port), "--api-key", api_key],
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
        return said["base_url"]

    def stop(self) -> None:
        """End the process. Stopping twice is fine."""
        process, self._process = self._process, None
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
