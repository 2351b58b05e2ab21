"""What Sama's own connector breaks on the way back, case by case: rows that users can work with."""

from __future__ import annotations

import datetime
import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from kit.fake_clock import FakeClock
from sama_spark import Client, TaskStates
from sama_spark.api import delivery_blocks
from sama_spark.errors import ConnectorError

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, Row, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

INPUTS = {"url": "string", "count": "integer", "day": "date"}
OUTPUTS = {"objects": "image", "notes": "text", "weather": {"type": "checkbox", "options": ["rain", "sun"]}}
WHEN = "2024-03-01T10:15:30.123Z"
SHAPE = {"type": "rectangle", "index": 1, "points": [[1, 2], [9, 2], [1.5, 8], [9, 8]], "tags": {}}
OBJECTS = {"layers": {"vector_tagging": [{"shapes": [SHAPE], "group_type": None}]}}


@pytest.fixture(scope="module")
def client(running_sandbox: Sandbox) -> Iterator[Client]:
    with Client(running_sandbox.api_key, base_url=running_sandbox.base_url, clock=FakeClock(time.time())) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    sandbox.switch(status_calls_per_second=None)
    return sandbox.create_project(INPUTS, OUTPUTS)


def delivery(number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{number:024x}",
        "created_at": "2024-02-29T23:00:00.000Z",
        "delivered_at": WHEN,
        "data": {"url": f"u{number}", "count": number},
        "answers": {"notes": f"n{number}"},
        **more,
    }


def read(client: Client, spark: SparkSession, project: int, **options: Any) -> DataFrame:
    return client.get_delivered_tasks_to_table(spark, str(project), **options)


def rows_of(df: DataFrame) -> list[Row]:
    """All rows by id, after a look at what no row may ever show."""
    assert not any("corrupt" in name for name in df.columns)
    rows = df.orderBy("id").collect()
    assert all(row.id and row.raw for row in rows)
    return rows


def one_task(client: Client, spark: SparkSession, sandbox: Sandbox, project: int, text: str) -> Row:
    """The row of a task whose text the server answers to the byte."""
    sandbox.fail("task_status", kind="json", body=f'{{"task": {text}}}')
    row = client.get_task_status_to_table(spark, str(project), f"{1:024x}").first()
    assert row is not None
    assert row.raw == text
    return row


# --- the table of defects


@pytest.mark.both_kinds
def test_null_outside_answers(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    text = json.dumps(
        delivery(delivered_at=None, client_batch_id=None, data={"url": None, "deep": {"er": [None, {"x": None}]}})
    )
    row = one_task(client, spark, sandbox, project, text)
    assert (row.delivered_at, row.client_batch_id, row.data.url) == (None, None, None)
    assert row.answers.notes == "n1"
    assert json.loads(row.data_raw) == {"url": None, "deep": {"er": [None, {"x": None}]}}


def test_true_and_false_outside_answers(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.deliver(project, [delivery(data={"url": "u", "flag": True, "deep": [False]}, reviewed=True)])
    [row] = rows_of(read(client, spark, project))
    assert row.data.url == "u"
    assert json.loads(row.data_raw) == {"url": "u", "flag": True, "deep": [False]}
    assert json.loads(row.raw)["reviewed"] is True
    typed = read(client, spark, project, answers_schema="flag boolean").first()
    assert typed is not None
    assert typed.answers.flag is None


@pytest.mark.parametrize(
    "text",
    ["a\u00a0b", "a\u00adb", "\x00\x07\x1b\x1e\x1f\x7f\x85", "\u2028\u2029\ufeff", "\ufffd\U0010ffff"],
    ids=["no-break space", "soft hyphen", "control", "separators", "odd"],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_odd_characters_in_data(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int, text: str, ascii_only: bool
) -> None:
    row = one_task(client, spark, sandbox, project, json.dumps(delivery(data={"url": text}), ensure_ascii=ascii_only))
    assert row.data.url == text
    assert json.loads(row.data_raw) == {"url": text}


@pytest.mark.parametrize("same_as_delivery", [True, False])
def test_status_of_an_undelivered_task(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int, same_as_delivery: bool
) -> None:
    client.create_task_batch(project, [{"url": "u", "output_notes": "seen"}], batch_priority=-3)
    [task] = sandbox.tasks(project)
    [row] = rows_of(client.get_task_status_to_table(spark, str(project), task["id"], same_as_delivery))
    assert (row.id, row.project_id, row.batch_id) == (task["id"], project, task["batch_id"])
    assert (row.state, row.delivered_at, row.data.url) == ("new", None, "u")
    assert row.created_at is not None
    if not same_as_delivery:
        assert row.priority == -3


def test_good_rows_mixed_with_bad(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    odd: list[dict[str, Any]] = [
        delivery(2, data={"url": None, "x": True}),
        delivery(3, data=[1, 2]),
        delivery(4, data=None, answers=None),
        delivery(5, data="text", answers=[1]),
        delivery(6, answers={"notes": {"not": "text"}, "objects": "not an object"}),
    ]
    sandbox.deliver(project, [delivery(1), *odd, delivery(7)])
    rows = rows_of(read(client, spark, project))
    assert [int(row.id, 16) for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert {row.delivered_at for row in rows} == {rows[0].delivered_at}
    assert [row.data.url if row.data else None for row in rows] == ["u1", None, None, None, None, "u6", "u7"]
    assert [json.loads(row.data_raw or "null") for row in rows[2:5]] == [[1, 2], None, "text"]
    assert json.loads(rows[5].answers_raw) == {"notes": {"not": "text"}, "objects": "not an object"}
    assert (rows[0].answers.notes, rows[6].answers.notes) == ("n1", "n7")


def test_quotes_apostrophes_newlines_backslashes_cjk_emoji(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int
) -> None:
    text = "it's \"quoted\"\n\t\r\\ \\u0041 \\\\ 漢字 한글 🚗👩‍🚀 {'a': None}"
    sandbox.deliver(project, [delivery(data={"url": text}, answers={"notes": text})])
    [row] = rows_of(read(client, spark, project))
    assert (row.data.url, row.answers.notes) == (text, text)


@pytest.mark.both_kinds
def test_no_deliveries(client: Client, spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path) -> None:
    nothing = read(client, spark, project)
    assert (nothing.count(), nothing.select("id", "data.url", "answers.notes").count()) == (0, 0)
    nothing.write.format("delta").save(str(tmp_path / "t"))
    sandbox.deliver(project, [delivery(i) for i in range(1, 30)])
    many = read(client, spark, project)
    assert many.schema == nothing.schema
    since = client.get_delivered_tasks_since_last_call_to_table(spark, str(project))
    status = client.get_multi_task_status_to_table(spark, str(project))
    single = client.get_task_status_to_table(spark, str(project), f"{1:024x}")
    assert since.schema == status.schema == single.schema == many.schema
    assert client.get_multi_task_status_to_table(spark, str(project), state="rejected").schema == many.schema


@pytest.mark.both_kinds
def test_next_day_has_other_fields(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    table = str(tmp_path / "tasks")
    days: list[list[dict[str, Any]]] = [
        [delivery(1)],
        [],
        [delivery(2, data={"url": None, "one more": 1}, answers={"notes": None, "more": {"a": [1]}}, new_field=1)],
        [delivery(3, answers=None)],
    ]
    for number, day in enumerate(days):
        stamp = f"2024-03-0{number + 1}T00:00:00Z"
        sandbox.deliver(project, [task | {"delivered_at": stamp} for task in day])
        today = read(client, spark, project, from_timestamp=stamp)
        today.write.format("delta").mode("append").save(table)
    saved = rows_of(spark.read.format("delta").load(table))
    assert [int(row.id, 16) for row in saved] == [1, 2, 3]
    assert [row.answers.notes if row.answers else None for row in saved] == ["n1", None, None]
    assert json.loads(saved[1].raw)["new_field"] == 1
    assert json.loads(saved[1].data_raw) == {"url": None, "one more": 1}


def test_type_of_a_data_field_differs(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    counts: list[Any] = [7, "7", 7.5, 3_000_000_000, None, [7], "x"]
    sandbox.deliver(project, [delivery(i + 1, data={"url": "u", "count": c}) for i, c in enumerate(counts)])
    df = read(client, spark, project)
    assert df.select("data.count").schema[0].dataType == T.IntegerType()
    rows = rows_of(df)
    assert rows[0].data["count"] == 7
    assert {row.data["count"] for row in rows[1:]} <= {None, 7}
    assert [rows[i].data["count"] for i in (2, 3, 4, 5, 6)] == [None] * 5
    assert [row.data.url for row in rows] == ["u"] * len(counts)  # its neighbours stay
    assert [json.loads(row.data_raw)["count"] for row in rows] == counts


def test_answers_null(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.deliver(project, [delivery(answers=None)])
    [row] = rows_of(read(client, spark, project))
    assert (row.answers, row.answers_raw) == (None, None)


def test_empty_extras(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    extras = {"raster_legend": {"m": {"1": "region 1"}}}
    sandbox.deliver(project, [delivery(1, _extras={}), delivery(2, _extras=extras, submitter_ids_by_step={"A": 501})])
    first, second = rows_of(read(client, spark, project))
    assert (json.loads(first["_extras"]), json.loads(first.submitter_ids_by_step)) == ({}, {})
    assert (json.loads(second["_extras"]), json.loads(second.submitter_ids_by_step)) == (extras, {"A": 501})


def test_task_without_answers(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.deliver(project, [delivery()])
    without = client.get_multi_task_status_to_table(spark, str(project))
    given = client.get_multi_task_status_to_table(spark, str(project), omit_answers=False)
    assert without.schema == given.schema
    assert [(row.answers, row.answers_raw) for row in rows_of(without)] == [(None, None)]
    assert [row.answers.notes for row in rows_of(given)] == ["n1"]


def test_answers_are_typed_with_their_text_beside(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int
) -> None:
    answers = {"objects": OBJECTS, "notes": "seen", "weather": {"rain": "1", "sun": "0"}}
    sandbox.deliver(project, [delivery(answers=answers)])
    df = read(client, spark, project)
    [row] = rows_of(df)
    assert (row.answers.notes, row.answers.weather.rain, row.answers.weather.sun) == ("seen", "1", "0")
    shapes = df.selectExpr("inline(flatten(answers.objects.layers.vector_tagging.shapes))")
    assert [(s.type, s["index"], s.points) for s in shapes.collect()] == [("rectangle", 1, SHAPE["points"])]
    assert json.loads(row.answers_raw) == answers


@pytest.mark.both_kinds
def test_names_with_spaces(client: Client, spark: SparkSession, sandbox: Sandbox, tmp_path: Path) -> None:
    """Their table can be saved as it is, and no value is lost."""
    project = sandbox.create_project({"image Original url": "string", "a.b": "string"}, {"car; or (bus)": "text"})
    data = {"image Original url": "https://example.org/1.jpg", "a.b": "x"}
    sandbox.deliver(project, [delivery(data=data, answers={"car; or (bus)": "bus"})])
    df = read(client, spark, project)
    [row] = rows_of(df)
    assert json.loads(row.data_raw) == data
    assert row.data["image Original url"] == data["image Original url"]
    assert row.answers["car; or (bus)"] == "bus"
    df.write.parquet(str(tmp_path / "parquet"))
    df.write.format("delta").save(str(tmp_path / "delta"))
    [saved] = rows_of(spark.read.format("delta").load(str(tmp_path / "delta")))
    assert json.loads(saved.answers_raw) == {"car; or (bus)": "bus"}


def test_inputs_that_sama_adds_itself(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.switch(project, image_metadata=True)
    client.create_task_batch(project, [{"url": "u"}])
    sandbox.annotate(project)
    [row] = rows_of(read(client, spark, project))
    assert row.data.url == "u"
    assert json.loads(row.data_raw)["objects Height"] == "480"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-03-01T10:15:30.123Z", "2024-03-01 10:15:30.123"),
        ("2024-03-01T10:15:30Z", "2024-03-01 10:15:30"),
        ("2023-09-02T10:23:36.536167366Z", "2023-09-02 10:23:36.536167"),
        ("2024-03-01T10:15:30.5+02:00", "2024-03-01 08:15:30.5"),
        ("2024-03-01T10:15:30-0500", "2024-03-01 15:15:30"),
        ("20240301T10:15:30", "2024-03-01 10:15:30"),
        ("20240301T10:15", "2024-03-01 10:15:00"),
        ("2024-03-01T10:15:30", "2024-03-01 10:15:30"),
        ("2024-03-10T02:30:00", "2024-03-10 02:30:00"),  # New York's clocks leap over it
        ("soon", None),
        ("", None),
    ],
)
def test_timestamps(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int, text: str, utc: str | None
) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "America/New_York"
    body = json.dumps(delivery(delivered_at=text))
    sandbox.fail("task_status", kind="json", body=f'{{"task": {body}}}')
    df = client.get_task_status_to_table(spark, str(project), f"{1:024x}")
    assert df.schema["delivered_at"].dataType == T.TimestampType()
    [row] = df.select(F.unix_micros("delivered_at"), "raw").collect()
    expected = None if utc is None else datetime.datetime.fromisoformat(utc.ljust(26, "0") if "." in utc else utc)
    epoch = datetime.datetime(1970, 1, 1)
    assert row[0] == (expected and (expected - epoch) // datetime.timedelta(microseconds=1))
    assert row.raw == body


def test_date_type_and_to_timestamp_are_sent(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int
) -> None:
    for day in (1, 2, 3):
        sandbox.deliver(project, [delivery(day, delivered_at=f"2024-03-0{day}T00:00:00Z")])
    sandbox.forget_calls()
    df = client.get_multi_task_status_to_table(
        spark,
        str(project),
        date_type="delivered",
        from_timestamp="2024-03-02T00:00:00Z",
        to_timestamp="2024-03-02T12:00:00Z",
        state=TaskStates.DELIVERED,
        omit_answers=False,
    )
    assert [int(row.id, 16) for row in rows_of(df)] == [2]
    wanted = {
        "date_type": "delivered",
        "from": "2024-03-02T00:00:00Z",
        "to": "2024-03-02T12:00:00Z",
        "state": "delivered",
        "omit_answers": "false",
    }
    for request in sandbox.requests("multi_status"):
        assert wanted.items() <= request["query"].items()


@pytest.mark.both_kinds
def test_session_that_was_passed_in_is_used(
    client: Client, spark: SparkSession, session_kind: str, sandbox: Sandbox, project: int
) -> None:
    if session_kind == "connect" and not hasattr(spark, "cloneSession"):
        pytest.skip("Spark Connect before 4.1 makes no second session")
    sandbox.deliver(project, [delivery()])
    other = spark.newSession() if session_kind == "classic" else spark.cloneSession()  # type: ignore[attr-defined]
    from_other = read(client, other, project)
    assert from_other.sparkSession is other
    assert from_other.count() == 1
    df = read(client, spark, project)
    assert df.sparkSession is spark
    assert df.count() == 1


@pytest.mark.both_kinds
def test_many_tasks_in_bounded_memory(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 MB of tasks: the driver's Python holds far less, and Spark reads them in parallel."""
    monkeypatch.setattr(delivery_blocks, "MOST_WAITING", 8 << 20)
    notes = "x" * 2000
    sandbox.deliver(project, (delivery(i, answers={"notes": notes}) for i in range(1, 28_001)))
    tracemalloc.start()
    try:
        df = read(client, spark, project)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 45 << 20
    found = df.select("id", F.length("answers.notes").alias("n"), F.spark_partition_id().alias("part"))
    [row] = found.selectExpr("count(*)", "count(DISTINCT id)", "sum(n)", "count(DISTINCT part)").collect()
    assert tuple(row[:3]) == (28_000, 28_000, 28_000 * 2000)
    assert row[3] >= 2


# --- what the columns hold


WANTED = ["id", "project_id", "batch_id", "state", "created_at", "delivered_at", "data", "answers", "data_raw",
          "answers_raw", "raw"]  # fmt: skip


@pytest.mark.both_kinds
def test_all_five_methods_give_the_same_columns(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int
) -> None:
    reply = client.create_task_batch(project, [{"url": "u", "count": 7, "day": "2024-02-29", "output_notes": "n"}])
    sandbox.annotate(project, corrections=False)
    [task] = sandbox.tasks(project)
    ways = [
        client.get_delivered_tasks_to_table(spark, str(project)),
        client.get_delivered_tasks_since_last_call_to_table(spark, str(project)),
        client.get_task_status_to_table(spark, str(project), task["id"]),
        client.get_multi_task_status_to_table(spark, str(project), omit_answers=False),
        client.get_delivered_tasks_to_table(spark, proj_id=project, task_id=task["id"]),  # type: ignore[call-arg]
    ]
    for df in ways:
        assert set(WANTED) <= set(df.columns)
        types = {field.name: field.dataType for field in df.schema}
        assert types["created_at"] == types["delivered_at"] == T.TimestampType()
        assert types["project_id"] == types["batch_id"] == T.LongType()
        [row] = rows_of(df)
        assert (row.id, row.project_id, row.batch_id, row.state) == (
            task["id"],
            project,
            reply["batch_id"],
            "delivered",
        )
        assert (row.data.url, row.data["count"], row.data.day) == ("u", 7, datetime.date(2024, 2, 29))
        assert row.answers.notes == "n"
        assert json.loads(row.data_raw) == {"url": "u", "count": 7, "day": "2024-02-29"}
        assert json.loads(row.answers_raw) == {"notes": "n"}
        assert json.loads(row.raw)["id"] == task["id"]
        assert row.created_at <= row.delivered_at


def test_filters_reach_the_server(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.deliver(project, [delivery(i, batch_id=i, client_batch_id=f"day {i}") for i in (1, 2, 12)])
    delivered, since = client.get_delivered_tasks_to_table, client.get_delivered_tasks_since_last_call_to_table

    def ids(df: DataFrame) -> list[int]:
        return [int(row.id, 16) for row in rows_of(df)]

    by_name: dict[str, Any] = {"client_batch_id": "day 1", "client_batch_id_match_type": "contains"}
    assert ids(delivered(spark, str(project), batch_id="2")) == [2]
    assert ids(delivered(spark, str(project), **by_name)) == [1, 12]
    assert ids(delivered(spark, str(project), from_timestamp="2024-03-02T00:00:00.000000001Z")) == []
    assert ids(since(spark, str(project), batch_id="2", consumer="c")) == [2]
    assert ids(since(spark, str(project), **by_name, consumer="c")) == [1, 12]
    assert ids(client.get_multi_task_status_to_table(spark, str(project), client_batch_id="day 12")) == [12]


def test_a_misfit_is_null_and_whole_in_the_raw_column(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int
) -> None:
    answers = {"objects": [1, "two"], "notes": ["not", "text"], "weather": "wet"}
    sandbox.deliver(project, [delivery(answers=answers, data={"url": "u", "count": "many", "day": "2024-02-30"})])
    [row] = rows_of(read(client, spark, project))
    assert (row.data.url, row.data["count"], row.data.day) == ("u", None, None)
    assert (row.answers.objects, row.answers.weather) == (None, None)
    assert json.loads(row.answers_raw) == json.loads(row.raw)["answers"] == answers
    assert json.loads(row.data_raw) == {"url": "u", "count": "many", "day": "2024-02-30"}


def test_a_field_that_sama_adds_tomorrow(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.deliver(project, [delivery()])
    before = read(client, spark, project)
    sandbox.switch(project, extra_fields=True)
    after = read(client, spark, project)
    assert after.schema == before.schema
    [row] = rows_of(after)
    assert json.loads(row.raw)["workflow_version"] == 3
    assert json.loads(row.raw)["sla"] == {"due": None, "tier": "gold"}
    assert row.answers.notes == "n1"


@pytest.mark.both_kinds
def test_numbers_survive_to_the_byte(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    answers = r'{"n": 1.10,  "e": 1e400, "i": 123456789012345678901234567890, "z": -0.0, "s": "\u00e9\/"}'
    data = '{ "url" : "u", "x": 1E-400 , "y":[1.0,10.00] }'
    text = '{"id": "%s", "answers": %s, "data": %s}' % (f"{1:024x}", answers, data)  # noqa: UP031
    sandbox.deliver(project, [text])
    for options in ({}, {"answers_schema": "n double, e double, i decimal(38,0)"}, {"answers_schema": "infer"}):
        [row] = rows_of(read(client, spark, project, **options))
        assert (row.answers_raw, row.data_raw) == (answers, data)
        assert answers in row.raw
        assert data in row.raw


def test_priority(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    client.create_task_batch(project, [{"url": "u"}], batch_priority=-(2**31))
    [row] = rows_of(client.get_multi_task_status_to_table(spark, str(project)))
    assert row.priority == -(2**31)
    assert client.get_multi_task_status_to_table(spark, str(project), priority=5).count() == 0
    for text, expected in (('"priority": 7', 7), ('"priority": 3000000000', None), ('"priority": null', None)):
        row = one_task(client, spark, sandbox, project, f'{{"id": "{1:024x}", {text}}}')
        assert row.priority == expected


def test_project_and_batch_ids_in_any_spelling(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int
) -> None:
    for text, expected in (("9007199254740993", 2**53 + 1), ('"77"', 77), ("null", None), ('"x"', None)):
        row = one_task(client, spark, sandbox, project, f'{{"id": "{1:024x}", "batch_id": {text}}}')
        assert row.batch_id == expected


# --- answers_schema


TYPES = [
    ("notes string, weather map<string, string>", "struct<notes:string,weather:map<string,string>>"),
    ("struct<notes: string>", "struct<notes:string>"),
    ("STRUCT<notes: STRING, objects: STRUCT<layers: STRING>>", "struct<notes:string,objects:struct<layers:string>>"),
    ("map<string, string>", "map<string,string>"),
    ("notes: string", "struct<notes:string>"),
    (T.MapType(T.StringType(), T.StringType()), "map<string,string>"),
    (T.StructType().add("notes", "string"), "struct<notes:string>"),
    (T.StringType(), "string"),
]


@pytest.mark.parametrize(("asked", "expected"), TYPES, ids=[str(asked)[:40] for asked, _ in TYPES])
def test_answers_schema(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int, asked: Any, expected: str
) -> None:
    answers = {"notes": "n", "weather": {"rain": "1"}, "objects": {"layers": {"a": [1]}}}
    sandbox.deliver(project, [delivery(answers=answers)])
    df = read(client, spark, project, answers_schema=asked)
    assert df.schema["answers"].dataType.simpleString() == expected
    [row] = rows_of(df)
    if expected == "string":
        assert json.loads(row.answers) == answers
    else:
        assert row.answers["notes"] == "n"
    assert json.loads(row.answers_raw) == answers


@pytest.mark.both_kinds
def test_answers_schema_of_a_table(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.deliver(project, [delivery(answers={"notes": "n", "more": 7})])
    asked = "struct<notes: string, more: bigint>"
    spark.sql("DROP TABLE IF EXISTS labels_like")
    read(client, spark, project, answers_schema=asked).write.format("delta").saveAsTable("labels_like")
    try:
        for name in ("labels_like", "default.labels_like", "spark_catalog.default.labels_like"):
            df = read(client, spark, project, answers_schema=name)
            assert df.schema["answers"].dataType.simpleString() == "struct<notes:string,more:bigint>"
        df.write.format("delta").mode("append").saveAsTable("labels_like")
        assert spark.table("labels_like").where("answers.more = 7").count() == 2
    finally:
        spark.sql("DROP TABLE IF EXISTS labels_like")


@pytest.mark.both_kinds
def test_answers_schema_inferred(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.deliver(
        project,
        [
            delivery(1, answers={"a": 1, "b": {"c": [1, 2.5]}, "clash": 1, "nothing": None}),
            delivery(2, answers={"a": 2, "clash": "x", "new": True}),
            delivery(3, answers=None),
        ],
    )
    df = read(client, spark, project, answers_schema="infer")
    first, second, third = rows_of(df)
    assert (first.answers.a, second.answers.a, third.answers) == (1, 2, None)
    assert (first.answers.b.c, first.answers.clash, second.answers.clash) == ([1.0, 2.5], "1", "x")
    assert second.answers.new is True
    none = read(client, spark, project, from_timestamp="2030-01-01T00:00:00Z", answers_schema="infer")
    assert none.count() == 0
    assert set(none.columns) == set(df.columns)


@pytest.mark.parametrize("asked", ["no_such_table", "struct<notes string", "a b c d <"])
@pytest.mark.both_kinds
def test_answers_schema_that_means_nothing(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int, asked: str
) -> None:
    """It is refused before the feed is read: since-last-call would never serve these tasks again."""
    sandbox.deliver(project, [delivery()])
    with pytest.raises(Exception):  # noqa: B017
        client.get_delivered_tasks_since_last_call_to_table(spark, str(project), answers_schema=asked)
    assert "since_last_call" not in sandbox.calls()


def test_without_schema_endpoints_data_and_answers_are_json_text(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int
) -> None:
    sandbox.deliver(project, [delivery(data={"url": "u", "n": 1.10}, answers={"notes": ["x"]})])
    sandbox.switch(project, schemas=False)
    df = read(client, spark, project)
    assert df.schema["data"].dataType == df.schema["answers"].dataType == T.StringType()
    [row] = rows_of(df)
    assert json.loads(row.data) == {"url": "u", "n": 1.1}
    assert json.loads(row.answers) == {"notes": ["x"]}
    typed = read(client, spark, project, answers_schema="notes array<string>").first()
    assert typed is not None
    assert typed.answers.notes == ["x"]


def test_json_text_columns_bend_no_number(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    """Where `data` and `answers` are JSON text, they are the text that came."""
    text = '{"n":1.10,"e":1e400,"i":123456789012345678901234567890}'
    sandbox.deliver(project, [f'{{"id": "{1:024x}", "data": {text}, "answers": {text}}}'])
    [row] = rows_of(read(client, spark, project, answers_schema=T.StringType()))
    assert row.answers == row.answers_raw == text
    sandbox.switch(project, schemas=False)
    [row] = rows_of(read(client, spark, project))
    assert (row.data, row.answers) == (text, text)


def test_a_schema_endpoint_that_fails_is_an_error_and_nothing_is_read(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int
) -> None:
    """Another schema on a bad day would be no stable schema."""
    sandbox.fail("deliver_schema", status=403)
    with pytest.raises(ConnectorError, match="403"):
        client.get_delivered_tasks_since_last_call_to_table(spark, str(project))
    assert "since_last_call" not in sandbox.calls()


# --- pages


@pytest.mark.parametrize("ordering", ["ascending", "descending", "unordered"])
@pytest.mark.parametrize("apart", [0, 1], ids=["at the same time", "one after another"])
def test_servers_that_give_fewer_rows_than_asked_in_any_order(
    client: Client, spark: SparkSession, sandbox: Sandbox, project: int, ordering: str, apart: int
) -> None:
    sandbox.switch(project, ordering=ordering, delivered_page_max=3, status_page_max=2)
    times = [f"2024-03-01T10:00:{i * apart:02}.000Z" for i in range(11)]
    sandbox.deliver(project, [delivery(i + 1, delivered_at=stamp) for i, stamp in enumerate(times)])
    everything = list(range(1, 12))
    for df in (
        read(client, spark, project),
        client.get_multi_task_status_to_table(spark, str(project)),
        client.get_delivered_tasks_since_last_call_to_table(spark, str(project)),
    ):
        assert [int(row.id, 16) for row in rows_of(df)] == everything


def test_fetched_once(client: Client, spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    sandbox.deliver(project, [delivery(i) for i in range(1, 6)])
    df = read(client, spark, project)
    calls = sandbox.calls()
    first = df.count()
    sandbox.deliver(project, [delivery(6)])
    assert (first, df.count(), len(rows_of(df.where("data.url LIKE 'u%'")))) == (5, 5, 5)
    assert sandbox.calls() == calls
    assert read(client, spark, project).count() == 6
