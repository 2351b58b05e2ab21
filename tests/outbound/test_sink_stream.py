"""`df.writeStream.format("sama")`: a micro-batch that Spark runs again sends nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

pytest.importorskip("pyspark.sql.datasource")

import sama_spark
from sama_spark import Client
from sama_spark.data_source.stream_record import KEPT, Sent, StreamRecord
from sama_spark.errors import StagingError
from sama_spark.outbound.upload import UploadedBatch
from sama_spark.staging import Stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

ROOT = Path(sama_spark.__file__).parents[1]


class Stream:
    """A folder of JSON files, a sink, a checkpoint and a stage, over several lives of the query."""

    def __init__(self, spark: SparkSession, sandbox: Sandbox, folder: Path) -> None:
        self.spark, self.sandbox, self.folder = spark, sandbox, folder
        self.project = sandbox.create_project({"url": "string", "count": "integer"}, {"notes": "text"})
        self.name, self.checkpoint, self.more = "nightly", folder / "checkpoint", {}
        self.stage = folder / "stage" / "sama-spark"
        (folder / "key").write_text(sandbox.api_key)
        (folder / "in").mkdir()
        self.files = 0

    def add(self, *counts: int) -> None:
        lines = [json.dumps({"url": f"https://example.org/{i}", "count": i}) for i in counts]
        draft = self.folder / "draft"
        draft.write_text("\n".join(lines))
        draft.rename(self.folder / "in" / f"{self.files}.json")
        self.files += 1
        time.sleep(0.02)  # the source sorts files by their time

    def run(self, where: str = "true") -> None:
        """All that is there, one file for each micro-batch; then the query ends."""
        source = self.spark.readStream.schema("url string, count bigint").option("maxFilesPerTrigger", 1)
        options = {
            "project": self.project,
            "base_url": self.sandbox.base_url,
            "api_key_file": str(self.folder / "key"),
            "staging": str(self.folder / "stage"),
            "query": self.name,
            "checkpointLocation": str(self.checkpoint),
            "chunk_rows": 2,
            **self.more,
        }
        rows = source.json(str(self.folder / "in")).where(where)
        query = rows.writeStream.format("sama").options(**options).trigger(availableNow=True).start()
        query.awaitTermination(120)
        assert not query.isActive

    def forget_last_commit(self) -> None:
        """As if the driver had died before Spark took note that the micro-batch was done."""
        commits = self.checkpoint / "commits"
        last = max((file for file in commits.iterdir() if file.name.isdigit()), key=lambda file: int(file.name))
        last.unlink()
        (commits / f".{last.name}.crc").unlink(missing_ok=True)

    def sent(self) -> list[int]:
        return sorted(task["data"]["count"] for task in self.sandbox.tasks(self.project))

    def record(self, micro_batch: int) -> Path:
        return self.stage / "streams" / self.name / f"{micro_batch}.json"

    def states(self) -> list[str]:
        return [batch["state"] for batch in self.sandbox.batches(self.project)]


@pytest.fixture
def stream(spark: SparkSession, sandbox: Sandbox, tmp_path: Path) -> Stream:
    sama_spark.register(spark)
    return Stream(spark, sandbox, tmp_path)


def test_each_micro_batch_becomes_tasks_once(stream: Stream) -> None:
    stream.add(1, 2, 3)
    stream.add(4)
    stream.run()
    assert stream.sent() == [1, 2, 3, 4]
    calls = stream.sandbox.calls()
    assert (calls["open"], calls["continue"]) == (3, 3)
    stream.add(5)
    stream.run()
    assert stream.sent() == [1, 2, 3, 4, 5]
    assert stream.record(0).is_file()
    assert stream.record(2).is_file()
    assert [path.name for path in stream.stage.iterdir()] == ["streams"]
    Stage(stream.stage, timedelta(0)).sweep()
    assert stream.record(0).is_file()


def test_a_replay_sends_nothing_twice(stream: Stream) -> None:
    stream.add(1, 2, 3)
    stream.run()
    stream.forget_last_commit()
    stream.sandbox.switch(stream.project, second_continue="obey")
    stream.sandbox.forget_calls()
    stream.add(4)
    stream.run()
    assert stream.sent() == [1, 2, 3, 4]
    calls = stream.sandbox.calls()
    assert (calls["open"], calls["put"], calls["continue"]) == (1, 1, 1)


@pytest.mark.one_kind
def test_what_was_recorded_and_not_started_is_started_by_the_next_life(stream: Stream) -> None:
    stream.add(1, 2, 3)
    stream.sandbox.fail("continue", status=400, times=None, skip=1)
    with pytest.raises(Exception, match=r"BatchesNotStarted.*Restart the query"):
        stream.run()
    assert sorted(stream.states()) == ["completed", "waiting"]
    stream.sandbox.heal()
    stream.sandbox.fail("continue", kind="drop", after=True)  # and its reply is lost
    stream.sandbox.forget_calls()
    stream.run()
    assert stream.sent() == [1, 2, 3]
    assert {"open", "put"}.isdisjoint(stream.sandbox.calls())


@pytest.mark.one_kind
def test_an_upload_that_fails_is_made_anew(stream: Stream) -> None:
    stream.add(1, 2, 3)
    stream.sandbox.fail("put", status=400, times=None, skip=1)
    with pytest.raises(Exception, match="UploadUrlRefused"):
        stream.run()
    assert set(stream.states()) == {"canceled"}
    assert not stream.record(0).exists()
    stream.sandbox.heal()
    stream.run()
    assert stream.sent() == [1, 2, 3]


@pytest.mark.one_kind
def test_a_recorded_batch_that_has_failed_is_shown_until_somebody_decides(stream: Stream) -> None:
    stream.add(1, 2, 3)
    stream.sandbox.fail("continue", status=400, times=None, skip=1)
    with pytest.raises(Exception, match="BatchesNotStarted"):
        stream.run()
    stream.sandbox.heal()
    [waiting] = [b["batch_id"] for b in stream.sandbox.batches(stream.project) if b["state"] == "waiting"]
    client = Client(stream.sandbox.api_key, base_url=stream.sandbox.base_url)
    client.cancel_batch_creation_job(stream.project, waiting)
    for _ in range(2):
        with pytest.raises(Exception, match=rf"batch {waiting}.*the batch is cancell?ed.*nightly/0\.json"):
            stream.run()
    record = msgspec.json.decode(stream.record(0).read_bytes())
    record["batches"] = [batch for batch in record["batches"] if batch["batch_id"] != waiting]
    stream.record(0).write_bytes(msgspec.json.encode(record))
    stream.add(4)
    stream.run()
    assert len(stream.sent()) == len(set(stream.sent()))
    assert 4 in stream.sent()
    assert "canceled" in stream.states()


@pytest.mark.one_kind
def test_empty_micro_batches_make_no_call(stream: Stream) -> None:
    stream.add(1)
    stream.add(2)
    stream.more = {"contract": "off"}
    stream.run(where="count > 5")
    assert stream.sandbox.calls() == {}
    assert not stream.record(0).exists()
    stream.more = {}
    stream.add(6)
    stream.run(where="count > 5")
    assert stream.sandbox.calls() == {"create_schema": 1, "open": 1, "put": 1, "continue": 1}


@pytest.mark.one_kind
def test_invalid_rows_stop_the_stream(stream: Stream) -> None:
    stream.add(1, 2**40)
    with pytest.raises(Exception, match=r"InvalidRowsError.*column 'count'.*foreachBatch"):
        stream.run()
    assert set(stream.sandbox.calls()) == {"create_schema"}
    assert list(stream.stage.glob("stream-*")) == []


@pytest.mark.one_kind
@pytest.mark.parametrize("changed", ["checkpoint", "project"])
def test_a_name_belongs_to_one_stream(stream: Stream, changed: str) -> None:
    stream.add(1)
    stream.run()
    if changed == "checkpoint":
        stream.checkpoint = stream.folder / "another"
    else:
        stream.project = stream.sandbox.create_project({"url": "string", "count": "integer"}, {})
        stream.add(2)
    stream.sandbox.forget_calls()
    with pytest.raises(Exception, match=r"StagingError.*belongs to .*`query`"):
        stream.run()
    assert "open" not in stream.sandbox.calls()


def test_complete_output_is_refused(stream: Stream) -> None:
    rows = stream.spark.readStream.format("rate").load().groupBy("value").count()
    query = rows.writeStream.format("sama").outputMode("complete").options(project="1", query="q", staging="/tmp")  # noqa: S108
    with pytest.raises(Exception, match="not overwritten"):
        query = query.trigger(availableNow=True).option("checkpointLocation", str(stream.checkpoint))
        query.start().awaitTermination(60)


LIFE = """
import sys
import sama_spark
from sama_spark.local import local_session

base_url, project, folder = sys.argv[1:]
spark = local_session()
sama_spark.register(spark)
source = spark.readStream.schema("url string, count bigint").option("maxFilesPerTrigger", 1).json(folder + "/in")
source.writeStream.format("sama").options(
    project=project, base_url=base_url, staging=folder + "/stage", query="nightly", chunk_rows=2,
    checkpointLocation=folder + "/checkpoint", api_key_file=folder + "/key",
).start().awaitTermination()
"""


def test_a_driver_that_is_killed_between_record_and_continue(stream: Stream, session_kind: str) -> None:
    if session_kind == "connect":
        pytest.skip("the query that is killed is a classic one of its own")
    stream.add(1, 2, 3)
    stream.sandbox.switch(stream.project, second_continue="obey")
    stream.sandbox.fail("continue", kind="slow", seconds=60, skip=1, times=None)
    life = subprocess.Popen(
        [sys.executable, "-c", LIFE, stream.sandbox.base_url, str(stream.project), str(stream.folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not stream.record(0).exists() or stream.states().count("completed") < 1:
            assert time.monotonic() < deadline
            assert life.poll() is None
            time.sleep(0.2)
    finally:
        os.killpg(life.pid, signal.SIGKILL)
        life.wait()
    stream.sandbox.heal()
    stream.sandbox.forget_calls()
    stream.run()
    assert stream.sent() == [1, 2, 3]
    assert {"open", "put"}.isdisjoint(stream.sandbox.calls())


# --- the record alone


def sent(*batch_ids: int) -> Sent:
    return Sent("7", "a query", tuple(UploadedBatch(batch_id, 1, 2) for batch_id in batch_ids))


def test_only_one_driver_claims_a_micro_batch(tmp_path: Path) -> None:
    record = StreamRecord(tmp_path / "q")
    assert record.read(0) is None
    assert record.claim(0, sent(1, 2))
    assert not record.claim(0, sent(3))
    assert record.read(0) == sent(1, 2)
    assert [file.name for file in record.folder.iterdir()] == ["0.json"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError("links")

    record = StreamRecord(tmp_path / "q")
    if taken:
        record.claim(0, sent(9))
    monkeypatch.setattr(os, "link", no_links)
    assert record.claim(0, sent(1)) is not taken
    assert record.read(0) == sent(9 if taken else 1)


def test_old_records_go(tmp_path: Path) -> None:
    record = StreamRecord(tmp_path / "q")
    for micro_batch in range(KEPT + 5):
        assert record.claim(micro_batch, sent(micro_batch))
    assert len(list(record.folder.iterdir())) == KEPT
    with pytest.raises(StagingError, match="set back further"):
        record.check(2, "7", "a query")
    record.check(50, "7", "a query")


def test_a_damaged_record_is_no_licence_to_send_again(tmp_path: Path) -> None:
    record = StreamRecord(tmp_path / "q")
    record.claim(0, sent(1))
    record.file(0).write_bytes(b"{")
    with pytest.raises(StagingError, match=r"damaged.*get_batch_job"):
        record.check(0, "7", "a query")
