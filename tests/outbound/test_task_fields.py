"""Columns that are no inputs, and how strictly the project's schema is held against the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sama_spark import Client
from sama_spark.errors import ContractError, InvalidInput, InvalidRowsError
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.creation_schema import CreationSchema
from sama_spark.outbound.encode import encode
from sama_spark.outbound.pieces import ChunkBuffer, cutter_for, stream_pieces
from sama_spark.outbound.task_fields import TaskFields

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

FIELDS = TaskFields(
    priority=-2, submit=True, priority_column="urgency", reserve_for_column="agent", not_sent=("split",)
)


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    return Client(sandbox.api_key, base_url=sandbox.base_url)


@pytest.fixture
def project(sandbox: Sandbox) -> str:
    return str(sandbox.create_project(inputs={"url": "string", "n": "integer"}, outputs={"objects": "image"}))


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    rows = [("a", 5, 7, "train"), ("b", None, None, "test")]
    return spark.createDataFrame(rows, "url string, urgency int, agent bigint, split string")


def sent(df: DataFrame, fields: TaskFields) -> list[Any]:
    encoded = encode(df, CreationSchema(), {}, fields)
    pieces = stream_pieces(encoded.rows, cutter_for(encoded, CreationOptions()))
    return [task for piece in pieces for task in json.loads(bytes(ChunkBuffer().body([piece])))]


@pytest.mark.both_kinds
def test_a_rows_own_priority_and_agent_stand_beside_its_data(df: DataFrame) -> None:
    assert sorted(sent(df, FIELDS), key=lambda task: str(task["data"])) == [
        {"submit": True, "priority": 5, "reserve_for": 7, "data": {"url": "a"}},
        {"submit": True, "priority": -2, "data": {"url": "b"}},
    ]


def test_tasks_without_any_input_are_refused(df: DataFrame) -> None:
    fields = TaskFields(priority_column="urgency", not_sent=("url", "agent", "split"))
    with pytest.raises(ContractError, match="would all be empty"):
        encode(df, CreationSchema(), {}, fields)


@pytest.mark.parametrize("name", ["not_sent", "priority_column", "reserve_for_column"])
@pytest.mark.both_kinds
def test_a_column_that_does_not_exist_is_refused_by_name(df: DataFrame, name: str) -> None:
    fields = TaskFields(**{name: ("splt",) if name == "not_sent" else "splt"})  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=f"`{name}` names 'splt'"):
        encode(df, CreationSchema(), {}, fields)


def test_a_priority_beyond_32_bits_rejects_its_row(
    spark: SparkSession, sandbox: Sandbox, client: Client, project: str
) -> None:
    df = spark.createDataFrame([("a", 1), ("b", 2**31)], "url string, urgency bigint")
    with pytest.raises(InvalidRowsError, match=r"urgency.*2147483648"):
        client.create_task_batch_from_table(df, project, priority_column="urgency")
    assert sandbox.tasks(int(project)) == []


def test_sama_gets_priority_and_agent_and_not_what_stays_here(
    df: DataFrame, sandbox: Sandbox, client: Client, project: str
) -> None:
    client.create_task_batch_from_table(
        df, project, priority_column="urgency", reserve_for_column="agent", not_sent=["split"]
    )
    tasks = sorted(sandbox.tasks(int(project)), key=lambda task: str(task["data"]))
    assert [(t["data"], t["priority"], t["reserve_for"]) for t in tasks] == [
        ({"url": "a"}, 5, 7),
        ({"url": "b"}, 0, None),
    ]


def test_strict_refuses_what_lenient_leaves_to_sama(
    spark: SparkSession,
    sandbox: Sandbox,
    client: Client,
    project: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    df = spark.createDataFrame([("a.jpg", "x")], "url string, weather string")
    with pytest.raises(ContractError, match=r"weather.*not_sent"):
        client.create_task_batch_from_table(df, project)
    result = client.create_task_batch_from_table(df, project, contract="lenient")
    assert "'weather'" in caplog.text
    job = client.get_batch_job(project, result["batch_id"], page_size=100)
    assert job.counts == {"failed": 1}  # which is what Sama says to it


@pytest.mark.parametrize("path", ["/Volumes/main/raw/a.jpg", "dbfs:/a.jpg", "file:/a.jpg", "/dbfs/a.jpg"])
def test_a_path_that_sama_cannot_reach_is_no_asset(
    spark: SparkSession, sandbox: Sandbox, client: Client, project: str, path: str
) -> None:
    df = spark.createDataFrame([("https://assets.invalid/b.jpg",), (path,)], "url string")
    with pytest.raises(InvalidRowsError, match="cannot reach"):
        client.create_task_batch_from_table(df, project)
    assert sandbox.tasks(int(project)) == []
    client.create_task_batch_from_table(df, project, contract="lenient")
    assert len(sandbox.tasks(int(project))) == 2


def test_without_a_contract_no_schema_is_read(df: DataFrame, sandbox: Sandbox, client: Client, project: str) -> None:
    client.create_task_batch_from_table(df.select("url"), project, contract="off")
    assert not [call for call in sandbox.requests() if "schema" in call["path"]]
    with pytest.raises(InvalidInput, match="contract='of'"):
        client.create_task_batch_from_table(df.select("url"), project, contract="of")  # type: ignore[arg-type]
