"""The tables beside an outbox: which task a row became, and what is forgotten on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.outbox_runs import images, numbers, once, send
from sama_spark import Client, InvalidInput

pytestmark = pytest.mark.one_kind

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox


def keyed(spark: SparkSession, first: int, end: int) -> DataFrame:
    return images(spark, first, end).drop("image")


@pytest.fixture(autouse=True)
def unlimited(sandbox: Sandbox) -> None:
    """The client's clock is not the sandbox's, so that its pace means nothing there."""
    sandbox.switch(status_calls_per_second=None)


def test_each_row_finds_its_task(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    result = send(client, keyed(spark, 0, 9), project, outbox, row_key="n", not_sent=())
    sandbox.annotate(project, 0.5)
    sandbox.forget_calls()
    found = {row.row_key: row for row in result.tasks(match_on="n").collect()}
    tasks = {f'{{"n":"{task["data"]["n"]}"}}': task for task in sandbox.tasks(project)}
    assert {key: row.task_id for key, row in found.items()} == {key: task["id"] for key, task in tasks.items()}
    assert {key: row.batch_id for key, row in found.items()} == {key: task["batch_id"] for key, task in tasks.items()}
    assert {row.reason for row in found.values()} == {None}
    sandbox.forget_calls()
    assert result.tasks(match_on="n").count() == 9
    assert sandbox.calls() == {}
    assert spark.read.format("delta").load(outbox + "_tasks").count() == 9


def test_where_it_cannot_be_told_the_reason_stands(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    rows = keyed(spark, 0, 5).selectExpr("n div 2 AS n", "url", "if(n = 4, 'lost', 'kept') AS kind", "n AS number")
    result = send(client, rows, project, outbox, row_key=["n", "number"], not_sent=["kind", "number"], chunk_rows=10)
    lost = next(task["id"] for task in sandbox.tasks(project) if task["data"]["n"] == 2)
    client.delete_tasks(project, [lost])
    found = {row.row_key: row for row in result.tasks(match_on="n").collect()}
    assert len(found) == 5
    assert all(row.task_id is None for row in found.values())
    assert found['{"n":"0","number":"1"}'].reason == "2 rows of the batch have this value"
    assert "no task of the batch has this value" in found['{"n":"2","number":"4"}'].reason


def test_what_cannot_be_matched_is_refused(spark: SparkSession, client: Client, project: int, outbox: str) -> None:
    result = send(client, images(spark, 0, 2), project, outbox)
    for match_on, said in (("image", "was not sent"), ("url", "no part of the outbox's row key")):
        with pytest.raises(InvalidInput, match=said):
            result.tasks(match_on=match_on)
    without = client.create_task_batch_from_table(keyed(spark, 0, 2), str(project))
    with pytest.raises(InvalidInput, match="without an outbox"):
        without.tasks(match_on="n")


def test_some_rows_are_forgotten_everywhere(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str, tmp_path: Path
) -> None:
    rejected = str(tmp_path / "rejected")
    rows = keyed(spark, 0, 9).selectExpr("n", "if(n = 3, null, url) AS url")
    # `lenient` leaves it to Sama to miss the url, so that the outbox has a line of rows that failed.
    options = {"row_key": "n", "not_sent": (), "rejected_table": rejected, "contract": "lenient"}
    result = send(client, rows, project, outbox, on_invalid="reject", **options)
    assert result.wait().failed == 1
    result.tasks(match_on="n")
    gone = spark.createDataFrame([(1,), (3,), (5,), (100,)], "n bigint")
    purged = client.purge(spark, outbox=outbox, rows=gone, rejected_table=rejected)
    assert purged.rows == {outbox: 3, outbox + "_tasks": 3, rejected: 1}
    assert f"VACUUM delta.`{outbox}`" in repr(purged)
    for table in (outbox, outbox + "_tasks", rejected):
        text = "".join(map(str, spark.read.format("delta").load(table).collect()))
        assert '{"n":"1"}' not in text
        assert '{"n":"3"}' not in text
    again = send(client, rows.where("n <> 3"), project, outbox, on_invalid="reject", **options)
    assert (again.task_count, again.outbox and again.outbox.known) == (2, 6)
    with pytest.raises(InvalidInput, match=r"lack the outbox's key columns \['n'\]"):
        client.purge(spark, outbox=outbox, rows=gone.toDF("m"))


@pytest.mark.long
def test_everything_is_forgotten_and_the_outbox_still_works(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str, tmp_path: Path
) -> None:
    staging = tmp_path / "staging"
    send(client, images(spark, 0, 5), project, outbox, staging=str(staging)).wait()
    left = staging / "sama-spark" / "out-20260101T000000Z-dead"
    left.mkdir()
    purged = client.purge(spark, outbox=outbox, staging=str(staging))
    assert (purged.rows, left.exists()) == ({outbox: 5}, False)
    assert "image 1" not in "".join(map(str, spark.read.format("delta").load(outbox).collect()))
    assert send(client, images(spark, 0, 5), project, outbox).task_count == 5
    assert send(client, images(spark, 0, 5), project, outbox).task_count == 0
    assert set(numbers(sandbox, project).values()) == {2}
    assert set(numbers(sandbox, project)) == set(once(range(5)))
