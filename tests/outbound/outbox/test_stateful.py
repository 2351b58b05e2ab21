"""Any order of runs, faults, deaths, late commits, people and time: no row is ever two tasks, and none is lost."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from kit.fake_clock import FakeClock
from kit.mortal import CLAIM, CONTINUE, EVENT, FIND, OPEN, PUT, STATE, STATUS, Died, Mortal, tasks_of, urls
from kit.paper import PaperFrame, PaperSpark
from sama_spark.errors import ConnectorError
from sama_spark.sandbox import Sandbox

if TYPE_CHECKING:
    from collections import Counter

# More examples are other examples every time, and a failure is made small, which takes minutes.
SOAK = int(os.environ.get("OUTBOX_EXAMPLES", "0"))
EXAMPLES = 150
STEPS = 12
MARGIN = 3600.0  # longer than any lease
WHENS = ("before", "after", "late", "error after", "error late")

# Mostly rows that are new beside some that are not.
keys = st.tuples(st.integers(0, 20), st.integers(1, 5)).map(lambda window: list(range(window[0], sum(window))))
faults = st.lists(
    st.tuples(
        st.sampled_from(["open", "put", "continue", "continue", "continue", "status", "cancel"]),
        st.sampled_from(
            [
                {"kind": "drop"},
                {"kind": "drop", "after": True},
                {"kind": "truncate"},
                {"kind": "html"},
                {"kind": "html", "after": True},
                {"status": 429, "retry_after": 7},
                {"status": 429},
                {"status": 500, "after": True},
                {"status": 502},
                {"status": 503},
                {"status": 504, "after": True},
                {"status": 404},
                {"status": 400},
            ]
        ),
        st.sampled_from([1, 3, 6, 9]),
        st.integers(0, 2),
    ),
    max_size=2,
)
pauses = st.sampled_from([0.0, 0.0, 130.0, 400.0, 400.0])
fates = st.one_of(
    st.none(),
    st.tuples(st.integers(1, 25), st.sampled_from(["before", "after"])),
    st.tuples(
        st.sampled_from([STATE, FIND, OPEN, PUT, CLAIM, CONTINUE, STATUS, EVENT]),
        st.integers(1, 3),
        st.sampled_from(["before", "after"]),
    ),
    st.tuples(st.sampled_from([CLAIM, EVENT]), st.integers(1, 2), st.sampled_from(WHENS)),
)


class Outboxes(RuleBasedStateMachine):
    """One outbox, and all that can happen to it."""

    sandbox: Sandbox

    @initialize(vendor=st.sampled_from(["refuse", "obey"]), delay=st.sampled_from([0.0, 30.0]))
    def begin(self, vendor: str, delay: float) -> None:
        self.sandbox.heal()
        self.project = self.sandbox.create_project(
            {"url": {"type": "string", "required": True}}, second_continue=vendor, creation_delay=delay
        )
        self.spark = PaperSpark()
        self.clock = FakeClock()
        self.given: set[int] = set()
        self.late: list[Mortal] = []

    @rule(numbers=keys, faults=faults, fate=fates, pause=pauses)
    def run(self, numbers: list[int], faults: list[Any], fate: Any, pause: float) -> None:
        self._wait(pause)
        self._fail(faults)
        self._run(self._driver(fate), numbers)
        self.sandbox.heal()

    @rule(numbers=keys, others=keys, step=st.integers(1, 25), seconds=st.sampled_from([0.0, 60.0, 130.0, 400.0]))
    def run_within_a_run(self, numbers: list[int], others: list[int], step: int, seconds: float) -> None:
        """Another driver does its whole run, and time passes, while one is held up at some step."""
        driver = self._driver(None)

        def meanwhile(_: str, number: int) -> None:
            if number == step:
                self.clock.now += seconds
                self._run(self._driver(None), others)

        driver.meanwhile = meanwhile
        self._run(driver, numbers)

    @rule(faults=faults, fate=fates, pause=pauses)
    def resume(self, faults: list[Any], fate: Any, pause: float) -> None:
        self._wait(pause)
        if "box" in self.spark.tables:
            self._fail(faults)
            driver = self._driver(fate)
            with suppress(Died, ConnectorError, ConnectionError):
                driver.settle(self.spark, "box")
            self.sandbox.heal()

    @rule()
    def late_commits_land(self) -> None:
        while self.late:
            self.late.pop().land()

    @rule(number=st.integers(0, 20))
    def a_person_cancels(self, number: int) -> None:
        ended = ("completed", "failed", "canceled", "processing")
        open_ = [b["batch_id"] for b in self.sandbox.batches(self.project) if b["state"] not in ended]
        if open_:
            self._driver(None).cancel_batch_creation_job(self.project, open_[number % len(open_)])

    @invariant()
    def no_row_is_two_tasks(self) -> None:
        if hasattr(self, "project"):
            doubled = {url: count for url, count in self._tasks().items() if count > 1}
            assert not doubled, doubled

    def teardown(self) -> None:
        if not getattr(self, "given", None):
            return
        self._wait(MARGIN)
        numbers = sorted(self.given)
        self._settle_by_hand()
        assert self._run(self._driver(None), numbers), "a run without faults failed"
        self._wait(MARGIN)
        assert self._tasks() == dict.fromkeys(urls(*numbers), 1)
        self.late_commits_land()
        self._wait(MARGIN)
        result = self._driver(None).run(PaperFrame(self.spark, urls(*numbers)), self.project, "box")
        assert (result.task_count, result.outbox.known) == (0, len(numbers))
        assert self._tasks() == dict.fromkeys(urls(*numbers), 1)

    def _wait(self, seconds: float) -> None:
        if seconds:
            self.clock.now += seconds
            self.sandbox.advance(seconds)

    def _settle_by_hand(self) -> None:
        """A person looks into each batch that is unsure, and cancels those that still wait."""
        driver = self._driver(None)
        words = {}
        for batch in driver.settle(self.spark, "box").unsure if "box" in self.spark.tables else ():
            state = driver.get_batch_job(self.project, batch.batch_id).state
            if state == "waiting":
                driver.cancel_batch_creation_job(self.project, batch.batch_id)
            words[batch.batch_id] = "created" if state == "completed" else "void"
        if words:
            self._driver(None).settle(self.spark, "box", unsure=words)

    def _driver(self, fate: Any) -> Mortal:
        driver = Mortal(self.sandbox, self.clock, rng=random.Random(0))
        if fate is not None and len(fate) == 2:
            driver.dies_at(*fate)
        elif fate is not None:
            driver.dies(fate[2], fate[0], fate[1])
        return driver

    def _fail(self, faults: list[Any]) -> None:
        for call, fault, times, skip in faults:
            if (call, fault.get("status")) != ("put", 404):
                self.sandbox.fail(call, **fault, times=times, skip=skip)

    def _run(self, driver: Mortal, numbers: list[int]) -> bool:
        self.given.update(numbers)
        try:
            result = driver.run(PaperFrame(self.spark, urls(*numbers)), self.project, "box")
            assert result.task_count + result.outbox.known == len(numbers)
            return True
        except (Died, ConnectorError, ConnectionError):
            return False
        finally:
            if driver.late:
                self.late.append(driver)
            driver._transport.close()

    def _tasks(self) -> Counter[str]:
        return tasks_of(self.sandbox, self.project)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_any_order_of_events(sandbox: Sandbox, paper: PaperSpark) -> None:
    Outboxes.sandbox = sandbox
    run_state_machine_as_test(
        Outboxes,
        settings=settings(
            max_examples=SOAK or EXAMPLES,
            phases=[Phase.generate, Phase.shrink] if SOAK else [Phase.generate],
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not SOAK,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
