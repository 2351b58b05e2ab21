"""A second run in another session, with other settings, sends nothing: the tasks at the sandbox are counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sama_spark import Client

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind  # a Connect session here refuses to set most of them, as serverless compute does

OTHER_SETTINGS = {
    "spark.sql.jsonGenerator.ignoreNullFields": "false",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.session.timeZone": "Asia/Kolkata",
    "spark.sql.legacy.timeParserPolicy": "LEGACY",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.caseSensitive": "true",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.parser.escapedStringLiterals": "true",
    "spark.sql.execution.arrow.useLargeVarTypes": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
    "spark.sql.optimizer.collapseProjectAlwaysInline": "true",
}
INPUTS = dict.fromkeys(("url", "name", "note", "cost", "at", "old"), "string") | {"count": "integer", "day": "date"}


@pytest.fixture
def rows(spark: SparkSession, tmp_path: Path) -> DataFrame:
    """In a file, since SQL text itself means something else under other settings."""
    made = spark.range(4).selectExpr(
        "concat('https://a/', id, '.jpg?Signature=', rand()) AS url",
        "concat('n', id) AS name",
        "if(id = 0, 'x', null) AS note",
        "cast(id / 100000000 AS decimal(20,10)) AS cost",
        "timestamp'1500-02-28 07:30:00.120001Z' AS at",
        "date'1582-10-10' AS old",
        "if(id = 1, null, int(id)) AS count",
        "date'1582-10-10' AS day",
        "named_struct('layers', named_struct('vector_tagging', array(named_struct('shapes', array(named_struct("
        "'type', 'point', 'index', int(null), 'points', array(array(id, 0.5D)))))))) AS output_shapes",
        "map('rain', string(id % 2), 'sun', '0') AS output_weather",
    )
    for name in ("int96", "datetime"):  # before 4.0 Spark asks how to write days before 1582
        spark.conf.set(f"spark.sql.parquet.{name}RebaseModeInWrite", "CORRECTED")
    made.write.parquet(str(tmp_path / "rows"))
    return spark.read.schema(made.schema).parquet(str(tmp_path / "rows"))


@pytest.fixture
def other_settings(spark: SparkSession) -> Iterator[Any]:
    usual = {name: spark.conf.get(name, None) for name in OTHER_SETTINGS}
    yield lambda: [spark.conf.set(name, value) for name, value in OTHER_SETTINGS.items() if usual[name] is not None]
    for name, value in usual.items():
        spark.conf.unset(name) if value is None else spark.conf.set(name, value)


@pytest.mark.parametrize(
    "options",
    [
        {"row_key": "content"},
        {"row_key": ["name"], "on_changed": "error"},
        {"row_key": ["cost", "old"], "on_changed": "resend"},
    ],
    ids=str,
)
def test_a_rerun_under_other_settings_sends_nothing(
    rows: DataFrame, sandbox: Sandbox, tmp_path: Path, other_settings: Any, options: dict[str, Any]
) -> None:
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    outputs = {"shapes": "image", "weather": {"type": "checkbox", "options": ["rain", "sun"]}}
    project = sandbox.create_project(INPUTS, outputs)

    def send() -> Any:
        return client.create_task_batch_from_table(rows, str(project), outbox=str(tmp_path / "outbox"), **options)

    send().wait()
    tasks = [task["data"] for task in sandbox.tasks(project)]
    assert len(tasks) == 4
    assert sum("note" in task for task in tasks) == 1
    other_settings()
    again = send()
    assert (again.task_count, again.outbox.known, again.outbox.changed) == (0, 4, 0)
    assert len(sandbox.tasks(project)) == 4


def test_neither_the_order_nor_the_width_of_columns_is_a_change(
    rows: DataFrame, spark: SparkSession, sandbox: Sandbox, tmp_path: Path
) -> None:
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    project = sandbox.create_project(INPUTS, {"shapes": "image", "weather": "checkbox"})
    for key, more in (("content", {}), ("name", {"on_changed": "resend"})):
        outbox = str(tmp_path / f"outbox by {key}")
        first = client.create_task_batch_from_table(rows, str(project), outbox=outbox, row_key=key)
        assert first.task_count == 4
        other = rows.withColumn("count", rows["count"].cast("bigint")).select(*reversed(rows.columns))
        again = client.create_task_batch_from_table(other, str(project), outbox=outbox, row_key=key, **more)  # type: ignore[arg-type]
        assert again.task_count == 0


def test_the_order_of_a_map_is_no_change(spark: SparkSession, sandbox: Sandbox, tmp_path: Path) -> None:
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    project = sandbox.create_project({"url": "string"}, {"weather": "checkbox", "shapes": "image"})
    shapes = (
        'from_json(\'{"layers":{"vector_tagging":[{"shapes":[{"type":"point","points":[[1,2]],"tags":TAGS}]}]}}\','
        " 'layers struct<vector_tagging: array<struct<shapes: array<struct<"
        "type: string, points: array<array<double>>, tags: map<string, string>>>>>>')"
    )
    orders = [("'a', '1', 'b', '0'", '{"k":"x","l":"y"}'), ("'b', '0', 'a', '1'", '{"l":"y","k":"x"}')]
    for key, more in (("content", {}), ("url", {"on_changed": "resend"})):
        outbox, counts = str(tmp_path / f"outbox by {key}"), []
        for weather, tags in orders:
            df = spark.sql(f"SELECT 'u' AS url, map({weather}) AS output_weather")
            df = df.selectExpr("*", f"{shapes.replace('TAGS', tags)} AS output_shapes")
            sent = client.create_task_batch_from_table(df, str(project), outbox=outbox, row_key=key, **more)  # type: ignore[arg-type]
            counts.append(sent.task_count)
        assert counts == [1, 0]
