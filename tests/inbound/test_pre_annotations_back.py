"""Answers become pre-annotations become the same answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from chispa import assert_df_equality

from sama_spark import Client, to_pre_annotations
from sama_spark.api.marked_values import problem_in
from sama_spark.errors import InvalidInput
from sama_spark.pre_annotations.from_answers import cut

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

INPUTS = {"row": "integer", "day": "date", "file name": "string"}
TAGS = {"kind": "dropdown", "side": "checkbox", "says": "text"}
OUTPUTS: dict[str, Any] = {
    "objects": {"type": "image", "tags": TAGS},
    "my (film)": "video",
    "scene": "3d",
    "floor": "raster",
    "weather": "checkbox",
    "place": "menu",
    "mood": "radio",
    "notes": "text",
    "seen": "date",
}


@pytest.fixture(scope="module")
def client(running_sandbox: Sandbox) -> Iterator[Client]:
    with Client(running_sandbox.api_key, base_url=running_sandbox.base_url) as client:
        yield client


def test_every_output_there_and_back(spark: SparkSession, sandbox: Sandbox, client: Client) -> None:
    first = sandbox.create_project(INPUTS, OUTPUTS)
    data = [{"row": n, "day": "2024-03-01", "file name": f"{n} é"} for n in range(6)]
    client.create_task_batch(first, list(data))
    sandbox.annotate(first)
    # Numbers that a parser would write anew, an empty text, and text that looks like JSON.
    group = '{"shapes": [], "n": 1.10, "big": 123456789012345678901234567890}'
    odd = f'{{"data": {{"row": 9}}, "answers": {{"notes": "", "scene": [{group}]}}}}'
    sandbox.deliver(first, [odd, json.dumps({"data": {"row": 10}, "answers": {"notes": '{"a": "1"}'}})])
    delivered = client.get_delivered_tasks_to_table(spark, str(first))

    tasks = to_pre_annotations(delivered)
    assert set(tasks.columns) == {*INPUTS, *(f"output_{name}" for name in OUTPUTS)}
    second = sandbox.create_project(INPUTS, OUTPUTS)
    result = client.create_task_batch_from_table(tasks, str(second))
    assert sandbox.annotate(second, corrections=False) == result.task_count == len(data) + 2
    again = client.get_delivered_tasks_to_table(spark, str(second))
    assert _texts(again) == _texts(delivered)


def _texts(df: DataFrame) -> dict[int, tuple[dict[str, Any], dict[str, str]]]:
    """Data, and each answer's JSON text, by row; the order of members is no matter."""
    import msgspec

    found = {}
    for row in df.select("data_raw", "answers_raw").collect():
        data = json.loads(row.data_raw)
        unsigned = re.sub(r"\?Expires=\w+&Signature=\w+", "", row.answers_raw)  # links are signed at every read
        answers = msgspec.json.decode(unsigned, type=dict[str, msgspec.Raw])
        found[data["row"]] = (data, {name: bytes(value).decode() for name, value in answers.items()})
    return found


def test_names_survive_a_table(spark: SparkSession, sandbox: Sandbox, client: Client) -> None:
    """Delta refuses Sama's names; the columns of the new tasks have them again."""
    project = sandbox.create_project({"row": "integer"}, {"my (film)": "video"})
    sandbox.deliver(project, ['{"data": {"row": 1}, "answers": {"my (film)": []}}'])
    delivered = client.get_delivered_tasks_to_table(spark, str(project))
    delivered.write.format("delta").saveAsTable("kept")
    kept = spark.table("kept")
    assert "my__film_" in kept.schema["answers"].simpleString()
    expected = spark.createDataFrame([("1", "[]")], ["row", "output_my (film)"])
    for source in (delivered, kept, kept.select("data", "answers")):
        assert_df_equality(to_pre_annotations(source), expected, ignore_nullable=True)
    spark.sql("DROP TABLE kept").collect()


def test_names_where_all_is_text(spark: SparkSession) -> None:
    rows = [('{"b": 1}', '{"x": "t", "y": null}'), ('{"a": "A"}', None), (None, '{"x": {"n": 1.10}}')]
    df = spark.createDataFrame(rows, "data string, answers string")
    everything = spark.createDataFrame(
        [(None, "1", "t", None), ("A", None, None, None), (None, None, '{"n": 1.10}', None)],
        "a string, b string, output_x string, output_y string",
    )
    assert_df_equality(to_pre_annotations(df), everything, ignore_row_order=True)
    chosen = to_pre_annotations(df.drop("data"), inputs=[], outputs=["x"])
    assert_df_equality(chosen, everything.select("output_x"), ignore_row_order=True)
    with pytest.raises(InvalidInput, match="neither `data_raw` nor `data`"):
        to_pre_annotations(df.drop("data"))
    with pytest.raises(InvalidInput, match="neither inputs nor answers"):
        to_pre_annotations(df, inputs=[], outputs=[])


def test_of_odd_answers_comes_what_can_be_read() -> None:
    [cells] = cut([b"null", b"", b'{"b": NaN, "a": "cut \\ud83d"}', b'{"a": 1}'], ["a"])
    assert cells == [None, None, "cut \ufffd".encode(), b"1"]


def test_answers_that_are_no_object_are_told() -> None:
    texts = [b'{"a": 1}', b"[1]", b'"cut', b"\xff", b"5", b'{"a": 1, "b": ']
    [good, *bad], second = cut(texts, ["a", "b"])
    assert (good, second[0]) == (b"1", None)
    assert second[1:] == bad  # whichever column is kept tells it
    for text, cell in zip(texts[1:], bad, strict=True):
        reason, value = problem_in((cell or b"").decode()) or ("", "")
        assert "no JSON object" in reason
        assert value == text.decode(errors="replace")


def test_rows_whose_answers_are_no_object_are_rejected(spark: SparkSession, sandbox: Sandbox) -> None:
    project = sandbox.create_project({"url": "string"}, {"objects": "image", "notes": "text"})
    rows = [("a", '{"objects": {"layers": {"vector_tagging": []}}, "notes": "n"}'), ("b", "[1]"), ("c", "cut")]
    df = spark.createDataFrame([(json.dumps({"url": url}), text) for url, text in rows], "data string, answers string")
    tasks = to_pre_annotations(df, inputs=["url"], outputs=["objects", "notes"])
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    result = client.create_task_batch_from_table(tasks, project, on_invalid="reject", row_key="url")
    assert [task["data"]["url"] for task in sandbox.tasks(project)] == ["a"]
    assert result.rejected is not None
    found = [(row.row_key, row.value) for row in result.rejected.orderBy("row_key").collect()]
    assert found == [('{"url":"b"}', "[1]"), ('{"url":"c"}', "cut")]


structures = st.recursive(
    st.sampled_from(["1.10", "-0.0", "1e400", "123456789012345678901234567890", "null", "true", '"\\u0041"', '"é"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda some: f"[ {', '.join(some)}]")
        | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(
            lambda some: "{" + ",".join(f"{json.dumps(name)} : {value}" for name, value in some.items()) + "}"
        )
    ),
    max_leaves=6,
)
answers = st.dictionaries(st.text(max_size=5), structures | st.text(max_size=9).map(json.dumps), max_size=4)


@given(st.lists(answers, max_size=5), st.sampled_from(["", " ", "\n"]))
def test_values_are_cut_to_the_byte(rows: list[dict[str, str]], space: str) -> None:
    names = sorted({name for row in rows for name in row})
    texts = [
        (
            "{" + ",".join(f"{space}{json.dumps(name)}:{space}{value}{space}" for name, value in row.items()) + "}"
        ).encode()
        for row in rows
    ]
    columns = cut(texts, names)
    for name, column in zip(names, columns, strict=True):
        for row, cell in zip(rows, column, strict=True):
            value = row.get(name, "null")
            if value == "null":
                assert cell is None
            else:
                assert cell is not None
                assert cell.decode() == (json.loads(value) if value.startswith('"') else value)
