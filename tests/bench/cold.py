"""`make bench`, cold: the first call in a fresh process, as a scheduled job makes it, beside Sama's own connector.

Each figure comes from a process of its own, three times, ours and theirs in turn. Spark has started and has run one
query before the clock starts. The processor's seconds are those of Python, the JVM and its workers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from measure import consume, reference_client, save
from rich.console import Console
from rich.table import Table
from samples import PROJECT, STREET_TAGS, STREETS, deliveries, rows_out

from sama_spark import Client
from sama_spark.local import local_session
from sama_spark.sandbox import Sandbox

OUTPUTS = {"objects": {"type": "image", "tags": STREET_TAGS}, "weather": "text"}
# name: rows, sides, goal
FIGURES: dict[str, tuple[int, tuple[str, ...], str]] = {
    "out, 1,000 rows": (1_000, ("ours", "sama"), "0.6 x"),
    "out, 60,000 rows": (60_000, ("ours", "sama"), "2.5 x"),
    "back, 10,000 tasks": (10_000, ("ours", "sama"), "1.5 x"),
    "first sync, 1,000 tasks": (1_000, ("ours", "sama"), "15 s"),
    "hourly sync, 1,000 new tasks into tables of 100,000": (1_000, ("ours",), "12 cpu s, 15 jobs"),
}
HELD = 100_000


def processor_seconds() -> float:
    """Of this process and all that it has started."""
    own = psutil.Process()
    seconds = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        seconds += times.user + times.system + (0 if process is own else times.children_user + times.children_system)
    return seconds


def first_call(name: str, side: str, folder: Path, tables: str) -> dict[str, float]:
    """Make the call, and return what it took."""
    rows = FIGURES[name][0]
    begun = time.perf_counter()
    spark = local_session(settings={"spark.driver.memory": "3g"})
    spark.range(1).collect()
    started = time.perf_counter() - begun
    with Sandbox() as sandbox:
        project = str(sandbox.create_project(inputs=PROJECT, outputs=OUTPUTS))
        client: Any = (
            reference_client(sandbox) if side == "sama" else Client(sandbox.api_key, base_url=sandbox.base_url)
        )
        if name.startswith("out"):
            df = rows_out(spark, rows, folder)
            action = lambda: client.create_task_batch_from_table(df, project)  # noqa: E731
        else:
            held = HELD if name.startswith("hourly") else 0
            sandbox.deliver(int(project), deliveries(range(held, held + rows), STREETS, day=3 if held else 2))
            read = lambda: client.get_delivered_tasks_to_table(spark, project)  # noqa: E731
            if name.startswith("back"):
                action = lambda: consume(read())  # noqa: E731
            elif side == "sama":
                action = lambda: save(read(), str(folder / "saved"))  # noqa: E731
            else:
                action = lambda: client.sync(spark, project, tables if held else str(folder / "synced"))  # noqa: E731
        scheduler = spark.sparkContext._jsc.sc().dagScheduler()
        jobs, cpu, begun = scheduler.numTotalJobs(), processor_seconds(), time.perf_counter()
        action()
        seconds = time.perf_counter() - begun
        return {
            "seconds": seconds,
            "cpu": processor_seconds() - cpu,
            "jobs": scheduler.numTotalJobs() - jobs,
            "session": started,
        }


def make_tables(tables: str) -> None:
    """Sync what an hourly sync finds there."""
    spark = local_session(settings={"spark.driver.memory": "3g"})
    with Sandbox() as sandbox, Client(sandbox.api_key, base_url=sandbox.base_url) as client:
        project = str(sandbox.create_project(inputs=PROJECT, outputs=OUTPUTS))
        sandbox.deliver(int(project), deliveries(range(HELD), STREETS))
        client.sync(spark, project, tables)


def measured(name: str, side: str, tables: str) -> dict[str, float]:
    """In a process of its own."""
    with tempfile.TemporaryDirectory() as copies:
        if name.startswith("hourly"):
            subprocess.run(["cp", "-r", tables, f"{copies}/tables"], check=True)
        part = [sys.executable, __file__, "--only", name, side, f"{copies}/tables"]
        done = subprocess.run(part, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=3, metavar=("FIGURE", "SIDE", "TABLES"), help="one call (used by itself)")
    parser.add_argument("--tables", help="make these tables (used by itself)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--match", default="", help="only figures whose name has this in it")
    args = parser.parse_args()
    if args.tables:
        make_tables(args.tables)
        return
    if args.only:
        with tempfile.TemporaryDirectory() as folder:
            name, side, tables = args.only
            print(json.dumps(first_call(name, side, Path(folder), tables)))
        return
    table = Table(title="First call in a fresh process: median of wall seconds", title_justify="left")
    for heading in ("", "s", "cpu s", "jobs", "sama: s", "cpu s", "times sama", "goal"):
        table.add_column(heading, justify="left" if not heading else "right")
    with tempfile.TemporaryDirectory() as folder:
        names = [name for name in FIGURES if args.match in name]
        if any(name.startswith("hourly") for name in names):
            subprocess.run([sys.executable, __file__, "--tables", f"{folder}/tables"], check=True)
        for name in names:
            sides = FIGURES[name][1]
            runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
            for _ in range(args.repeat):
                for side in sides:
                    runs[side].append(measured(name, side, f"{folder}/tables"))
                    print(f"  {name}, {side}: {runs[side][-1]}", file=sys.stderr, flush=True)
            middle = {side: {key: median(run[key] for run in runs[side]) for key in runs[side][0]} for side in sides}
            ours, theirs = middle["ours"], middle.get("sama")
            beside = ["", "", ""]
            if theirs is not None:
                ratio = theirs["seconds"] / ours["seconds"]
                beside = [f"{theirs['seconds']:.1f}", f"{theirs['cpu']:.1f}", f"{ratio:.2f}"]
            figures = [f"{ours['seconds']:.1f}", f"{ours['cpu']:.1f}", f"{ours['jobs']:.0f}"]
            table.add_row(name, *figures, *beside, FIGURES[name][2])
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
