"""Reads from the rows how far a project's tables have come: a watermark is never ahead of the data."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from sama_spark.delta import DeltaTable


class Watermark(NamedTuple):
    """How far `tasks` has come; None where it has no such row.

    Attributes:
        delivered_at: the latest delivery that one feed brought. Other feeds may have left earlier deliveries out, so
            their rows do not count. Times in the future do not count: they would hide all that is delivered until
            then. Nor do deliveries without a time: their rows have the time of their landing.
        synced_at: when the last run began that wrote to `tasks`.
    """

    delivered_at: datetime | None
    synced_at: datetime | None


def watermark(tasks: DeltaTable, source: str) -> Watermark:
    """Read the watermark from `tasks`; `source` is the feed, as the column `feed` has it."""
    counts = (F.col("feed") == source) & F.expr("delivered_at < synced_at")
    times = F.max(F.when(counts, F.col("delivered_at"))), F.max("synced_at")
    found = tasks.read().agg(*map(F.unix_micros, times)).collect()[0]
    return Watermark(*(None if at is None else moment(at) for at in found))


def last_cursor(deliveries_raw: DeltaTable, source: str) -> str | None:
    """Return the cursor that landed last from this feed; None where none has landed."""
    landed = deliveries_raw.read().where((F.col("feed") == source) & F.col("cursor").isNotNull())
    cursor = landed.agg(F.max_by("cursor", "landed_at")).collect()[0][0]
    return None if cursor is None else str(cursor)


def moment(micros: int) -> datetime:
    """Return the time that is so many microseconds after 1970."""
    return datetime.fromtimestamp(micros / 1e6, timezone.utc)
