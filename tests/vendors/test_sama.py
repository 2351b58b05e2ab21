"""Sama holds what every vendor promises: rows out with an outbox, labels back by `sync`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest
from suite import Back, LabelsBack, Out, RowsOut

from kit.deliveries import PAGE, delivery
from kit.fake_clock import FakeClock
from kit.mortal import CONTINUE, Mortal, watch_ledger
from sama_spark import Client

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.inbound.sync.sync_result import SyncResult
    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind
DAY = 86_400


@dataclass
class SamaOut:
    sandbox: Sandbox
    project: int
    outbox: str
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def key(self) -> str:
        return self.sandbox.api_key

    def send(self, rows: DataFrame, *, dies: Literal["before", "after"] | None = None) -> object:
        driver = Mortal(self.sandbox, self.clock)
        if dies:
            driver.dies(dies, CONTINUE, 2)
        try:
            return driver.run(rows, self.project, self.outbox, row_key="name", not_sent=())
        finally:
            self.clock.now += DAY  # the lease of a process that died passes

    def made(self) -> Counter[str]:
        return Counter(task["data"]["name"] for task in self.sandbox.tasks(self.project))

    def lose_a_reply(self) -> None:
        self.sandbox.fail("continue", kind="drop", after=True)

    def refuse_with_the_key(self) -> None:
        self.sandbox.fail("open", kind="status", status=400, body=f'{{"errors": ["no key {self.key}"]}}')


@dataclass
class SamaBack:
    sandbox: Sandbox
    project: int
    deliveries: int = 0

    @property
    def key(self) -> str:
        return self.sandbox.api_key

    def deliver(self, *names: str, answer: str = "sun") -> None:
        for name in names:
            self.deliveries += 1
            at = f"2026-01-02T00:00:{self.deliveries:02}.000Z"
            task = delivery(self.deliveries, at=at, weather=answer) | {"id": name.encode().hex().rjust(24, "0")}
            self.sandbox.deliver(self.project, [task])

    def sync(self, spark: SparkSession, into: str, *, full: bool = False) -> SyncResult:
        with Client(self.key, base_url=self.sandbox.base_url, delivered_page_size=PAGE) as client:
            return client.sync(spark, str(self.project), into, full=full)

    def fail_at_the_second_page(self) -> None:
        self.sandbox.fail("delivered", kind="status", status=400, body=f'{{"errors": ["{self.key}"]}}', skip=1)


class TestRowsOut(RowsOut):
    @pytest.fixture
    def vendor(self, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Out:
        watch_ledger(monkeypatch)
        sandbox.switch(status_calls_per_second=None)
        inputs = {"name": "string", "url": "string", "n": "integer"}
        return SamaOut(sandbox, sandbox.create_project(inputs, {"shapes": "image"}), str(tmp_path / "outbox"))


class TestLabelsBack(LabelsBack):
    @pytest.fixture
    def vendor(self, sandbox: Sandbox) -> Back:
        inputs = {"name": "string", "n": "integer"}
        return SamaBack(sandbox, sandbox.create_project(inputs, {"shapes": "image", "weather": "text"}))
