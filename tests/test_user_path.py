"""One pass of every function that users call, small, on any Spark and any session: the core of what has to work.

On Connect the session is guarded as serverless compute is (`serverless.py`), and the driver's files are its own but for
one folder, a volume's stand-in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyspark")

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sama_spark
from kit.serverless_worker import PRIVATE
from sama_spark import (
    Client,
    MicroBatches,
    TaskStates,
    boxes_to_output,
    flatten_annotations,
    process_folder,
    to_pre_annotations,
)
from sama_spark.errors import StagingError
from sama_spark.http.retry import Pacer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.core

FEEDS = ("delivered", "since_last_call", "status", "batches", "stats")


@pytest.fixture
def volume(spark: SparkSession, session_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one folder that driver and workers share; what else the driver writes, temporary files too, is its own."""
    private = tmp_path / PRIVATE
    private.mkdir()
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    process_folder.process_folder.cache_clear()
    if session_kind == "connect":
        from kit.serverless import guard

        guard(spark, private)
    yield tmp_path / "volume"
    process_folder.process_folder.cache_clear()
    if session_kind == "connect":
        guard(spark)


@pytest.fixture
def client(sandbox: Sandbox, volume: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    sandbox.switch(status_calls_per_second=None)
    monkeypatch.setattr(Pacer, "wait", lambda _: None)
    with Client(sandbox.api_key, base_url=sandbox.base_url, staging=str(volume)) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> str:
    inputs = {"url": "string", "name": {"type": "string", "required": True}, "n": "integer", "day": "date"}
    return str(sandbox.create_project(inputs, {"objects": "image", "weather": "dropdown"}))


@pytest.fixture
def schema(spark: SparkSession, project: str) -> Iterator[str]:
    name = f"path_{project}"
    spark.sql(f"CREATE SCHEMA {name}").collect()
    yield name
    spark.sql(f"DROP SCHEMA {name} CASCADE").collect()


@pytest.fixture
def images(spark: SparkSession) -> DataFrame:
    rows = spark.range(6).selectExpr(
        "concat('https://assets.invalid/', id, '.jpg') AS url",
        "concat('image ', id) AS name",
        "int(id) AS n",
        "date_add(date'2026-01-01', int(id)) AS day",
        "array(array(1.0D, 2.0D, 20.0D + id, 30.0D)) AS boxes",
        "if(id % 2 = 0, 'sun', null) AS output_weather",
    )
    boxes = boxes_to_output("boxes", label=F.lit("car"), box_format="xyxy").alias("output_objects")
    return rows.select("url", "name", "n", "day", "output_weather", boxes)


def test_out(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: str, schema: str, images: DataFrame
) -> None:
    dry = client.create_task_batch_from_table(images, project, dry_run=True)
    assert (dry.task_count, sandbox.tasks(int(project))) == (6, [])
    ours: dict[str, Any] = {
        "outbox": f"{schema}.outbox",
        "row_key": "name",
        "on_invalid": "reject",
        "rejected_table": f"{schema}.rejected",
    }
    bad = images.limit(1).withColumn("name", F.lit("bad")).withColumn("url", F.lit("/Volumes/a/b/c.jpg"))
    sent = client.create_task_batch_from_table(images.unionByName(bad), project, chunk_rows=4, **ours)
    assert (sent.task_count, sent.rejected.count(), spark.table(f"{schema}.rejected").count()) == (6, 1, 1)
    assert sent.wait().created == 6
    again = client.create_task_batch_from_table(images, project, **ours)
    assert (again.task_count, again.outbox and again.outbox.known) == (0, 6)
    assert not client.resume(spark, outbox=f"{schema}.outbox").still_open
    assert sent.tasks(match_on="name").count() == 6
    assert f"{schema}.outbox" in client.purge(spark, outbox=f"{schema}.outbox", rows=images.select("name")).rows


def test_back(spark: SparkSession, client: Client, sandbox: Sandbox, project: str, images: DataFrame) -> None:
    sent = client.create_task_batch_from_table(images, project)
    sandbox.annotate(int(project), corrections=False)
    labels = client.get_delivered_tasks_to_table(spark, project, answers_schema="infer")
    assert {row.name for row in labels.select("data.name").collect()} == {f"image {n}" for n in range(6)}
    rows = flatten_annotations(labels, label="label")
    assert rows.where("kind = 'box' AND label = 'car'").count() == 6
    assert client.get_delivered_tasks_since_last_call_to_table(spark, project, consumer="us").count() == 6
    status = client.get_multi_task_status_to_table(spark, project, state=TaskStates.DELIVERED)
    assert status.select("id", "state").count() == 6
    more = client.create_task_batch_from_table(to_pre_annotations(labels), project)
    assert (sent.task_count, more.task_count) == (6, 6)


def test_without_a_folder(
    spark: SparkSession, sandbox: Sandbox, session_kind: str, volume: Path, project: str, images: DataFrame
) -> None:
    with Client(sandbox.api_key, base_url=sandbox.base_url) as client:
        assert client.create_task_batch_from_table(images, project).task_count == 6
        sandbox.annotate(int(project), corrections=False)
        assert client.get_delivered_tasks_to_table(spark, project).count() == 6
        if session_kind == "connect":
            with pytest.raises(StagingError, match="not shared by driver and workers"):
                client.get_delivered_tasks_to_table(spark, project, staging=str(volume.parent / PRIVATE))


def test_tables(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: str, schema: str, images: DataFrame
) -> None:
    sent = client.create_task_batch_from_table(images, project)
    sandbox.annotate(int(project), corrections=False)
    named = sent["batch_ids"]
    client.sync(spark, project, schema, feeds=FEEDS, label="label", consumer="us", batches=named, views=True)
    assert spark.table(f"{schema}.annotations").where("label = 'car'").count() == 6
    [first, *_] = spark.table(f"{schema}.tasks").sort("id").collect()
    assert isinstance(first.data.n, int)
    client.reject_task(project, first.id, ["look again"], spark=spark, into=schema)
    client.sync(spark, project, schema, feeds=("status",))
    current = spark.table(f"{schema}.labels_current").select("task_id").distinct().count()
    assert current == 5
    assert spark.table(f"{schema}.rework").collect()[0].sent_back_now == 1


def test_sparks_own_doors(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: str, volume: Path, images: DataFrame
) -> None:
    if not hasattr(type(spark), "dataSource"):
        with pytest.raises(ImportError, match=r"Spark 4\.0 or newer.*use sama_spark\.Client"):
            sama_spark.register(spark)
        return
    sama_spark.register(spark)
    (volume / "key").write_text(sandbox.api_key)
    options = {
        "project": project,
        "base_url": sandbox.base_url,
        "api_key_file": str(volume / "key"),
        "staging": str(volume),
    }
    images.write.format("sama").mode("append").options(**options).save()
    assert len(sandbox.tasks(int(project))) == 6
    sandbox.annotate(int(project), corrections=False)
    delivered = spark.read.format("sama").options(**options).load()
    assert flatten_annotations(delivered, label="label").where("label = 'car'").count() == 6
    stream = spark.readStream.format("sama").options(**options, lag=0).load()
    writer = stream.writeStream.format("delta").trigger(availableNow=True)
    finish(writer.option("checkpointLocation", str(volume / "back")).start(str(volume / "arrived")))
    assert spark.read.format("delta").load(str(volume / "arrived")).count() == 6


def test_micro_batches(
    spark: SparkSession,
    sandbox: Sandbox,
    session_kind: str,
    project: str,
    schema: str,
    volume: Path,
    images: DataFrame,
) -> None:
    (volume / "key").write_text(sandbox.api_key)
    key_file, base_url = str(volume / "key"), sandbox.base_url

    def make() -> Any:
        import pathlib

        from sama_spark import Client

        return Client(pathlib.Path(key_file).read_text(), base_url=base_url)

    each = MicroBatches(make, project, outbox=f"{schema}.outbox", row_key="name")

    def guarded(rows: DataFrame, number: int) -> None:
        from kit.serverless import guard

        guard(rows.sparkSession)
        each(rows, number)

    images.write.format("delta").save(str(volume / "arrivals"))
    arrivals = spark.readStream.format("delta").load(str(volume / "arrivals"))
    writer = arrivals.writeStream.foreachBatch(guarded if session_kind == "connect" else each)
    finish(writer.option("checkpointLocation", str(volume / "c")).trigger(availableNow=True).start())
    assert len(sandbox.tasks(int(project))) == 6


def finish(query: Any) -> None:
    assert query.awaitTermination(120)
    assert query.exception() is None
