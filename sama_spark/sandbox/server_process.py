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


def start_server(host: str, port: int, api_key: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start `python -m sama_spark.sandbox`, wait until it answers, and return the process and its base URL.

    Raises:
        SandboxError: the server does not start.
    """
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    server = [sys.executable, "-m", "sama_spark.sandbox", "--with-parent"]
    process = subprocess.Popen(  # noqa: S603
        [*server, "--host", host, "--port", str(port), "--api-key", api_key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**_KEEP_MEMORY, **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # Ctrl-C is for the program that uses the sandbox
    )
    assert process.stdout is not None  # noqa: S101
    line = process.stdout.readline()
    said: dict[str, str] = msgspec.json.decode(line) if line else {"error": "the process ended at once"}
    if "error" in said:
        stop_server(process)
        raise SandboxError(f"The sandbox did not start. {said['error']}")
    return process, said["base_url"]


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """End the process."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
