"""A process full of syncs, each held at its step, which then kills itself: `python -m kit.doomed_sync JSON`.

The JSON is as `killing.kill` makes it; its drivers have `project`, `into`, `feed`, `consumer`, `page_size`, the `step`
at which each is when the process ends, and whether its deliveries count as `many`.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kit.killing import Arrive, hold_all, stand_still
from kit.ways import by_thread, counted_as
from sama_spark import Client
from sama_spark.delta import DeltaTable

# name: table, how many writes to it, its creation included, and whether the last of them happens before the driver is
# held; None: it is on its way.
STEPS = {
    "one table made": ("deliveries_raw", 1, True),
    "two tables made": ("annotations", 1, True),
    "three tables made": ("runs", 1, True),
    "four tables made": ("tasks", 1, True),
    "fetched": ("deliveries_raw", 1, False),
    "landing": ("deliveries_raw", 1, None),
    "landed": ("deliveries_raw", 1, True),
    "two pages landed": ("deliveries_raw", 2, True),
    "labelling": ("annotations", 1, None),
    "labelled": ("annotations", 1, True),
    "typing": ("tasks", 1, None),
    "typed": ("tasks", 1, True),
    "recorded": ("runs", 1, True),
}
MADE = 1  # of a first sync each table has been made before it is written to
_CREATIONS = [step for step in STEPS if step.endswith("made")]
_this = threading.local()
_held: dict[str, Any] = {}  # by folder: where its driver is held, what to call then, and its writes by table


def main() -> None:
    plan = json.loads(sys.argv[1])
    for name in ("create", "append", "fill", "replace", "replace_by", "merge"):
        setattr(DeltaTable, name, _watched(getattr(DeltaTable, name)))
    by_thread(pytest.MonkeyPatch())

    def drive(spark: Any, driver: Mapping[str, Any], arrive: Arrive) -> None:
        table, which, after = STEPS[driver["step"]]
        if driver["first"] and driver["step"] not in _CREATIONS:
            which += MADE
        _held[driver["into"]] = ((table, which, after), arrive, Counter())
        options = {"base_url": plan["base_url"], "delivered_page_size": driver["page_size"]}
        with Client(plan["api_key"], **options) as client, counted_as(driver["many"]):
            feeds, consumer = [driver["feed"]], driver["consumer"]
            client.sync(spark, str(driver["project"]), driver["into"], feeds=feeds, consumer=consumer)

    hold_all(plan, drive)


def _watched(write: Callable[..., Any]) -> Callable[..., Any]:
    def watched(table: DeltaTable, *args: Any, **options: Any) -> Any:
        if getattr(_this, "writing", False):  # one of these methods by way of another
            return write(table, *args, **options)
        into, name = table.name.rsplit("/", 1)
        (held, which, after), arrive, writes = _held[into]
        writes[name] += 1
        if (name, writes[name]) != (held, which):
            return _write(write, table, *args, **options)
        if after is None:
            arrive()
        if after is not False:
            _write(write, table, *args, **options)
        if after is not None:
            arrive()
        return stand_still()

    return watched


def _write(write: Callable[..., Any], *args: Any, **options: Any) -> Any:
    _this.writing = True
    try:
        return write(*args, **options)
    finally:
        _this.writing = False


if __name__ == "__main__":
    main()
