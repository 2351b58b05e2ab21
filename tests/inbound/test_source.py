"""`format("sama")` when it is read: the function's deliveries, in windows that neither lose nor double any."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pytest

pytest.importorskip("pyspark.sql.datasource")

from hypothesis import given
from hypothesis import strategies as st
from pyspark import cloudpickle
from pyspark.sql import types as T

import sama_spark
from kit.deliveries import delivery
from sama_spark import Client, ConnectorError, flatten_annotations
from sama_spark.api.task_text import task_text
from sama_spark.data_source import batch_read as read
from sama_spark.data_source.datasource import SamaDataSource
from sama_spark.data_source.read_options import read_options
from sama_spark.data_source.read_rows import SCHEMA, arrow_batches
from sama_spark.data_source.stream_window import Window
from sama_spark.errors import InvalidInput, StagingError
from sama_spark.inbound.lines import LINE_END, line_prefix, stage_lines, staged_lines
from sama_spark.inbound.table import task_table
from sama_spark.inbound.times import micros, to_text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox


def staged(options: dict[str, str]) -> list[Path]:
    return list(Path(options["staging"]).glob("sama-spark/*"))


# --- tables


def load(spark: SparkSession, options: dict[str, str], **more: Any) -> DataFrame:
    sama_spark.register(spark)
    return spark.read.format("sama").options(**options, **more).load()


def test_the_same_as_the_function(
    spark: SparkSession, sandbox: Sandbox, project: int, options: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    found = load(spark, options)
    assert sandbox.calls() == {}
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    due = client.get_delivered_tasks_to_table(spark, project).drop("data", "answers")
    assert found.schema == due.schema == SCHEMA
    assert sorted(found.collect()) == sorted(due.collect())
    assert flatten_annotations(found).where("kind = 'box'").count() == 9
    sandbox.forget_calls()
    narrow = spark.read.schema("raw STRING, delivered_at TIMESTAMP").format("sama")
    narrow = narrow.options(**options, From_Timestamp="2026-01-02T00:00:05Z", TASK_ID=f"{7:024x}").load()
    [row] = narrow.collect()
    assert (json.loads(row.raw)["data"]["n"], narrow.columns) == (7, ["raw", "delivered_at"])
    query = sandbox.requests("delivered")[0]["query"]
    assert (query["from"], query["task_id"]) == ("2026-01-02T00:00:05Z", f"{7:024x}")
    found.explain(True)
    told = capfd.readouterr()
    assert "sama" in told.out
    assert sandbox.api_key not in told.out + told.err


def test_a_view(spark: SparkSession, sandbox: Sandbox, project: int, options: dict[str, str]) -> None:
    sama_spark.register(spark)
    given = ", ".join(f"{name} '{value}'" for name, value in options.items())
    spark.sql(f"CREATE TEMPORARY VIEW sama_labels USING sama OPTIONS ({given}, feed 'status', state 'delivered')")
    try:
        rows = spark.sql("SELECT from_json(data_raw, 'n INT').n AS n FROM sama_labels WHERE id LIKE '%5'").collect()
        assert [row.n for row in rows] == [5]
        assert {request["query"]["state"] for request in sandbox.requests("multi_status")} == {"delivered"}
    finally:
        spark.catalog.dropTempView("sama_labels")


TIMES = """2026-01-02T03:04:05.678Z|2026-01-02T03:04:05Z|2026-01-02T03:04Z|2026-01-02 03:04:05.1Z|1969-12-31T23:59:59.9Z
2026-01-02T03:04:05.123456789Z|2026-01-02T03:04:05.678+02:00|2026-01-02T03:04:05-0330|20260102T03:04:05|20260102T03:04
20260102T03:04:05.5Z|2026-01-02T03:04:05|2026-13-02T03:04:05Z|2026-02-30T03:04:05Z|2026-01-02T24:00:00Z
2026-01-02T03:04:60Z|2026-01-02T03:04:05+19:00|2026-01-02T03:04:05+18:00|| |soon|null|Z|9999-12-31T23:59:59.999999Z"""
ODD = r"""null|0|-7|42.0|3000000000|9223372036854775808|"12"|" 12 "|"x"|true|{"a":[1,"b",null]}|[]|"a\u00e9\n"|"" """
FIELDS = [field.name for field in SCHEMA if not field.name.endswith("raw")]


def odd_tasks() -> Iterator[bytes]:
    """Of everything that Spark reads, each value in every field."""
    for value in [*ODD.split("|"), *map(json.dumps, TIMES.replace("\n", "|").split("|"))]:
        fields = ", ".join(f'"{name}": {value}' for name in (*FIELDS, "data", "answers"))
        yield f"{{{fields}}}".encode()
    yield '{\n  "answers": {"x": 1.10},\n  "new": [], "id": "1", "data": {"k": "é"}\n}'.encode()
    yield b"{}"


@pytest.mark.one_kind
def test_values_are_what_the_function_makes_of_them(spark: SparkSession, tmp_path: Path) -> None:
    stage_lines([[task_text(msgspec.Raw(text)) for text in odd_tasks()]], tmp_path)
    due = task_table(staged_lines(spark, tmp_path), T.StringType(), T.StringType()).drop("data", "answers")
    lines = (tmp_path / "page-000000.txt").read_bytes().split(LINE_END.encode())[:-1]
    found = pa.Table.from_batches(arrow_batches(lines, SCHEMA))
    assert found.to_pylist() == due.toArrow().cast(found.schema).to_pylist()


# --- the parts that Spark calls, without Spark


def test_a_number_of_any_length_stops_no_row() -> None:
    text = f'{{"id": "1", "batch_id": {"9" * 5000}, "priority": "{"0" * 5000}7"}}'.encode()
    [batch] = arrow_batches([line_prefix(task_text(msgspec.Raw(text))) + text], SCHEMA)
    [row] = batch.to_pylist()
    assert (row["id"], row["batch_id"], row["priority"], row["raw"]) == ("1", None, 7, text.decode())


def rows_of(reader: Any, partitions: list[Any]) -> list[dict[str, Any]]:
    reader = cloudpickle.loads(cloudpickle.dumps(reader))
    partitions = cloudpickle.loads(cloudpickle.dumps(partitions))
    return [row for partition in partitions for batch in reader.read(partition) for row in batch.to_pylist()]


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return sorted(int(row["id"], 16) for row in rows)


def test_partitions_and_batches_of_any_size(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [task_text(msgspec.Raw(json.dumps(delivery(n)).encode())) for n in range(15)]
    pages = [texts[i : i + 3] for i in range(0, 15, 3)]
    monkeypatch.setattr(read, "PARTITION_BYTES", 3000)
    _, partitions = read.stage_pages(pages, read_options(options).stage)
    assert 1 < len(partitions) < 5
    monkeypatch.setattr("sama_spark.data_source.read_rows.BATCH_BYTES", 700)
    batches = [batch for partition in partitions for batch in read.read_pages(partition, SCHEMA)]
    assert sorted(int(n, 16) for batch in batches for n in batch["id"].to_pylist()) == list(range(15))
    assert len(batches) > len(partitions)


def test_no_tasks_no_rows(options: dict[str, str]) -> None:
    reader = SamaDataSource({**options, "from_timestamp": "2030-01-01"}).reader(SCHEMA)
    assert rows_of(reader, reader.partitions()) == []


def test_a_read_that_fails_leaves_nothing_and_tells_no_key(options: dict[str, str], sandbox: Sandbox) -> None:
    reader = SamaDataSource(options).reader(SCHEMA)
    sandbox.fail("delivered", times=None, status=401)
    with pytest.raises(ConnectorError) as caught:
        reader.partitions()
    assert staged(options) == []
    held = cloudpickle.dumps(reader) + cloudpickle.dumps(caught.value) + repr(vars(reader)).encode()
    assert sandbox.api_key.encode() not in held + str(caught.value).encode()


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_stage_that_is_not_shared(options: dict[str, str], damage: str) -> None:
    reader = SamaDataSource(options).reader(SCHEMA)
    [partition] = reader.partitions()
    [(file, _)] = partition.value
    file.unlink() if damage == "gone" else file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StagingError, match=r"a worker sees.*`staging`"):
        list(reader.read(partition))


def test_a_stage_that_the_driver_cannot_write(options: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StagingError, match="the driver cannot write"):
        SamaDataSource({**options, "staging": str(tmp_path / "file")}).reader(SCHEMA).partitions()


def test_a_schema_names_columns_of_the_source() -> None:
    source = SamaDataSource({"project": "1"})
    source.reader(T.StructType().add("raw", "string"))
    with pytest.raises(InvalidInput, match=r"`id` bigint.*It is string"):
        source.reader(T.StructType().add("id", "long"))
    with pytest.raises(InvalidInput, match=r"`answers`.*from_json\(answers_raw"):
        source.streamReader(T.StructType().add("answers", T.StructType()))


def test_spark_without_python_data_sources() -> None:
    code = "import sys; sys.modules['pyspark.sql.datasource'] = None; import sama_spark; sama_spark.register"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs Spark 4.0 or newer" in done.stderr


# --- options


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"feeds": "status"}, "Do you mean `feed`"),
        ({"chunk_rows": "1"}, "there is no option `chunk_rows`"),
        ({"feed": "deliverd"}, "Do you mean 'delivered'"),
        ({"feed": "Since_Last_Call"}, "get_delivered_tasks_since_last_call_to_table, or client.sync"),
        ({"consumer": "a"}, "client.sync"),
        ({"answers_schema": "infer"}, "get_delivered_tasks_to_table"),
        ({"state": "new"}, "feed 'delivered' takes no option `state`.*[Rr]ead feed 'status'"),
        ({"feed": "status", "task_id": "1"}, "takes no option `task_id`"),
        ({"from_timestamp": "yesterday"}, "is no time"),
        ({"lag": "-1"}, "0 or more"),
        ({"lag": "short"}, "no whole number"),
        ({"project_id": "2"}, "not named once"),
        ({"path": "x"}, "load.*no path"),
        ({"batch_id": " "}, "is empty"),
        ({"staging": "stage"}, "relative path"),
        ({"token": "sesame"}, "would show the key"),
    ],
)
def test_options_that_are_refused(more: dict[str, str], said: str) -> None:
    with pytest.raises(ConnectorError, match=said) as caught:
        SamaDataSource({"project": "1", **more}).schema()
    assert "sesame" not in str(caught.value)


def test_options_of_the_other_door() -> None:
    with pytest.raises(InvalidInput, match="is for streams"):
        SamaDataSource({"project": "1", "lag": "3"}).reader(SCHEMA)
    with pytest.raises(InvalidInput, match="is no stream"):
        SamaDataSource({"project": "1", "feed": "status"}).streamReader(SCHEMA)


# --- windows


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(0, 999))
def test_times_survive_as_text(moment: Any, nanos: int) -> None:
    text = f"{moment.isoformat(timespec='microseconds')}{nanos:03}Z"
    found = micros(text)
    assert found is not None
    assert to_text(found) == f"{moment.isoformat(timespec='microseconds')}Z"


def test_a_task_without_a_time_is_left_out_of_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    texts = [b'{"id": "a", "delivered_at": null}', b'{"id": "b", "delivered_at": "1970-01-01T00:00:00Z"}']
    page = [task_text(msgspec.Raw(text)) for text in texts]
    assert [[task.id for task in page] for page in Window(0, 1).of([page])] == [["b"]]
    assert "task a is left out" in caplog.text
