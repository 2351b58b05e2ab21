"""One sync: fetch, land, flatten, type, and say what was done."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark.inbound.read import delivery_contract
from sama_spark.inbound.sync.landing import counted, land
from sama_spark.inbound.sync.tables import RUNS, Contract, SyncTables
from sama_spark.inbound.sync.upsert import find_changed, replace_annotations, upsert_tasks, watermark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.api.client import ApiClient
    from sama_spark.inbound.flatten import Frames, Label
    from sama_spark.staging import Stage

log = logging.getLogger("sama_spark")

OVERLAP = timedelta(hours=1)


@dataclass
class SyncResult:
    """What one sync has done.

    Attributes:
        landed: deliveries that had not been seen before. new, updated, unchanged: tasks. rejected: deliveries
            without an id or a time, which stay in `deliveries_raw`.
        contract_changes: fields that `tasks` has gained.
        watermark_from: deliveries were asked for from here on; None is all. watermark_to: where the next sync begins,
            less its overlap.
    """

    project_id: str
    tables: str
    run_id: str
    pages: int = 0
    landed: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    contract_changes: tuple[str, ...] = ()
    watermark_from: datetime | None = None
    watermark_to: datetime | None = None
    seconds: float = 0.0

    def __repr__(self) -> str:
        changes = f"\n  contract: {', '.join(self.contract_changes)}" if self.contract_changes else ""
        rejected = f", {self.rejected:,} cannot be read as tasks" if self.rejected else ""
        return (
            f"<project {self.project_id} into {self.tables}: {self.landed:,} deliveries landed from "
            f"{self.pages:,} pages, {self.seconds:.1f} s\n"
            f"  tasks: {self.new:,} new, {self.updated:,} updated, {self.unchanged:,} unchanged{rejected}\n"
            f"  watermark: {_shown(self.watermark_from)} -> {_shown(self.watermark_to)}{changes}>"
        )


@dataclass
class Sync:
    """A project, its tables and how to read it."""

    api: ApiClient
    spark: SparkSession
    tables: SyncTables
    stage: Stage | None
    label: Label = None
    frames: Frames = "key"
    overlap: timedelta = OVERLAP
    full: bool = False

    def run(self) -> SyncResult:
        """See `Client.sync`."""
        begun = time.monotonic()
        now = datetime.now(timezone.utc)
        result = SyncResult(self.tables.project_id, self.tables["*"].name, uuid.uuid4().hex)
        contract, gained = self.tables.open(Contract(*delivery_contract(self.api, self.tables.project_id)))
        result.contract_changes = tuple(gained)
        error: BaseException | None = None
        try:
            self._deliveries(result, contract, now)
        except BaseException as failure:
            error = failure
            raise
        finally:
            result.seconds = time.monotonic() - begun
            self._record(result, now, error)
        log.info("%r", result)
        return result

    def _deliveries(self, result: SyncResult, contract: Contract, now: datetime) -> None:
        reached = watermark(self.tables["tasks"])
        since = None if self.full or reached is None else reached - self.overlap
        result.watermark_from = since
        pages = self.api.delivered_pages(
            self.tables.project_id, from_timestamp=None if since is None else f"{since:%FT%T}.{since:%f}Z"
        )
        raw = self.tables["deliveries_raw"]
        counts = {"pages": 0, "received": 0}
        land(self.spark, counted(pages, counts), raw, self.stage, run_id=result.run_id, now=now, since=since)
        result.pages = counts["pages"]
        bad = F.count_if(F.col("id").isNull() | F.col("delivered_at").isNull())
        landed = raw.read().where(F.col("run_id") == result.run_id).agg(F.count("*"), bad).collect()[0]
        result.landed, result.rejected = int(landed[0]), int(landed[1])
        changed = find_changed(self.tables, since)
        result.new, result.updated, result.unchanged = changed.new, changed.updated, changed.unchanged
        if changed.new or changed.updated:
            replace_annotations(self.tables, changed, self.label, self.frames)
            upsert_tasks(self.tables, changed, contract, result.run_id, now)
            reached = watermark(self.tables["tasks"])
        result.watermark_to = reached

    def _record(self, result: SyncResult, now: datetime, error: BaseException | None) -> None:
        counts = ("pages", "landed", "new", "updated", "unchanged", "rejected")
        row = {name: getattr(result, name) for name in ("run_id", *counts, "watermark_from", "watermark_to")} | {
            "feed": "delivered",
            "started_at": now,
            "seconds": result.seconds,
            "contract_changes": list(result.contract_changes),
            "error": None if error is None else f"{type(error).__name__}: {error}"[:4000],
        }
        try:
            self.tables["runs"].append(self.spark.createDataFrame([row], RUNS))
        except Exception:
            if error is None:
                raise
            log.exception("the failure of this sync could not be recorded in %s", self.tables["runs"].name)


def _shown(time: datetime | None) -> str:
    return "the beginning" if time is None else f"{time:%F %T} UTC"
