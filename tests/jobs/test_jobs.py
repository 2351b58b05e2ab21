"""The jobs, with the examples in conf/ as they are but for the sandbox's port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sama_spark import Client
from sama_spark.delta import DeltaTable
from sama_spark.errors import SyncError
from sama_spark.http.call_errors import AuthenticationError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

CONF = Path(__file__).parents[2] / "conf"
ONE_KIND = pytest.mark.one_kind


def rows(spark: SparkSession, path: Path) -> list[dict[str, Any]]:
    return [row.asDict() for row in spark.read.format("delta").load(str(path)).collect()]


@pytest.mark.afresh
def test_one_after_the_other(
    run_afresh: Any, spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    run, data = run_afresh, tmp_path / "sama-data"
    line = run("upload")
    assert (line["tasks"], line["created"], line["known"], line["batches"]) == (10, 10, 0, 1)
    assert line["project"] == str(project)
    line = run("upload", "source.query=SELECT 'https://a.invalid/10.jpg' AS url, 'image 10' AS name")
    assert (line["tasks"], line["known"]) == (1, 0)
    assert len(sandbox.tasks(project)) == 11
    assert run("doctor", config="sync")["status"] == "succeeded"
    sandbox.annotate(project, 0.5)
    line = run("sync")
    assert (line["landed"], line["new"]) == (sum(task["state"] == "delivered" for task in sandbox.tasks(project)),) * 2
    delivered = line["new"]
    line = run("status")
    assert line["states"] == {"delivered": delivered, "new": 11 - delivered}
    assert line["open_tasks"] == 11 - delivered
    assert (line["unsure_batches"], line["open_batches"]) == ([], [])
    assert run("resume")["recovered"] == 0
    gone = next(task["id"] for task in sandbox.tasks(project) if task["state"] == "delivered")
    line = run("purge", f"tasks=['{gone}']")
    removed = {Path(name).name: count for name, count in line["removed"].items()}
    assert {removed[name] for name in ("deliveries_raw", "tasks", "task_states", "outbox")} == {1}
    assert removed["annotations"] > 0
    assert f"VACUUM delta.`{data}/labels/tasks`" in line["vacuum"]
    for name, key in (
        ("deliveries_raw", "id"),
        ("tasks", "id"),
        ("annotations", "task_id"),
        ("task_states", "task_id"),
    ):
        frame = spark.read.format("delta").load(str(data / "labels" / name))
        in_files = spark.read.parquet(*frame.inputFiles())  # a deletion vector would hide what is still there
        assert in_files.count() > 0
        assert in_files.where(in_files[key] == gone).count() == 0, name
    # Only the row that the outbox has forgotten is new.
    assert run("upload", "dry_run=true")["tasks"] == 1

    uploads = [row["job"] for row in sorted(rows(spark, data / "runs"), key=lambda row: row["started_at"])]
    assert uploads == ["upload", "upload", "resume", "upload"]
    beside = rows(spark, data / "labels" / "runs")
    assert sorted(row["job"] for row in beside if row["job"]) == ["purge", "status", "sync"]
    assert {row["feed"] for row in beside if not row["job"]} == {"delivered", "status", "batches", "stats"}
    assert all(row["error"] is None for row in beside)
    assert json.loads(next(row["result"] for row in beside if row["job"] == "sync"))["new"] == delivered


@pytest.mark.long
@ONE_KIND
def test_a_purge_that_dies_is_run_again(
    run: Any, spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = str(tmp_path / "sama-data" / "labels")
    # The last one is so much later that a sync does not read the others again.
    times = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-03-01T00:00:00Z")
    sandbox.deliver(project, [{"id": f"{n:024x}", "delivered_at": at} for n, at in enumerate(times)])
    masks = tmp_path / "masks"
    for n in range(3):
        (masks / str(project) / f"{n:024x}").mkdir(parents=True)
        (masks / str(project) / f"{n:024x}" / "a.png").touch()
    run("sync")
    exists = DeltaTable.exists
    with monkeypatch.context() as dying:
        dying.setattr(DeltaTable, "exists", lambda self: (self.name.endswith("annotations") and 1 / 0) or exists(self))
        what = ("outbox=", "rows=", f"tasks=['{1:024x}']", f"masks={masks}")
        line = run("purge", *what, fails=SystemExit)
    assert line["error"]["type"] == "ZeroDivisionError"
    assert run("sync")["new"] == 0  # text that is gone makes nothing anew
    line = run("purge", *what)
    assert {Path(name).name: count for name, count in line["removed"].items()} == {
        "deliveries_raw": 0,
        "annotations": 0,
        "tasks": 1,
    }
    assert line["masks"] == 1
    assert {row["id"] for row in rows(spark, Path(labels, "tasks"))} == {f"{0:024x}", f"{2:024x}"}
    with Client(sandbox.api_key, base_url=sandbox.base_url) as client:
        with pytest.raises(SyncError, match="holds project sama/4242"):
            client.purge_synced(spark, "999", labels)
        for nothing in ([], [""], "abc"):
            with pytest.raises(ValueError, match="no list of ids"):
                client.purge_synced(spark, project, labels, task_ids=nothing)
        print(client.purge_synced(spark, project, labels, masks=str(masks)))
    assert rows(spark, Path(labels, "deliveries_raw")) + rows(spark, Path(labels, "runs")) == []
    assert not list(masks.rglob("*.png"))


@ONE_KIND
def test_what_fails_says_so_and_is_recorded(
    run: Any, spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = run("upload", "max_tasks=3", fails=SystemExit)
    assert line["error"]["type"] == "TooManyTasks"
    assert sandbox.batches(project) == []
    lenient = ("contract=lenient", "source.query=SELECT IF(id = 1, null, 'a') AS url, id AS name FROM range(3)")
    line = run("upload", *lenient, "row_key=[name]", fails=SystemExit)
    assert (line["created"], line["failed"], line["error"]["type"]) == (2, 1, "TasksNotCreated")
    monkeypatch.setenv("SAMA_API_KEY", "wrong-key")
    line = run("upload", "outbox=", "row_key=", fails=SystemExit)
    assert line["error"]["type"] == "AuthenticationError"
    monkeypatch.delenv("SAMA_API_KEY")
    assert run("upload", fails=SystemExit)["error"]["type"] == "InvalidInput"
    errors = [row["error"] for row in rows(spark, tmp_path / "sama-data" / "runs")]
    assert sorted(error.split(":")[0] for error in errors) == [
        "AuthenticationError",
        "InvalidInput",
        "TasksNotCreated",
        "TooManyTasks",
    ]
    assert run("upload", "max_taks=3", fails=SystemExit)["error"]["message"].endswith("Do you mean `max_tasks`?")


@pytest.mark.long
@ONE_KIND
def test_an_unsure_batch_fails_a_resume_until_a_person_settles_it(
    run: Any, spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    run("upload", "wait_seconds=0")
    outbox = DeltaTable(spark, str(tmp_path / "sama-data" / "outbox"))
    outbox.append(outbox.read().where("state = 'bound'").selectExpr("'unsure' AS state", "batch_id", "run_id", "tasks"))
    line = run("resume", fails=SystemExit)
    [batch_id] = line["unsure_batches"]
    assert line["error"]["type"] == "OutboxUnsure"
    assert run("status", "feeds=[stats]")["unsure_batches"] == [batch_id]
    assert run("resume", f"unsure={{{batch_id}: created}}")["unsure_batches"] == []
    assert run("resume", "project=999", fails=SystemExit)["error"]["type"] == "OutboxError"
    assert run("purge", "project=999", "into=", "tasks=", fails=SystemExit)["error"]["type"] == "OutboxError"


@ONE_KIND
def test_as_a_databricks_task(
    run: Any, spark: SparkSession, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values: dict[str, Any] = {}

    def keep(key: str, value: Any) -> None:
        json.dumps(value)
        values[key] = value

    runtime: Any = ModuleType("databricks.sdk.runtime")
    secrets = SimpleNamespace(get=lambda scope, key: {("sama", "api_key"): sandbox.api_key}[scope, key])
    runtime.dbutils = SimpleNamespace(secrets=secrets, jobs=SimpleNamespace(taskValues=SimpleNamespace(set=keep)))
    for name in ("databricks", "databricks.sdk"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "databricks.sdk.runtime", runtime)
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    monkeypatch.delenv("SAMA_API_KEY")
    where = "api_key={scope: sama, key: api_key}"
    run("sync", where)
    assert (values["status"], values["landed"]) == ("succeeded", 0)
    # By name, as keyword arguments of a wheel task and job parameters come.
    from sama_spark.cli import main

    named = [
        "--project=4242",
        f"--config={CONF}/sync.yml",
        f"--base_url={sandbox.base_url}",
        f"--{where}",
        "--job=sync",
    ]
    monkeypatch.setattr(sys, "argv", ["sama-spark", *named])
    assert main() == 0
    secrets.get = lambda **_: "wrong"
    run("sync", where, fails=AuthenticationError)
    assert values["status"] == "failed"


@pytest.mark.long
def test_each_with_a_spark_of_its_own(command: str, tmp_path: Path) -> None:
    from sama_spark.sandbox import Sandbox

    serving = [command, "sandbox", "--project", str(CONF / "project.yml")]
    server = subprocess.Popen(serving, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        base_url = next(line.split()[-1] for line in server.stdout if "base URL" in line)
        for job in ("upload", "doctor", "sync", "status", "resume", "purge"):
            config = str(CONF / f"{'sync' if job == 'doctor' else job}.yml")
            done = subprocess.run(
                [command, job, config, f"base_url={base_url}"],
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "SAMA_API_KEY": "sandbox-key"},
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout.splitlines()[-1])["status"] == "succeeded"
            if job == "upload":
                assert Sandbox.at(base_url).annotate(4242) == 10
        wrong = subprocess.run(
            [command, "sync", str(CONF / "sync.yml"), f"base_url={base_url}", "api_key=literal-key"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert wrong.returncode == 1
        assert "AuthenticationError" in wrong.stdout.splitlines()[-1]
        assert "the API key itself stands in the configuration" in wrong.stderr
        assert "literal-key" not in wrong.stdout + wrong.stderr
    finally:
        server.kill()
        server.wait()
