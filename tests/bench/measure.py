"""How long it takes, and what it holds meanwhile."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

import psutil
from pyspark.sql import DataFrame

from sama_spark.sandbox import Sandbox


@dataclass
class Figure:
    name: str
    rows: int
    seconds: list[float]
    python_mb: float

    @property
    def rate(self) -> float:
        return self.rows / median(self.seconds)


@contextmanager
def peak_python_memory() -> Iterator[list[float]]:
    """Megabytes of this process, sampled; the JVM is another process and does not count."""
    process, peak = psutil.Process(), [0.0]
    with suppress(OSError, AttributeError):  # what an earlier part has freed is not this one's
        ctypes.CDLL(None).malloc_trim(0)

    def sample() -> None:
        peak[0] = max(peak[0], process.memory_info().rss / 1e6)

    with sampling(sample, 0.02):
        yield peak


@contextmanager
def sampling(sample: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call `sample` in a thread, each time after so many seconds, until the block ends."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(seconds):
            sample()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def timed(
    name: str, rows: int, repeat: int, action: Callable[[], object], before: Callable[[], object] = lambda: None
) -> Figure:
    seconds: list[float] = []
    with peak_python_memory() as peak:
        for _ in range(repeat):
            before()
            begun = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - begun)
    print(f"  {name}: {rows / median(seconds):,.0f} rows/s", file=sys.stderr, flush=True)
    return Figure(name, rows, seconds, peak[0])


def consume(df: DataFrame) -> None:
    df.write.format("noop").mode("overwrite").save()


def save(df: DataFrame, path: str) -> None:
    df.write.format("delta").save(path)


def reference_client(sandbox: Sandbox) -> Any:
    """`sama` 0.5.12 as published; only its fixed base URL is replaced on the way out."""
    from sama.databricks import Client as SamaClient

    class Redirected(SamaClient):  # type: ignore[misc]
        def _call_and_retry_http_method(self, url: str, *args: Any, **kwargs: Any) -> Any:
            url = url.replace("https://api.sama.com/v2", sandbox.base_url)
            return super()._call_and_retry_http_method(url, *args, **kwargs)

    return Redirected(sandbox.api_key)
