"""A project, an outbox of its own for each test, and a client whose time the test can move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from kit.fake_clock import FakeClock
from kit.mortal import watch_ledger
from kit.paper import PaperSpark, on_paper
from sama_spark import Client

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    return sandbox.create_project({"url": {"type": "string", "required": True}, "n": "integer"}, {"shapes": "image"})


@pytest.fixture
def outbox(tmp_path: Path) -> str:
    return str(tmp_path / "outbox")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(spark: SparkSession, sandbox: Sandbox, clock: FakeClock) -> Client:
    return Client(sandbox.api_key, base_url=sandbox.base_url, clock=clock)


@pytest.fixture
def watched() -> Iterator[None]:
    """Drivers can die at statements on the ledger."""
    with pytest.MonkeyPatch.context() as patch:
        watch_ledger(patch)
        yield


@pytest.fixture
def paper() -> Iterator[PaperSpark]:
    with pytest.MonkeyPatch.context() as patch:
        on_paper(patch)
        yield PaperSpark()
