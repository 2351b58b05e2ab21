"""Deliveries of every format become one table, and everyday questions are one short query each."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from chispa import assert_df_equality
from pyspark.sql import functions as F

from kit.annotation_rows import batches_of
from kit.table_settings import having
from sama_spark import ANNOTATIONS, Client, flatten_annotations
from sama_spark.errors import InvalidInput
from sama_spark.vendors.seam import Annotation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

TAGS = {"kind": "text", "colour": "text", "side": {"type": "checkbox", "options": ["left", "right"]}}
OUTPUTS = {
    "objects": {"type": "image", "tags": TAGS},
    "film": {"type": "video", "tags": TAGS},
    "scene": {"type": "3d", "tags": TAGS},
    "floor": "raster",
    "weather": "checkbox",
    "place": "menu",
    "notes": "text",
    "day": "date",
}
WHEN = "2024-03-01T10:15:30.123Z"
CUBE = [[x, y, z] for z in (0.0, 1.5) for y in (0.0, 2.0) for x in (0.0, 4.0)]
SPACE = {
    "position_center": [2, 1, 0.75],
    "dimensions": {"length": 4, "width": 2, "height": 1.5},
    "direction": {"roll": 0, "pitch": 0, "yaw": 0.5},
}


def box(index: int, width: float, kind: str, colour: str, *sides: str) -> dict[str, Any]:
    corners = [[10, 20], [10 + width, 20], [10, 60], [10 + width, 60]]
    side = {name: str(int(name in sides)) for name in ("left", "right")}
    return {"type": "rectangle", "index": index, "points": corners} | {
        "tags": {"kind": kind, "colour": colour, "side": side}
    }


def group(*shapes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"shapes": list(shapes), "group_type": None, **more}


def moving(type_: str, index: int, keys: list[dict[str, Any]]) -> dict[str, Any]:
    places = [{**key, "visibility": 1} for key in keys]
    return {"type": type_, "index": index, "tags": {"kind": "car"}, "key_locations": places, "locations": places}


FILM = moving("rectangle", 7, [{"frame_number": n, "points": [[n, 0], [n + 9, 5]]} for n in (0, 4, 8)])
TASKS: list[dict[str, Any]] = [
    {
        "objects": {
            "layers": {
                "vector_tagging": [
                    group(box(1, 100, "car", "red", "left"), box(2, 12.5, "car", "blue")),
                    group(box(4, 50, "bus", "red", "right")),
                ]
            }
        },
        "weather": {"sun": "1", "rain": "0"},
    },
    {
        "film": [group(FILM, frame_count=9)],
        "scene": [group(moving("cuboid", 1, [{"frame_number": 0, "points": CUBE, **SPACE}]))],
        "floor": {"layers": {"raster_coding": {"mask_url": "https://m.invalid/1.png"}}},
        "place": "road | bridge",
        "notes": "a 🚗",
        "day": "2024-03-01",
    },
    {"objects": {"layers": {"vector_tagging": [group(box(1, 5, "car", "red", "left", "right"))]}}},
    {},
]


@pytest.fixture(scope="module")
def delivered(spark: SparkSession, running_sandbox: Sandbox) -> Iterator[DataFrame]:
    running_sandbox.reset()
    project = running_sandbox.create_project({"row": "integer"}, OUTPUTS)
    tasks = [
        {"id": f"{n:024x}", "delivered_at": WHEN, "data": {"row": n}, "answers": a} for n, a in enumerate(TASKS, 1)
    ]
    running_sandbox.deliver(project, [json.dumps(task) for task in tasks])
    with Client(running_sandbox.api_key, base_url=running_sandbox.base_url) as client:
        yield client.get_delivered_tasks_to_table(spark, str(project))


@pytest.fixture(scope="module")
def labels(delivered: DataFrame) -> Iterator[DataFrame]:
    rows = flatten_annotations(delivered, label="kind")
    rows.createOrReplaceTempView("labels")
    yield rows
    rows.sparkSession.catalog.dropTempView("labels")


COLUMNS = """
vendor string, task_id string, delivered_at timestamp, output string, ordinal int, kind string, type string,
annotation_id string, object_id string, refers_to array<string>, group_id int, group_type string,
response int, annotator string, annotated_at timestamp, seconds double,
frame int, frame_end int, time_start double, time_end double, page int, sensor string,
key_frame boolean, visible boolean, label string, tags map<string,array<string>>, value string, values array<string>,
score double, model string, points array<array<double>>, rings array<array<array<double>>>,
x_min double, y_min double, x_max double, y_max double, rotation double, text_start int, text_end int,
position struct<x:double,y:double,z:double>, dimensions struct<length:double,width:double,height:double>,
direction struct<roll:double,pitch:double,yaw:double>,
mask_url string, mask_path string, mask_value string, status string, raw string
"""


def test_the_columns_are_those_of_the_layout() -> None:
    """They are the same for all vendors; a change of them is another layout of the tables."""
    assert [f"{f.name} {f.dataType.simpleString()}" for f in ANNOTATIONS] == re.split(r",\s+", COLUMNS.strip())
    assert all(field.nullable and field.metadata["comment"] for field in ANNOTATIONS)
    by_the_engine = {"vendor", "task_id", "delivered_at", "ordinal", "x_min", "y_min", "x_max", "y_max"}
    assert by_the_engine | set(Annotation.__struct_fields__) == set(ANNOTATIONS.names)


def test_a_row_fills_all_columns_on_its_way_through_arrow() -> None:
    """Also those that Sama never fills."""
    point, when = [[1.0, 2.0]], datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)
    filled: dict[str, Any] = {
        "annotation_id": "a1", "object_id": "o1", "refers_to": ["a0"], "response": 2, "annotator": "ann",
        "annotated_at": when, "seconds": 1.5, "frame_end": 9, "time_start": 0.5, "time_end": 2.5, "page": 3,
        "sensor": "front", "score": 0.75, "model": "m", "rings": [point], "rotation": 0.1, "text_start": 4,
        "text_end": 8, "mask_value": "#ff0000", "status": "approved",
    }  # fmt: skip

    class Reader:
        def rows(self, answers: bytes) -> Iterator[Annotation]:
            yield Annotation("objects", "event", answers, **filled)

    [batch] = batches_of(["{}"], Reader())
    [row] = batch.to_pylist()
    assert {name: row[name] for name in filled} == filled
    assert (row["vendor"], row["task_id"], row["raw"], row["position"]) == ("sama", "0", "{}", None)


@pytest.mark.both_kinds
def test_every_format_is_a_row(spark: SparkSession, labels: DataFrame) -> None:
    columns = (
        "n int, ordinal int, output string, kind string, type string, object_id string, group_id int, frame int, "
        "label string, value string, values array<string>, x_max double, yaw double, mask_url string"
    )
    expected = spark.createDataFrame(
        [
            (1, 0, "objects", "box", "rectangle", "1", 0, None, "car", None, None, 110.0, None, None),
            (1, 1, "objects", "box", "rectangle", "2", 0, None, "car", None, None, 22.5, None, None),
            (1, 2, "objects", "box", "rectangle", "4", 1, None, "bus", None, None, 60.0, None, None),
            (1, 3, "weather", "answer", None, None, None, None, None, None, ["sun"], None, None, None),
            (2, 0, "film", "box", "rectangle", "7", 0, 0, "car", None, None, 9.0, None, None),
            (2, 1, "film", "box", "rectangle", "7", 0, 4, "car", None, None, 13.0, None, None),
            (2, 2, "film", "box", "rectangle", "7", 0, 8, "car", None, None, 17.0, None, None),
            (2, 3, "scene", "cuboid_3d", "cuboid", "1", 0, 0, "car", None, None, None, 0.5, None),
            (2, 4, "floor", "mask", "raster_coding", *[None] * 8, "https://m.invalid/1.png"),
            (2, 5, "place", "answer", *[None] * 5, "road | bridge", ["road", "bridge"], None, None, None),
            (2, 6, "notes", "answer", *[None] * 5, "a 🚗", ["a 🚗"], None, None, None),
            (2, 7, "day", "answer", *[None] * 5, "2024-03-01", ["2024-03-01"], None, None, None),
            (3, 0, "objects", "box", "rectangle", "1", 0, None, "car", None, None, 15.0, None, None),
        ],
        columns,
    )
    found = labels.selectExpr(
        "CAST(conv(task_id, 16, 10) AS INT) AS n", *expected.columns[1:-2], "direction.yaw", "mask_url"
    )
    assert_df_equality(found.orderBy("n", "ordinal"), expected, ignore_nullable=True, ignore_metadata=True)


@pytest.mark.both_kinds
def test_the_schema_and_its_comments_reach_a_table(spark: SparkSession, labels: DataFrame) -> None:
    assert labels.schema == ANNOTATIONS
    labels.write.format("delta").saveAsTable("labels_table")
    stored = spark.table("labels_table")
    assert stored.schema == ANNOTATIONS
    columns = ["vendor", "response", "unix_micros(delivered_at) AS delivered", "tags", "raw"]
    first = stored.orderBy("task_id", "ordinal").selectExpr(columns).first()
    assert first is not None
    assert (first.vendor, first.response) == ("sama", 0)
    assert first.tags == {"kind": ["car"], "colour": ["red"], "side": ["left"]}
    assert first.raw == json.dumps(TASKS[0]["objects"]["layers"]["vector_tagging"][0]["shapes"][0])
    assert first.delivered == 1709288130123000
    spark.sql("DROP TABLE labels_table").collect()


def _sorted(df: DataFrame) -> DataFrame:
    return df.withColumn("tags", F.to_json("tags")).orderBy("task_id", "ordinal")


QUESTIONS = [
    (
        "SELECT tags.colour[0], count(*) FROM labels WHERE label = 'car' AND output = 'objects' "
        "GROUP BY ALL ORDER BY 1",
        [("blue", 1), ("red", 2)],
    ),
    (
        "SELECT task_id, object_id FROM labels WHERE kind = 'box' AND least(x_max - x_min, y_max - y_min) < 20 "
        "AND output = 'objects' ORDER BY 1",
        [(f"{1:024x}", "2"), (f"{3:024x}", "1")],
    ),
    (
        "SELECT DISTINCT task_id FROM labels WHERE array_contains(tags.side, 'left') ORDER BY 1",
        [(f"{1:024x}",), (f"{3:024x}",)],
    ),
    (
        "SELECT frame, x_min, y_max FROM labels WHERE object_id = '7' ORDER BY frame",
        [(0, 0.0, 5.0), (4, 4.0, 5.0), (8, 8.0, 5.0)],
    ),
]


@pytest.mark.parametrize(("query", "answer"), QUESTIONS)
def test_an_everyday_question_is_one_query(labels: DataFrame, query: str, answer: list[Any]) -> None:
    assert [tuple(row) for row in labels.sparkSession.sql(query).collect()] == answer


def test_every_frame(delivered: DataFrame) -> None:
    film = flatten_annotations(delivered, frames="all", label={"film": "kind"}).where("output = 'film'")
    assert [(row.frame, row.key_frame, row.label) for row in film.orderBy("ordinal").collect()] == [
        (0, True, "car"),
        (4, True, "car"),
        (8, True, "car"),
    ]


@pytest.mark.both_kinds
def test_any_dataframe_with_answers(spark: SparkSession, delivered: DataFrame, labels: DataFrame) -> None:
    """As JSON text, and as a struct without the text, where the rows are the same but for `raw`."""
    expected = labels.drop("raw")
    text = delivered.selectExpr("id", "delivered_at", "answers_raw AS answers")
    struct = delivered.select("id", "delivered_at", "answers")
    for df in (text, struct):
        rows = flatten_annotations(df, label="kind").drop("raw")
        assert_df_equality(rows, expected, transforms=[_without_order])
    with having(spark, {"spark.sql.jsonGenerator.ignoreNullFields": "false"}):
        rows = flatten_annotations(struct, label="kind").drop("raw")
        assert_df_equality(rows, expected, transforms=[_without_order])
    bare = spark.createDataFrame([("1", None), ("2", '{"a": "b"}'), ("3", "no JSON")], "id string, answers string")
    rows = flatten_annotations(bare).orderBy("task_id")
    assert [(r.task_id, r.delivered_at, r.kind, r.raw) for r in rows.collect()] == [
        ("2", None, "answer", '"b"'),
        ("3", None, "unknown", "no JSON"),
    ]


def _without_order(df: DataFrame) -> DataFrame:
    """A struct has its fields in the order of the schema."""
    return _sorted(df.drop("ordinal").withColumn("ordinal", F.struct("output", "group_id", "object_id", "frame")))


@pytest.mark.both_kinds
def test_what_is_missing_is_named(spark: SparkSession) -> None:
    with pytest.raises(InvalidInput, match="neither `answers_raw` nor `answers`"):
        flatten_annotations(spark.createDataFrame([], "id string, text string"))
    with pytest.raises(InvalidInput, match="no column `id`"):
        flatten_annotations(spark.createDataFrame([], "task_id string, answers string"))
    with pytest.raises(InvalidInput, match="frames='each'"):
        flatten_annotations(spark.createDataFrame([], "id string, answers string"), frames="each")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"vendor='drawers' is not understood.*sama"):
        flatten_annotations(spark.createDataFrame([], "id string, answers string"), vendor="drawers")


numbers = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.text()
odd_shapes = st.fixed_dictionaries(
    {"type": st.sampled_from(["rectangle", "cuboid", "x"])},
    optional={
        "index": numbers,
        "points": st.lists(st.lists(numbers, max_size=3), max_size=3) | numbers,
        "tags": st.dictionaries(st.text(max_size=3), numbers | st.dictionaries(st.text(), st.sampled_from("012"))),
        "position_center": st.lists(numbers, max_size=4),
        "dimensions": st.dictionaries(st.sampled_from(["length", "width"]), numbers),
    },
)


@given(st.lists(st.none() | st.dictionaries(st.text(max_size=3), st.lists(odd_shapes, max_size=3)), max_size=4))
def test_rows_of_odd_answers_fit_their_columns(answers: list[dict[str, Any] | None]) -> None:
    """On the way through Arrow nothing may raise either, and no row may come under another task."""
    texts = [None if a is None else json.dumps(a, ensure_ascii=False) for a in answers]
    rows = [row for batch in batches_of(texts) for row in batch.to_pylist()]
    counts = [sum(map(len, (a or {}).values())) for a in answers]
    expected = [(str(task), ordinal) for task, count in enumerate(counts) for ordinal in range(count)]
    assert [(row["task_id"], row["ordinal"]) for row in rows] == expected
    assert all(row["raw"] in (texts[int(row["task_id"])] or "") for row in rows)


def test_large_tasks_become_several_batches() -> None:
    counts = [4500, 0, 1]
    batches = batches_of([json.dumps({"o": [box(1, 5, "car", "red")] * count}) for count in counts])
    assert [batch.num_rows for batch in batches] == [2000, 2000, 501]
    found = [row for batch in batches for row in batch.select(["task_id", "ordinal"]).to_pylist()]
    assert [(row["task_id"], row["ordinal"]) for row in found] == [*(("0", n) for n in range(4500)), ("2", 0)]
    assert gc.isenabled()
