"""The first `sync` of 2,000 tasks on a standalone cluster of two workers, beside `local[2]` on the same cores.

Each figure comes from a fresh process, three times, both sides in turn; the executors are as fresh. Spark has started
and has run one query before the clock starts. The processor's seconds on the cluster leave out its executors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from cold import OUTPUTS, processor_seconds
from samples import PROJECT, STREETS, deliveries

from sama_spark import Client
from sama_spark.local import local_session
from sama_spark.sandbox import Sandbox

sys.path.append(str(Path(__file__).parents[1]))
from kit.cluster import running_cluster

TASKS = 2_000


def first_sync(master: str, folder: str) -> dict[str, float]:
    """Sync, and return what it took."""
    begun = time.perf_counter()
    spark = local_session(settings={"spark.master": master})
    spark.range(1).collect()
    started = time.perf_counter() - begun
    with Sandbox() as sandbox, Client(sandbox.api_key, base_url=sandbox.base_url) as client:
        project = sandbox.create_project(inputs=PROJECT, outputs=OUTPUTS)
        sandbox.deliver(project, deliveries(range(TASKS), STREETS))
        scheduler = spark.sparkContext._jsc.sc().dagScheduler()
        jobs, cpu, begun = scheduler.numTotalJobs(), processor_seconds(), time.perf_counter()
        client.sync(spark, str(project), f"{folder}/tables")
        seconds = time.perf_counter() - begun
        figures = {"seconds": seconds, "cpu": processor_seconds() - cpu, "jobs": scheduler.numTotalJobs() - jobs}
    spark.stop()
    return {**figures, "session": started}


def measured(side: str) -> dict[str, float]:
    """In processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        with ExitStack() as until_the_end:
            command = [__file__, "--only", folder]
            if side == "cluster":
                cluster = until_the_end.enter_context(running_cluster(Path(folder)))
                driver = cluster.drive([*command, cluster.url])
            else:
                pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
                driver = subprocess.Popen([sys.executable, *command, side], text=True, **pipes)
            said, errors = driver.communicate()
        if driver.returncode:
            raise RuntimeError(errors)
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=2, metavar=("FOLDER", "MASTER"), help="one sync (used by itself)")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    if args.only:
        folder, master = args.only
        print(json.dumps(first_sync(master, folder)))
        return
    runs: dict[str, list[dict[str, float]]] = {"local[2]": [], "cluster": []}
    for _ in range(args.repeat):
        for side, found in runs.items():
            found.append(measured(side))
            print(f"{side}: {found[-1]}", flush=True)
    here, there = (median(run["seconds"] for run in found) for found in runs.values())
    print(f"local[2] {here:.1f} s, cluster {there:.1f} s: {there / here:.2f} times as long (goal: 2)")


if __name__ == "__main__":
    main()
