"""Deliveries that landed and cannot be read as tasks: how many, which ones and why. Every sync reports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from sama_spark.sql_texts import sql_in

if TYPE_CHECKING:
    from sama_spark.inbound.sync.landing import Landing
    from sama_spark.inbound.sync.tables import SyncTables

_MOST = 5_000  # deliveries that are compared with `tasks` one by one
_SHOWN = 3


class UnreadableDelivery(NamedTuple):
    """A delivery with the columns of `deliveries_raw`; times are in microseconds since 1970."""

    id: str | None
    delivered_at: int | None
    landed_at: int
    problem: str | None


def found(landing: Landing) -> list[UnreadableDelivery]:
    """Return the unreadable deliveries of `deliveries_raw`, 5,000 at most. Spark skips files that have none."""
    if landing.landed is not None:
        return [
            UnreadableDelivery(one.id, one.delivered_at, one.landed_at, one.problem)
            for one in landing.landed
            if one.is_unreadable
        ][:_MOST]
    unreadable = landing.tables.deliveries_raw.read().where(F.col("problem").isNotNull() | F.col("id").isNull())
    times = map(F.unix_micros, ("delivered_at", "landed_at"))
    return [UnreadableDelivery(*row) for row in unreadable.select("id", *times, "problem").limit(_MOST).collect()]


def without_superseded(tables: SyncTables, unreadable: list[UnreadableDelivery]) -> list[UnreadableDelivery]:
    """Leave out those for whose task `tasks` has the same delivery or a newer one."""
    ids = {row.id for row in unreadable if row.id is not None}
    if not ids:
        return unreadable
    tasks = tables.tasks.read().where(sql_in("id", sorted(ids)))
    times = map(F.unix_micros, ("delivered_at", "synced_at"))
    known = {row[0]: (row[1], row[2]) for row in tasks.select("id", *times).collect()}
    return [row for row in unreadable if row.id not in known or not _is_newer(*known[row.id], row)]


def in_words(unreadable: list[UnreadableDelivery]) -> list[str]:
    """Return how many there are, and what is wrong with some of them."""
    if not unreadable:
        return []
    reasons = {
        f"task {row.id or 'without an id'} cannot be read: {row.problem or 'it has no id'}" for row in unreadable
    }
    how_many = f"{len(unreadable):,} deliveries lie in deliveries_raw alone: see its column problem"
    return [how_many, *sorted(reasons)[:_SHOWN]]


def _is_newer(delivered_at: int, synced_at: int, unreadable: UnreadableDelivery) -> bool:
    """Return whether the row of `tasks` with these times is newer."""
    if unreadable.delivered_at is None:
        return synced_at > unreadable.landed_at
    return delivered_at >= unreadable.delivered_at
