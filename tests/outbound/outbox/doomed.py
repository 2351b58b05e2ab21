"""A process full of drivers, each held at its step, which then kills itself: `doomed.py JSON`, told by a test.

The JSON has the sandbox's `base_url` and `api_key`, `remote` (the address of a Connect server, null for a classic
session of its own) and `drivers`: project, outbox, and the step at which each is when the process ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import Any

import pytest
from mortal import CLAIM, CONTINUE, FACT, OPEN, PUT, Mortal, watch_ledger

from sama_spark.api.retry import SystemClock
from sama_spark.sandbox import Sandbox

# name: step, which one of its name, and whether it happens before the driver is held
STEPS = {
    "staged": (OPEN, 1, False),
    "uploading": (PUT, 2, False),
    "uploaded": (CLAIM, 1, False),
    "claiming": (CLAIM, 1, None),
    "claimed": (CLAIM, 1, True),
    "one continued": (CONTINUE, 1, True),
    "two continued, no reply": (CONTINUE, 2, True),
    "all continued": (CONTINUE, 3, True),
    "recorded": (FACT, 1, True),
}
ROWS = 6


def main() -> None:
    told = json.loads(sys.argv[1])
    if told["remote"]:
        from pyspark.sql import SparkSession

        spark: Any = SparkSession.builder.remote(told["remote"]).getOrCreate()
    else:
        from sama_spark.local import local_session

        spark = local_session(settings={"spark.sql.warehouse.dir": told["warehouse"]})
    sandbox = Sandbox.at(told["base_url"], told["api_key"])
    watch_ledger(pytest.MonkeyPatch())
    arrived: queue.Queue[str] = queue.Queue()

    def drive(project: int, outbox: str, step: str) -> None:
        try:
            driver = Mortal(sandbox, SystemClock())
            hold(driver, step, arrived)
            df = spark.range(ROWS, numPartitions=1).selectExpr("concat('https://example.org/', id, '.jpg') AS url")
            with driver.driving():
                driver.run(df, project, outbox).wait()
            arrived.put(f"{step}: it ran to its end")
        except BaseException as error:  # told to the test, which fails
            arrived.put(f"{step}: {error!r}")

    waiting: list[dict[str, Any]] = list(told["drivers"])
    running = 0
    while waiting or running:
        while waiting and running < 3:
            threading.Thread(target=drive, kwargs=waiting.pop(), daemon=True).start()
            running += 1
        print(arrived.get(), flush=True)
        running -= 1
    print("over", flush=True)
    # Spark's own process has the driver's fate, as on a machine that is lost. A Connect server lives on.
    os.kill(os.getpid(), signal.SIGKILL) if told["remote"] else os.killpg(os.getpgid(0), signal.SIGKILL)


def hold(driver: Mortal, step: str, arrived: queue.Queue[str]) -> None:
    """Let the driver stand still at `step`. One that is "claiming" says so and goes on."""
    name, which, after = STEPS[step]
    real, seen = driver.step, 0

    def stepped(current: str, effect: Any) -> Any:
        nonlocal seen
        seen += current == name
        if (current, seen) != (name, which):
            return real(current, effect)
        if after is not False:
            if after is None:
                arrived.put(step)
            real(current, effect)
        if after is not None:
            arrived.put(step)
        threading.Event().wait()
        raise AssertionError

    driver.step = stepped  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
