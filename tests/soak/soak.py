"""One outbox under a thousand faults and deaths: `python tests/soak/soak.py [--seed N] [--faults N] [--paper]`.

Prints what happened and ends with 1 where a row was doubled or lost. `--paper` leaves Spark and Delta out, which
takes seconds for a thousand faults.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import pytest  # noqa: E402

from kit.fake_clock import FakeClock  # noqa: E402
from kit.mortal import CLAIM, CONTINUE, EVENT, FIND, OPEN, PUT, STATE, STATUS, Died, Mortal, tasks_of, watch_ledger  # noqa: E402
from kit.paper import PaperFrame, PaperSpark, on_paper  # noqa: E402
from sama_spark.errors import ConnectorError  # noqa: E402
from sama_spark.sandbox import Sandbox  # noqa: E402

FAULTS: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "drop", "after": True},
    {"kind": "truncate"},
    {"kind": "html"},
    {"kind": "html", "after": True},
    {"status": 429, "retry_after": 3},
    {"status": 500},
    {"status": 500, "after": True},
    {"status": 502, "after": True},
    {"status": 503},
    {"status": 504, "after": True},
    {"status": 400},
    {"status": 404},
]
CALLS = ["open", "put", "put", "continue", "continue", "continue", "status", "status", "cancel"]
STEPS = [STATE, FIND, OPEN, PUT, CLAIM, CLAIM, CONTINUE, CONTINUE, STATUS, EVENT]
LEASES = 3600.0
ROWS = 8  # in a run, each a batch of its own


class Soak:
    """`spark` may be one on paper."""

    def __init__(self, sandbox: Sandbox, spark: Any, outbox: str, rng: random.Random, vendor: str) -> None:
        self.sandbox, self.spark, self.outbox, self.rng = sandbox, spark, outbox, rng
        self.project = sandbox.create_project(
            {"url": {"type": "string", "required": True}}, second_continue=vendor, creation_delay=20
        )
        self.clock = FakeClock(time.time())
        self.happened: Counter[str] = Counter()
        self.given: set[int] = set()
        self.late: list[Mortal] = []
        self.ended: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return sum(self.happened.values())

    def once(self) -> None:
        """A run or a `resume`, with its share of bad luck."""
        rng = self.rng
        self.wait(rng.choice([0, 0, 130, 400, LEASES]))
        if rng.random() < 0.2:
            while self.late:
                self.land(self.late.pop())
        for _ in range(rng.randint(4, 9)):
            fault, call = dict(rng.choice(FAULTS)), rng.choice(CALLS)
            if fault.get("status") == 404 and rng.random() < 0.8:
                continue  # a person's work, each time
            self.sandbox.fail(call, **fault, times=rng.choice([1, 1, 2, 4]), skip=rng.randint(0, 6))
        driver = Mortal(self.sandbox, self.clock, rng=random.Random(rng.random()))
        if not isinstance(self.spark, PaperSpark):
            # Without a shared folder: the staged files of a claim go with its run, and late commits need them.
            driver._staging._found.setdefault(self.spark, {})[None] = None
        if rng.random() < 0.6:
            step = rng.choice(STEPS)
            late = ["late", "error late", "error after"] if step in (CLAIM, EVENT) else []
            driver.dies(rng.choice(["before", "after", *late]), step, rng.randint(1, 1 if step == CLAIM else 3))
        try:
            if rng.random() < 0.15 and self.given:
                driver.settle(self.spark, self.outbox)
            else:
                # Mostly rows that are new, some that are known, and now and then old ones that a dead run held.
                newest = len(self.given)
                first = max(0, newest - rng.choice([0, 1, 3, 5, rng.randint(0, 2 * ROWS)]))
                self.run(driver, list(range(first, first + ROWS)))
            self.ended["ran to their end"] += 1
        except Died as error:
            self.happened[f"death at: {error}"] += 1
            self.ended["died"] += 1
        except (ConnectorError, ConnectionError) as error:
            self.ended[f"ended with {type(error).__name__}"] += 1
        if driver.late:
            self.late.append(driver)
        driver._transport.close()
        self.note_faults()

    def run(self, driver: Mortal, numbers: list[int]) -> Any:
        self.given.update(numbers)
        urls = [f"https://example.org/{number}" for number in numbers]
        if isinstance(self.spark, PaperSpark):
            df: Any = PaperFrame(self.spark, urls)
        else:
            df = self.spark.createDataFrame([(url,) for url in urls], "url string").coalesce(1)
        result = driver.run(df, self.project, self.outbox, chunk_rows=1)
        assert result.task_count + result.outbox.known == len(numbers), "rows are not accounted for"
        return result

    def note_faults(self) -> None:
        for request in self.sandbox.requests():
            if "fault" in request:
                what = request["status"] if request["fault"] == "status" else request["fault"]
                self.happened[f"{request['call']}: {what}"] += 1
        self.sandbox.forget_calls()
        self.sandbox.heal()

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.sandbox.advance(seconds)

    def land(self, driver: Mortal) -> None:
        try:
            driver.land()
            self.happened["late commit, landed or skipped"] += 1
        except Exception as refused:
            # Delta has several words for it.
            assert any(word in str(refused) for word in ("oncurrent", "ransaction")), refused
            self.happened["late commit, refused"] += 1

    def settle_by_hand(self) -> None:
        """A person looks into what is unsure."""
        driver = Mortal(self.sandbox, self.clock)
        words = {}
        for batch in driver.settle(self.spark, self.outbox).unsure:
            state = driver.get_batch_job(self.project, batch.batch_id).state
            if state == "waiting":
                driver.cancel_batch_creation_job(self.project, batch.batch_id)
            words[batch.batch_id] = "created" if state == "completed" else "void"
        if words:
            driver.settle(self.spark, self.outbox, unsure=words)
            self.ended["unsure batches, settled by hand"] += len(words)

    def doubled(self) -> dict[str, int]:
        return {url: count for url, count in tasks_of(self.sandbox, self.project).items() if count > 1}

    def finish(self) -> int:
        """All of it once more, without faults; gives how many rows are lost then."""
        self.wait(LEASES)
        self.settle_by_hand()
        self.run(Mortal(self.sandbox, self.clock), sorted(self.given))
        self.wait(LEASES)
        while self.late:
            self.land(self.late.pop())
        again = self.run(Mortal(self.sandbox, self.clock), sorted(self.given))
        assert again.task_count == 0, "a complete outbox sent something"
        return len(self.given) - len(tasks_of(self.sandbox, self.project))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--vendor", choices=("refuse", "obey"), default="obey")
    parser.add_argument("--paper", action="store_true")
    told = parser.parse_args()
    print(f"seed {told.seed}", flush=True)
    logging.getLogger("sama_spark").setLevel(logging.CRITICAL)
    patch = pytest.MonkeyPatch()
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as folder:
        if told.paper:
            on_paper(patch)
            spark: Any = PaperSpark()
        else:
            from sama_spark.local import local_session

            watch_ledger(patch)
            spark = local_session(settings={"spark.sql.warehouse.dir": folder})
        begun = time.monotonic()
        soak = Soak(sandbox, spark, f"{folder}/outbox", random.Random(told.seed), told.vendor)
        runs = 0
        while soak.count < told.faults:
            soak.once()
            runs += 1
            if doubled := soak.doubled():
                print(f"after run {runs}: doubled {doubled}")
                return 1
            if runs % 20 == 0:
                print(f"{runs} runs, {soak.count} faults, {time.monotonic() - begun:.0f} s", flush=True)
        lost, doubled = soak.finish(), soak.doubled()
        for what, count in sorted(soak.happened.items()):
            print(f"  {count:5} {what}")
        for what, count in soak.ended.most_common():
            print(f"  {count:5} {what}")
        created = sum(tasks_of(sandbox, soak.project).values())
        print(
            f"{runs} runs, {soak.count} faults and deaths, {time.monotonic() - begun:.0f} s: "
            f"rows in {len(soak.given)}, created {created}, doubled {len(doubled)}, lost {lost}"
        )
    return 1 if doubled or lost else 0


if __name__ == "__main__":
    sys.exit(main())
