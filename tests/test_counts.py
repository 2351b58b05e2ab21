"""How many Spark jobs and commits each action takes: a bound for each, since these do not depend on the machine.

A job costs a tenth of a second on a warm session and a second on a cold one, and most actions concern few rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("pyspark")

from kit.clients import client as client_of
from kit.deliveries import delivery
from kit.ways import as_many
from sama_spark import Client, flatten_annotations
from sama_spark.driver_rows import takes_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = [
    pytest.mark.one_kind,
    pytest.mark.skipif(not takes_arrow(), reason="an older Spark takes more jobs"),
]


class Counter:
    """Counts the jobs of the session and the commits to the tables in a folder."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self._scheduler = spark.sparkContext._jsc.sc().dagScheduler()
        self._folder = folder

    def of(self, action: Callable[[], object]) -> tuple[int, int]:
        jobs, commits = self._scheduler.numTotalJobs(), self._commits()
        action()
        return self._scheduler.numTotalJobs() - jobs, self._commits() - commits

    def _commits(self) -> int:
        return len(list(self._folder.rglob("_delta_log/*.json")))


@pytest.fixture
def counter(spark: SparkSession, tmp_path: Path) -> Counter:
    return Counter(spark, tmp_path)


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    return client_of(sandbox)


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    project = sandbox.create_project(
        {"name": "string", "n": "integer", "url": "string"}, {"shapes": "image", "weather": "text"}
    )
    sandbox.deliver(project, (delivery(n) for n in range(9)))
    return project


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    return spark.range(20, numPartitions=2).selectExpr("concat('https://example.org/', id) AS url", "id AS n")


def within(found: tuple[int, int], jobs: int, commits: int) -> None:
    assert found[0] <= jobs
    assert found[1] == commits


def test_rows_out(client: Client, project: int, df: DataFrame, counter: Counter) -> None:
    within(counter.of(lambda: client.create_task_batch_from_table(df, str(project))), 1, 0)
    within(counter.of(lambda: client.create_task_batch_from_table(df, str(project), dry_run=True)), 1, 0)


def test_many_rows_out(
    client: Client, project: int, df: DataFrame, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_many(monkeypatch)
    client.create_task_batch_from_table(df, str(project))  # and look whether the workers share the folder
    within(counter.of(lambda: client.create_task_batch_from_table(df, str(project))), 2, 0)


def test_rows_out_with_an_outbox(client: Client, project: int, df: DataFrame, counter: Counter, tmp_path: Path) -> None:
    box = {"outbox": str(tmp_path / "outbox"), "row_key": ["url"]}
    first = counter.of(lambda: client.create_task_batch_from_table(df, str(project), **box))  # type: ignore[arg-type]
    within(first, 9, 2)
    again = counter.of(lambda: client.create_task_batch_from_table(df, str(project), **box))  # type: ignore[arg-type]
    within(again, 13, 1)


def test_deliveries_as_a_dataframe(client: Client, project: int, spark: SparkSession, counter: Counter) -> None:
    client.get_delivered_tasks_to_table(spark, str(project))
    assert counter.of(lambda: client.get_delivered_tasks_to_table(spark, str(project))) == (0, 0)
    tasks = client.get_delivered_tasks_to_table(spark, str(project))
    assert counter.of(lambda: flatten_annotations(tasks)) == (0, 0)


def test_sync(
    client: Client, project: int, spark: SparkSession, sandbox: Sandbox, counter: Counter, tmp_path: Path
) -> None:
    into = str(tmp_path / "labels")
    within(counter.of(lambda: client.sync(spark, str(project), into)), 18, 8)
    within(counter.of(lambda: client.sync(spark, str(project), into)), 14, 1)
    sandbox.deliver(project, [delivery(20, at="2026-01-03T00:00:00.000Z")])
    within(counter.of(lambda: client.sync(spark, str(project), into)), 22, 4)
