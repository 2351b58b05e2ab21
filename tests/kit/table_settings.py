"""All that the product does with tables, once, and what is in them then; and what a session or workspace may set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from kit.deliveries import boxes
from kit.serverless import unguarded
from sama_spark.delta import DeltaTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark import Client
    from sama_spark.sandbox import Sandbox

_DEFAULT = "spark.databricks.delta.properties.defaults."
# What differs from run to run, and what stands in order of commits.
_OF_A_RUN = ("run_id", "synced_at", "landed_at", "recorded_at", "lease_until", "seen_at", "updated_at", "token", "at")
_TABLES = ("deliveries_raw", "tasks", "annotations", "task_states", "batches", "project_stats", "status_round")
_BESIDE = ("outbox", "outbox_tasks", "rejected")

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "types": {
        "spark.sql.timestampType": "TIMESTAMP_NTZ",
        "spark.sql.session.timeZone": "Pacific/Apia",
        "spark.sql.storeAssignmentPolicy": "STRICT",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MILLIS",
        "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
        "spark.sql.legacy.timeParserPolicy": "LEGACY",
    },
    "parser": {
        "spark.sql.parser.escapedStringLiterals": "true",
        "spark.sql.parser.quotedRegexColumnNames": "true",
        "spark.sql.variable.substitute": "false",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.ansi.doubleQuotedIdentifiers": "true",
        "spark.sql.ansi.enforceReservedKeywords": "true",
        "spark.sql.caseSensitive": "true",
    },
    "lenient": {
        "spark.sql.ansi.enabled": "false",
        "spark.sql.storeAssignmentPolicy": "LEGACY",
        "spark.sql.sources.partitionOverwriteMode": "dynamic",
        "spark.sql.sources.default": "json",
        "spark.sql.charAsVarchar": "true",
        "spark.sql.preserveCharVarcharTypeInfo": "true",
        "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
        "spark.sql.execution.arrow.useLargeVarTypes": "true",
        "spark.sql.session.localRelationCacheThreshold": "1",
    },
    "workspace": {
        f"{_DEFAULT}appendOnly": "true",
        f"{_DEFAULT}columnMapping.mode": "name",
        f"{_DEFAULT}enableChangeDataFeed": "true",
        f"{_DEFAULT}enableTypeWidening": "true",
        f"{_DEFAULT}enableRowTracking": "true",
        f"{_DEFAULT}dataSkippingNumIndexedCols": "0",
        f"{_DEFAULT}checkpointPolicy": "v2",
        f"{_DEFAULT}enableInCommitTimestamps": "true",
        f"{_DEFAULT}autoOptimize.optimizeWrite": "true",
        f"{_DEFAULT}setTransactionRetentionDuration": "interval 1 day",
        f"{_DEFAULT}logRetentionDuration": "interval 1 day",
        f"{_DEFAULT}checkpointInterval": "2",
        "spark.databricks.delta.schema.autoMerge.enabled": "true",
        "spark.databricks.delta.replaceWhere.constraintCheck.enabled": "false",
        "spark.databricks.delta.optimizeWrite.enabled": "true",
    },
    "strict workspace": {
        f"{_DEFAULT}columnMapping.mode": "id",
        f"{_DEFAULT}enableDeletionVectors": "true",
        f"{_DEFAULT}dataSkippingStatsColumns": "nothing",
        f"{_DEFAULT}isolationLevel": "Serializable",
        "spark.databricks.delta.replaceWhere.dataColumns.enabled": "false",
        "spark.databricks.delta.merge.materializeSource": "all",
        "spark.databricks.delta.writeChecksumFile.enabled": "false",
    },
}


@contextmanager
def having(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """The session with these settings for a while."""
    before = {name: spark.conf.get(name, None) for name in settings}
    try:
        with unguarded(spark):
            for name, value in settings.items():
                spark.conf.set(name, value)
        yield
    finally:
        with unguarded(spark):
            for name, old in before.items():
                spark.conf.unset(name) if old is None else spark.conf.set(name, old)


def everything(spark: SparkSession, sandbox: Sandbox, client: Client, folder: str) -> dict[str, Any]:
    """Sync, sync again, upload, upload again, resume and purge. Gives schema and rows of each table, and counts."""
    project = sandbox.create_project(
        {"url": {"type": "string", "required": True}, "n": "integer", "day": "date"},
        {"weather": "text", "shapes": "image", "taken": "date"},
        project_id=4242,
    )
    into, outbox, rejected = f"{folder}/labels", f"{folder}/outbox", f"{folder}/rejected"
    counts: dict[str, Any] = {}

    rows = spark.createDataFrame(
        [(f"https://assets.invalid/{n}.jpg", n, "2011-12-30") for n in range(5)] + [(None, 9, "2024-01-01")],
        "url string, n int, day string",
    )
    for run in ("first", "second"):
        result = client.create_task_batch_from_table(
            rows, project, outbox=outbox, row_key="n", on_invalid="reject", rejected_table=rejected
        )
        if run == "first":
            result.wait()
            tasks = result.tasks("n")
            counts["row to task"] = tasks.where("task_id IS NOT NULL").count()
        counts[run] = (result.task_count, result.rejected_rows, result.outbox.known if result.outbox else None)
    counts["resumed"] = len(client.resume(spark, outbox=outbox).recovered)

    sandbox.deliver(project, [_delivery(n) for n in range(4)])
    counts["sync"] = _counts(client.sync(spark, str(project), into))
    sandbox.deliver(project, [_delivery(3, weather="rain"), *(_delivery(n, extra={"x": 1}) for n in range(4, 7))])
    feeds = ("delivered", "since_last_call", "status", "batches", "stats")
    counts["sync again"] = _counts(client.sync(spark, str(project), into, feeds=feeds, overlap=timedelta(days=1)))
    counts["full"] = _counts(client.sync(spark, str(project), into, full=True, views=True))
    counts["views"] = {name: spark.table(name).count() for name in ("labels_current", "label_counts", "turnaround")}
    state = {name: told(spark, f"{into}/{name}") for name in _TABLES}
    state |= {name: told(spark, f"{folder}/{name}") for name in _BESIDE}
    purged = client.purge_synced(spark, str(project), into, task_ids=[_delivery(0)["id"], "${env:HOME}"])
    counts["purged"] = {name_of(name): count for name, count in purged.rows.items()}
    forgotten = client.purge(spark, outbox=outbox, rows=rows.limit(2), rejected_table=rejected)
    counts["forgotten"] = {name_of(name): count for name, count in forgotten.rows.items()}
    forgotten = client.purge(spark, outbox=outbox, rejected_table=rejected)
    counts["all forgotten"] = {name_of(name): count for name, count in forgotten.rows.items()}
    return {**state, "counts": counts}


def told(spark: SparkSession, path: str) -> Any:
    """The schema of a table, and its rows without what tells one run from another."""
    table = DeltaTable(spark, path)
    if not table.exists():
        return None
    frame = table.read()
    kept = [name for name in frame.columns if name not in _OF_A_RUN]
    # Times as numbers, and ids of Sama's not at all: they are new each time.
    new = {"batch_id"} | ({"task_id", "raw"} if name_of(path) not in ("annotations", "deliveries_raw") else set())
    shown = [
        F.unix_micros(name) if kind == "timestamp" else name
        for name, kind in frame.select(kept).dtypes
        if name not in new
    ]
    rows = sorted(map(str, frame.select(*shown).collect()))
    return {"schema": frame.schema.simpleString(), "rows": [row.split("(", 1)[1] for row in rows]}


def name_of(path: str) -> str:
    return path.rsplit("/", 1)[1]


def _counts(result: Any) -> Any:
    return result.landed, result.new, result.updated, [(f.feed, f.changes, f.unfit) for f in result.feeds]


def _delivery(n: int, *, weather: str = "sun", extra: Any = None) -> dict[str, Any]:
    answers = {"weather": weather, "taken": "2024-02-30" if n == 1 else "2011-12-30", "shapes": boxes(1)}
    return {
        "id": f"{n:024x}",
        "data": {"url": f"https://assets.invalid/{n}.jpg", "n": n, "day": "2011-12-30"},
        "answers": answers | ({} if extra is None else {"extra": extra}),
        "delivered_at": f"2026-01-02T00:00:0{n}.{'5' if weather == 'rain' else '0'}00{'+05:30' if n == 2 else 'Z'}",
    }
