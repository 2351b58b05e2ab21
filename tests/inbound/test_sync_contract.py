"""The contract of synced tables: what it learns, what it refuses, and what a filter may not hide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import Client
from sama_spark.api.replies import decode_page
from sama_spark.errors import InvalidInput, SyncError
from sama_spark.inbound.delivery_types import grown, learnt_type
from sama_spark.inbound.sync.table_types import TableTypes, observed

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox.api_key, base_url=sandbox.base_url) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    project = sandbox.create_project({"name": "string"}, {"weather": "text"})
    sandbox.deliver(project, [delivery(1, 1), delivery(2, 2)])
    return project


def delivery(n: int, minute: int, batch_id: int = 7, **answers: Any) -> dict[str, Any]:
    return {
        "id": f"{n:024x}",
        "batch_id": batch_id,
        "data": {"name": f"image {n}"},
        "answers": {"weather": "sun"} | answers,
        "delivered_at": f"2026-01-02T00:{minute:02}:00.000Z",
    }


def test_it_gains_fields_only_when_it_may(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    into, name = str(tmp_path), str(project)

    def tasks() -> DataFrame:
        return spark.read.format("delta").load(f"{into}/tasks")

    client.sync(spark, name, into)
    declared = tasks().schema
    sandbox.deliver(project, [delivery(3, 3, mood={"level": 2, "why": None, "tags": []})])
    with pytest.raises(SyncError, match=r"frozen and lacks answers\.mood .*schema_mode"):
        client.sync(spark, name, into, schema_mode="freeze")
    assert tasks().count() == 2
    kept = client.sync(spark, name, into, schema_mode="discard")
    assert (kept.landed, kept.new, kept.contract_changes) == (0, 1, [])  # it had landed before it was refused
    assert tasks().schema == declared
    sandbox.deliver(project, [delivery(4, 4, mood={"level": 2.5}), delivery(5, 5, mood="low")])
    grew = client.sync(spark, name, into)
    assert grew.contract_changes == ["answers.mood"]
    assert "contract gained answers.mood" in capsys.readouterr().out
    mood = tasks().schema["answers"].dataType["mood"].dataType  # type: ignore[index]
    assert mood == T.StringType()  # a number's object and a text: they conflict
    sandbox.deliver(project, [delivery(6, 6, sky={"level": 2, "why": None, "tags": [], "deep": [{"a": 1}]})])
    assert client.sync(spark, name, into).contract_changes == ["answers.sky"]
    sky = tasks().schema["answers"].dataType["sky"].dataType  # type: ignore[index]
    assert sky.simpleString() == "struct<deep:array<struct<a:double>>,level:double>"  # what was empty waits
    sandbox.deliver(project, [delivery(7, 7, sky={"level": "high"})])
    last = client.sync(spark, name, into)
    assert (last.contract_changes, last.feeds[0].unfit) == ([], 1)
    [odd] = tasks().where("_rescued_data IS NOT NULL").collect()
    assert (odd["id"], odd["answers"]["weather"]) == (f"{7:024x}", "sun")
    grown_schema = tasks().schema
    client.sync(spark, name, into)
    assert tasks().schema == grown_schema
    runs = spark.read.format("delta").load(f"{into}/runs").orderBy("started_at").collect()
    assert [list(run["contract_changes"]) for run in runs] == [[], [], [], ["answers.mood"], ["answers.sky"], [], []]
    assert "frozen" in runs[1]["error"]
    with pytest.raises(InvalidInput, match="schema_mode='thaw'"):
        client.sync(spark, name, into, schema_mode="thaw")  # type: ignore[arg-type]


@pytest.mark.long
def test_a_filter_hides_nothing_from_a_later_sync(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into, name = str(tmp_path), str(project)
    sandbox.deliver(project, [delivery(3, 59, batch_id=8)])
    later = [delivery(4, 3), delivery(5, 3) | {"delivered_at": "2026-01-05T00:00:00.000Z", "batch_id": 8}]
    sandbox.deliver(project, later)
    first = client.sync(spark, name, into, batch_id=8)
    assert (first.new, first.feeds[0].watermark_from) == (2, None)
    again = client.sync(spark, name, into, batch_id=8)
    assert (again.new, f"{again.feeds[0].watermark_from:%d %R}") == (0, "04 23:00")
    whole = client.sync(spark, name, into)
    assert (whole.new, whole.feeds[0].watermark_from, whole.feeds[0].unchanged) == (3, None, 2)


def test_what_is_no_task_lands_once(
    spark: SparkSession, client: Client, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = str(tmp_path)
    whole = delivery(4, 4)
    odd = [whole, whole | {"id": None}, whole | {"delivered_at": None}, whole | {"delivered_at": "soon"}, {}]
    page = decode_page(json.dumps({"tasks": odd}).encode())
    # The sandbox would not deliver such tasks.
    monkeypatch.setattr(client, "delivered_pages", lambda *_, **__: iter([page]))
    first = client.sync(spark, str(project), into)
    assert (first.landed, first.feeds[0].rejected, first.new) == (5, 2, 1)
    again = client.sync(spark, str(project), into)
    assert (again.landed, again.feeds[0].rejected, again.updated) == (0, 2, 0)
    raw = spark.read.format("delta").load(f"{into}/deliveries_raw").collect()
    assert sorted(row["raw"] for row in raw) == sorted(json.dumps(task) for task in odd)


def test_what_is_observed_settles_in_any_order(spark: SparkSession) -> None:
    """Batches that agree give one contract, whichever comes first; what is empty or null decides nothing."""
    batches = [
        ['{"a": {"x": 1, "only": null}}', '{"a": {"y": []}, "e": {}}'],
        ['{"a": {"x": 2.5, "y": [{"z": "t"}]}}', '{"b": true}'],
        ['{"b": false, "e": {"k": "v"}, "a": null}', '{"a": {"y": [{"w": 99999999999999999999}]}}'],
    ]
    rows = [(text, i) for i, batch in enumerate(batches) for text in batch]
    frame = spark.createDataFrame(rows, "answers_raw string, batch int").withColumn("data_raw", F.lit("{}"))
    seen = [observed(frame.where(F.col("batch") == i)) for i in range(len(batches))]
    assert all(contract.data == T.NullType() for contract in seen)
    ends = set()
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        found: T.DataType = T.StructType([])
        for i in order:
            found = grown(found, seen[i].answers, "answers", [])
        ends.add(_sorted(found).simpleString())
    assert ends == {"struct<a:struct<x:double,y:array<struct<w:double,z:string>>>,b:boolean,e:struct<k:string>>"}
    kept = TableTypes(T.StringType(), found)
    assert TableTypes.from_json(kept.to_json()) == kept
    assert learnt_type("OBJECT<a: BIGINT, `VOID`: VOID, c: ARRAY<VARIANT>>") == T.StructType(
        [T.StructField("a", T.DoubleType()), T.StructField("c", T.ArrayType(T.StringType()))]
    )


def _sorted(found: T.DataType) -> T.DataType:
    if isinstance(found, T.ArrayType):
        return T.ArrayType(_sorted(found.elementType))
    if isinstance(found, T.StructType):
        fields = sorted(found.fields, key=lambda field: field.name)
        return T.StructType([T.StructField(f.name, _sorted(f.dataType)) for f in fields])
    return found
