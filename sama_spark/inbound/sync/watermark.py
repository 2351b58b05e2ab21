"""How far a project's tables have come, as the table that holds the data tells it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from sama_spark.inbound.table import RESCUED

if TYPE_CHECKING:
    from sama_spark.delta import DeltaTable


class Reached(NamedTuple):
    """How far `tasks` has come; None where it has nothing.

    delivered_at: the latest delivery from the feed that is asked for: others may have left earlier ones out. What came
        from a clock ahead of ours does not count: it would hide all that is delivered until then.
    synced_at: when the last run began that wrote to it.
    unfit: tasks with a value that does not fit its type.
    """

    delivered_at: datetime | None
    synced_at: datetime | None
    unfit: int


def reached(tasks: DeltaTable, feed: str, run: tuple[str, datetime] | None = None) -> Reached:
    """By all rows of `tasks`, or by those that one run wrote: its id and `synced_at`."""
    rows = tasks.read()
    if run is not None:
        run_id, synced_at = run
        rows = rows.where((F.col("synced_at") == F.lit(synced_at)) & (F.col("run_id") == run_id))  # files by the first
    counts = (F.col("feed") == feed) & F.expr("delivered_at <= synced_at")
    times = F.max(F.when(counts, F.col("delivered_at"))), F.max("synced_at")
    *found, unfit = rows.agg(*map(F.unix_micros, times), F.count(RESCUED)).collect()[0]
    last, synced = (None if at is None else datetime.fromtimestamp(at / 1e6, timezone.utc) for at in found)
    return Reached(last, synced, unfit)
