"""What Sama's own connector breaks on the way out, case by case: what the server really received."""

from __future__ import annotations

import datetime
import json
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import types as T

from kit.serverless import unguarded
from sama_spark import Client
from sama_spark.errors import ContractError, InvalidRowsError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

INPUTS = {"text": "string", "number": "integer", "day": "date"}
OUTPUTS = {
    "shapes": "image",
    "scene": "3d",
    "weather": "checkbox",
    "notes": "text",
    "seen": "date",
    "answer": "radio",
    "colour": "dropdown",
}
ARROW = "spark.sql.execution.arrow.pyspark.enabled"
Send = Callable[..., str]


@pytest.fixture(scope="module")
def client(running_sandbox: Sandbox) -> Iterator[Client]:
    with Client(running_sandbox.api_key, base_url=running_sandbox.base_url) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    return sandbox.create_project(INPUTS, OUTPUTS)


@pytest.fixture
def send(sandbox: Sandbox, client: Client, project: int) -> Send:
    """Creates tasks from a DataFrame; gives the file that the server got.

    `schema=False`: the schema endpoints answer 404, and types decide alone. With the schema, every row became a task.
    """

    def create(df: DataFrame, *, schema: bool = True, **options: Any) -> str:
        sandbox.switch(project, schemas=schema)
        result = client.create_task_batch_from_table(df, str(project), **options)
        job = client.wait_for_batch(project, result["batch_id"])
        if schema:
            assert job.created_count == result["task_count"], list(client.get_failed_batch_items(project, job.batch_id))
        return sandbox.uploaded(project, result["batch_id"]) or ""

    return create


def file_of(*data: str) -> str:
    return "[" + ",".join('{"priority":0,"submit":false,"data":' + text + "}" for text in data) + "]"


@pytest.mark.parametrize("type_name", ["int", "bigint"])
def test_nullable_int_or_bigint(spark: SparkSession, send: Send, type_name: str) -> None:
    largest = 2147483647 if type_name == "int" else 9007199254740993
    df = spark.createDataFrame([("a", 1), ("b", None), ("c", -7)], f"text string, number {type_name}")
    expected = file_of('{"text":"a","number":1}', '{"text":"b"}', '{"text":"c","number":-7}')
    assert send(df) == expected
    assert send(df, schema=False) == expected
    big = spark.createDataFrame([(largest,), (None,), (-largest,)], f"text {type_name}")
    assert send(big) == file_of(f'{{"text":"{largest}"}}', "{}", f'{{"text":"-{largest}"}}')
    assert send(big, schema=False) == file_of(f'{{"text":{largest}}}', "{}", f'{{"text":-{largest}}}')


@pytest.mark.both_kinds
def test_double_with_null_and_nan(spark: SparkSession, sandbox: Sandbox, send: Send) -> None:
    df = spark.createDataFrame([(0.1,), (None,), (1e300,)], "text double")
    assert send(df) == file_of('{"text":"0.1"}', "{}", '{"text":"1.0E300"}')
    assert [t["data"] for t in json.loads(send(df, schema=False))] == [{"text": 0.1}, {}, {"text": 1e300}]
    sandbox.forget_calls()
    with_nan = spark.createDataFrame([("good", 1.0), ("bad", float("nan"))], "text string, number double")
    for schema in (True, False):
        with pytest.raises(InvalidRowsError, match="number") as caught:
            send(with_nan, schema=schema)
        assert caught.value.column == "number"
        assert "bad" in str(caught.value)
        assert "good" not in str(caught.value)
    assert "open" not in sandbox.calls()


@pytest.mark.parametrize("arrow", ["true", "false"])
@pytest.mark.both_kinds
def test_string_with_null(spark: SparkSession, send: Send, arrow: str) -> None:
    with unguarded(spark):
        spark.conf.set(ARROW, arrow)
    df = spark.createDataFrame([("a", None), (None, "x"), ("", "")], "text string, output_notes string")
    expected = file_of('{"text":"a"}', '{"output_notes":"x"}', '{"text":"","output_notes":""}')
    assert send(df) == expected
    assert send(df, schema=False) == expected


def test_boolean_with_null(spark: SparkSession, send: Send) -> None:
    df = spark.createDataFrame([(True,), (None,), (False,)], "text boolean")
    assert send(df) == file_of('{"text":"true"}', "{}", '{"text":"false"}')
    assert send(df, schema=False) == file_of('{"text":true}', "{}", '{"text":false}')


def test_float32(spark: SparkSession, send: Send) -> None:
    df = spark.createDataFrame([(0.1,), (16777216.0,)], "text float")
    first, second = (task["data"]["text"] for task in json.loads(send(df)))
    assert (first, float(second)) == ("0.1", 16777216.0)
    assert send(df.limit(1), schema=False) == file_of('{"text":0.1}')


def test_date(spark: SparkSession, send: Send) -> None:
    days = [(datetime.date(2024, 2, 29),), (datetime.date(1, 1, 1),), (None,)]
    df = spark.createDataFrame(days, "day date")
    expected = file_of('{"day":"2024-02-29"}', '{"day":"0001-01-01"}', "{}")
    assert send(df) == expected
    assert send(df, schema=False) == expected
    assert send(df.withColumnRenamed("day", "text")) == expected.replace("day", "text")


@pytest.mark.both_kinds
def test_timestamp(spark: SparkSession, send: Send) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "America/New_York"
    df = spark.sql("SELECT timestamp'2024-03-10 07:30:00.123456Z' AS text")
    for schema in (True, False):
        assert send(df, schema=schema) == file_of('{"text":"2024-03-10T07:30:00.123456Z"}')


def test_timestamp_ntz(spark: SparkSession, send: Send) -> None:
    # An hour that New York's clocks leapt over: it is nobody's business to move it.
    df = spark.sql("SELECT timestamp_ntz'2024-03-10 02:30:00' AS text")
    for schema in (True, False):
        assert send(df, schema=schema) == file_of('{"text":"2024-03-10T02:30:00"}')


@pytest.mark.parametrize("schema", [True, False])
@pytest.mark.parametrize("sql", ["interval '1 02:03:04' day to second", "interval '3' month", "X'00ff'"])
@pytest.mark.both_kinds
def test_interval_and_binary(spark: SparkSession, sandbox: Sandbox, send: Send, sql: str, schema: bool) -> None:
    sandbox.forget_calls()
    with pytest.raises(ContractError, match="'text'") as caught:
        send(spark.sql(f"SELECT {sql} AS text"), schema=schema)
    assert caught.value.column == "text"
    assert caught.value.remedy
    assert {request["method"] for request in sandbox.requests()} == {"GET"}


def test_decimal(spark: SparkSession, send: Send) -> None:
    largest = Decimal("12345678901234567890123456789012345.670")
    df = spark.createDataFrame([(largest,), (Decimal("1.5"),), (None,)], "text decimal(38,3)")
    texts = [str(largest), "1.500"]
    assert send(df) == file_of(*(f'{{"text":"{text}"}}' for text in texts), "{}")
    assert send(df, schema=False) == file_of(*(f'{{"text":{text}}}' for text in texts), "{}")


@pytest.mark.parametrize("arrow", ["true", "false"])
@pytest.mark.both_kinds
def test_array_of_anything(spark: SparkSession, sandbox: Sandbox, send: Send, arrow: str) -> None:
    with unguarded(spark):
        spark.conf.set(ARROW, arrow)
    df = spark.sql("SELECT array(1, null) AS a, array(array('x'), array()) AS b, array(date'2024-01-31') AS c")
    assert send(df, schema=False) == file_of('{"a":[1,null],"b":[["x"],[]],"c":["2024-01-31"]}')
    output = spark.sql("SELECT array(array(0.5D, 1D), array(2D, 3D)) AS output_scene")
    assert [t["data"] for t in json.loads(send(output, contract="lenient"))] == [
        {"output_scene": [[0.5, 1.0], [2.0, 3.0]]}
    ]
    with pytest.raises(ContractError, match="'text'"):
        send(spark.sql("SELECT array(1) AS text"))


@pytest.mark.parametrize("arrow", ["true", "false"])
def test_struct(spark: SparkSession, send: Send, arrow: str) -> None:
    with unguarded(spark):
        spark.conf.set(ARROW, arrow)
    df = spark.sql("SELECT named_struct('a', 1, 'b', 'b', 'c', named_struct('d', true)) AS output_scene")
    for schema in (True, False):
        assert send(df, schema=schema, contract="lenient") == file_of('{"output_scene":{"a":1,"b":"b","c":{"d":true}}}')
    plain = df.withColumnRenamed("output_scene", "extra")
    assert send(plain, schema=False) == file_of('{"extra":{"a":1,"b":"b","c":{"d":true}}}')


@pytest.mark.parametrize("arrow", ["true", "false"])
def test_array_of_struct_and_output_struct_with_an_array(spark: SparkSession, send: Send, arrow: str) -> None:
    with unguarded(spark):
        spark.conf.set(ARROW, arrow)
    shape = "named_struct('type', 'rectangle', 'points', array(array(1, 2), array(9, 2), array(1, 8), array(9, 8)))"
    df = spark.sql(
        f"SELECT array({shape}) AS output_scene, named_struct('layers', named_struct('vector_tagging', "
        f"array(named_struct('group_type', cast(null AS string), 'shapes', array({shape}))))) AS output_shapes"
    )
    rectangle = '{"type":"rectangle","points":[[1,2],[9,2],[1,8],[9,8]]}'
    layers = f'{{"layers":{{"vector_tagging":[{{"shapes":[{rectangle}]}}]}}}}'
    for schema in (True, False):
        expected = file_of(f'{{"output_scene":[{rectangle}],"output_shapes":{layers}}}')
        assert send(df, schema=schema, contract="lenient") == expected


def test_map(spark: SparkSession, send: Send) -> None:
    df = spark.sql("SELECT map('first', '1', 'second', '0') AS output_weather")
    for schema in (True, False):
        assert send(df, schema=schema) == file_of('{"output_weather":{"first":"1","second":"0"}}')


@pytest.mark.skipif(not hasattr(T, "VariantType"), reason="VARIANT came with Spark 4.0")
@pytest.mark.both_kinds
def test_variant(spark: SparkSession, send: Send) -> None:
    df = spark.sql("""SELECT parse_json('{"n": 12345678901234567890, "s": ["é", null, true]}') AS output_scene""")
    for schema in (True, False):
        expected = file_of('{"output_scene":{"n":12345678901234567890,"s":["é",null,true]}}')
        assert send(df, schema=schema, contract="lenient") == expected


TEXT_OUTPUTS = {
    "output_notes": ["plain text", "001", "", "{not json", "[1", '"quoted"', "NaN", "1.10"],
    "output_answer": ["yes", "001", ""],
    "output_colour": ["first", "1e400", "null"],
    "output_seen": ["2024-03-01"],
}


@pytest.mark.parametrize("schema", [True, False])
def test_output_with_plain_text_date_001_or_empty_string(spark: SparkSession, send: Send, schema: bool) -> None:
    rows = [(column, value) for column, values in TEXT_OUTPUTS.items() for value in values]
    table = [tuple(value if column == name else None for name in TEXT_OUTPUTS) for column, value in rows]
    df = spark.createDataFrame(table, ", ".join(f"{name} string" for name in TEXT_OUTPUTS))
    sent = [task["data"] for task in json.loads(send(df, schema=schema))]
    assert sent == [{column: value} for column, value in rows]


@pytest.mark.parametrize("text", ["1", "true", "null", "NaN"])
def test_output_text_that_looks_like_a_json_scalar(spark: SparkSession, send: Send, text: str) -> None:
    df = spark.createDataFrame([(text,)], "output_notes string")
    for schema in (True, False):
        assert send(df, schema=schema) == file_of(f'{{"output_notes":"{text}"}}')


def test_output_text_that_is_json_stays_text_where_the_schema_says_text(spark: SparkSession, send: Send) -> None:
    df = spark.createDataFrame([('{"a": 1}', '{"a": 1.10}')], "output_notes string, output_scene string")
    with_schema = send(df, contract="lenient")
    assert with_schema == file_of(r'{"output_notes":"{\"a\": 1}","output_scene":{"a": 1.10}}')
    without = send(df, schema=False)
    assert without == file_of('{"output_notes":{"a": 1},"output_scene":{"a": 1.10}}')
    asked = send(df, schema=False, outputs={"notes": "text", "scene": "json"})
    assert asked == with_schema


@pytest.mark.parametrize("bad", ['{"layers":', "[1,]", "plain", "1", '{"a": NaN}'])
def test_output_with_invalid_json(spark: SparkSession, sandbox: Sandbox, send: Send, bad: str) -> None:
    good = '{"layers":{"vector_tagging":[]}}'
    rows = [("one", good), ("two", bad), ("three", good)]
    sandbox.forget_calls()
    with pytest.raises(InvalidRowsError) as caught:
        send(spark.createDataFrame(rows, "text string, output_shapes string"))
    assert caught.value.column == "output_shapes"
    assert '"two"' in str(caught.value)
    assert bad in str(caught.value)
    assert '"one"' not in str(caught.value)
    assert len(caught.value.rows) == 1
    assert "open" not in sandbox.calls()


def test_output_null_among_strings(spark: SparkSession, send: Send) -> None:
    rows = [("a", None, None), ("b", "x", '{"first": "1"}')]
    df = spark.createDataFrame(rows, "text string, output_notes string, output_weather string")
    expected = file_of('{"text":"a"}', '{"text":"b","output_notes":"x","output_weather":{"first": "1"}}')
    assert send(df) == expected
    assert send(df, schema=False) == expected
    only_nulls = df.select("output_weather").limit(1)
    assert send(only_nulls) == file_of("{}")


def test_numpy_scalar_or_datetime_in_the_plain_call(sandbox: Sandbox, client: Client, project: int) -> None:
    np = pytest.importorskip("numpy")
    record = {"text": np.str_("a"), "number": np.int64(7), "day": datetime.date(2024, 2, 29)}
    moment = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)
    reply = client.create_task_batch(project, [record, {"text": moment}])
    sent = [task["data"] for task in json.loads(sandbox.uploaded(project, reply["batch_id"]) or "")]
    assert sent[0] == {"text": "a", "number": 7, "day": "2024-02-29"}
    assert datetime.datetime.fromisoformat(sent[1]["text"]) == moment


@pytest.mark.parametrize("schema", [True, False])
def test_duplicate_column_names(spark: SparkSession, sandbox: Sandbox, send: Send, schema: bool) -> None:
    sandbox.forget_calls()
    with pytest.raises(ContractError, match="'text'") as caught:
        send(spark.sql("SELECT 'a' AS text, 1 AS number, 'b' AS text"), schema=schema)
    assert "'number'" not in caught.value.message
    assert {request["method"] for request in sandbox.requests()} == {"GET"}


@pytest.mark.both_kinds
def test_empty_dataframe(spark: SparkSession, sandbox: Sandbox, client: Client, project: int) -> None:
    sandbox.forget_calls()
    result = client.create_task_batch_from_table(spark.createDataFrame([], "text string"), str(project))
    assert sandbox.calls() == {}
    assert (result["batch_id"], result["batch_ids"], result["task_count"]) == (None, [], 0)
    assert "empty" in repr(result)


def test_sample_data_of_the_vendors_tutorial(spark: SparkSession, sandbox: Sandbox, client: Client) -> None:
    """Pre-annotations as nested Python values: as JSON text, and as rows whose schema is told."""
    project = sandbox.create_project(
        {"name": "string", "image": "string", "client_batch_id": "string"}, {"vehicle_image_annotation": "image"}
    )
    points = [[100, 100], [300, 100], [100, 200], [300, 200]]
    shape = {"type": "rectangle", "index": 1, "points": points, "tags": {"colour": "red"}}
    annotation = {"layers": {"vector_tagging": [{"shapes": [shape], "group_type": None}]}}
    inputs = {"name": "first", "image": "https://example.org/1.jpg", "client_batch_id": "b-1"}
    as_text = spark.createDataFrame([{**inputs, "output_vehicle_image_annotation": json.dumps(annotation)}])
    shapes = "array<struct<type: string, index: int, points: array<array<int>>, tags: map<string, string>>>"
    nested = f"struct<layers: struct<vector_tagging: array<struct<shapes: {shapes}, group_type: string>>>>"
    as_rows = spark.createDataFrame(
        [(*inputs.values(), annotation)],
        f"name string, image string, client_batch_id string, output_vehicle_image_annotation {nested}",
    )
    for df in (as_text, as_rows):
        client.create_task_batch_from_table(df, str(project))
    sent = [task["data"] for task in sandbox.tasks(project)]
    assert sent[0] == {**inputs, "output_vehicle_image_annotation": annotation}
    del annotation["layers"]["vector_tagging"][0]["group_type"]  # a null leaves its key out
    assert sent[1] == {**inputs, "output_vehicle_image_annotation": annotation}
    assert {task["client_batch_id"] for task in sandbox.tasks(project)} == {"b-1"}


@pytest.mark.both_kinds
def test_documented_argument_order(spark: SparkSession, sandbox: Sandbox, client: Client, project: int) -> None:
    df = spark.createDataFrame([("a",)], "text string")
    ways = [
        client.create_task_batch_from_table(str(project), df),  # type: ignore[arg-type]
        client.create_task_batch_from_table(df, str(project)),
        client.create_task_batch_from_table(spark_dataframe=df, proj_id=str(project)),  # type: ignore[call-arg]
    ]
    for result in ways:
        assert sandbox.uploaded(project, result["batch_id"]) == file_of('{"text":"a"}')


@pytest.mark.both_kinds
def test_many_rows_in_bounded_memory(spark: SparkSession, sandbox: Sandbox, client: Client, project: int) -> None:
    """24,000 rows of 500 bytes: many uploads of a bounded size, no more than a few of them held at a time."""
    df = spark.range(24_000).selectExpr("concat(id, repeat('x', 500)) AS text")
    most = 256 << 10
    tracemalloc.start()
    try:
        result = client.create_task_batch_from_table(df, str(project), chunk_bytes=most, in_flight=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result["task_count"] == 24_000
    assert result["bytes"] > 12 << 20
    sizes = [int(put["headers"]["content-length"]) for put in sandbox.requests("put")]
    assert max(sizes) <= most
    assert sum(sizes) == result["bytes"]
    assert len({put["connection"] for put in sandbox.requests("put")}) > 1  # several in flight
    assert peak < 9 << 20  # 6 MB of them to look whether the rows are few


@pytest.mark.both_kinds
def test_which_row_became_which_task(spark: SparkSession, sandbox: Sandbox, client: Client, project: int) -> None:
    sandbox.switch(status_calls_per_second=None)
    rows = spark.range(7).selectExpr("concat('row ', id) AS text")
    result = client.create_task_batch_from_table(rows, str(project), chunk_rows=3)
    tasks = client.get_multi_task_status_to_table(spark, str(project))
    pairs = rows.join(tasks, rows.text == tasks.data.text, "left").select("id", "text", "batch_id").collect()
    expected = {task["data"]["text"]: (task["id"], task["batch_id"]) for task in sandbox.tasks(project)}
    assert {row.text: (row.id, row.batch_id) for row in pairs} == expected
    assert len(pairs) == len(expected) == 7
    assert {row.batch_id for row in pairs} == set(result["batch_ids"])


def test_tasks_that_were_sent_can_be_worked_on(spark: SparkSession, sandbox: Sandbox, send: Send, project: int) -> None:
    """The strict server creates a task for each of the awkward rows together."""
    rows: list[tuple[Any, ...]] = [
        ("\u00a0\u00ad\x00\x1f\u2028'\"\\\n\t🚗中", 2147483647, datetime.date(9999, 12, 31), "\x07'\"\\"),
        (None, -2147483648, None, None),
        ("", None, datetime.date(1582, 10, 10), ""),
    ]
    send(spark.createDataFrame(rows, "text string, number int, day date, output_notes string"))
    names = ("text", "number", "day", "output_notes")
    expected = [
        {n: str(v) if isinstance(v, datetime.date) else v for n, v in zip(names, row, strict=True) if v is not None}
        for row in rows
    ]
    assert [task["data"] for task in sandbox.tasks(project)] == expected
