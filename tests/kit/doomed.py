"""A process full of drivers, each held at its step, which then kills itself: `python -m kit.doomed JSON`.

The JSON is as `killing.kill` makes it; its drivers have `project`, `outbox`, the `step` at which each is when the
process ends, and whether its rows count as `many`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from kit.killing import Arrive, hold_all, stand_still
from kit.mortal import CLAIM, CONTINUE, EVENT, OPEN, PUT, Mortal, watch_ledger
from kit.ways import by_thread, counted_as
from sama_spark.http.retry import SystemClock
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
    "recorded": (EVENT, 1, True),
}
ROWS = 6


def main() -> None:
    told = json.loads(sys.argv[1])
    sandbox = Sandbox.at(told["base_url"], told["api_key"])
    watch_ledger(pytest.MonkeyPatch())
    by_thread(pytest.MonkeyPatch())

    def drive(spark: Any, told: Mapping[str, Any], arrive: Arrive) -> None:
        driver = Mortal(sandbox, SystemClock())
        hold(driver, told["step"], arrive)
        df = spark.range(ROWS, numPartitions=1).selectExpr("concat('https://example.org/', id, '.jpg') AS url")
        with driver.driving(), counted_as(told["many"]):
            driver.run(df, told["project"], told["outbox"]).wait()

    hold_all(told, drive)


def hold(driver: Mortal, step: str, arrive: Arrive) -> None:
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
                arrive()
            real(current, effect)
        if after is not None:
            arrive()
        return stand_still()

    driver.step = stepped  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
