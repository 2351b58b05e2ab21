"""Streams through `foreachBatch`: a micro-batch that Spark repeats creates nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pyspark import cloudpickle

from kit.outbox_runs import numbers, once
from sama_spark import Client, InvalidInput, MicroBatches

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox


MakeClient = Callable[[], Client]


@pytest.fixture
def make_client(sandbox: Sandbox, tmp_path: Path) -> MakeClient:
    """As a user's function: the key comes from somewhere else. It travels by value, as from a notebook."""
    (tmp_path / "key").write_text(sandbox.api_key)
    key_file, base_url = str(tmp_path / "key"), sandbox.base_url

    def make() -> Any:
        import pathlib

        from sama_spark import Client

        return Client(pathlib.Path(key_file).read_text(), base_url=base_url)

    return make


def stream(spark: SparkSession, source: Path, checkpoint: Path, each: Any) -> None:
    rows = spark.readStream.schema("url string, n int").option("maxFilesPerTrigger", 1).json(str(source))
    query = rows.writeStream.foreachBatch(each).option("checkpointLocation", str(checkpoint))
    started = query.trigger(availableNow=True).start()
    started.awaitTermination()
    assert started.exception() is None


def add(source: Path, name: str, *ns: int) -> None:
    source.mkdir(exist_ok=True)
    (source / name).write_text("".join(f'{{"url":"https://assets.invalid/{n}.jpg","n":{n}}}\n' for n in ns))


@pytest.mark.parametrize("row_key", ["n", pytest.param("content", marks=pytest.mark.long)])
def test_a_repeated_micro_batch_sends_nothing(
    spark: SparkSession,
    sandbox: Sandbox,
    project: int,
    outbox: str,
    tmp_path: Path,
    make_client: MakeClient,
    row_key: str,
) -> None:
    source, checkpoint = tmp_path / "in", tmp_path / "checkpoint"
    each = MicroBatches(make_client, project, outbox=outbox, row_key=row_key, query="images")
    add(source, "a.json", 0, 1, 2)
    add(source, "b.json", 3, 4)
    stream(spark, source, checkpoint, each)
    assert numbers(sandbox, project) == once(range(5))
    (checkpoint / "commits" / "1").unlink()  # as if the query had died after the second micro-batch
    (checkpoint / "commits" / ".1.crc").unlink(missing_ok=True)
    add(source, "c.json", 0, 7)
    stream(spark, source, checkpoint, each)
    # Under a named key a row is a task once in the life of the stream; by content, once in each micro-batch.
    again = Counter({0: 1}) if row_key == "content" else Counter()
    assert numbers(sandbox, project) == once(range(5), range(7, 8)) + again


def test_the_key_is_not_in_it(sandbox: Sandbox, make_client: MakeClient) -> None:
    each = MicroBatches(make_client, 1, outbox="o", row_key="n")
    each._client = make_client()
    assert sandbox.api_key.encode() not in cloudpickle.dumps(each)
    assert cloudpickle.loads(cloudpickle.dumps(each))._client is None


def test_by_content_the_stream_needs_a_name(make_client: MakeClient) -> None:
    with pytest.raises(InvalidInput, match="needs a name of its own"):
        MicroBatches(make_client, 1, outbox="o", row_key="content")
