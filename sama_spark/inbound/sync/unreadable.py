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


def found(tables: SyncTables) -> list[Row]:
    """Return the unreadable deliveries of `deliveries_raw`, 5,000 at most. Spark skips files that have none."""
    unreadable = tables.deliveries_raw.read().where(F.col("problem").isNotNull() | F.col("id").isNull())
    return unreadable.select("id", "delivered_at", "landed_at", "problem").limit(_MOST).collect()


def without_superseded(tables: SyncTables, unreadable: list[Row]) -> list[Row]:
    """Leave out those for whose task `tasks` has the same delivery or a newer one."""
    ids = {row["id"] for row in unreadable if row["id"] is not None}
    if not ids:
        return unreadable
    tasks = tables.tasks.read().where(sql_in("id", sorted(ids)))
    known = {row[0]: row for row in tasks.select("id", "delivered_at", "synced_at").collect()}
    return [row for row in unreadable if row["id"] not in known or not _is_newer(known[row["id"]], row)]


def in_words(unreadable: list[Row]) -> list[str]:
    """Return how many there are, and what is wrong with some of them."""
    if not unreadable:
        return []
    reasons = {
        f"task {row['id'] or 'without an id'} cannot be read: {row['problem'] or 'it has no id'}" for row in unreadable
    }
    how_many = f"{len(unreadable):,} deliveries lie in deliveries_raw alone: see its column problem"
    return [how_many, *sorted(reasons)[:_SHOWN]]


def _is_newer(task: Row, unreadable: Row) -> bool:
    if unreadable["delivered_at"] is None:
        return bool(task["synced_at"] > unreadable["landed_at"])
    return bool(task["delivered_at"] >= unreadable["delivered_at"])
