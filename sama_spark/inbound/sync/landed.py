"""What the tables already have, where that is little: the driver compares it, and Spark need not join tables.

The driver's comparison follows the rule of `changed.compare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from sama_spark.delta import time_column
from sama_spark.inbound.sync.held import MOST
from sama_spark.inbound.times import of_datetime
from sama_spark.sql_texts import sql_in

if TYPE_CHECKING:
    from pyspark.sql import Column

    from sama_spark.inbound.sync.tables import SyncTables


MOST_LANDED = 50_000


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

    @property
    def is_changed(self) -> bool:
        """Whether `tasks` lacks the task, or has an earlier delivery."""
        return self.is_new or self.is_updated


def few_landed(tables: SyncTables, since: datetime, last_write: datetime | None) -> list[LandedDelivery] | None:
    """Return the landed deliveries that a sync compares, and those that cannot be read; None if they are many.

    Args:
        tables: the project's tables.
        since: leaves out what was delivered before and had landed before `last_write`.
        last_write: when the last run that wrote to `tasks` began; None leaves nothing out.
    """
    rows = tables.deliveries_raw.read()
    if last_write is not None:
        is_unreadable = F.col("problem").isNotNull() | F.col("id").isNull()
        rows = rows.where(is_compared(tables, since, last_write) | is_unreadable)
    times = (F.unix_micros(name) for name in ("delivered_at", "landed_at"))
    # In one partition, so that Spark finds them in one job, and stops reading when there are too many.
    found = rows.select("id", *times, "run_id", "problem").coalesce(1).limit(MOST_LANDED + 1).collect()
    return [LandedDelivery(*row) for row in found] if len(found) <= MOST_LANDED else None


def is_compared(tables: SyncTables, since: datetime, last_write: datetime) -> Column:
    """Return whether a row of `deliveries_raw` must be compared with `tasks`, as `changed.find_changed` lists them."""
    delivered_at, landed_at = (time_column(tables.spark, name) for name in ("delivered_at", "landed_at"))
    untimed = F.col("delivered_at").isNull() & (landed_at >= F.lit(since))
    return (delivered_at >= F.lit(since)) | untimed | (landed_at > F.lit(last_write))


def compare_on_driver(
    tables: SyncTables,
    landed: Iterable[LandedDelivery],
    since: datetime | None,
    last_write: datetime | None,
    run_id: str,
) -> list[ComparedTask] | None:
    """Compare with `tasks` what `changed.find_changed` lists; None if it is too much for the driver.

    Args:
        tables: the project's tables.
        landed: what `few_landed` found, and what has landed since then.
        since: leaves out what was delivered before and had landed before `last_write`; None leaves nothing out.
        last_write: when the last run that wrote to `tasks` began; None: `tasks` is empty.
        run_id: the id of this run.
    """
    known: dict[str, KnownTask] | None = {}
    if last_write is not None:
        written = of_datetime(last_write)
        if since is not None:
            begin = of_datetime(since)
            landed = [one for one in landed if one.at >= begin or one.landed_at > written]
        readable = [one for one in landed if not one.is_unreadable]
        fresh = {str(one.id) for one in readable if one.landed_at > written}
        known = known_tasks(tables, {str(one.id) for one in readable}, fresh, since)
    if known is None:
        return None
    compared = list(compare_few(landed, known, run_id))
    return compared if sum(task.is_changed for task in compared) <= MOST else None


def known_tasks(
    tables: SyncTables, ids: AbstractSet[str], fresh: AbstractSet[str], since: datetime | None
) -> dict[str, KnownTask] | None:
    """Return what `tasks` has of these tasks, by id; None where too many would have to be looked up one by one.

    Args:
        tables: the project's tables.
        ids: the tasks.
        fresh: those of them that `tasks` most likely lacks, or has with an earlier delivery than `since`.
        since: the others were most likely delivered at that time or later. None means any time.
    """
    known: dict[str, KnownTask] = {}
    in_time = None if since is None else time_column(tables.spark, "delivered_at") >= F.lit(since)
    named = set(fresh if in_time is not None else ids)
    while named or in_time is not None:
        if len(named) > MOST:
            return None
        is_asked = F.expr(sql_in("id", sorted(named))) if named else F.lit(False)
        rows = tables.tasks.read().where(is_asked if in_time is None else is_asked | in_time)
        times = (F.unix_micros(name) for name in ("delivered_at", "synced_at"))
        for row in rows.select("id", *times).collect():
            known[row[0]] = KnownTask(row[2] if row[1] is None else row[1], row[2])
        # A run that died may have left deliveries that only the first query was to find.
        named, in_time = (set() if in_time is None else ids - fresh - known.keys()), None
    return known


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
