"""Processes full of drivers that are killed with SIGKILL: one driver to a thread, each held at its step.

The test's side is `kill`, the doomed process's `hold_all`.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import psutil

from kit import environment

if TYPE_CHECKING:
    from sama_spark.sandbox import Sandbox

Arrive = Callable[[], None]
_SAID = "doomed: "


def kill(
    module: str, sandbox: Sandbox, server: str | None, warehouse: Path, drivers: Sequence[Mapping[str, Any]]
) -> None:
    """Run `module` with these drivers until each has arrived at its `step`; then no process of it may be left."""
    told = {
        "base_url": sandbox.base_url,
        "api_key": sandbox.api_key,
        "remote": server,
        "warehouse": str(warehouse),
        "drivers": drivers,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(told)],
        stdout=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    steps = [driver["step"] for driver in drivers]
    lines, family = [], []
    for line in process.stdout:
        if not line.startswith(_SAID):  # on Spark 3.5 Ivy speaks here too
            continue
        lines.append(line.removeprefix(_SAID).strip())
        if lines[-1] in steps and not family:
            family = psutil.Process(process.pid).children(recursive=True)
    assert process.wait(60) == -9
    assert sorted(lines) == sorted([*steps, "over"])
    # Two processes must not commit to one table: Spark's own has to be gone.
    gone, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    assert bool(gone) == (server is None)


def hold_all(told: Mapping[str, Any], drive: Callable[[Any, Mapping[str, Any], Arrive], object]) -> None:
    """Call `drive(session, driver, arrive)` for each, three at a time; once all have arrived, the process ends."""
    if told["remote"]:
        from pyspark.sql import SparkSession

        spark: Any = SparkSession.builder.remote(told["remote"]).getOrCreate()
    else:
        from sama_spark.local import local_session

        spark = local_session(settings={"spark.sql.warehouse.dir": told["warehouse"]})
    arrived: queue.Queue[str] = queue.Queue()

    def run(driver: Mapping[str, Any]) -> None:
        step = driver["step"]
        try:
            drive(spark, driver, lambda: arrived.put(step))
            arrived.put(f"{step}: it ran to its end")
        except BaseException as error:  # told to the test, which fails
            arrived.put(f"{step}: {error!r}")

    waiting, running = list(told["drivers"]), 0
    while waiting or running:
        while waiting and running < 3:
            threading.Thread(target=run, args=(waiting.pop(),), daemon=True).start()
            running += 1
        print(f"{_SAID}{arrived.get()}", flush=True)
        running -= 1
    print(f"{_SAID}over", flush=True)
    # Spark's own process has the driver's fate, as on a machine that is lost. A Connect server lives on.
    os.kill(os.getpid(), signal.SIGKILL) if told["remote"] else os.killpg(os.getpgid(0), signal.SIGKILL)


def stand_still() -> NoReturn:
    """Where a driver is held."""
    threading.Event().wait()
    raise AssertionError
