"""Drivers that die: a client whose process can end at any step, and the clock that several of them share."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from kit.fake_clock import FakeClock
from sama_spark import Client
from sama_spark.delta import DeltaTable
from sama_spark.outbound.outbox.ledger import Ledger

if TYPE_CHECKING:
    from sama_spark.sandbox import Sandbox

T = TypeVar("T")
When = Literal["before", "after", "late", "error after", "error late"]
"""A step's fate: the driver dies before it or after it, or dies and the step happens `late`, when a test says so;
with "error" the driver lives on and is told that the connection was lost."""

OPEN, PUT, CONTINUE, STATUS, CANCEL = (
    "open batch",
    "upload tasks",
    "continue batch",
    "get batch job",
    "cancel batch",
)
STATE, FIND, CLAIM, EVENT = "read the state", "look rows up", "claim", "record events"
_driving = threading.local()


class Died(BaseException):
    """The process of one driver has ended here."""


class Mortal(Client):
    """A driver whose process can end at any request or table statement, before it has its effect or after: from
    then on nothing leaves it, its clean-up included."""

    def __init__(self, sandbox: Sandbox, clock: Any, **options: Any) -> None:
        super().__init__(sandbox.api_key, base_url=sandbox.base_url, clock=clock, **{"read_timeout": 10.0, **options})
        self.alive = True
        self.steps: list[str] = []
        self.late: list[tuple[str, Callable[[], Any]]] = []
        self.meanwhile: Callable[[str, int], None] = lambda *_: None
        self._fate: Callable[[str, int], When | None] = lambda *_: None
        self._lock = threading.Lock()
        self._transport.around = lambda call, attempt: self.step(call.what, attempt)

    def dies(self, when: When, step: str, nth: int = 1) -> Mortal:
        """It ends at the `nth` step of that name."""
        seen: Counter[str] = Counter()

        def fate(name: str, _: int) -> When | None:
            seen[name] += 1
            return when if (name, seen[name]) == (step, nth) else None

        self._fate = fate
        return self

    def dies_at(self, number: int, when: When) -> Mortal:
        """It ends at its step of that number, from 1, whatever it is."""
        self._fate = lambda _, count: when if count == number else None
        return self

    def step(self, name: str, effect: Callable[[], T]) -> T:
        with self._lock:
            if not self.alive:
                raise Died(name)
            self.steps.append(name)
            number = len(self.steps)
            when = self._fate(name, number)
            self.alive = when not in ("before", "late")
        if when in ("late", "error late"):
            self.late.append((name, effect))
        if when == "error late":
            raise ConnectionError("the connection was lost")
        if not self.alive:
            raise Died(name)
        self.meanwhile(name, number)
        result = effect()
        with self._lock:
            self.alive = self.alive and when != "after"
            if not self.alive:
                raise Died(name)
        if when == "error after":
            raise ConnectionError("the connection was lost")
        return result

    def land(self) -> None:
        """What this driver had on its way arrives."""
        while self.late:
            self.late.pop(0)[1]()

    @contextmanager
    def driving(self) -> Iterator[Mortal]:
        """Table statements of this thread are the driver's own."""
        before = getattr(_driving, "driver", None)
        _driving.driver = self
        try:
            yield self
        finally:
            _driving.driver = before

    def run(self, df: Any, project: int, outbox: str, **options: Any) -> Any:
        """`create_task_batch_from_table`, in chunks of two rows, one upload at a time."""
        with self.driving():
            given = {"row_key": "url", "chunk_rows": 2, "in_flight": 1, **options}
            return self.create_task_batch_from_table(df, str(project), outbox=outbox, **given)

    def settle(self, spark: Any, outbox: str, **options: Any) -> Any:
        with self.driving():
            return self.resume(spark, outbox=outbox, **options)


def _as_step(name: str, function: Callable[..., T]) -> Callable[..., T]:
    def stepped(*args: Any, **options: Any) -> T:
        driver: Mortal | None = getattr(_driving, "driver", None)
        return (
            driver.step(name, lambda: function(*args, **options)) if driver is not None else function(*args, **options)
        )

    return stepped


def watch_ledger(patch: pytest.MonkeyPatch, ledger: Any = Ledger, table: Any = DeltaTable) -> None:
    """Let drivers die at statements on the ledger, too."""
    patch.setattr(ledger, "state", _as_step(STATE, ledger.state))
    patch.setattr(ledger, "find", _as_step(FIND, ledger.find))
    append = table.append

    def stepped(self: Any, rows: Any, *, transaction: tuple[str, int] | None = None) -> None:
        name = CLAIM if transaction else EVENT
        _as_step(name, append)(self, rows, transaction=transaction)

    patch.setattr(table, "append", stepped)


@contextmanager
def dying_after(writes: int) -> Iterator[None]:
    """The process ends once it has written to tables so often; what it tries after that has no effect."""
    count = 0

    def mortal(write: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            nonlocal count
            result = write(*args, **options) if count < writes else None
            count += 1
            if count >= writes:
                raise Died
            return result

        return step

    with pytest.MonkeyPatch.context() as patch:
        for name in ("create", "append", "replace", "merge"):
            patch.setattr(DeltaTable, name, mortal(getattr(DeltaTable, name)))
        with pytest.raises(Died):
            yield


class SharedClock(FakeClock):
    """Time of several drivers in threads of their own: it passes only while all of them sleep."""

    def __init__(self, now: float | None = None) -> None:
        super().__init__(time.time() if now is None else now)
        self._changed = threading.Condition()
        self._awake = 0
        self._wakes: list[float] = []

    def sleep(self, seconds: float) -> None:
        with self._changed:
            wake = self.now + max(0.0, seconds)
            self._wakes.append(wake)
            self._awake -= 1
            self._pass()
            assert self._changed.wait_for(lambda: self.now >= wake, timeout=240), "the others never slept"

    def _pass(self) -> None:
        if self._awake <= 0 and self._wakes:
            self.now = max(self.now, min(self._wakes))
            woken = [wake for wake in self._wakes if wake <= self.now]
            self._wakes = [wake for wake in self._wakes if wake > self.now]
            self._awake += len(woken)
            self._changed.notify_all()

    def together(self, works: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run these at once; gives what each returned, or the error that it ended with."""
        results: list[Any] = [None] * len(works)
        self._awake = len(works)

        def run(number: int) -> None:
            try:
                results[number] = works[number]()
            except BaseException as error:  # a dead driver among others that live
                results[number] = error
            finally:
                with self._changed:
                    self._awake -= 1
                    self._pass()

        threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(280)
            assert not thread.is_alive(), "a driver hangs"
        self._awake = 0
        return results


def tasks_of(sandbox: Sandbox, project: int) -> Counter[str]:
    """How many tasks each url has."""
    return Counter(task["data"]["url"] for task in sandbox.tasks(project))


def urls(*numbers: int) -> list[str]:
    return [f"https://example.org/{number}.jpg" for number in numbers]
