"""A client on each of the three ways that rows take from Spark to the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.ways import as_many
from sama_spark import Client

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox


@pytest.fixture(params=["few", "staged", "streamed"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How tasks come from Spark to the driver."""
    if request.param != "few":
        as_many(monkeypatch)
    return str(request.param)


@pytest.fixture
def client(way: str, spark: SparkSession, sandbox: Sandbox) -> Client:
    return Client(sandbox.api_key, base_url=sandbox.base_url, staging=False if way == "streamed" else None)
