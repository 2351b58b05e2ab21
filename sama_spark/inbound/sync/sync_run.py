"""One sync: fetch the deliveries, land them, flatten them, type them, and record what was done."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pyspark.sql import functions as F

from sama_spark.delta import is_conflict, table_errors, time_column
from sama_spark.driver_rows import local_values
from sama_spark.errors import SyncError
from sama_spark.inbound.lines import ahead
from sama_spark.inbound.sync import unreadable
from sama_spark.inbound.sync.changed import find_changed
from sama_spark.inbound.sync.label import unseen_label
from sama_spark.inbound.sync.landing import Landing
from sama_spark.inbound.sync.sync_result import FeedSync, SyncResult
from sama_spark.inbound.sync.table_types import SchemaMode, TableTypes, observed
from sama_spark.inbound.sync.tables import RUNS, SyncTables
from sama_spark.inbound.sync.upsert import replace_annotations, typed, unfit, unfit_of_few, upsert_tasks
from sama_spark.inbound.sync.watermark import Watermark, last_cursor, watermark
from sama_spark.sessions import worker_errors
from sama_spark.sql_texts import sql_in

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.inbound.sync.changed import Changed
    from sama_spark.inbound.sync.masks import Masks
    from sama_spark.staging import Stage
    from sama_spark.vendors.seam import Feed, Field, Frames, Label, Page

log = logging.getLogger("sama_spark")

OVERLAP = timedelta(hours=1)
_MASKS_AGAIN = 1_000  # masks that failed before and are tried again


@runtime_checkable
class TableFeed(Protocol):
    """A feed that keeps tables of its own, beside those of the deliveries."""

    @property
    def name(self) -> str:
        """The feed's name in results and in the table `runs`."""
        ...

    def bring(self, tables: SyncTables, progress: FeedSync) -> None:
        """Bring the feed's tables up to date, and count in `progress` what was done."""
        ...


@dataclass(frozen=True)
class SyncRun:
    """One sync of one project. It knows no vendor: the feeds and the envelope come from outside.

    Attributes:
        spark: the session.
        tables: the project's tables.
        stage: returns where the text of many deliveries waits; None: it passes through the driver's memory.
        declared: the types of `data` and `answers` as the vendor declares them.
        envelope: the columns of `tasks` beside these two.
        label, frames: as for `flatten_annotations`.
        overlap: how far before its watermark a feed by time begins.
        full: whether feeds that can be read again are read from the beginning.
        schema_mode: what happens to fields that `tasks` lacks.
        masks: the copies of masks; None: no mask is copied.
    """

    spark: SparkSession
    tables: SyncTables
    stage: Callable[[], Stage | None]
    declared: TableTypes
    envelope: Sequence[Field]
    label: Label = None
    frames: Frames = "key"
    overlap: timedelta = OVERLAP
    full: bool = False
    schema_mode: SchemaMode = "evolve"
    masks: Masks | None = None

    def run(self, feeds: Sequence[Feed | TableFeed]) -> SyncResult:
        """Sync one feed after the other.

        Raises:
            SyncError: the tables cannot be used or are frozen, or another writer wrote to them at the same time.
        """
        fetched: list[Generator[Page]] = []
        with self._refusals(), _closed_at_the_end(fetched):
            types, empty = self._open(feeds[0], fetched)
            result = SyncResult(self.tables.project_id, self.tables.place)
            for feed in feeds:
                progress = FeedSync(feed.name, uuid.uuid4().hex)
                now = datetime.now(timezone.utc)
                with self._recorded(progress, now):
                    types = self._adopt(types, self.declared, progress)
                    if isinstance(feed, TableFeed):
                        feed.bring(self.tables, progress)
                    else:
                        types = self._sync_deliveries(feed, progress, types, now, empty, fetched)
                result.feeds.append(progress)
        return result

    def _open(self, first: Feed | TableFeed, fetched: list[Generator[Page]]) -> tuple[TableTypes, set[str]]:
        """Create the tables that are absent, as `SyncTables.open` does.

        Meanwhile a thread begins to fetch a first feed that goes on by time. Its pages come into `fetched`.
        """

        def fetch() -> None:
            if not isinstance(first, TableFeed) and first.resume == "time":
                fetched.append(ahead(first.pages(None)))

        return self.tables.open(self.declared, self.envelope, fetch)

    def _sync_deliveries(
        self,
        feed: Feed,
        progress: FeedSync,
        types: TableTypes,
        now: datetime,
        empty: set[str],
        fetched: list[Generator[Page]],
    ) -> TableTypes:
        """Land the feed, then apply whatever has landed. Return the types that hold then."""
        before = Watermark(None, None) if "tasks" in empty else watermark(self.tables.tasks, feed.source)
        if before.synced_at is not None:
            # This driver's clock may be behind that of a run before, and what lands must be later than its writes.
            now = max(now, before.synced_at + timedelta(microseconds=1))
        since, begin = None, None
        if feed.resume == "time":
            if not self.full and before.delivered_at is not None:
                since = before.delivered_at - self.overlap
                begin = f"{since:%FT%T}.{since:%f}Z"
            progress.watermark_from, progress.watermark_to = since, before.delivered_at
        elif feed.resume == "cursor" and not self.full:
            begin = last_cursor(self.tables.deliveries_raw, feed.source)
        is_empty = "deliveries_raw" in empty
        landing = Landing(self.tables, self.stage, feed.source, progress, now, since, before.synced_at, is_empty)
        if fetched and begin is not None:  # another sync has made the tables meanwhile, and has rows there
            fetched.pop().close()
        pages = fetched.pop() if fetched else feed.pages(begin)
        if feed.resume == "vendor":
            self.stage()  # raises before a page is fetched that is not served again
            for page in pages:  # each lands before the next call, since the vendor does not serve it again
                landing.land([page], feed.cursor)
        else:
            landing.land(pages, feed.cursor)
        types = self._apply_landed(feed, progress, types, landing, empty)
        empty.clear()
        if self.masks is not None and feed.resume != "vendor":
            self.masks.fill(self.tables.annotations, progress, None if self.full else _MASKS_AGAIN)
        return types

    def _apply_landed(
        self,
        feed: Feed,
        progress: FeedSync,
        types: TableTypes,
        landing: Landing,
        empty: set[str],
    ) -> TableTypes:
        """Bring what has landed, also in runs that died, into `annotations` and `tasks`.

        Returns:
            The types that hold then.
        """
        now = landing.landed_at
        with ThreadPoolExecutor(1, "sama-unreadable") as aside:
            all_unreadable = aside.submit(unreadable.found, landing)
            changed = find_changed(self.tables, landing)
        counts = changed.counts
        progress.landed = counts.landed
        progress.new, progress.updated, progress.unchanged = counts.new, counts.updated, counts.unchanged
        if counts.changed:
            with ThreadPoolExecutor(1, "sama-typing") as aside:
                typing = aside.submit(self._typed, progress, types, changed)
                if self.schema_mode == "freeze":
                    typing.result()  # raises before anything is written
                is_empty = "annotations" in empty
                replace_annotations(
                    self.tables, changed, self.label, self.frames, self.masks, progress, is_empty=is_empty
                )
                types, rows = typing.result()
            origin = {"feed": feed.source, "synced_at": now, "run_id": progress.run_id}
            upsert_tasks(self.tables, changed, rows, origin, is_empty=landing.last_write is None)
            progress.notes += unseen_label(self._annotations_of(changed), self.label)
            if changed.ids is None:
                in_this_run = time_column(self.spark, "synced_at") == F.lit(now)  # leaves files out
                written = in_this_run & (F.col("run_id") == progress.run_id)
                progress.unfit = unfit(self.tables.tasks.read().where(written))
            if feed.resume == "time":
                progress.watermark_to = max(filter(None, (progress.watermark_to, counts.latest)), default=None)
        still_unreadable = unreadable.without_superseded(self.tables, all_unreadable.result())
        progress.rejected = len(still_unreadable)
        progress.notes += unreadable.in_words(still_unreadable)
        return types

    def _annotations_of(self, changed: Changed) -> DataFrame:
        """Return the annotations of the changed tasks if these are few, else all."""
        annotations = self.tables.annotations.read()
        return annotations if changed.ids is None else annotations.where(sql_in("task_id", changed.ids))

    def _typed(self, progress: FeedSync, types: TableTypes, changed: Changed) -> tuple[TableTypes, DataFrame]:
        """Return the types that hold now, and the changed tasks by these types. The annotations need neither."""
        are_few = changed.ids is not None
        if self.schema_mode != "discard":
            types = self._adopt(types, observed(changed.rows, changed.on_driver, are_few=are_few), progress)
        rows = typed(changed, types, self.envelope)
        if are_few:  # to parse them once more is quicker than to look for them in the table
            progress.unfit = unfit_of_few(rows)
        return types, rows

    def _adopt(self, types: TableTypes, seen: TableTypes, progress: FeedSync) -> TableTypes:
        types, gained = self.tables.adopt(types, seen, self.schema_mode)
        progress.contract_changes += gained
        return types

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Raise what Spark and Delta refuse in the block, lost races too, as SyncError."""
        try:
            with (
                table_errors(f"the tables {self.tables.place} cannot be brought up to date", SyncError),
                worker_errors(),
            ):
                yield
        except Exception as error:
            if not is_conflict(error):
                raise
            raise SyncError(
                f"another writer, most likely a second sync of this project, wrote to {self.tables.place} at the "
                "same time, and this sync stopped; nothing is lost or doubled",
                project_id=self.tables.project_id,
                remedy="let one sync of a project run at a time; this one brings what is left when it runs again",
                retryable=True,
            ) from error

    @contextmanager
    def _recorded(self, progress: FeedSync, now: datetime) -> Iterator[None]:
        """Append a row to `runs` for what the block does, also if the block fails."""
        begun = time.monotonic()
        try:
            yield
        except BaseException as error:
            progress.seconds = time.monotonic() - begun
            try:
                self._record(progress, now, f"{type(error).__name__}: {error}"[:4000])
            except Exception:
                log.exception("the failure of this sync could not be recorded in %s", self.tables.runs.name)
            raise
        progress.seconds = time.monotonic() - begun
        self._record(progress, now, None)

    def _record(self, progress: FeedSync, now: datetime, error: str | None) -> None:
        row = {**vars(progress), "started_at": now, "error": error}
        self.tables.runs.append(local_values(self.spark, [row], RUNS))


@contextmanager
def _closed_at_the_end(readers: list[Generator[Page]]) -> Iterator[None]:
    """End the threads that read."""
    try:
        yield
    finally:
        for reader in readers:
            reader.close()
