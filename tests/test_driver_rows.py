"""Rows of Python values reach Spark as they are, and without a worker of Python."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from sama_spark.driver_rows import local_values, no_rows, takes_arrow

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone.utc)
SCHEMA = """
    name STRING COMMENT 'a name', small INT, large BIGINT, share DOUBLE, is_new BOOLEAN, at TIMESTAMP_LTZ,
    notes ARRAY<STRING>, counts MAP<STRING, BIGINT>
"""
ROWS: list[Any] = [
    ("a", 1, 1 << 60, 0.5, True, NOW, ["x", None], {"y": 1}),
    (None,) * 8,
    {"name": "b", "counts": {}, "notes": []},
]


def in_full(row: Any, names: list[str]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in names) if isinstance(row, dict) else row


@pytest.mark.one_kind
def test_rows_need_no_worker(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = spark.createDataFrame([], SCHEMA)
    if takes_arrow():
        monkeypatch.setattr(spark.sparkContext, "pythonExec", "/there/is/no/python")
    rows = local_values(spark, ROWS, SCHEMA)
    assert [field.dataType for field in rows.schema] == [field.dataType for field in expected.schema]
    found = rows.withColumn("at", rows["at"].cast("string")).collect()
    assert [tuple(row) for row in found] == [
        tuple("2026-01-01 22:04:05.678901" if value is NOW else value for value in in_full(row, expected.columns))
        for row in ROWS
    ]
    for empty in (local_values(spark, [], SCHEMA), no_rows(spark, expected.schema)):
        assert empty.collect() == []
        assert empty.schema == expected.schema


@pytest.mark.one_kind
def test_spark_takes_what_arrow_refuses(spark: SparkSession) -> None:
    assert local_values(spark, [(77,), ("half \ud83d",)], "id STRING").count() == 2
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "0")  # no limit, which pyspark cannot cut by
    try:
        assert [row.id for row in local_values(spark, [("a",)], "id STRING").collect()] == ["a"]
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(before))
    with pytest.raises(Exception, match="VALUE_OUT_OF_BOUNDS"):
        local_values(spark, [(2**63,)], "n BIGINT")


@pytest.mark.one_kind
def test_spark_alone_would_start_one(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason for `local_values`. If this fails one day, it can go."""
    monkeypatch.setattr(spark.sparkContext, "pythonExec", "/there/is/no/python")
    with pytest.raises(Exception, match="/there/is/no/python"):
        spark.createDataFrame([("a",)], "name string").collect()
