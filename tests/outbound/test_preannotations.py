"""Column functions build what Sama's documentation shows, from what models give."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from sama_spark import (
    Client,
    boxes_to_output,
    checkbox_to_output,
    menu_to_output,
    points_to_output,
    polygons_to_output,
    polylines_to_output,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox


def json_of(df: DataFrame, output: Column) -> list[Any]:
    rows = df.select(F.to_json(F.struct(output.alias("o"))).alias("j")).collect()
    return [json.loads(row.j).get("o") for row in rows]


def shapes_of(answer: Any) -> list[dict[str, Any]]:
    return [shape for group in answer["layers"]["vector_tagging"] for shape in group["shapes"]]


@pytest.fixture
def detections(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(
        [
            ([[10.0, 20.0, 110.0, 80.0], [1.0, 2.0, 3.0, 5.5]], ["car", None], "cam"),
            ([], [], "cam"),
            (None, None, "cam"),
        ],
        "boxes array<array<double>>, classes array<string>, camera string",
    )


def test_boxes(detections: DataFrame) -> None:
    output = boxes_to_output("boxes", label="classes", tags={"camera": F.col("camera"), "source": F.lit("model")})
    first, empty, missing = json_of(detections, output)
    assert first == {
        "layers": {
            "vector_tagging": [
                {
                    "shapes": [
                        {
                            "type": "rectangle",
                            "index": 1,
                            "points": [[10, 20], [110, 20], [10, 80], [110, 80]],
                            "tags": {"label": "car", "camera": "cam", "source": "model"},
                        }
                    ]
                },
                {
                    "shapes": [
                        {
                            "type": "rectangle",
                            "index": 2,
                            "points": [[1, 2], [3, 2], [1, 5.5], [3, 5.5]],
                            "tags": {"camera": "cam", "source": "model"},
                        }
                    ]
                },
            ]
        }
    }
    assert empty == {"layers": {"vector_tagging": []}}
    assert missing is None


@pytest.mark.parametrize(
    ("box_format", "box"),
    [
        ("xyxy", [10, 20, 110, 80]),
        ("xywh", [10, 20, 100, 60]),
        ("cxcywh", [60, 50, 100, 60]),
    ],
)
def test_box_formats_mean_the_same_box(spark: SparkSession, box_format: Any, box: list[int]) -> None:
    df = spark.createDataFrame([([box],)], "boxes array<array<int>>")
    [answer] = json_of(df, boxes_to_output("boxes", box_format=box_format))
    assert shapes_of(answer)[0]["points"] == [[10, 20], [110, 20], [10, 80], [110, 80]]


def test_float32_keeps_its_shortest_text(spark: SparkSession) -> None:
    df = spark.createDataFrame([([[0.1, 0.2, 0.3, 0.4]],)], "boxes array<array<float>>")
    [answer] = json_of(df, boxes_to_output("boxes"))
    assert shapes_of(answer)[0]["points"][0] == [0.1, 0.2]
    assert shapes_of(answer)[0]["tags"] == {}


def test_unknown_box_format_names_the_three() -> None:
    with pytest.raises(ValueError, match="xyxy, xywh, cxcywh"):
        boxes_to_output("boxes", box_format="yxyx")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "function", "kind", "points"),
    [
        ([[[0, 0], [4, 0], [4, 4]]], polygons_to_output, "polygon", [[0, 0], [4, 0], [4, 4]]),
        ([[[0, 0], [4, 0]]], polylines_to_output, "line", [[0, 0], [4, 0]]),
        ([[3, 4]], points_to_output, "point", [[3, 4]]),
    ],
)
def test_kin(spark: SparkSession, value: Any, function: Any, kind: str, points: Any) -> None:
    depth = "array<array<double>>" if kind == "point" else "array<array<array<double>>>"
    df = spark.createDataFrame([(json.dumps(value),)], "j string").select(F.from_json("j", depth).alias("s"))
    [answer] = json_of(df, function("s", label=F.lit("thing")))
    assert shapes_of(answer) == [{"type": kind, "index": 1, "points": points, "tags": {"label": "thing"}}]


@pytest.mark.parametrize(
    ("boxes", "classes", "said"),
    [
        ([[1.0, 2.0, 3.0]], ["a"], "four numbers"),
        ([[110.0, 80.0, 10.0, 90.0]], ["a"], "top-left first"),
        ([[10.0, 80.0, 110.0, 20.0]], ["a"], "top-left first"),
        ([[1.0, 2.0, 3.0, None]], ["a"], "four numbers"),
        ([None], ["a"], "four numbers"),
        ([[1.0, 2.0, 3.0, 4.0]], ["a", "b"], "one for each"),
        ([[1.0, 2.0, 3.0, 4.0]], [], "one for each"),
    ],
)
def test_a_row_that_does_not_fit_ends_with_an_error_that_shows_it(
    spark: SparkSession, boxes: Any, classes: Any, said: str
) -> None:
    df = spark.createDataFrame([(boxes, classes)], "boxes array<array<double>>, classes array<string>")
    with pytest.raises(Exception, match=said):
        json_of(df, boxes_to_output("boxes", label="classes"))


def test_checkbox_and_menu(spark: SparkSession) -> None:
    df = spark.createDataFrame([(["sun"], ["a", "b"]), ([], ["c"]), (None, None)], "w array<string>, m array<string>")
    options = ["rain", "sun"]
    assert json_of(df, checkbox_to_output("w", options)) == [
        {"rain": "0", "sun": "1"},
        {"rain": "0", "sun": "0"},
        None,
    ]
    assert json_of(df, menu_to_output("m")) == ["a|b", "c", None]
    with pytest.raises(Exception, match="snow"):
        json_of(df.select(F.array(F.lit("snow")).alias("w")), checkbox_to_output("w", options))
    for levels in (F.array(F.lit("a|b")), F.array(F.lit("a"), F.lit(None)), F.array().cast("array<string>")):
        with pytest.raises(Exception, match="separator"):
            json_of(df.select(levels.alias("m")), menu_to_output("m"))
    with pytest.raises(ValueError, match="twice"):
        checkbox_to_output("w", ["rain", "rain"])


@pytest.mark.parametrize(
    "side", ["array(map('left', '1'))", "map('left', '1')", "named_struct('left', 1)", "array(array('left'))"]
)
def test_a_tag_that_is_no_text_is_refused(spark: SparkSession, side: str) -> None:
    df = spark.sql(f"SELECT array(array(1, 2, 3, 4)) AS boxes, {side} AS side")
    with pytest.raises(Exception, match="'side' takes text"):
        json_of(df, boxes_to_output("boxes", tags={"side": "side"}))


def test_coordinates_that_are_text_are_refused(spark: SparkSession) -> None:
    df = spark.sql("SELECT array(array('1', '2', '3', '9')) AS boxes")
    with pytest.raises(Exception, match="numbers, not text"):
        json_of(df, boxes_to_output("boxes"))


def test_a_tag_that_is_given_twice_is_refused(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match="name another label_tag"):
        boxes_to_output("boxes", label="classes", tags={"label": "other"})


number = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6)
rows = st.lists(
    st.lists(st.tuples(st.lists(number, min_size=4, max_size=4), st.none() | st.text(max_size=5)), max_size=4),
    min_size=1,
    max_size=60,
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_rows=rows)
def test_every_box_keeps_its_corners_and_label(spark: SparkSession, given_rows: Any) -> None:
    data = [
        (
            i,
            [[float(n) for n in (*map(min, box[:2], box[2:]), *map(max, box[:2], box[2:]))] for box, _ in boxes],
            [label for _, label in boxes],
        )
        for i, boxes in enumerate(given_rows)
    ]
    df = spark.createDataFrame(data, "i int, boxes array<array<double>>, classes array<string>").orderBy("i")
    for (_, boxes, classes), answer in zip(data, json_of(df, boxes_to_output("boxes", label="classes")), strict=True):
        found = shapes_of(answer)
        assert [shape["index"] for shape in found] == list(range(1, len(boxes) + 1))
        for (x1, y1, x2, y2), label, shape in zip(boxes, classes, found, strict=True):
            left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
            assert shape["points"] == [[left, top], [right, top], [left, bottom], [right, bottom]]
            assert shape["tags"] == ({} if label is None else {"label": label})


def test_sama_takes_them_all(spark: SparkSession, sandbox: Sandbox, detections: DataFrame) -> None:
    project = sandbox.create_project(
        inputs={"camera": "string"},
        outputs={"objects": "image", "weather": {"type": "checkbox", "options": ["rain", "sun"]}, "place": "menu"},
    )
    df = detections.select(
        "camera",
        boxes_to_output("boxes", label="classes").alias("output_objects"),
        checkbox_to_output(F.array(F.lit("sun")), ["rain", "sun"]).alias("output_weather"),
        menu_to_output(F.array(F.lit("city"), F.lit("street"))).alias("output_place"),
    )
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    result = client.create_task_batch_from_table(df, str(project))
    job = client.wait_for_batch(project, result["batch_id"])
    assert (job.state, job.created_count) == ("completed", 3)
