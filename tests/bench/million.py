"""A first sync of a million tasks in a heap of 2 GB, and what the syncs after it cost, beside tables of a tenth.

Each size has a process of its own. Memory is the most that the JVM, its workers and the driver's Python hold together;
the heap is the JVM's largest part of it. The syncs after it bring 1,000 new tasks each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median

import psutil
from cold import OUTPUTS, processor_seconds
from measure import sampling
from rich.console import Console
from rich.table import Table
from samples import PROJECT, STREETS, deliveries

from sama_spark import Client
from sama_spark.local import local_session
from sama_spark.sandbox import Sandbox

HEAP = "2g"
NEW, SYNCS = 1_000, 4  # the first of them is left out: it warms up


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Megabytes of this process and of those that it has started, sampled; the sandbox's do not count."""
    own, peak = psutil.Process(), {"python": 0.0, "jvm": 0.0, "workers": 0.0}

    def sample() -> None:
        now = {"python": own.memory_info().rss / 1e6, "jvm": 0.0, "workers": 0.0}
        for process in own.children(recursive=True):
            with suppress(psutil.Error):
                command = " ".join(process.cmdline())
                if "sama_spark.sandbox" not in command:
                    now["jvm" if "java" in process.name() else "workers"] += process.memory_info().rss / 1e6
        for part, megabytes in now.items():
            peak[part] = max(peak[part], megabytes)

    with sampling(sample, 0.25):
        yield peak


def measured(tasks: int) -> dict[str, float]:
    spark = local_session(settings={"spark.driver.memory": HEAP})
    spark.range(1).collect()
    with (
        Sandbox() as sandbox,
        Client(sandbox.api_key, base_url=sandbox.base_url) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        project = str(sandbox.create_project(inputs=PROJECT, outputs=OUTPUTS))
        sandbox.deliver(int(project), deliveries(range(tasks), STREETS))
        with peak_memory() as peak:
            begun = time.perf_counter()
            result = client.sync(spark, project, folder)
            first = time.perf_counter() - begun
        assert result.feeds[0].new == tasks, result
        seconds, cpu = [], []
        for number in range(SYNCS):
            at = tasks + number * NEW
            sandbox.deliver(int(project), deliveries(range(at, at + NEW), STREETS))
            spent, begun = processor_seconds(), time.perf_counter()
            assert client.sync(spark, project, folder).feeds[0].new == NEW
            seconds.append(time.perf_counter() - begun)
            cpu.append(processor_seconds() - spent)
        assert spark.read.format("delta").load(f"{folder}/tasks").count() == tasks + SYNCS * NEW
        return {"first": first, **peak, "next": median(seconds[1:]), "cpu": median(cpu[1:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, metavar="TASKS", help="one size, as JSON (used by itself)")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measured(args.only)))
        return
    table = Table(title=f"Sync in a heap of {HEAP}", title_justify="left")
    memory_of = ("JVM MB", "workers MB", "driver Python MB")
    for heading in ("tasks", "first sync, s", "tasks/s", *memory_of, "1,000 more, s", "cpu s"):
        table.add_column(heading, justify="right")
    found = []
    for tasks in (args.tasks // 10, args.tasks):
        part = [sys.executable, __file__, "--only", str(tasks)]
        done = subprocess.run(part, check=True, stdout=subprocess.PIPE)
        found.append(one := json.loads(done.stdout.splitlines()[-1]))
        memory = [f"{one[part]:,.0f}" for part in ("jvm", "workers", "python")]
        rates = [f"{one['first']:.0f}", f"{tasks / one['first']:,.0f}"]
        table.add_row(f"{tasks:,}", *rates, *memory, f"{one['next']:.1f}", f"{one['cpu']:.1f}")
    Console(width=130).print(table)
    tenth, whole = found
    print(f"1,000 more take {whole['next'] / tenth['next']:.2f} times what they take on a tenth of the tasks")


if __name__ == "__main__":
    main()
