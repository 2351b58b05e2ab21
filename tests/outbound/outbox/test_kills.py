"""Drivers killed with SIGKILL at every step of a run; then the same call again, or `resume`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from kit.doomed import ROWS, STEPS
from kit.fake_clock import FakeClock
from kit.killing import kill
from kit.mortal import Mortal, tasks_of, urls

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

# What stands in the ledger when the process is gone; "claiming" may go either way.
BOUND = {step: step not in ("staged", "uploading", "uploaded") for step in STEPS}
LATER = ("claimed", "two continued, no reply")  # the same call comes when the leases are over
WAYS = {"again": tuple(STEPS), "resume": tuple(step for step in STEPS if step not in ("staged", "recorded"))}
STEP_NUMBERS = {step: number for number, step in enumerate(STEPS)}
SHORT = {  # in every run
    "again": ("uploaded", "two continued, no reply"),
    "resume": ("claimed",),
}

pytestmark = [pytest.mark.timeout(900), pytest.mark.one_kind]


@pytest.fixture(scope="module")
def killed(
    running_sandbox: Sandbox,
    spark: SparkSession,
    server: str | None,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> dict[tuple[str, str], tuple[int, str]]:
    """Project and outbox by step and way; a driver of each was killed at that step, all in one process."""
    sandbox, folder = running_sandbox, tmp_path_factory.mktemp("killed")
    sandbox.reset()
    found: dict[tuple[str, str], tuple[int, str]] = {}
    ways = WAYS if pytestconfig.getoption("--long") else SHORT
    drivers = []
    for way, steps in ways.items():
        for number, step in enumerate(steps):
            # Where a second `continue` makes second tasks.
            project = sandbox.create_project({"url": {"type": "string", "required": True}}, second_continue="obey")
            found[step, way] = project, str(folder / f"{way}-{number}")
            # Each step comes in both ways, once with few rows and once with many.
            many = (STEP_NUMBERS[step] + (way == "resume")) % 2 == 1
            drivers.append({"project": project, "outbox": found[step, way][1], "step": step, "many": many})
    kill("kit.doomed", sandbox, server, folder, drivers)
    return found


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    return spark.range(ROWS, numPartitions=1).selectExpr("concat('https://example.org/', id, '.jpg') AS url")


def once(count: int) -> dict[str, int]:
    return dict.fromkeys(urls(*range(count)), 1)


def steps(way: str) -> list[Any]:
    return [step if step in SHORT[way] else pytest.param(step, marks=pytest.mark.long) for step in WAYS[way]]


@pytest.mark.parametrize("step", steps("again"))
def test_the_same_call_again(killed: Any, running_sandbox: Sandbox, df: DataFrame, step: str) -> None:
    """What the dead driver holds is waited for, on a clock of its own, and continued."""
    project, outbox = killed[step, "again"]
    clock = FakeClock(time.time() + (3600 if step in LATER else 0))
    result = Mortal(running_sandbox, clock).run(df, project, outbox)
    assert tasks_of(running_sandbox, project) == once(ROWS)
    assert result.task_count + result.outbox.known == ROWS
    if step != "claiming":
        assert result.outbox.known == (ROWS if BOUND[step] else 0)
    if step in LATER:
        assert len(result.outbox.recovered) == 3
        assert sum(clock.sleeps) == 0


@pytest.mark.parametrize("step", steps("resume"))
def test_resume(killed: Any, running_sandbox: Sandbox, spark: SparkSession, df: DataFrame, step: str) -> None:
    """What was claimed becomes tasks without the DataFrame; the call again makes it complete."""
    project, outbox = killed[step, "resume"]
    clock = FakeClock(time.time())
    report = Mortal(running_sandbox, clock).settle(spark, outbox)
    if step != "claiming":
        assert tasks_of(running_sandbox, project) == once(ROWS if BOUND[step] else 0)
        assert {batch.state for batch in (*report.unsure, *report.still_open)} <= {"started"}
    if not BOUND[step] or step in ("claiming", "one continued"):
        clock.now += 3600
        result = Mortal(running_sandbox, clock).run(df, project, outbox)
        assert tasks_of(running_sandbox, project) == once(ROWS)
        assert result.task_count + result.outbox.known == ROWS
