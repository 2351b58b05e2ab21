"""Land deliveries as text, each once, before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark.delta import is_conflict, time_column
from sama_spark.driver_rows import local_texts, takes_arrow
from sama_spark.inbound.lines import (
    TABLE_BYTES,
    ahead,
    line_columns,
    line_tables,
    stage_lines,
    staged_lines,
)
from sama_spark.inbound.sync.held import Delivery, deliveries, few_or_none, raw_frame, take_few
from sama_spark.inbound.sync.landed import LandedDelivery, few_landed
from sama_spark.inbound.table import as_timestamp
from sama_spark.inbound.times import of_datetime

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.inbound.sync.tables import SyncTables
    from sama_spark.staging import Stage
    from sama_spark.vendors.seam import Page

_LINK = r'(https?:[^"?\s]*)\?[^"]*'  # as in `api.task_text`
_KEY_END = "\x1f"  # JSON text cannot hold this character
# Another sync may land at the same time, and since_last_call does not serve a page again.
_TRIES = 10


@dataclass
class Landing:
    """One run's way into `deliveries_raw`.

    Attributes:
        tables: the project's tables.
        stage: returns where the text of many deliveries waits; None: it passes through the driver's memory.
        source: what the column `feed` says.
        progress: of the run; counts its pages here.
        landed_at: what this column says.
        since: only deliveries from this time on can be in the table already; None means any.
        last_write: when the last run that wrote to `tasks` began; None: `tasks` is empty.
        is_empty: whether the table is known to have no rows.
        fetched: how many deliveries have been read, whether the table lacked them or not.
        held: these deliveries; None if they are more than the driver holds.
        landed: what `few_landed` found before, and what this run has landed; None if Spark must look it up.
    """

    tables: SyncTables
    stage: Callable[[], Stage | None]
    source: str
    progress: FeedSync
    landed_at: datetime
    since: datetime | None
    last_write: datetime | None
    is_empty: bool
    fetched: int = 0
    held: list[Delivery] | None = field(default_factory=list, repr=False)
    landed: list[LandedDelivery] | None = field(default=None, init=False, repr=False)

    def land(self, pages: Iterable[Page], cursor: Callable[[], str | None]) -> None:
        """Append the deliveries of `pages` that `deliveries_raw` lacks.

        Spark appends a few deliveries from the driver's memory, and many from the stage: all in one commit. Without a
        stage it appends many in portions of some 64 MB.

        Args:
            pages: what to land.
            cursor: called once all pages are read. What it returns lands with the last rows, in one commit. If those
                rows are already there, the cursor is not written, and the next sync reads the same pages again.
        """
        with closing(ahead(self._counted(pages))) as fetched:
            first, are_all = take_few(fetched) if takes_arrow() else ([], False)
            if are_all:
                self._land_few(first, cursor)
            else:
                self.held = self.landed = None
                self._land_many(chain(first, fetched), cursor)

    def _land_few(self, pages: Iterable[Page], cursor: Callable[[], str | None]) -> None:
        few = deliveries(pages, self.landed_at)
        if self.is_empty:
            self.landed = []
        elif self.since is None:
            self.landed = None  # any delivery may have to be compared, and another sync may be landing some
        else:
            self.landed = few_landed(self.tables, self.since, self.last_write)
        fresh = self._fresh(few)
        if fresh:
            origin = self.source, self.progress.run_id, self.landed_at, cursor()
            rows = raw_frame(self.tables.spark, fresh, *origin).coalesce(1)  # one file
            self._append(rows)
        if self.landed is not None:
            run_id, landed_at = self.progress.run_id, of_datetime(self.landed_at)
            self.landed += [LandedDelivery(one.id, one.delivered_at, landed_at, run_id, one.problem) for one in fresh]
        if self.held is not None:
            self.held = few_or_none(self.held + few)

    def _fresh(self, few: list[Delivery]) -> list[Delivery]:
        """Return the deliveries that the table lacks; all of them where the driver cannot tell."""
        if not self.landed:
            return few
        if any(one.id is None or one.delivered_at is None or one.problem is not None for one in few):
            self.landed = None  # these are known by their text
            return few
        known = {(one.id, one.delivered_at) for one in self.landed if one.problem is None}
        return [one for one in few if (one.id, one.delivered_at) not in known]

    def _land_many(self, fetched: Iterable[Page], cursor: Callable[[], str | None]) -> None:
        spark, stage = self.tables.spark, self.stage()
        if stage is not None:
            with stage.run("sync") as folder:
                if stage_lines(fetched, folder):
                    self._append(self._raw_rows(staged_lines(spark, folder), cursor()))
            return
        waiting = None
        for portion in line_tables(fetched, TABLE_BYTES):
            if waiting is not None:
                self._append(self._raw_rows(local_texts(spark, waiting), None))
            waiting = portion
        if waiting is not None:
            self._append(self._raw_rows(local_texts(spark, waiting), cursor()))

    def _counted(self, pages: Iterable[Page]) -> Iterator[Page]:
        for page in pages:
            self.progress.pages += 1
            self.fetched += len(page)
            yield page

    def _raw_rows(self, lines: DataFrame, cursor: str | None) -> DataFrame:
        line = line_columns()
        return lines.select(
            line.id.alias("id"),
            as_timestamp(line.delivered_at).alias("delivered_at"),
            line.raw.alias("raw"),
            line.parts.alias("parts"),
            line.problem.alias("problem"),
            F.lit(self.source).alias("feed"),
            F.lit(self.progress.run_id).alias("run_id"),
            F.lit(self.landed_at).alias("landed_at"),
            F.lit(cursor).cast("string").alias("cursor"),
        )

    def _append(self, rows: DataFrame) -> None:
        for left in reversed(range(_TRIES)):
            try:
                if self.is_empty:
                    self.is_empty = False  # also if another sync has written to it: then rows are compared
                    self.tables.deliveries_raw.fill(rows)
                    return
                fresh = self._lacking(rows)
                # An append of nothing leaves a file each time; where `landed` is known, some rows are fresh.
                if self.landed is not None or not fresh.isEmpty():
                    self.tables.deliveries_raw.append(fresh)
                return
            except Exception as error:  # noqa: PERF203 - a commit of Delta takes longer
                if not is_conflict(error) or not left:
                    raise
                self.landed = None  # another sync has landed deliveries

    def _lacking(self, rows: DataFrame) -> DataFrame:
        """Return those of `rows` that the table lacks.

        A delivery is known by its task and time. One that lacks either is known by its text, without the signatures of
        its links. So is one that cannot be read: the same delivery may come again, this time readable.
        """
        there = self.tables.deliveries_raw.read()
        if self.since is not None:
            delivered_at = time_column(self.tables.spark, "delivered_at")
            there = there.where(F.col("delivered_at").isNull() | (delivered_at >= F.lit(self.since)))
        by_time = F.concat("id", F.lit(_KEY_END), F.unix_micros("delivered_at"))
        by_text = F.concat(F.coalesce("id", F.lit("")), F.lit(_KEY_END), F.regexp_replace("raw", _LINK, "$1"))
        known_by = F.coalesce(F.when(F.col("problem").isNull(), by_time), by_text)
        known = there.select(known_by.alias("known_by"))
        return rows.withColumn("known_by", known_by).join(known, "known_by", "left_anti").drop("known_by")
