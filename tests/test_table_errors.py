"""What Spark, Delta and the catalog refuse is told as an error of ours, with a remedy and theirs as its cause."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sama_spark import Client, delta
from sama_spark.delta import DeltaTable, table_errors
from sama_spark.errors import ConnectorError, OutboxError, SyncError, TableError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind


@pytest.fixture
def client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(delta, "_PAUSE", 0.01)  # a table that comes to be is not waited for
    with Client(sandbox.api_key, base_url=sandbox.base_url) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    return _project(sandbox)


def _project(sandbox: Sandbox) -> int:
    project = sandbox.create_project({"url": "string"}, {"weather": "text"}, project_id=4242)
    task = {"id": "0" * 24, "data": {"url": "u"}, "answers": {"weather": "sun"}}
    sandbox.deliver(project, [{**task, "delivered_at": "2026-01-02T00:00:00Z"}])
    return project


@pytest.fixture(scope="module")
def synced(spark: SparkSession, running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of that project after a sync, to be copied."""
    running_sandbox.reset()
    folder = tmp_path_factory.mktemp("synced")
    with Client(running_sandbox.api_key, base_url=running_sandbox.base_url) as client:
        client.sync(spark, str(_project(running_sandbox)), str(folder))
    return folder


def _rows(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([("https://assets.invalid/1.jpg",), ("/Volumes/no",)], "url string")


def _refused(kind: type[ConnectorError], call: Callable[[], Any], said: str) -> None:
    with pytest.raises(kind) as refused:
        call()
    assert said.lower() in str(refused.value).lower()
    assert refused.value.remedy
    assert len(str(refused.value)) < 1000
    assert "\n" not in str(refused.value)


def _without(spark: SparkSession, path: str, column: str) -> None:
    """Somebody takes a column out of a table."""
    frame = DeltaTable(spark, path).read().drop(column)
    frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(path)


def _of_another_type(spark: SparkSession, path: str, column: str) -> None:
    frame = DeltaTable(spark, path).read()
    frame = frame.withColumn(column, frame[column].cast("string"))
    frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(path)


def test_sync(spark: SparkSession, client: Client, project: int, tmp_path: Path) -> None:
    def sync(into: str) -> Callable[[], Any]:
        return lambda: client.sync(spark, str(project), into)

    _refused(SyncError, sync("nowhere.labels"), "nowhere")
    (tmp_path / "text" / "tasks").mkdir(parents=True)
    (tmp_path / "text" / "tasks" / "a.txt").write_text("something else")
    _refused(SyncError, sync(f"{tmp_path}/text"), "tasks")
    spark.range(1).write.parquet(f"{tmp_path}/parquet/tasks")
    _refused(SyncError, sync(f"{tmp_path}/parquet"), "tasks")
    spark.sql("CREATE SCHEMA IF NOT EXISTS of_views").collect()
    try:
        spark.sql("CREATE VIEW of_views.tasks AS SELECT 1 AS id").collect()
        _refused(SyncError, sync("of_views"), "tasks")
        _refused(SyncError, lambda: client.purge_synced(spark, str(project), "of_views"), "tasks")
    finally:
        spark.sql("DROP SCHEMA of_views CASCADE").collect()
    _refused(SyncError, lambda: client.purge_synced(spark, str(project), f"{tmp_path}/text"), "there is no table")


@pytest.mark.parametrize(
    ("table", "harm", "column"),
    [
        ("tasks", _without, "feed"),
        ("tasks", _of_another_type, "delivered_at"),
        ("deliveries_raw", _without, "parts"),
        ("annotations", _without, "points"),
    ],
)
def test_sync_of_tables_that_were_changed_by_hand(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: int,
    synced: Path,
    tmp_path: Path,
    table: str,
    harm: Callable[[SparkSession, str, str], None],
    column: str,
) -> None:
    into = f"{tmp_path}/copy"
    shutil.copytree(synced, into)
    harm(spark, f"{into}/{table}", column)
    task = {"id": "1" * 24, "data": {"url": "u"}, "answers": {"weather": "sun"}}
    sandbox.deliver(project, [{**task, "delivered_at": "2026-01-03T00:00:00Z"}])
    with pytest.raises(SyncError) as refused:
        client.sync(spark, str(project), into)
    assert "by hand" in str(refused.value)
    assert refused.value.__cause__ is not None


def test_outbox(spark: SparkSession, client: Client, project: int, tmp_path: Path) -> None:
    rows = _rows(spark).limit(1)

    def create(outbox: str) -> Callable[[], Any]:
        return lambda: client.create_task_batch_from_table(rows, project, outbox=outbox, row_key="url")

    _refused(OutboxError, create("nowhere.labels.outbox"), "nowhere")
    _refused(OutboxError, create("no_schema.outbox"), "no_schema")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("something else")
    _refused(OutboxError, create(f"{tmp_path}/text"), "text")
    _refused(OutboxError, lambda: client.resume(spark, outbox=f"{tmp_path}/text"), "no outbox")
    DeltaTable(spark, f"{tmp_path}/other").create("id STRING", "", {})
    _refused(OutboxError, create(f"{tmp_path}/other"), "is no outbox")
    spark.sql("CREATE VIEW outbox_view AS SELECT 1 AS id").collect()
    try:
        _refused(OutboxError, create("outbox_view"), "outbox_view")
        _refused(OutboxError, lambda: client.purge(spark, outbox="outbox_view"), "outbox_view")
    finally:
        spark.sql("DROP VIEW outbox_view").collect()
    outbox = f"{tmp_path}/outbox"
    create(outbox)()
    _without(spark, outbox, "seq")
    for call in (create(outbox), lambda: client.resume(spark, outbox=outbox)):
        with pytest.raises(OutboxError, match=r"seq.*by hand") as refused:
            call()
        assert refused.value.__cause__ is not None


def test_rejected_rows(spark: SparkSession, client: Client, project: int, tmp_path: Path, sandbox: Sandbox) -> None:
    other = f"{tmp_path}/other"
    DeltaTable(spark, other).create("id STRING", "", {})
    _refused(
        TableError,
        lambda: client.create_task_batch_from_table(_rows(spark), project, on_invalid="reject", rejected_table=other),
        other,
    )


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("[INSUFFICIENT_PERMISSIONS] Insufficient privileges:\nUser does not have MODIFY on Table", "right"),
        ("PERMISSION_DENIED: User does not have USE SCHEMA on Schema 'main.labels'.", "right"),
        ("[TABLE_OR_VIEW_NOT_FOUND] The table or view `a` cannot be found.", "spelt"),
        ("[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column with name `seq` cannot be resolved.", "by hand"),
        ("[EXPECT_TABLE_NOT_VIEW.NO_ALTERNATIVE] 'DELETE' expects a table but `a` is a view.", "no table of Delta"),
    ],
)
def test_what_catalogs_say(said: str, remedy: str) -> None:
    from pyspark.errors import AnalysisException

    with pytest.raises(TableError, match=remedy) as told, table_errors("'a' cannot be read"):
        raise AnalysisException(said)
    assert "'a' cannot be read: " in str(told.value)


def test_bugs_and_lost_races_pass() -> None:
    from pyspark.errors import PySparkException

    for error in (ValueError("a bug"), PySparkException("DELTA_CONCURRENT_APPEND: another writer")):
        with pytest.raises(type(error)) as passed, table_errors("'a' cannot be read"):
            raise error
        assert passed.value is error
