"""Values survive: Spark value -> JSON -> Sama -> delivery -> Spark value, whatever the value is."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from chispa import assert_df_equality

from sama_spark import Client

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

# An example is a whole DataFrame, so a few of them try hundreds of rows.
few = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))

INPUTS = {"row": "integer", "name": "string", "count": "integer", "day": "date"}
OUTPUTS = {"notes": "text", "seen": "date", "weather": "checkbox", "scene": "3d"}
COLUMNS = (
    "row int, name string, count int, day date, notes string, seen date, weather map<string, string>, scene string"
)

texts = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.text("\x00\x1e\x1f\x7f\u0085\u00a0\u00ad\u2028\ufeff'\"\\/{}[]:,\n\r\t é漢🚗", max_size=12),
    st.sampled_from(["", " ", "null", "true", "NaN", "1", "001", "{}", "[]", "{not json", '"', "\\u0041", "\\"]),
)
integers = st.none() | st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, -(2**31), 2**31 - 1])
days = st.none() | st.dates()
checkboxes = st.none() | st.dictionaries(st.text(max_size=6), st.sampled_from("01"), max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
structures = st.lists(json_values, max_size=3) | st.dictionaries(st.text(max_size=6), json_values, max_size=3)
json_texts = st.none() | st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    structures,
    st.booleans(),
    st.sampled_from([None, 1]),
)
rows = st.lists(st.tuples(texts, integers, days, texts, days, checkboxes, json_texts), min_size=1, max_size=40)

AWKWARD: list[tuple[Any, ...]] = [
    ("\x00\x1e\x1f\u2028\u00a0", -1, datetime.date(1, 1, 1), '{"a": 1}', None, {"": "1", "a.b": "0"}, "[]"),
    (None, None, None, None, None, None, None),
    ("", 0, datetime.date(9999, 12, 31), "", datetime.date(1582, 10, 10), {}, '{"n": 1.10, "e": 1e400, "z": -0.0}'),
    (" a\n", 7, datetime.date(1900, 1, 1), " ", datetime.date(1, 1, 1), {" ": "1"}, None),
    ("null", 1, None, "null", None, None, '[123456789012345678901234567890, "\\ud83d\\ude97", "\\u0000"]'),
]


@pytest.fixture(scope="module")
def client(running_sandbox: Sandbox) -> Iterator[Client]:
    with Client(running_sandbox.api_key, base_url=running_sandbox.base_url) as client:
        yield client


def work(client: Client, sandbox: Sandbox, project: int, df: DataFrame, chunk_rows: int = 16) -> None:
    """Creates the tasks and has them delivered as they came. The structures are any, so that no schema has them."""
    result = client.create_task_batch_from_table(df, str(project), chunk_rows=chunk_rows, contract="lenient")
    assert sandbox.annotate(project, corrections=False) == result["task_count"]


@few
@example(AWKWARD)
@given(rows)
def test_what_spark_holds_comes_back_equal(
    spark: SparkSession, sandbox: Sandbox, client: Client, rows: list[tuple[Any, ...]]
) -> None:
    project = sandbox.create_project(INPUTS, OUTPUTS)
    given_rows = spark.createDataFrame([(i, *row) for i, row in enumerate(rows)], COLUMNS)
    names = dict(zip(OUTPUTS, (f"output_{name}" for name in OUTPUTS), strict=True))
    work(client, sandbox, project, given_rows.withColumnsRenamed(names))
    delivered = client.get_delivered_tasks_to_table(spark, str(project))
    back = delivered.select("data.*", "answers.notes", "answers.seen", "answers.weather")
    assert_df_equality(
        back, given_rows.select(back.columns), ignore_row_order=True, ignore_nullable=True, transforms=[_sortable]
    )
    # The structured texts come back to the byte.
    sent = {i: row[-1] for i, row in enumerate(rows)}
    assert {row.row: _scene(row.answers_raw) for row in delivered.select("data.row", "answers_raw").collect()} == sent


def _sortable(df: DataFrame) -> DataFrame:
    """Maps cannot be sorted by: as entries in the order of their keys."""
    from pyspark.sql import functions as F

    return df.withColumn("weather", F.array_sort(F.map_entries("weather"))).orderBy("row")


def _scene(answers_raw: str) -> str | None:
    scene = msgspec.json.decode(answers_raw, type=dict[str, msgspec.Raw]).get("scene")
    return None if scene is None else bytes(scene).decode()


shapes = st.fixed_dictionaries(
    {
        "type": st.just("rectangle"),
        "index": st.integers(1, 1000),
        "points": st.lists(
            st.tuples(*[st.integers(0, 9999) | st.floats(0, 9999)] * 2).map(list), min_size=4, max_size=4
        ),
        "tags": st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=2),
    }
)
images = st.lists(shapes, max_size=2).map(
    lambda found: {"layers": {"vector_tagging": [{"shapes": found, "group_type": None}]}}
)
answer_rows = st.lists(
    st.fixed_dictionaries({}, optional={"notes": st.text(max_size=10), "scene": structures, "objects": images}),
    min_size=1,
    max_size=30,
)


@few
@given(answer_rows, st.booleans())
def test_answers_become_pre_annotations_become_the_same_answers(
    spark: SparkSession, sandbox: Sandbox, client: Client, answers: list[dict[str, Any]], ascii_only: bool
) -> None:
    outputs = {"notes": "text", "scene": "3d", "objects": "image"}
    project = sandbox.create_project({"row": "integer"}, outputs)
    sandbox.deliver(
        project,
        [
            json.dumps({"data": {"row": i}, "answers": answer}, ensure_ascii=ascii_only)
            for i, answer in enumerate(answers)
        ],
    )
    first = client.get_delivered_tasks_to_table(spark, str(project)).select("data.row", "answers_raw")
    before = {row.row: row.answers_raw for row in first.collect()}

    again = sandbox.create_project({"row": "integer"}, outputs)
    table = [(row, *(_output(raw, name) for name in outputs)) for row, raw in before.items()]
    df = spark.createDataFrame(table, "row int, " + ", ".join(f"output_{name} string" for name in outputs))
    work(client, sandbox, again, df)
    second = client.get_delivered_tasks_to_table(spark, str(again)).select("data.row", "answers_raw")
    after = {row.row: row.answers_raw for row in second.collect()}

    assert {row: json.loads(raw) for row, raw in after.items()} == dict(enumerate(answers))
    for row, raw in before.items():
        for name in ("scene", "objects"):  # these travel unparsed
            assert _raw(after[row], name) == _raw(raw, name)


def _raw(answers_raw: str, name: str) -> str | None:
    value = msgspec.json.decode(answers_raw, type=dict[str, msgspec.Raw]).get(name)
    return None if value is None else bytes(value).decode()


def _output(answers_raw: str, name: str) -> str | None:
    """An answer as the text of its `output_` column: text as it is, structures as their JSON."""
    text = _raw(answers_raw, name)
    return msgspec.json.decode(text, type=str) if text and name == "notes" else text


def test_typed_answers_go_back_as_pre_annotations(spark: SparkSession, sandbox: Sandbox, client: Client) -> None:
    """Straight from one DataFrame into the next, without JSON in between."""
    outputs = {"notes": "text", "objects": "image", "weather": "checkbox", "day": "date"}
    first = sandbox.create_project({"url": "string"}, outputs)
    client.create_task_batch(first, [{"url": f"u{i}"} for i in range(20)])
    sandbox.annotate(first)
    delivered = client.get_delivered_tasks_to_table(spark, str(first))
    df = delivered.selectExpr("data.url", *(f"answers.{name} AS output_{name}" for name in outputs))
    second = sandbox.create_project({"url": "string"}, outputs)
    work(client, sandbox, second, df)
    again = client.get_delivered_tasks_to_table(spark, str(second))
    columns = ["data.url", *(f"to_json(answers.{name}) AS {name}" for name in ("objects", "weather"))]
    columns += ["answers.notes", "answers.day"]
    assert_df_equality(again.selectExpr(columns), delivered.selectExpr(columns), ignore_row_order=True)
    assert delivered.where("answers.objects.layers.vector_tagging[0].shapes[0].points[0][0] IS NOT NULL").count() == 20
