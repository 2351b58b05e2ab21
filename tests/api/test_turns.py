"""Turns of calls: so many at once, first come, first served, and none while the server wants none."""

from __future__ import annotations

import threading
import time

import pytest

from kit.fake_clock import FakeClock
from sama_spark.http.turns import Turns, TurnsOver


def test_first_come_first_served(clock: FakeClock) -> None:
    turns, served = Turns(1, clock), list[int]()

    def call(number: int) -> None:
        with turns:
            served.append(number)

    threads = [threading.Thread(target=call, args=[number]) for number in range(8)]
    with turns:
        for number, thread in enumerate(threads, 1):
            thread.start()
            until = time.monotonic() + 5
            while len(turns._queue) < number and time.monotonic() < until:
                time.sleep(0.001)
    for thread in threads:
        thread.join(5)
    assert served == list(range(8))


def test_nobody_begins_while_the_server_wants_no_call(clock: FakeClock) -> None:
    turns = Turns(4, clock)
    turns.slow_down(5)
    with turns:
        assert clock.sleeps == [5]
    with turns:
        assert clock.sleeps == [5]


class Told(FakeClock):
    """A clock during whose first sleep something happens."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns(4, self)
        self.turns.slow_down(5)


def test_a_call_that_pauses_is_told_to_pause_longer() -> None:
    class SlowedDown(Told):
        def sleep(self, seconds: float) -> None:
            if not self.sleeps:
                self.turns.slow_down(12)
            super().sleep(seconds)

    clock = SlowedDown()
    with clock.turns:
        assert clock.sleeps == [5, 7]


def test_a_call_that_pauses_is_not_sent_after_the_end() -> None:
    class Ended(Told):
        def sleep(self, seconds: float) -> None:
            self.turns.end()
            super().sleep(seconds)

    with pytest.raises(TurnsOver), Ended().turns:
        pytest.fail("it has begun")


def test_a_pause_that_is_interrupted_leaves_its_place() -> None:
    class Interrupted(Told):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if len(self.sleeps) == 1:
                raise KeyboardInterrupt

    clock = Interrupted()
    with pytest.raises(KeyboardInterrupt), clock.turns:
        pytest.fail("it has begun")
    with clock.turns:  # would wait for ever
        pass
