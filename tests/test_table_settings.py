"""What a session or a workspace may set changes neither the types nor the rows of tables, nor what works."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kit.table_settings import SETTINGS, everything, having
from sama_spark import Client
from sama_spark.delta import DeltaTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

# Of each group what has bent most: what reads types, literals and words, forbids to delete, or takes statistics away.
TELLING = {
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.session.timeZone": "Pacific/Apia",
    "spark.sql.parser.escapedStringLiterals": "true",
    "spark.sql.parser.quotedRegexColumnNames": "true",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.ansi.enforceReservedKeywords": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.sources.partitionOverwriteMode": "dynamic",
    "spark.databricks.delta.properties.defaults.appendOnly": "true",
    "spark.databricks.delta.properties.defaults.dataSkippingStatsColumns": "nothing",
    "spark.databricks.delta.properties.defaults.setTransactionRetentionDuration": "interval 1 day",
    "spark.databricks.delta.replaceWhere.dataColumns.enabled": "false",
}
COUNTS = {
    "row to task": 5,
    "first": (5, 1, 0),
    "second": (0, 1, 5),
    "resumed": 0,
    "sync": (4, 4, 0, [("delivered", 0, 1)]),
    "sync again": (
        4,
        3,
        1,
        [("delivered", 0, 0), ("since_last_call", 0, 0), ("status", 12, 0), ("batches", 1, 0), ("stats", 1, 0)],
    ),
    "full": (0, 0, 0, [("delivered", 0, 0)]),
    "views": {"labels_current": 24, "label_counts": 4, "turnaround": 1},
    "purged": {"deliveries_raw": 1, "annotations": 3, "task_states": 1, "tasks": 1},
    "forgotten": {"outbox": 2, "outbox_tasks": 2, "rejected": 0},
    "all forgotten": {"outbox": 3, "outbox_tasks": 3, "rejected": 2},
}


def _done(spark: SparkSession, sandbox: Sandbox, folder: Path, settings: dict[str, str]) -> dict[str, Any]:
    sandbox.reset()
    with Client(sandbox.api_key, base_url=sandbox.base_url) as client, having(spark, settings):
        return everything(spark, sandbox, client, str(folder))


@pytest.mark.long
@pytest.mark.one_kind
def test_what_bends_most(spark: SparkSession, sandbox: Sandbox, tmp_path: Path) -> None:
    done = _done(spark, sandbox, tmp_path, TELLING)
    assert done.pop("counts") == COUNTS
    for name, table in done.items():
        assert table is None or "timestamp_ntz" not in table["schema"], name
    [second] = [row for row in done["tasks"]["rows"] if "n=2" in row]
    assert f"unix_micros(delivered_at)={1767312002000000 - 19_800_000_000}" in second  # of +05:30
    assert "day=datetime.date(2011, 12, 30)" in second  # a day that the zone of the session never had
    properties = DeltaTable(spark, f"{tmp_path}/outbox").properties() or {}
    assert properties["delta.appendOnly"] == "false"
    assert properties["delta.setTransactionRetentionDuration"] == "interval 36500 days"


@pytest.mark.long
def test_each_group(spark: SparkSession, sandbox: Sandbox, tmp_path: Path) -> None:
    usual = _done(spark, sandbox, tmp_path / "usual", {})
    assert usual["counts"] == COUNTS
    for name, settings in SETTINGS.items():
        known = {key: value for key, value in settings.items() if _takes(spark, key, value)}
        assert _done(spark, sandbox, tmp_path / name, known) == usual, name


def _takes(spark: SparkSession, name: str, value: str) -> bool:
    """Whether this Spark has the setting at all."""
    try:
        with having(spark, {name: value}):
            return True
    except Exception:
        return False
