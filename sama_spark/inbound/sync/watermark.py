"""How far a project's tables have come, as the table that holds the data tells it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from sama_spark.delta import DeltaTable


class Reached(NamedTuple):
    """How far `tasks` has come; None where it has nothing.

    delivered_at: the latest delivery from the feed that is asked for: others may have left earlier ones out. What came
        from a clock ahead of ours does not count: it would hide all that is delivered until then. Nor does a delivery
        without a time, whose row has that of its landing.
    synced_at: when the last run began that wrote to it.
    """

    delivered_at: datetime | None
    synced_at: datetime | None


def reached(tasks: DeltaTable, feed: str) -> Reached:
    """By what the rows of `tasks` say of themselves."""
    counts = (F.col("feed") == feed) & F.expr("delivered_at < synced_at")
    times = F.max(F.when(counts, F.col("delivered_at"))), F.max("synced_at")
    found = tasks.read().agg(*map(F.unix_micros, times)).collect()[0]
    return Reached(*(None if at is None else moment(at) for at in found))


def moment(micros: int) -> datetime:
    """The time so many microseconds after 1970."""
    return datetime.fromtimestamp(micros / 1e6, timezone.utc)
