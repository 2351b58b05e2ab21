"""Drivers at the same time on one outbox, some of which die: each row is one task.

They run in threads of one session, with a client each. Time passes only while all of them sleep, so that a lease runs
out where one waits for it and nowhere else.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from kit.mortal import CLAIM, CONTINUE, FIND, OPEN, PUT, STATE, Died, Mortal, SharedClock, tasks_of, urls
from kit.paper import PaperFrame, PaperSpark
from sama_spark.errors import ConnectorError

pytestmark = [pytest.mark.one_kind, pytest.mark.slow]

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

VENDORS = ("refuse", "obey")
DEATHS = [
    (when, step, nth)
    for when in ("before", "after")
    for step, nth in ((PUT, 2), (CLAIM, 1), (CONTINUE, 1), (CONTINUE, 2))
]


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    return sandbox.create_project({"url": {"type": "string", "required": True}})


def frame(spark: SparkSession, numbers: Sequence[int]) -> DataFrame:
    return spark.createDataFrame([(url,) for url in urls(*numbers)], "url string").coalesce(1)


def compete(drivers: list[Mortal], frames: list[Any], clock: SharedClock, project: int, outbox: str) -> list[Any]:
    def work(driver: Mortal, df: Any) -> Any:
        return lambda: driver.run(df, project, outbox)

    return clock.together([work(driver, df) for driver, df in zip(drivers, frames, strict=True)])


@pytest.mark.long  # test_one_of_three_dies has the like of it on paper
@pytest.mark.parametrize("vendor", VENDORS)
def test_overlapping_rows(
    sandbox: Sandbox, project: int, spark: SparkSession, watched: None, tmp_path: Path, vendor: str
) -> None:
    """Three drivers, one of which dies between its claim and its second `continue`."""
    sandbox.switch(project, second_continue=vendor)
    outbox, clock = str(tmp_path / "outbox"), SharedClock()
    Mortal(sandbox, clock).run(frame(spark, [0]), project, outbox)
    rows = [range(6), range(3, 9), range(6)]
    drivers = [Mortal(sandbox, clock) for _ in rows]
    drivers[2].dies("after", CONTINUE)
    results = compete(drivers, [frame(spark, numbers) for numbers in rows], clock, project, outbox)
    for result, numbers in zip(results, rows, strict=True):
        if isinstance(result, BaseException):
            assert isinstance(result, Died)
        else:
            assert result.task_count + result.outbox.known == len(numbers)
    # What the dead one held is continued by those that wait for its rows: all of its rows are theirs, too.
    assert tasks_of(sandbox, project) == dict.fromkeys(urls(*range(9)), 1)


def test_equal_rows_into_a_table_that_is_not_there_yet(
    sandbox: Sandbox, project: int, spark: SparkSession, watched: None, tmp_path: Path
) -> None:
    outbox, clock = str(tmp_path / "outbox"), SharedClock()
    sandbox.switch(project, second_continue="obey")
    results = compete([Mortal(sandbox, clock) for _ in range(2)], [frame(spark, range(6))] * 2, clock, project, outbox)
    errors = [result for result in results if isinstance(result, BaseException)]
    assert errors == []
    assert sorted(result.task_count for result in results) == [0, 6]
    assert tasks_of(sandbox, project) == dict.fromkeys(urls(*range(6)), 1)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("death", DEATHS, ids=lambda death: " ".join(map(str, death)))
def test_one_of_three_dies(sandbox: Sandbox, project: int, paper: PaperSpark, vendor: str, death: Any) -> None:
    """On paper, where every interleaving that threads happen to take costs milliseconds."""
    sandbox.switch(project, second_continue=vendor)
    clock = SharedClock()
    for attempt in range(6):
        numbers = range(10 * attempt, 10 * attempt + 10)
        rows = [numbers, numbers[3:8], numbers[:6]]
        drivers = [Mortal(sandbox, clock) for _ in rows]
        drivers[attempt % 3].dies(*death)
        results = compete(drivers, [PaperFrame(paper, urls(*own)) for own in rows], clock, project, "outbox")
        for result, own in zip(results, rows, strict=True):
            assert isinstance(result, Died) or result.task_count + result.outbox.known == len(own), result
        assert max(tasks_of(sandbox, project).values()) == 1
        clock.now += 3600
        result = Mortal(sandbox, clock).run(PaperFrame(paper, urls(*numbers)), project, "outbox")
        assert result.task_count + result.outbox.known == 10
        assert tasks_of(sandbox, project) == dict.fromkeys(urls(*range(10 * attempt + 10)), 1)


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_slow_one_lost_its_lease(sandbox: Sandbox, paper: PaperSpark, vendor: str) -> None:
    """A driver stands still before a step of its run, until another has taken over and done all of its rows."""
    held: set[str] = set()
    for number, seconds, earlier in itertools.product(range(1, 24), (0.0, 150.0, 400.0), ([], urls(99))):
        project = sandbox.create_project({"url": {"type": "string", "required": True}}, second_continue=vendor)
        clock, box = SharedClock(), f"outbox-{number}-{seconds}-{len(earlier)}"
        if earlier:
            Mortal(sandbox, clock).run(PaperFrame(paper, earlier), project, box)
        slow, other = Mortal(sandbox, clock), Mortal(sandbox, clock)
        df = PaperFrame(paper, urls(*range(6)))

        def held_up(name: str, step: int, number: int = number, seconds: float = seconds) -> None:
            if step == number:
                held.add(name)
                clock.now += seconds  # noqa: B023
                other.run(df, project, box)  # noqa: B023

        slow.meanwhile = held_up
        [result] = clock.together([lambda: slow.run(df, project, box)])  # noqa: B023
        assert isinstance(result, ConnectorError) or result.task_count + result.outbox.known == 6
        assert max(tasks_of(sandbox, project).values()) == 1
        clock.now += 3600
        Mortal(sandbox, clock).run(df, project, box)
        assert tasks_of(sandbox, project) == dict.fromkeys([*urls(*range(6)), *earlier], 1)
    assert held >= {STATE, FIND, OPEN, PUT, CLAIM, CONTINUE}
