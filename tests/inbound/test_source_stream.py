"""`spark.readStream.format("sama")`: every delivery in exactly one micro-batch, whatever happens in between."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

pytest.importorskip("pyspark.sql.datasource")

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark import cloudpickle

import sama_spark
from sama_spark.api.task_text import Page, task_text
from sama_spark.data_source import stream_read as stream
from sama_spark.data_source.datasource import SamaDataSource
from sama_spark.data_source.read_rows import SCHEMA
from sama_spark.data_source.stream_read import TaskStreamReader
from sama_spark.errors import InvalidInput
from sama_spark.inbound.times import micros, to_text
from sama_spark.staging import Stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

Row = tuple[int, str]
"""A task's number and when it was delivered."""


def delivery(n: int, second: int) -> dict[str, Any]:
    return {
        "id": f"{n:024x}",
        "data": {"n": n},
        "answers": {"weather": "sun"},
        "delivered_at": f"2026-01-02T00:00:{second:02}.000Z",
    }


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    """Nine deliveries, the last three at one time."""
    project = sandbox.create_project({"n": "integer"}, {"weather": "text"})
    sandbox.deliver(project, (delivery(n, min(n, 6)) for n in range(9)))
    return project


class Query:
    """What Spark does with a reader: offsets are logged, then rows read, then the micro-batch noted as done.

    `tells_start`: as Spark 4.2 does; before, it calls `latestOffset()`.
    """

    def __init__(self, make: Any, tells_start: bool) -> None:
        self.make, self.tells_start = make, tells_start
        self.log: list[dict[str, str]] = []
        self.sink: list[list[Row]] = []
        self.start()

    def start(self) -> None:
        """A new process, which goes on from the checkpoint."""
        self.reader = self.make()
        if self.log:
            self.reader.partitions(self.log[-1], self.log[-1])

    def died_before_the_commit(self) -> None:
        """The sink takes the micro-batch again, under its own number."""
        self.sink.pop()
        self.reader = self.make()
        self.reader.partitions(self.log[-1], self.log[-1])
        self.sink.append(self.read())
        self.reader.commit(self.log[-1])

    def poll(self) -> list[Row] | None:
        """One micro-batch, None where there is nothing."""
        begin = self.log[-1] if self.log else self.reader.initialOffset()
        end = self.reader.latestOffset(begin, None) if self.tells_start else self.reader.latestOffset()
        if end == begin:
            return None
        if not self.log:
            self.log.append(begin)
        self.log.append(end)
        self.sink.append(self.read())
        return self.sink[-1]

    def read(self) -> list[Row]:
        partitions = self.reader.partitions(*self.log[-2:])
        worker = cloudpickle.loads(cloudpickle.dumps(self.make()))
        rows = [row for part in partitions for batch in worker.read(part) for row in batch.to_pylist()]
        return sorted((int(row["id"], 16), f"{row['delivered_at']:%FT%T.%f}") for row in rows)


def ids(rows: list[Row] | None) -> list[int] | None:
    return None if rows is None else [n for n, _ in rows]


@pytest.mark.parametrize("tells_start", [True, False])
def test_a_query_over_its_lives(sandbox: Sandbox, project: int, options: dict[str, str], tells_start: bool) -> None:
    reader = lambda: SamaDataSource({**options, "lag": "0"}).streamReader(SCHEMA)  # noqa: E731
    query = Query(reader, tells_start)
    assert ids(query.poll()) == list(range(9))
    assert query.poll() is None
    assert query.log[-1]["delivered_before"] == "2026-01-02T00:00:06.000001Z"
    query.start()
    sandbox.forget_calls()
    assert query.poll() is None
    assert sandbox.calls() == {"delivered": 1}
    sandbox.deliver(project, [delivery(20, 8), delivery(21, 9), delivery(22, 9)])
    assert query.poll() is None  # asked less than a second ago
    query.start()
    assert ids(query.poll()) == [20, 21, 22]
    # 21 is rejected and delivered anew, and 23 comes, before the micro-batch is run again.
    sandbox.deliver(project, [delivery(21, 10), delivery(23, 10)])
    query.died_before_the_commit()
    assert ids(query.sink[-1]) == [20, 22]
    assert ids(query.poll()) == [21, 23]
    query.start()
    assert query.poll() is None
    assert {request["query"]["page_size"] for request in sandbox.requests("delivered")} == {"1000"}


def test_a_stream_stays_behind_now(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = micros("2026-01-02T00:00:06.500Z") or 0
    monkeypatch.setattr(stream.time, "time_ns", lambda: now * 1000)
    make = lambda lag: lambda: SamaDataSource({**options, "lag": lag}).streamReader(SCHEMA)  # noqa: E731
    assert ids(Query(make("2"), True).poll()) == [0, 1, 2, 3, 4]
    assert ids(Query(make("0"), True).poll()) == list(range(9))


@pytest.mark.parametrize("inclusive", [True, False])
def test_where_a_stream_begins(sandbox: Sandbox, project: int, options: dict[str, str], inclusive: bool) -> None:
    sandbox.switch(project, from_inclusive=inclusive)
    reader = SamaDataSource({**options, "from_timestamp": "2026-01-02T00:00:05Z"}).streamReader(SCHEMA)
    assert ids(Query(lambda: reader, True).poll()) == [5, 6, 7, 8]


def test_available_now_takes_what_is_there_and_ends(
    sandbox: Sandbox, project: int, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SamaDataSource({**options, "lag": "0"}).streamReader(SCHEMA)
    monkeypatch.setattr(stream.time, "time_ns", lambda: (micros("2026-01-02T00:00:07Z") or 0) * 1000)
    reader.prepareForTriggerAvailableNow()
    monkeypatch.undo()
    sandbox.deliver(project, [delivery(20, 8)])
    query = Query(lambda: reader, True)
    assert ids(query.poll()) == list(range(9))
    sandbox.forget_calls()
    monkeypatch.setattr(stream.time, "monotonic", lambda: 1e9)  # much later
    assert query.poll() is None
    assert sandbox.calls() == {}
    assert list(Path(options["staging"]).glob("*/*")) == []  # the window is done with


def test_a_checkpoint_of_another_project(options: dict[str, str]) -> None:
    offset = SamaDataSource({**options, "project": "1"}).streamReader(SCHEMA).initialOffset()
    with pytest.raises(InvalidInput, match=r"of project 1.*checkpoint of its own"):
        SamaDataSource(options).streamReader(SCHEMA).latestOffset(offset)


# --- any history

LAG = 5  # in steps, as are all times here


class World:
    """A feed that shows each delivery some steps late, and each task's latest alone."""

    project_id = "1"
    lag = LAG

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self.now = 100
        self.deliveries: list[tuple[int, int, int]] = []  # task, delivered at, visible from

    def start(self) -> int:
        return 0

    @contextmanager
    def pages(self, from_timestamp: str | None) -> Iterator[Iterator[Page]]:
        latest = {task: at for task, at, visible in self.deliveries if visible <= self.now}
        since = -1 if from_timestamp is None else micros(from_timestamp) or 0
        found = [
            task_text(msgspec.Raw(b'{"id": "%024x", "delivered_at": "%s"}' % (task, to_text(at).encode())))
            for task, at in sorted(latest.items(), key=lambda item: item[1])
            if at >= since
        ]
        yield (found[i : i + 2] for i in range(0, len(found), 2))

    def reader(self) -> TaskStreamReader:
        reader = TaskStreamReader(self, SCHEMA)  # type: ignore[arg-type]
        reader._now = lambda: self.now - LAG  # type: ignore[method-assign]
        reader._asked_enough = lambda: False  # type: ignore[method-assign]
        return reader


STEPS = st.one_of(
    st.tuples(st.just("deliver"), st.integers(0, LAG)),
    st.tuples(st.just("deliver anew"), st.integers(0, LAG)),
    st.tuples(st.just("wait"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["poll", "restart", "die"]), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40), st.booleans())
@example([*[("deliver", 0), ("wait", 1)] * 3, ("wait", 3), ("poll", 0), ("die", 0)], True)  # one at a window's end
def test_windows_hold_each_delivery_once(steps: list[tuple[str, int]], tells_start: bool) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        query = Query(world.reader, tells_start)
        for step, amount in steps:
            if step == "deliver":
                world.deliveries.append((len(world.deliveries), world.now, world.now + amount))
            elif step == "deliver anew" and world.deliveries:
                task = world.deliveries[amount % len(world.deliveries)][0]
                if all(at < world.now for again, at, _ in world.deliveries if again == task):
                    world.deliveries.append((task, world.now, world.now))
            elif step == "wait":
                world.now += amount
            elif step == "poll":
                query.poll()
            elif step == "restart":
                query.start()
            elif step == "die" and query.sink:
                query.died_before_the_commit()
        world.now += 2 * LAG + 1
        query.poll()
        assert query.poll() is None
        found = [row for batch in query.sink for row in batch]
        assert len(found) == len(set(found))
        latest = {task: at for task, at, _ in world.deliveries}
        assert {(task, to_text(at).rstrip("Z")) for task, at in latest.items()} <= set(found)
        known = {(task, to_text(at).rstrip("Z")) for task, at, _ in world.deliveries}
        assert set(found) <= known
        if len(latest) == len(world.deliveries):
            assert set(found) == known


# --- Spark's own


class Stream:
    """A query that writes each micro-batch into a folder of its number, over several lives."""

    def __init__(self, spark: SparkSession, options: dict[str, str], folder: Path) -> None:
        self.spark, self.options, self.folder = spark, options, folder

    def run(self) -> None:
        out = str(self.folder / "out")
        sama_spark.register(self.spark)
        rows = self.spark.readStream.format("sama").options(**self.options, lag=0).load()
        query = (
            rows.writeStream.foreachBatch(lambda df, n: df.write.mode("overwrite").parquet(f"{out}/{n}"))
            .option("checkpointLocation", str(self.folder / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        assert query.awaitTermination(120)

    def batches(self) -> list[list[int]]:
        folders = sorted((self.folder / "out").iterdir(), key=lambda folder: int(folder.name))
        return [
            sorted(int(row.id, 16) for row in self.spark.read.parquet(str(folder)).select("id").collect())
            for folder in folders
        ]

    def forget_the_last_commit(self) -> None:
        """As if the driver had died between the offset and the commit."""
        done = [file for file in (self.folder / "checkpoint" / "commits").iterdir() if file.name.isdigit()]
        last = max(done, key=lambda file: int(file.name))
        last.unlink()
        (last.parent / f".{last.name}.crc").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "out" / last.name)


def test_a_stream_over_its_lives(
    spark: SparkSession, sandbox: Sandbox, project: int, options: dict[str, str], tmp_path: Path
) -> None:
    found = Stream(spark, options, tmp_path)
    found.run()
    assert found.batches() == [list(range(9))]
    sandbox.deliver(project, [delivery(20, 8), delivery(21, 9), delivery(22, 9)])
    found.run()
    assert found.batches() == [list(range(9)), [20, 21, 22]]
    found.forget_the_last_commit()
    sandbox.deliver(project, [delivery(21, 10), delivery(23, 10)])
    found.run()
    if stream._AvailableNow is object:  # Spark before 4.2 makes the window good, and ends
        assert found.batches() == [list(range(9)), [20, 22]]
        found.run()
    assert found.batches() == [list(range(9)), [20, 22], [21, 23]]
    held = b"".join(file.read_bytes() for file in (tmp_path / "checkpoint").rglob("*") if file.is_file())
    assert b"2026-01-02T00:00:10.000001Z" in held
    assert sandbox.api_key.encode() not in held
