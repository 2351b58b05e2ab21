"""What the tables already have, where that is few rows: the driver compares them, and Spark need not join them.

The driver's comparison follows the rule of `changed.compare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from sama_spark.delta import time_column
from sama_spark.inbound.sync.held import MOST
from sama_spark.sql_texts import sql_in

if TYPE_CHECKING:
    from sama_spark.inbound.sync.tables import SyncTables


class LandedDelivery(NamedTuple):
    """A row of `deliveries_raw`; times are in microseconds since 1970."""

    id: str | None
    delivered_at: int | None
    landed_at: int
    run_id: str
    problem: str | None

    @property
    def is_unreadable(self) -> bool:
        """Whether the delivery cannot be read as a task."""
        return self.id is None or self.problem is not None

    @property
    def is_timed(self) -> bool:
        """Whether the delivery has a time."""
        return self.delivered_at is not None

    @property
    def at(self) -> int:
        """`delivered_at`, or the time of the landing where the delivery has none."""
        return self.landed_at if self.delivered_at is None else self.delivered_at

    @property
    def time_is_odd(self) -> bool:
        """Whether the delivery has no time, or one that lies after its landing."""
        return self.delivered_at is None or self.delivered_at > self.landed_at


class KnownTask(NamedTuple):
    """When the delivery was made that `tasks` has of a task, and when the sync began that wrote it there."""

    at: int
    synced_at: int


class ComparedTask(NamedTuple):
    """A task with its newest delivery, in the columns of `changed.counted_columns`."""

    id: str | None
    micros: int
    is_timed: bool
    is_new: bool
    is_updated: bool
    deliveries: int
    landed: int


def few_landed(tables: SyncTables, since: datetime | None, last_write: datetime | None) -> list[LandedDelivery] | None:
    """Return the landed deliveries that a sync compares, and those that cannot be read; None if they are many.

    Args:
        tables: the project's tables.
        since: leaves out what was delivered before and had landed before `last_write`; None leaves nothing out.
        last_write: when the last run that wrote to `tasks` began.
    """
    rows = tables.deliveries_raw.read()
    if since is not None and last_write is not None:
        delivered_at, landed_at = (time_column(tables.spark, name) for name in ("delivered_at", "landed_at"))
        unreadable = F.col("problem").isNotNull() | F.col("id").isNull()
        is_recent = (delivered_at >= F.lit(since)) | (landed_at > F.lit(last_write))
        rows = rows.where(is_recent | F.col("delivered_at").isNull() | unreadable)
    times = (F.unix_micros(name) for name in ("delivered_at", "landed_at"))
    found = rows.select("id", *times, "run_id", "problem").limit(MOST + 1).collect()
    return [LandedDelivery(*row) for row in found] if len(found) <= MOST else None


def known_tasks(tables: SyncTables, ids: Iterable[str]) -> dict[str, KnownTask]:
    """Return what `tasks` has of these few tasks, by id."""
    if not (named := sorted(ids)):
        return {}
    times = (F.unix_micros(name) for name in ("delivered_at", "synced_at"))
    rows = tables.tasks.read().where(sql_in("id", named)).select("id", *times).collect()
    return {row[0]: KnownTask(row[2] if row[1] is None else row[1], row[2]) for row in rows}


def compare_few(
    landed: Iterable[LandedDelivery], known: Mapping[str, KnownTask], run_id: str
) -> Iterator[ComparedTask]:
    """Compare the newest delivery of each task with its row in `tasks`, as `changed.compare` does."""
    by_task: dict[str | None, list[LandedDelivery]] = {}
    for delivery in landed:
        by_task.setdefault(None if delivery.is_unreadable else delivery.id, []).append(delivery)
    for task_id, of_task in by_task.items():
        by_landing = any(delivery.time_is_odd for delivery in of_task)
        newest = max(of_task, key=lambda one: (one.landed_at, one.at, one.is_timed) if by_landing else (one.at,))
        before = None if task_id is None else known.get(task_id)
        is_updated = before is not None and (
            newest.landed_at > before.synced_at
            if by_landing or before.at >= before.synced_at
            else newest.at > before.at
        )
        yield ComparedTask(
            task_id,
            newest.at,
            newest.is_timed,
            task_id is not None and before is None,
            is_updated,
            len(of_task),
            sum(delivery.run_id == run_id for delivery in of_task),
        )
