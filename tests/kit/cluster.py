"""A standalone Spark cluster on this machine: a master and two workers of one core, each a process of its own.

Its drivers have a temporary folder that no worker sees, as on a real cluster, where each machine has its own: the path
leads through `/proc/self/cwd`, which means another folder to each process. That needs Linux.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyspark

from kit import environment

WORKERS = 2
_DEPLOY = "org.apache.spark.deploy"
_PATIENCE = 60.0


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs. `url`: what a driver takes for `spark.master`; `folder`: logs, and a place for drivers."""

    url: str
    folder: Path

    def drive(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        """Start a driver: Python with these arguments."""
        home = self.folder / "driver"
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=home,
            env={**_environment(), "TMPDIR": "/proc/self/cwd/tmp"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster, and end all of its processes when the block ends. `folder` holds its logs and work."""
    with ExitStack() as processes:
        master = processes.enter_context(_daemon(folder / "master.log", f"{_DEPLOY}.master.Master", "--port", "0"))
        url = master("Starting Spark master at ").split()[0]
        place = ("--cores", "1", "--memory", "1g", "--work-dir")
        workers = [
            processes.enter_context(
                _daemon(folder / f"{name}.log", f"{_DEPLOY}.worker.Worker", *place, str(folder / name), url)
            )
            for name in (f"worker-{number}" for number in range(WORKERS))
        ]
        for worker in workers:
            worker("Successfully registered with master ")
        yield Cluster(url, folder)


@contextmanager
def _daemon(log: Path, main_class: str, *arguments: str) -> Iterator[Callable[[str], str]]:
    """Run a process of the cluster. Give a function that waits for words in its log, and returns what follows them."""
    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    command = [str(spark_class), main_class, "--host", "127.0.0.1", "--webui-port", "0", *arguments]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL, stderr=stderr)

    def said(words: str) -> str:
        end = time.monotonic() + _PATIENCE
        while words not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        return log.read_text().partition(words)[2]

    try:
        yield said
    finally:
        with suppress(psutil.NoSuchProcess):  # it has ended by itself
            itself = psutil.Process(process.pid)
            for member in (*itself.children(recursive=True), itself):
                with suppress(psutil.NoSuchProcess):
                    member.kill()
        process.wait()


def _environment() -> dict[str, str]:
    return {
        **environment(),
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
    }
