"""Rows that cannot become tasks: the others are created, and these are kept with key, column and reason."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sama_spark import Client, ConnectorError, InvalidInput, InvalidRowsError, StagingError

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

ROWS, BAD = 40, 10


@pytest.fixture
def project(sandbox: Sandbox) -> str:
    inputs = {"url": {"type": "string", "required": True}, "n": "integer"}
    return str(sandbox.create_project(inputs=inputs, outputs={"objects": "image"}))


def rows(spark: SparkSession, count: int) -> DataFrame:
    """Of every eight rows one lacks its url and one has a broken pre-annotation."""
    return spark.range(count, numPartitions=3).selectExpr(
        "concat('image ', id) AS image",
        "if(id % 8 = 3, null, concat('https://assets.invalid/', id, '.jpg')) AS url",
        "cast(id AS int) AS n",
        """if(id % 8 = 5, '{broken', '{"layers":{"vector_tagging":[]}}') AS output_objects""",
    )


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    return rows(spark, ROWS)


OPTIONS = {"row_key": ["image"], "not_sent": ["image"], "on_invalid": "reject"}


@pytest.mark.both_kinds
def test_the_others_are_created_and_every_row_is_accounted_for(
    df: DataFrame, sandbox: Sandbox, client: Client, project: str
) -> None:
    result = client.create_task_batch_from_table(df, project, chunk_rows=7, **OPTIONS)  # type: ignore[arg-type]
    assert (result.task_count, result.rejected_rows) == (ROWS - BAD, BAD)
    assert sorted(task["data"]["n"] for task in sandbox.tasks(int(project))) == [
        n for n in range(ROWS) if n % 8 not in (3, 5)
    ]
    assert result.rejected is not None
    found = {json.loads(row.row_key)["image"]: row for row in result.rejected.collect()}
    assert sorted(found) == sorted(f"image {n}" for n in range(ROWS) if n % 8 in (3, 5))
    assert {row.run_id for row in found.values()} == {result.run_id}
    null, broken = found["image 3"], found["image 5"]
    assert (null.column, null.value) == ("url", "null")
    assert null.reason == "is null, and the project requires a value"
    assert (broken.column, broken.value) == ("output_objects", "{broken")
    assert broken.reason.startswith("is not JSON")
    assert '"n":5' in broken.row
    assert "10 rows could not become tasks" in repr(result)


def test_thousands_of_rejected_rows_are_all_kept(
    spark: SparkSession, sandbox: Sandbox, client: Client, project: str
) -> None:
    result = client.create_task_batch_from_table(rows(spark, 16_000), project, **OPTIONS)  # type: ignore[arg-type]
    assert (result.task_count, result.rejected_rows) == (12_000, 4_000)
    assert result.rejected is not None
    keys = Counter(row.row_key for row in result.rejected.select("row_key").collect())
    assert (len(keys), max(keys.values())) == (4_000, 1)


@pytest.mark.parametrize("kind", ["name", "path"])
@pytest.mark.both_kinds
def test_they_land_in_a_delta_table_run_by_run(
    df: DataFrame, spark: SparkSession, client: Client, project: str, way: str, kind: str, tmp_path: Path
) -> None:
    table = f"rejected_{way}" if kind == "name" else str(tmp_path / "rejected")
    ids = {
        client.create_task_batch_from_table(df, project, rejected_table=table, **OPTIONS).run_id  # type: ignore[arg-type]
        for _ in range(2)
    }
    landed = spark.table(table) if kind == "name" else spark.read.format("delta").load(table)
    assert {(row.run_id, row["count"]) for row in landed.groupBy("run_id").count().collect()} == {
        (run_id, BAD) for run_id in ids
    }
    assert len(ids) == 2


def test_where_no_row_is_left_nothing_is_sent(df: DataFrame, sandbox: Sandbox, client: Client, project: str) -> None:
    result = client.create_task_batch_from_table(df.where("url IS NULL"), project, **OPTIONS)  # type: ignore[arg-type]
    assert (result["batch_id"], result.task_count, result.rejected_rows) == (None, 0, BAD // 2)
    assert "could not become tasks" in repr(result)
    assert sandbox.batches(int(project)) == []


@pytest.mark.both_kinds
def test_without_bad_rows_the_dataframe_of_rejected_rows_is_empty(df: DataFrame, client: Client, project: str) -> None:
    for good in (df.where("n % 8 = 0"), df.where("n < 0")):
        result = client.create_task_batch_from_table(good, project, **OPTIONS)  # type: ignore[arg-type]
        assert result.rejected is not None
        assert (result.rejected.count(), result.rejected_rows) == (0, 0)
        assert result.rejected.columns == ["run_id", "batch_id", "row_key", "column", "reason", "value", "row"]


@pytest.mark.parametrize("way", ["few"], indirect=True)
def test_a_table_that_cannot_be_written_stops_the_run_before_anything_is_paid_for(
    df: DataFrame, sandbox: Sandbox, client: Client, project: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a table")
    with pytest.raises(Exception, match="file"):
        client.create_task_batch_from_table(df, project, rejected_table=str(tmp_path / "file"), **OPTIONS)  # type: ignore[arg-type]
    assert sandbox.tasks(int(project)) == []
    assert {batch["state"] for batch in sandbox.batches(int(project))} <= {"canceled"}


def test_more_rejected_rows_than_the_driver_holds_stop_the_run(
    df: DataFrame, sandbox: Sandbox, client: Client, project: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sama_spark.outbound.rejected._MOST_IN_MEMORY", BAD - 1)
    if way == "staged":
        assert client.create_task_batch_from_table(df, project, **OPTIONS).rejected_rows == BAD  # type: ignore[arg-type]
        return
    with pytest.raises(StagingError, match="shared folder"):
        client.create_task_batch_from_table(df, project, **OPTIONS)  # type: ignore[arg-type]
    assert sandbox.tasks(int(project)) == []
    assert {batch["state"] for batch in sandbox.batches(int(project))} <= {"canceled"}


def test_an_error_names_the_row_by_its_key(df: DataFrame, sandbox: Sandbox, client: Client, project: str) -> None:
    with pytest.raises(InvalidRowsError, match=r'row \{"image":"image \d+"\}') as caught:
        client.create_task_batch_from_table(df, project, row_key="image", not_sent="image")
    assert caught.value.message.startswith("10 rows")
    assert sandbox.batches(int(project)) == [] or sandbox.tasks(int(project)) == []


def test_options_that_do_not_go_together_are_refused(df: DataFrame, client: Client, project: str) -> None:
    with pytest.raises(InvalidInput, match="rejected_table"):
        client.create_task_batch_from_table(df, project, rejected_table="t")
    with pytest.raises(InvalidInput, match="on_invalid='drop'"):
        client.create_task_batch_from_table(df, project, on_invalid="drop")  # type: ignore[arg-type]
    with pytest.raises(ConnectorError, match="`row_key` names 'img'"):
        client.create_task_batch_from_table(df, project, row_key=["img"])
