from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit.fake_clock import FakeClock
from kit.scripted_server import KEY, ScriptedServer, fixed_random
from sama_spark.api import ApiClient


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_client(server: ScriptedServer, clock: FakeClock) -> Callable[..., ApiClient]:
    def make(**options: Any) -> ApiClient:
        settings: dict[str, Any] = {
            "base_url": server.base_url,
            "clock": clock,
            "rng": fixed_random(),
            "read_timeout": 5.0,
            **options,
        }
        return ApiClient(KEY, **settings)

    return make


@pytest.fixture
def client(make_client: Callable[..., ApiClient]) -> ApiClient:
    return make_client()
