"""Does the work of each job: its configuration becomes a call of `Client`, the result becomes plain values."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec import structs
from pyspark.sql import functions as F

from sama_spark.api.sama_errors import OutboxUnsure, TasksNotCreated
from sama_spark.inbound.sync.feeds.status_round import ENDED
from sama_spark.inbound.sync.tables import SyncTables
from sama_spark.jobs.config import AnyJob, Purge, Resume, Source, Status, Sync, Upload
from sama_spark.names import is_path, sql_name
from sama_spark.outbound.dry_run import DryRun
from sama_spark.outbound.outbox.ledger import Ledger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.client import Client
    from sama_spark.inbound.sync.sync_result import SyncResult

log = logging.getLogger("sama_spark")

_MOST_IDS = 1000
_SILENCE = 15.0  # seconds
_DONE = ("delivered", *ENDED)


@dataclass
class Work:
    """One run. `done` is filled on the way, so that the line of a failed run says what had happened by then."""

    client: Client
    spark: SparkSession
    done: dict[str, Any] = field(default_factory=dict)

    def run(self, job: AnyJob) -> None:
        """Do what `job` says, by the method of its name."""
        getattr(self, type(job).__name__.lower())(job)

    def upload(self, job: Upload) -> None:
        """Create a task for each row.

        Raises:
            TasksNotCreated: Sama failed or cancelled some.
        """
        options = structs.asdict(job.options) | {"on_progress": _now_and_then("%s tasks uploaded")}
        result = self.client.create_task_batch_from_table(
            rows_of(self.spark, job.source),
            str(job.project),
            staging=job.staging,
            **options | {"max_tasks": job.max_tasks},
        )
        print(result)
        self.done |= {
            "dry_run": job.options.dry_run,
            "tasks": result.task_count,
            "batches": len(result.batches),
            "batch_ids": result.batch_ids[:_MOST_IDS],
            "rejected": result.rejected_rows,
        }
        if result.outbox is not None:
            self.done["known"] = result.outbox.known
            self.done["changed"] = result.outbox.changed
            self.done["unsure_batches"] = [batch.batch_id for batch in result.outbox.unsure]
        if isinstance(result, DryRun):
            self.done |= {"batches": result.batch_count, "invalid": result.invalid_rows}
        elif job.wait_seconds:
            outcome = result.wait(job.wait_seconds, on_progress=_now_and_then("%s of %s tasks created"))
            print(outcome)
            counts = {"created": outcome.created, "failed": outcome.failed, "cancelled": outcome.cancelled}
            self.done |= counts
            if outcome.failed or outcome.cancelled:
                raise TasksNotCreated.of(job.project, counts, job.options.rejected_table)

    def sync(self, job: Sync) -> None:
        """Bring deliveries and states of tasks into tables."""
        self._report_sync(
            self.client.sync(
                self.spark,
                str(job.project),
                job.into,
                staging=job.staging,
                overlap=timedelta(seconds=job.overlap_seconds),
                **structs.asdict(job.options),
            )
        )

    def status(self, job: Status) -> None:
        """Bring states of tasks and batches into tables, and print a summary."""
        self._report_sync(
            self.client.sync(
                self.spark,
                str(job.project),
                job.into,
                feeds=job.feeds,
                prefix=job.prefix,
                max_calls=job.max_calls,
                staging=job.staging,
            )
        )
        states = _states(SyncTables(self.spark, job.into, str(job.project), job.prefix))
        self.done["states"] = states
        self.done["open_tasks"] = sum(count for state, count in states.items() if state not in _DONE)
        for state, count in states.items():
            print(f"  {count:>12,} tasks {state}")
        if job.outbox is not None:
            found = Ledger.open(self.spark, job.outbox, str(job.project)).state()
            self.done["unsure_batches"] = [batch.batch_id for batch in found.unsure]
            self.done["open_batches"] = [batch.batch_id for batch in found.batches if batch.state != "unsure"]
            print(f"  outbox: {len(found.unsure)} batches unsure, {len(self.done['open_batches'])} open")

    def resume(self, job: Resume) -> None:
        """Settle what runs left in the outbox.

        Raises:
            OutboxUnsure: a person has to decide about some batches.
        """
        Ledger.open(self.spark, job.outbox, str(job.project))
        report = self.client.resume(self.spark, outbox=job.outbox, unsure=job.unsure, timeout=job.timeout_seconds)
        print("\n".join(report.lines()) or "nothing was left to settle")
        self.done |= {
            "recovered": len(report.recovered),
            "unsure_batches": [batch.batch_id for batch in report.unsure],
            "open_batches": [batch.batch_id for batch in report.still_open],
        }
        if report.unsure:
            raise OutboxUnsure.of(job.project, job.outbox, self.done["unsure_batches"])

    def purge(self, job: Purge) -> None:
        """Remove rows of the tables, and staged text."""
        removed: dict[str, int] = {}
        self.done |= {"removed": removed, "masks": 0, "vacuum": []}
        if job.outbox is not None:  # refuses the outbox of another project before anything is removed
            Ledger.open(self.spark, job.outbox, str(job.project))
        if job.into is not None:
            tasks = None if job.everything else job.tasks
            purged = self.client.purge_synced(
                self.spark,
                str(job.project),
                job.into,
                prefix=job.prefix,
                task_ids=tasks,
                masks=job.masks,
                staging=job.staging,
            )
            print(purged)
            removed |= purged.rows
            self.done |= {"masks": purged.masks, "vacuum": purged.vacuum}
        if job.outbox is not None:
            rows = None if job.rows is None else rows_of(self.spark, job.rows)
            purged = self.client.purge(
                self.spark, outbox=job.outbox, rows=rows, rejected_table=job.rejected_table, staging=job.staging
            )
            print(purged)
            removed |= purged.rows
            self.done["vacuum"] += purged.vacuum

    def _report_sync(self, result: SyncResult) -> None:
        self.done |= {
            "into": result.tables.removesuffix("*"),
            "landed": result.landed,
            "new": result.new,
            "updated": result.updated,
            "masks_failed": result.masks_failed,
            "rejected": result.rejected,
            "notes": result.notes,
            "unfit": sum(feed.unfit for feed in result.feeds),
            "contract_changes": result.contract_changes,
            "goes_on": {feed.feed: feed.goes_on for feed in result.feeds if feed.goes_on},
        }


def _now_and_then(text: str) -> Callable[..., None]:
    """Return a function that logs progress, at most every 15 seconds."""
    last = time.monotonic()

    def log_counts(*counts: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SILENCE:
            last = time.monotonic()
            log.info(text, *(f"{count:,}" for count in counts))

    return log_counts


def rows_of(spark: SparkSession, source: Source) -> DataFrame:
    """Return the rows that `source` names."""
    if source.table is not None:
        return spark.read.table(source.table if is_path(source.table) else sql_name(source.table))
    if source.query is not None:
        return spark.sql(source.query)
    return spark.read.format(str(source.format)).options(**source.options).load(source.path)


def _states(tables: SyncTables) -> dict[str, int]:
    """Count tasks by the state in which they were last seen."""
    tasks = tables["tasks"].read().select(F.col("id").alias("task_id"), "current_state")
    if tables["task_states"].exists():
        seen = tables["task_states"].read().groupBy("task_id").agg(F.max_by("state", "seen_at").alias("seen"))
        tasks = tasks.join(seen, "task_id", "full").select(F.coalesce("current_state", "seen").alias("current_state"))
    counts = tasks.groupBy("current_state").count().orderBy("current_state").collect()
    return {str(row["current_state"]): row["count"] for row in counts}
