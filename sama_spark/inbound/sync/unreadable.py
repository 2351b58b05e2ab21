"""Deliveries that lie in `deliveries_raw` and cannot be read as tasks: how many, which and why, at every sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark.delta import sql_in
from sama_spark.inbound.sync.landing import PROBLEM

if TYPE_CHECKING:
    from pyspark.sql import Row

    from sama_spark.inbound.sync.tables import SyncTables

_MOST = 5_000  # that are compared with `tasks` one by one
_SHOWN = 3


def lying(tables: SyncTables) -> list[Row]:
    """Those that have landed so far, some thousands at the most. Files without any are not read."""
    raw = tables["deliveries_raw"].read()
    problem = F.col(PROBLEM) if PROBLEM in raw.columns else F.lit(None).cast("string")
    odd = raw.where(problem.isNotNull() | F.col("id").isNull())
    return odd.select("id", "delivered_at", "landed_at", problem.alias(PROBLEM)).limit(_MOST).collect()


def without_superseded(tables: SyncTables, odd: list[Row]) -> list[Row]:
    """What is left of `odd` without those of whose task `tasks` has this delivery or a newer one."""
    ids = {row["id"] for row in odd if row["id"] is not None}
    if not ids:
        return odd
    tasks = tables["tasks"].read().where(sql_in("id", sorted(ids)))
    known = {row[0]: row for row in tasks.select("id", "delivered_at", "synced_at").collect()}
    return [row for row in odd if row["id"] not in known or not _is_newer(known[row["id"]], row)]


def told(odd: list[Row]) -> list[str]:
    """Some of them in words."""
    notes = [f"task {row['id'] or 'without an id'} cannot be read: {row[PROBLEM] or 'it has no id'}" for row in odd]
    shown = sorted(set(notes))[:_SHOWN]
    more = [f"{len(odd):,} deliveries lie in deliveries_raw alone: see its column {PROBLEM}"] if odd else []
    return more + shown


def _is_newer(task: Row, odd: Row) -> bool:
    if odd["delivered_at"] is None:
        return bool(task["synced_at"] > odd["landed_at"])
    return bool(task["delivered_at"] >= odd["delivered_at"])
