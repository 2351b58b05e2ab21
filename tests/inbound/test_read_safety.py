"""Reading under bad luck: what Sama has served is kept, and the stage holds no more than it must."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kit import clients
from sama_spark import Client
from sama_spark.errors import ConnectorError, FeedInterrupted, StagingError
from sama_spark.inbound.lines import ahead, stage_lines

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

PAGE, TASKS = 2, 5


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("volume")


@pytest.fixture(scope="module")
def staged_client(running_sandbox: Sandbox, staging: Path) -> Iterator[Client]:
    with clients.client(running_sandbox, staging=str(staging), delivered_page_size=PAGE) as client:
        yield client


@pytest.fixture(scope="module")
def streaming_client(
    running_sandbox: Sandbox, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    with clients.streaming_client(
        running_sandbox, spark, tmp_path_factory.mktemp("cluster"), delivered_page_size=PAGE
    ) as client:
        yield client


@pytest.fixture(params=["staged", "streamed"])
def way(request: pytest.FixtureRequest) -> str:
    """How tasks come from the driver to Spark."""
    return str(request.param)


@pytest.fixture
def client(way: str, request: pytest.FixtureRequest) -> Client:
    found: Client = request.getfixturevalue("staged_client" if way == "staged" else "streaming_client")
    return found


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    """A project with deliveries, one second apart."""
    project = sandbox.create_project({"url": "string"}, {"notes": "text"})
    assert sandbox.deliver(project, deliveries(0, TASKS)) == TASKS
    return project


def deliveries(first: int, count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{i + 1:024x}",
            "delivered_at": f"2024-03-01T10:{i // 60:02}:{i % 60:02}.123Z",
            "data": {"url": f"u{i}"},
            "answers": {"notes": f"n{i}"},
            **more,
        }
        for i in range(first, first + count)
    ]


def urls(df: DataFrame) -> list[str]:
    return sorted(row.url for row in df.select("data.url").collect())


def urls_in(folder: Path) -> list[str]:
    """The urls of the tasks in the lines that were staged there."""
    return sorted(re.findall(r'"url": ?"(u\d+)"', "".join(file.read_text() for file in folder.glob("page-*"))))


def runs(staging: Path, kind: str = "back") -> set[Path]:
    return set((staging / "sama-spark").glob(f"{kind}-*"))


# --- since last call

BROKEN_PAGES: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "429": {"status": 429, "retry_after": 1},
    "dropped before": {"kind": "drop"},
    "dropped after": {"kind": "drop", "after": True},
    "truncated": {"kind": "truncate"},
    "html": {"kind": "html"},
    "json of another shape": {"kind": "json"},
}
LOSING = ("dropped after", "truncated")  # Sama's cursor moves before its reply; the other feed has all


@pytest.mark.parametrize("fault", ["500", "truncated"])
def test_the_second_page_fails(client: Client, sandbox: Sandbox, project: int, spark: SparkSession, fault: str) -> None:
    sandbox.fail("since_last_call", skip=1, times=None, **BROKEN_PAGES[fault])
    with pytest.raises(FeedInterrupted) as caught:
        client.get_delivered_tasks_since_last_call_to_table(spark, str(project), consumer="c")
    assert sandbox.calls()["since_last_call"] == 2  # never again by itself
    error = caught.value
    assert error.received is not None
    assert urls(error.received) == ["u0", "u1"]
    assert "received" in error.remedy
    assert str(project) in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), str(again), again.remedy, again.received) == (type(error), str(error), error.remedy, None)
    sandbox.heal()
    rest = client.get_delivered_tasks_since_last_call_to_table(spark, str(project), consumer="c")
    assert urls(rest) == (["u4"] if fault in LOSING else ["u2", "u3", "u4"])
    assert rest.schema == error.received.schema


@pytest.mark.parametrize("fault", BROKEN_PAGES)
def test_pages_before_a_broken_one_lie_in_the_stage(
    staged_client: Client, sandbox: Sandbox, project: int, tmp_path: Path, fault: str
) -> None:
    sandbox.fail("since_last_call", skip=1, times=None, **BROKEN_PAGES[fault])
    with pytest.raises(ConnectorError):
        stage_lines(staged_client.since_last_call_pages(project, consumer="c"), tmp_path)
    assert sandbox.calls()["since_last_call"] == 2
    assert urls_in(tmp_path) == ["u0", "u1"]
    sandbox.heal()
    (tmp_path / "rest").mkdir()
    stage_lines(staged_client.since_last_call_pages(project, consumer="c"), tmp_path / "rest")
    assert urls_in(tmp_path / "rest") == (["u4"] if fault in LOSING else ["u2", "u3", "u4"])


@pytest.mark.both_kinds
def test_the_first_page_fails(client: Client, sandbox: Sandbox, project: int, spark: SparkSession) -> None:
    sandbox.fail("since_last_call", status=503)
    with pytest.raises(FeedInterrupted) as caught:
        client.get_delivered_tasks_since_last_call_to_table(spark, str(project))
    assert caught.value.received is not None
    assert caught.value.received.count() == 0
    assert sandbox.calls()["since_last_call"] == 1
    assert client.get_delivered_tasks_since_last_call_to_table(spark, str(project)).count() == TASKS


@pytest.mark.both_kinds
def test_each_consumer_is_served_once(client: Client, sandbox: Sandbox, project: int, spark: SparkSession) -> None:
    read = client.get_delivered_tasks_since_last_call_to_table
    assert urls(read(spark, str(project), consumer="a")) == [f"u{i}" for i in range(TASKS)]
    assert urls(read(spark, str(project), consumer="a")) == []
    sandbox.deliver(project, deliveries(TASKS, 1))
    assert urls(read(spark, str(project), consumer="a")) == [f"u{TASKS}"]
    assert len(urls(read(spark, str(project), consumer="b"))) == TASKS + 1


def test_without_a_stage_it_warns(
    streaming_client: Client, project: int, spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    streaming_client.get_delivered_tasks_since_last_call_to_table(spark, str(project))
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING and "sama" in record.name]
    assert "staging" in warning.getMessage()


FEED_IN_A_PROCESS = """
import sys
from sama_spark.api import ApiClient
from sama_spark.inbound.read import FeedReader
from sama_spark.staging import Stage, Staging
from pathlib import Path

folder, key, base_url, project = sys.argv[1:]
api = ApiClient(key, base_url=base_url, delivered_page_size=2)
pages = api.since_last_call_pages(project, consumer="killed")
FeedReader(api, None, project, Staging(), Stage(Path(folder)), None).read_once(pages)
"""


def test_a_killed_process_leaves_each_page_that_it_got(
    sandbox: Sandbox, project: int, spark: SparkSession, tmp_path: Path
) -> None:
    from pyspark.sql.types import StringType

    from sama_spark.inbound.lines import staged_lines
    from sama_spark.inbound.table import task_table

    sandbox.fail("since_last_call", kind="slow", seconds=60, skip=1)
    process = subprocess.Popen(
        [sys.executable, "-c", FEED_IN_A_PROCESS, str(tmp_path), sandbox.api_key, sandbox.base_url, str(project)]
    )
    try:
        wait_until(lambda: sandbox.calls().get("since_last_call") == 2 or process.poll() is not None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert sandbox.calls()["since_last_call"] == 2
    [folder] = tmp_path.glob("back-*")
    kept = task_table(staged_lines(spark, folder), StringType(), StringType())
    assert [json.loads(row.data)["url"] for row in kept.orderBy("id").collect()] == ["u0", "u1"]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


# --- feeds that can be read again


@pytest.mark.parametrize("fault", BROKEN_PAGES)
def test_a_page_that_fails_once_is_asked_for_again(
    staged_client: Client, sandbox: Sandbox, project: int, tmp_path: Path, fault: str
) -> None:
    once = BROKEN_PAGES[fault]
    sandbox.fail("delivered", skip=1, **once)
    pages = ahead(staged_client.delivered_pages(project))
    if once.get("kind") == "json":  # JSON that is no page: asking again would not make it one
        with pytest.raises(ConnectorError, match="tasks"):
            stage_lines(pages, tmp_path)
    else:
        assert stage_lines(pages, tmp_path) == TASKS
        assert urls_in(tmp_path) == [f"u{i}" for i in range(TASKS)]


def test_a_page_that_fails_once_is_whole_in_the_dataframe(
    client: Client, sandbox: Sandbox, project: int, spark: SparkSession
) -> None:
    sandbox.fail("delivered", skip=1, **BROKEN_PAGES["truncated"])
    assert urls(client.get_delivered_tasks_to_table(spark, str(project))) == [f"u{i}" for i in range(TASKS)]


def test_a_feed_that_breaks_off_is_an_error_and_no_short_table(
    client: Client, sandbox: Sandbox, project: int, spark: SparkSession
) -> None:
    sandbox.fail("delivered", kind="html", skip=2, times=None)
    with pytest.raises(ConnectorError, match=r"HTML|JSON|sign in"):
        client.get_delivered_tasks_to_table(spark, str(project))


@pytest.mark.both_kinds
def test_streamed_gives_what_staged_gives(
    staged_client: Client, streaming_client: Client, sandbox: Sandbox, project: int, spark: SparkSession
) -> None:
    odd = {"data": {"url": "\u2028\x1e\x1f'\"\\é🚗"}, "answers": None, "new": [1.10, None]}
    sandbox.deliver(project, deliveries(TASKS, 3, **odd))
    staged = staged_client.get_delivered_tasks_to_table(spark, str(project))
    streamed = streaming_client.get_delivered_tasks_to_table(spark, str(project))
    assert staged.schema == streamed.schema
    assert staged.orderBy("id").collect() == streamed.orderBy("id").collect()
    assert staged.count() == TASKS + 3


# --- the stage


@pytest.mark.parametrize("folder", ["{file}/below", "s3://bucket/folder", "hdfs://host/folder"])
def test_a_folder_that_is_not_shared(
    sandbox: Sandbox, project: int, spark: SparkSession, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "file").touch()
    named = folder.format(file=tmp_path / "file")
    sandbox.forget_calls()
    with Client(sandbox.api_key, base_url=sandbox.base_url, staging=named) as client:
        for call in (
            lambda: client.get_delivered_tasks_to_table(spark, str(project)),
            lambda: client.get_delivered_tasks_since_last_call_to_table(spark, str(project)),
            lambda: client.create_task_batch_from_table(spark.range(1), str(project)),
        ):
            with pytest.raises(StagingError) as caught:
                call()
            assert named in str(caught.value)
            assert "/Volumes/catalog/schema/volume" in caught.value.remedy
    assert sandbox.calls() == {}


@pytest.mark.parametrize("name", ["plain", "with space", "é"])
def test_a_call_may_name_its_own_folder(
    streaming_client: Client, project: int, spark: SparkSession, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    for named in (str(folder), folder.as_uri()):
        table = streaming_client.get_delivered_tasks_to_table(spark, str(project), staging=named)
        assert table.count() == TASKS
    assert len(runs(folder)) == 2


@pytest.mark.both_kinds
def test_what_lies_in_the_stage_is_private_and_goes_with_close(
    sandbox: Sandbox, project: int, spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "users-20200101T000000Z-own").mkdir()
    before = os.umask(0o000)
    try:
        client = Client(sandbox.api_key, base_url=sandbox.base_url, staging=str(tmp_path))
        first = client.get_delivered_tasks_to_table(spark, str(project))
        second = client.get_delivered_tasks_since_last_call_to_table(spark, str(project))
    finally:
        os.umask(before)
    assert len(runs(tmp_path)) == 2
    for folder in (tmp_path / "sama-spark", *runs(tmp_path)):
        assert folder.stat().st_mode & 0o777 == 0o700, folder
    assert runs(tmp_path, "probe") == set()
    assert (first.count(), second.count()) == (TASKS, TASKS)
    client.close()
    assert runs(tmp_path) == set()
    assert (tmp_path / "users-20200101T000000Z-own").exists()


def test_old_runs_are_swept_and_young_ones_kept(
    sandbox: Sandbox, project: int, spark: SparkSession, tmp_path: Path
) -> None:
    stage = tmp_path / "sama-spark"

    def left_by_a_dead_process(kind: str, age: timedelta) -> Path:
        folder = stage / f"{kind}-{datetime.now(timezone.utc) - age:%Y%m%dT%H%M%SZ}-0123abcd"
        folder.mkdir(parents=True)
        (folder / "page-000000.txt").write_text("customer data")
        return folder

    old = [left_by_a_dead_process(kind, timedelta(hours=3)) for kind in ("back", "out", "probe")]
    young = [left_by_a_dead_process(kind, timedelta(minutes=50)) for kind in ("back", "out")]
    others = stage / "notes-by-Z-hand"
    others.mkdir()
    options: dict[str, Any] = {"staging": str(tmp_path), "staging_ttl": timedelta(hours=2)}
    with Client(sandbox.api_key, base_url=sandbox.base_url, **options) as client:
        client.get_delivered_tasks_to_table(spark, str(project))
    assert [folder.exists() for folder in (*old, *young, others)] == [False] * 3 + [True] * 3


def test_it_says_until_when_the_dataframe_is_good(
    staged_client: Client, project: int, spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="sama_spark")
    staged_client.get_delivered_tasks_to_table(spark, str(project))
    until = datetime.now(timezone.utc) + timedelta(days=7)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert f"{TASKS} tasks" in said
    assert f"{until:%Y-%m-%d}" in said
