"""One sync: fetch, land, flatten, type, and say what was done."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from sama_spark.delta import sql_in, time_column
from sama_spark.inbound.read import delivery_contract
from sama_spark.inbound.sync import unreadable as rejected
from sama_spark.inbound.sync.changed import find_changed
from sama_spark.inbound.sync.conflicts import tells_conflicts
from sama_spark.inbound.sync.feeds.batch_feed import sync_batches
from sama_spark.inbound.sync.feeds.stats_feed import sync_stats
from sama_spark.inbound.sync.feeds.status_feed import sync_states
from sama_spark.inbound.sync.label import unseen_label
from sama_spark.inbound.sync.landing import counted, land
from sama_spark.inbound.sync.sync_result import Feed, FeedSync, SyncResult
from sama_spark.inbound.sync.table_types import Contract, SchemaMode, observed
from sama_spark.inbound.sync.tables import RUNS, SyncTables
from sama_spark.inbound.sync.upsert import replace_annotations, typed, unfit, upsert_tasks
from sama_spark.inbound.sync.views import ensure_labels
from sama_spark.inbound.sync.watermark import Reached, reached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.api.api_client import ApiClient
    from sama_spark.api.task_text import Page
    from sama_spark.inbound.sync.changed import Changed
    from sama_spark.inbound.sync.masks import Masks
    from sama_spark.staging import Stage
    from sama_spark.vendors.seam import Frames, Label

log = logging.getLogger("sama_spark")

OVERLAP = timedelta(hours=1)
_MASKS_AGAIN = 1_000  # that failed before, and are tried again


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
    schema_mode: SchemaMode = "evolve"
    filters: Mapping[str, Any] = field(default_factory=dict)

    @tells_conflicts
    def run(self, feeds: Sequence[Feed]) -> SyncResult:
        """Feed by feed."""
        declared = Contract(*delivery_contract(self.api, self.tables.project_id))
        contract = self.tables.open(declared)
        ensure_labels(self.tables)
        result = SyncResult(self.tables.project_id, self.tables["*"].name)
        for feed in feeds:
            now = datetime.now(timezone.utc)
            done = FeedSync(feed, uuid.uuid4().hex)
            with self._recorded(done, now):
                contract = self._adopt(contract, declared, done)
                if feed == "delivered":
                    contract = self._delivered(done, contract, now)
                elif feed == "since_last_call":
                    contract = self._since_last_call(done, contract, now)
                elif feed == "status":
                    sync_states(self.api, self.tables, done, self.max_calls)
                elif feed == "batches":
                    sync_batches(self.api, self.tables, done, self.batches, self.max_calls)
                else:
                    sync_stats(self.api, self.tables, done)
            result.feeds.append(done)
        print(result)
        return result

    def _delivered(self, done: FeedSync, contract: Contract, now: datetime) -> Contract:
        before = reached(self.tables["tasks"], self._source(done))
        last = before.delivered_at
        since = None if self.full or last is None else last - self.overlap
        done.watermark_from, done.watermark_to = since, last
        pages = self.api.delivered_pages(
            self.tables.project_id,
            from_timestamp=None if since is None else f"{since:%FT%T}.{since:%f}Z",
            **self.filters,
        )
        self._land(pages, done, now, since)
        contract = self._take_over(done, contract, now, since, before)
        if self.masks is not None:
            self.masks.fill(self.tables["annotations"], done, None if self.full else _MASKS_AGAIN)
        return contract

    def _since_last_call(self, done: FeedSync, contract: Contract, now: datetime) -> Contract:
        pages = self.api.since_last_call_pages(self.tables.project_id, consumer=self.consumer, **self.filters)
        for page in pages:
            # Before the next call: Sama does not serve it again.
            self._land([page], done, now, None)
        return self._take_over(done, contract, now)

    def _land(self, pages: Iterable[Page], done: FeedSync, now: datetime, since: datetime | None) -> None:
        origin = {"feed": self._source(done), "run_id": done.run_id, "landed_at": now}
        land(self.spark, counted(pages, done), self.tables["deliveries_raw"], self.stage, origin, since)

    def _source(self, done: FeedSync) -> str:
        """The feed and its filters: what comes through a filter has a watermark of its own, since it is not all."""
        filters = ", ".join(f"{name}={value}" for name, value in self.filters.items())
        return f"{done.feed}({filters})" if filters else done.feed

    def _take_over(
        self,
        done: FeedSync,
        contract: Contract,
        now: datetime,
        since: datetime | None = None,
        before: Reached | None = None,
    ) -> Contract:
        """Whatever has landed and is not in `tasks`, also what a dead run left. Gives the contract that holds then."""
        with ThreadPoolExecutor(1, "sama-rejected") as aside:
            lying = aside.submit(rejected.lying, self.tables)
            changed = find_changed(self.tables, since, before, done.run_id, now)
        counts = changed.counts
        done.landed = counts.landed
        done.new, done.updated, done.unchanged = counts.new, counts.updated, counts.unchanged
        if counts.new or counts.updated:
            with ThreadPoolExecutor(1, "sama-typing") as aside:
                typing = aside.submit(self._typed, done, contract, changed)
                if self.schema_mode == "freeze":
                    typing.result()  # nothing is written where it refuses
                replace_annotations(self.tables, changed, self.label, self.frames, self.masks, done)
                contract, rows = typing.result()
            origin = {"feed": self._source(done), "synced_at": now, "run_id": done.run_id}
            upsert_tasks(self.tables, changed, rows, origin)
            done.notes += unseen_label(self._annotations_of(changed), self.label)
            if changed.ids is None:
                in_this_run = time_column(self.spark, "synced_at") == F.lit(now)  # leaves files out
                written = in_this_run & (F.col("run_id") == done.run_id)
                done.unfit = unfit(self.tables["tasks"].read().where(written))
            if done.feed == "delivered":
                done.watermark_to = max(filter(None, (done.watermark_to, counts.latest)), default=None)
        odd = rejected.without_superseded(self.tables, lying.result())
        done.rejected = len(odd)
        done.notes += rejected.told(odd)
        return contract

    def _annotations_of(self, changed: Changed) -> DataFrame:
        """The annotations of the changed tasks, where these are few; else all."""
        annotations = self.tables["annotations"].read()
        return annotations if changed.ids is None else annotations.where(sql_in("task_id", changed.ids))

    def _typed(self, done: FeedSync, contract: Contract, changed: Changed) -> tuple[Contract, DataFrame]:
        """What the annotations need not wait for: the contract that holds now, and the tasks by it."""
        are_few = changed.ids is not None
        if self.schema_mode != "discard":
            contract = self._adopt(contract, observed(changed.parts(), are_few=are_few), done)
        rows = typed(changed, contract)
        if are_few:  # to parse them once more is quicker than to look for them in the table
            done.unfit = unfit(rows)
        return contract, rows

    def _adopt(self, contract: Contract, seen: Contract, done: FeedSync) -> Contract:
        contract, gained = self.tables.adopt(contract, seen, self.schema_mode)
        done.contract_changes += gained
        return contract

    @contextmanager
    def _recorded(self, done: FeedSync, now: datetime) -> Iterator[None]:
        """A row of `runs` for what is done in the block, also where it fails."""
        begun = time.monotonic()
        try:
            yield
        except BaseException as error:
            done.seconds = time.monotonic() - begun
            try:
                self._record(done, now, f"{type(error).__name__}: {error}"[:4000])
            except Exception:
                log.exception("the failure of this sync could not be recorded in %s", self.tables["runs"].name)
            raise
        done.seconds = time.monotonic() - begun
        self._record(done, now, None)

    def _record(self, done: FeedSync, now: datetime, error: str | None) -> None:
        row = {**vars(done), "started_at": now, "error": error}
        runs, rows = self.tables["runs"], self.spark.createDataFrame([row], RUNS)
        if "notes" not in runs.read().columns:  # a table of an earlier version
            runs.grow(rows.schema)
        runs.append(rows)
