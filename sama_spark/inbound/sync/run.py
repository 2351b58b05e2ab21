"""One sync: fetch, land, flatten, type, and say what was done."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from sama_spark.inbound.read import delivery_contract
from sama_spark.inbound.sync.batches import sync_batches
from sama_spark.inbound.sync.conflicts import tells_conflicts
from sama_spark.inbound.sync.landing import counted, land
from sama_spark.inbound.sync.result import Feed, FeedSync, SyncResult
from sama_spark.inbound.sync.states import sync_states
from sama_spark.inbound.sync.stats import sync_stats
from sama_spark.inbound.sync.tables import RUNS, Contract, SyncTables
from sama_spark.inbound.sync.upsert import find_changed, reached, replace_annotations, upsert_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import SparkSession

    from sama_spark.api.client import ApiClient
    from sama_spark.inbound.flatten import Frames, Label
    from sama_spark.inbound.sync.masks import Masks
    from sama_spark.staging import Stage

log = logging.getLogger("sama_spark")

OVERLAP = timedelta(hours=1)


@dataclass(frozen=True)
class Sync:
    """A project, its tables and how to read it; the public face is `Client.sync`."""

    api: ApiClient
    spark: SparkSession
    tables: SyncTables
    stage: Stage | None
    label: Label = None
    frames: Frames = "key"
    overlap: timedelta = OVERLAP
    full: bool = False
    consumer: str | None = None
    batches: Sequence[int] = ()
    max_calls: int | None = None
    masks: Masks | None = None

    @tells_conflicts
    def run(self, feeds: Sequence[Feed]) -> SyncResult:
        """Feed by feed."""
        contract, gained = self.tables.open(Contract(*delivery_contract(self.api, self.tables.project_id)))
        result = SyncResult(self.tables.project_id, self.tables["*"].name, tuple(gained))
        for feed in feeds:
            now = datetime.now(timezone.utc)
            done = FeedSync(feed, uuid.uuid4().hex)
            with self._recorded(done, now, gained):
                if feed == "delivered":
                    self._delivered(done, contract, now)
                elif feed == "since_last_call":
                    self._since_last_call(done, contract, now)
                elif feed == "status":
                    sync_states(self.api, self.tables, done, self.max_calls)
                elif feed == "batches":
                    sync_batches(self.api, self.tables, done, self.batches, self.max_calls)
                else:
                    sync_stats(self.api, self.tables, done)
            gained = []
            result.feeds.append(done)
        log.info("%r", result)
        return result

    def _delivered(self, done: FeedSync, contract: Contract, now: datetime) -> None:
        last, synced_at = reached(self.tables["tasks"])
        since = None if self.full or last is None else last - self.overlap
        done.watermark_from, done.watermark_to = since, last
        pages = self.api.delivered_pages(
            self.tables.project_id, from_timestamp=None if since is None else f"{since:%FT%T}.{since:%f}Z"
        )
        land(self.spark, counted(pages, done), self.tables["deliveries_raw"], self.stage, done, now, since)
        if self._take_over(done, contract, now, since, synced_at):
            done.watermark_to = reached(self.tables["tasks"]).delivered_at
        if self.masks is not None and self.full:
            self.masks.fill(self.tables["annotations"], done)

    def _since_last_call(self, done: FeedSync, contract: Contract, now: datetime) -> None:
        pages = self.api.since_last_call_pages(self.tables.project_id, consumer=self.consumer)
        for page in counted(pages, done):
            # Before the next call: Sama does not serve it again.
            land(self.spark, [page], self.tables["deliveries_raw"], self.stage, done, now, None)
        self._take_over(done, contract, now)

    def _take_over(
        self,
        done: FeedSync,
        contract: Contract,
        now: datetime,
        since: datetime | None = None,
        synced_at: datetime | None = None,
    ) -> bool:
        """Whatever has landed and is not in `tasks`, also what a dead run left."""
        changed = find_changed(self.tables, since, synced_at, done.run_id)
        done.landed, done.rejected = changed.landed, changed.rejected
        done.new, done.updated, done.unchanged = changed.new, changed.updated, changed.unchanged
        if not (changed.new or changed.updated):
            return False
        replace_annotations(self.tables, changed, self.label, self.frames, self.masks, done)
        upsert_tasks(self.tables, changed, contract, done, now)
        return True

    @contextmanager
    def _recorded(self, done: FeedSync, now: datetime, gained: Sequence[str]) -> Iterator[None]:
        """A row of `runs` for what is done in the block, also where it fails."""
        begun = time.monotonic()
        try:
            yield
        except BaseException as error:
            done.seconds = time.monotonic() - begun
            try:
                self._record(done, now, gained, f"{type(error).__name__}: {error}"[:4000])
            except Exception:
                log.exception("the failure of this sync could not be recorded in %s", self.tables["runs"].name)
            raise
        done.seconds = time.monotonic() - begun
        self._record(done, now, gained, None)

    def _record(self, done: FeedSync, now: datetime, gained: Sequence[str], error: str | None) -> None:
        row = {**vars(done), "started_at": now, "contract_changes": list(gained), "error": error}
        self.tables["runs"].append(self.spark.createDataFrame([row], RUNS))
