"""Deliveries that landed and cannot be read as tasks: how many, which ones and why. Every sync reports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark.sql_texts import sql_in

if TYPE_CHECKING:
    from pyspark.sql import Row

    from sama_spark.inbound.sync.tables import SyncTables

_MOST = 5_000  # deliveries that are compared with `tasks` one by one
_SHOWN = 3


def landed(tables: SyncTables) -> list[Row]:
    """Return the unreadable deliveries of `deliveries_raw`, 5,000 at most. Spark skips files that have none."""
    odd = tables.deliveries_raw.read().where(F.col("problem").isNotNull() | F.col("id").isNull())
    return odd.select("id", "delivered_at", "landed_at", "problem").limit(_MOST).collect()


def without_superseded(tables: SyncTables, odd: list[Row]) -> list[Row]:
    """Leave out those for whose task `tasks` has the same delivery or a newer one."""
    ids = {row["id"] for row in odd if row["id"] is not None}
    if not ids:
        return odd
    tasks = tables.tasks.read().where(sql_in("id", sorted(ids)))
    known = {row[0]: row for row in tasks.select("id", "delivered_at", "synced_at").collect()}
    return [row for row in odd if row["id"] not in known or not _is_newer(known[row["id"]], row)]


def in_words(odd: list[Row]) -> list[str]:
    """Return how many there are, and what is wrong with some of them."""
    notes = [f"task {row['id'] or 'without an id'} cannot be read: {row['problem'] or 'it has no id'}" for row in odd]
    shown = sorted(set(notes))[:_SHOWN]
    more = [f"{len(odd):,} deliveries lie in deliveries_raw alone: see its column problem"] if odd else []
    return more + shown


def _is_newer(task: Row, odd: Row) -> bool:
    if odd["delivered_at"] is None:
        return bool(task["synced_at"] > odd["landed_at"])
    return bool(task["delivered_at"] >= odd["delivered_at"])
