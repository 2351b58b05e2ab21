"""Clients whose waits take no time, on a machine and as on a cluster."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kit.fake_clock import FakeClock
from sama_spark import Client, process_folder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox


def client(sandbox: Sandbox, **options: Any) -> Client:
    """A client whose waits take no time."""
    return Client(sandbox.api_key, base_url=sandbox.base_url, clock=FakeClock(time.time()), **options)


@contextmanager
def streaming_client(sandbox: Sandbox, spark: SparkSession, folder: Path, **options: Any) -> Iterator[Client]:
    """On a machine whose temporary folder Spark and the driver cannot share, as on a cluster."""
    no_folder = folder / "file"
    no_folder.touch()
    with pytest.MonkeyPatch.context() as patch, client(sandbox, **options) as streaming:
        patch.setattr(tempfile, "tempdir", str(no_folder))
        process_folder.process_folder.cache_clear()
        assert streaming._stage(spark, None) is None
        patch.undo()
        process_folder.process_folder.cache_clear()
        yield streaming
