"""The ways of rows and deliveries between Spark and the driver: few stay there, many pass through files or stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sama_spark.inbound.sync import held, landing
from sama_spark.outbound import create, few_rows

_this = threading.local()


def as_many(patch: pytest.MonkeyPatch) -> None:
    """From here on a single row and the fewest deliveries count as many."""
    patch.setattr(few_rows, "FEW_ROWS", 0)
    patch.setattr(held, "MOST", -1)


def by_thread(patch: pytest.MonkeyPatch) -> None:
    """From here on rows and deliveries count as many in threads that are in the block of `counted_as`."""
    fetch_rows, fetch_encoded, take_few = create.fetch_rows, create.fetch_encoded, landing.take_few
    patch.setattr(create, "fetch_rows", lambda *df: None if _counts_as_many() else fetch_rows(*df))
    patch.setattr(create, "fetch_encoded", lambda rows: None if _counts_as_many() else fetch_encoded(rows))
    patch.setattr(landing, "take_few", lambda pages: ([], False) if _counts_as_many() else take_few(pages))


@contextmanager
def counted_as(many: bool) -> Iterator[None]:
    """Say for this thread whether rows and deliveries count as many."""
    _this.many = many
    try:
        yield
    finally:
        _this.many = False


def _counts_as_many() -> Any:
    return getattr(_this, "many", False)
