"""Column functions build what Sama's documentation shows, from what models give."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from sama_spark import (
    Client,
    InvalidInput,
    InvalidRowsError,
    boxes_to_output,
    checkbox_to_output,
    menu_to_output,
    points_to_output,
    polygons_to_output,
    polylines_to_output,
    to_pre_annotations,
)
from sama_spark.api.marked_values import problem_in

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import Column, DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind


def json_of(df: DataFrame, output: Column) -> list[Any]:
    rows = df.select(F.to_json(F.struct(output.alias("o"))).alias("j")).collect()
    return [json.loads(row.j).get("o") for row in rows]


def first_of(df: DataFrame, outputs: Sequence[Column]) -> list[Any]:
    """The values of many columns in the first row: one Spark job for all."""
    row = df.select([F.to_json(F.struct(output.alias("o"))).alias(f"c{i}") for i, output in enumerate(outputs)]).first()
    assert row is not None
    return [json.loads(text).get("o") for text in row]


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


@pytest.mark.both_kinds
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


def test_box_formats_mean_the_same_box(spark: SparkSession) -> None:
    boxes: dict[Any, list[int]] = {"xyxy": [10, 20, 110, 80], "xywh": [10, 20, 100, 60], "cxcywh": [60, 50, 100, 60]}
    df = spark.createDataFrame(
        [tuple([box] for box in boxes.values())], ", ".join(f"{f} array<array<int>>" for f in boxes)
    )
    for answer in first_of(df, [boxes_to_output(box_format, box_format=box_format) for box_format in boxes]):
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


MISFITS: list[tuple[Any, list[str], str]] = [
    ([[1.0, 2.0, 3.0]], ["a"], "four numbers"),
    ([[110.0, 80.0, 10.0, 90.0]], ["a"], "top-left first"),
    ([[10.0, 80.0, 110.0, 20.0]], ["a"], "top-left first"),
    ([[1.0, 2.0, 3.0, None]], ["a"], "four numbers"),
    ([None], ["a"], "four numbers"),
    ([[1.0, 2.0, 3.0, 4.0]], ["a", "b"], "one for each"),
    ([[1.0, 2.0, 3.0, 4.0]], [], "one for each"),
]


@pytest.fixture(scope="module")
def misfits(spark: SparkSession) -> list[Any]:
    rows = [(boxes, classes) for boxes, classes, _ in MISFITS]
    df = spark.createDataFrame(rows, "boxes array<array<double>>, classes array<string>").coalesce(1)
    return json_of(df, boxes_to_output("boxes", label="classes"))


@pytest.mark.parametrize("number", range(len(MISFITS)))
def test_a_row_that_does_not_fit_says_so(misfits: list[Any], number: int) -> None:
    boxes, classes, said = MISFITS[number]
    assert list(misfits[number]) == ["problem"]
    reason, value = problem_in(misfits[number]) or ("", "")
    assert said in reason
    assert json.loads(value) in (boxes, {"shapes": boxes, "label": classes})


def test_coordinates_that_are_no_number(spark: SparkSession) -> None:
    df = spark.createDataFrame([([1.0, 2.0, float("nan"), 4.0],)], "box array<double>")
    [box, point] = json_of(
        df, F.array(boxes_to_output(F.array("box")), points_to_output(F.array(F.expr("slice(box, 2, 2)"))))
    )[0]
    assert "four numbers" in box["problem"]
    assert "two numbers" in point["problem"]


@pytest.mark.both_kinds
def test_checkbox_and_menu(spark: SparkSession) -> None:
    df = spark.createDataFrame([(["sun"], ["a", "b"]), ([], ["c"]), (None, None)], "w array<string>, m array<string>")
    options = ["rain", "sun"]
    assert json_of(df, checkbox_to_output("w", options)) == [
        {"rain": "0", "sun": "1"},
        {"rain": "0", "sun": "0"},
        None,
    ]
    assert json_of(df, menu_to_output("m")) == ["a|b", "c", None]
    [snow, *_] = json_of(df.select(F.array(F.lit("snow")).alias("w")), checkbox_to_output("w", options))
    assert "not among the options" in (problem_in(snow) or ("",))[0]
    none = (F.array(F.lit("a|b")), F.array(F.lit("a"), F.lit(None)), F.array().cast("array<string>"), F.array())
    for menu in first_of(df, [menu_to_output(levels) for levels in none]):
        assert "separator" in (problem_in(menu) or ("",))[0]
    with pytest.raises(ValueError, match="twice"):
        checkbox_to_output("w", ["rain", "rain"])


SIDES = [
    "array(map('left', '1'))",
    "map('left', '1')",
    "named_struct('left', 1)",
    "array(named_struct('left', 1))",
    "array(array('left'))",
    "unhex('ff')",
]


def test_a_tag_that_is_no_text_is_told(spark: SparkSession) -> None:
    df = spark.sql("SELECT array(array(1, 2, 3, 4)) AS boxes")
    for side, answer in zip(
        SIDES, first_of(df, [boxes_to_output("boxes", tags={"side": F.expr(side)}) for side in SIDES]), strict=True
    ):
        assert "'side' takes text" in answer["problem"], side


NUMBERS = ["1", "1L", "1Y", "1S", "1.0D", "CAST(1 AS FLOAT)", "CAST(1 AS DECIMAL(10,2))", "CAST(1 AS DECIMAL(38,18))"]


def test_every_type_of_number(spark: SparkSession) -> None:
    row = spark.sql("SELECT 1 AS one")
    boxes = [F.expr(f"array(array({number}, {number}, {number}, {number}))") for number in NUMBERS]
    for number, box in zip(NUMBERS, first_of(row, [boxes_to_output(value) for value in boxes]), strict=True):
        assert shapes_of(box)[0]["points"] == [[1, 1]] * 4, number
    lines = [F.expr(f"array(array(array({number}, {number}), array(2, 0)))") for number in NUMBERS]
    for number, line in zip(NUMBERS, first_of(row, [polylines_to_output(value) for value in lines]), strict=True):
        assert shapes_of(line)[0]["points"] == [[1, 1], [2, 0]], number


WRONG = {
    "'[[1, 2, 3, 4]]'": "string",
    "array(named_struct('x1', 1, 'y1', 2))": "array<struct<x1:int,y1:int>>",
    "named_struct('x1', 1)": "struct<x1:int>",
    "array('1', '2')": "array<string>",
    "array(array('1', '2', '3', '9'))": "array<array<string>>",
    "array(1, 2, 3, 4)": "array<int>",
    "array(array(array(array(1))))": "array<array<array<array<int>>>>",
    "map('a', array(1))": "map<string,array<int>>",
    "5": "int",
    "true": "boolean",
    "unhex('ff')": "binary",
    "DATE'2024-01-01'": "date",
    "array(DATE'2024-01-01')": "array<date>",
    "INTERVAL 1 DAY": "interval day",
}
HELPERS: dict[str, Callable[[Column], Column]] = {
    "boxes": boxes_to_output,
    "polygons": polygons_to_output,
    "polylines": polylines_to_output,
    "points": points_to_output,
    "levels": menu_to_output,
    "chosen": lambda column: checkbox_to_output(column, ["a"]),
}


def test_a_column_of_another_type_is_told_in_a_sentence(spark: SparkSession) -> None:
    """Every helper with every wrong type resolves, and tells the type, what is wanted and the way out."""
    wrong = {**WRONG, "array(array(array(1)))": "array<array<array<int>>>", "array(array(1))": "array<array<int>>"}
    takes = {"array<array<int>>": ("boxes", "points"), "array<array<array<int>>>": ("polygons", "polylines")}
    columns = [
        F.to_json(F.struct(make(F.expr(sql)).alias("o"))).alias(f"{argument} {data_type}")
        for sql, data_type in wrong.items()
        for argument, make in HELPERS.items()
        if argument not in takes.get(data_type, ())
        and not (argument in ("levels", "chosen") and data_type == "array<string>")
    ]
    row = spark.sql("SELECT 1 AS one").select(*columns).first()
    assert row is not None
    for name, text in row.asDict().items():
        argument, _, data_type = name.partition(" ")
        reason, value = problem_in(json.loads(text)["o"]) or ("", "")
        assert f"{argument} is a column of type {data_type}, and array<" in reason, name
        assert "from_json(" in reason
        assert value


@pytest.mark.both_kinds
def test_nulls_of_any_type_are_no_pre_annotation(spark: SparkSession) -> None:
    row = spark.sql("SELECT 1 AS one")
    nulls = ("NULL", "CAST(NULL AS STRING)", "CAST(NULL AS ARRAY<INT>)")
    assert set(first_of(row, [make(F.expr(null)) for null in nulls for make in HELPERS.values()])) == {None}
    assert json_of(row, boxes_to_output(F.array())) == [{"layers": {"vector_tagging": []}}]


@pytest.mark.parametrize("box_format", ["xyxy", "xywh", "cxcywh"])
def test_a_scale(spark: SparkSession, box_format: Any) -> None:
    box = {"xyxy": [0.1, 0.2, 0.5, 0.6], "xywh": [0.1, 0.2, 0.4, 0.4], "cxcywh": [0.3, 0.4, 0.4, 0.4]}[box_format]
    df = spark.createDataFrame([([box], 1000, 500)], "boxes array<array<double>>, width int, height int")
    scales: list[Any] = [("width", "height"), (1000, 500.0), (F.col("width"), 500)]
    line = polylines_to_output(F.expr("array(array(array(0.1, 0.2), array(1, 1)))"), scale=(100, 10))
    point = points_to_output(F.expr("array(array(0.1, 0.2))"), scale=(100, 10))
    boxes = [boxes_to_output("boxes", box_format=box_format, scale=scale) for scale in scales]
    *answers, lines, points = first_of(df, [*boxes, line, point])
    for answer in answers:
        corners = [[100, 100], [500, 100], [100, 300], [500, 300]]
        assert shapes_of(answer)[0]["points"] == [pytest.approx(corner) for corner in corners]
    assert shapes_of(lines)[0]["points"] == [[10, 2], [100, 10]]
    assert shapes_of(points)[0]["points"] == [[10, 2]]


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


@pytest.mark.both_kinds
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


# --- rows that are no pre-annotation, on their way out

TRIANGLE = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    outputs = {"objects": "image", "weather": {"type": "checkbox", "options": ["rain", "sun"]}, "place": "menu"}
    return sandbox.create_project({"url": "string"}, outputs)


@pytest.fixture
def bad(spark: SparkSession) -> DataFrame:
    """One good row, and for each kind of helper one that is none."""
    rows = [
        ("good", [TRIANGLE], ["sun"], ["a"]),
        ("shapes", [TRIANGLE[:2]], ["sun"], ["a"]),
        ("box", [TRIANGLE], ["https://x.org/a?sig=s1gn4ture"], ["a"]),
        ("menu", [TRIANGLE], None, ["a|b"]),
    ]
    columns = "url string, p array<array<array<double>>>, w array<string>, m array<string>"
    return spark.createDataFrame(rows, columns).select(
        "url",
        polygons_to_output("p").alias("output_objects"),
        checkbox_to_output("w", ["rain", "sun"]).alias("output_weather"),
        menu_to_output("m").alias("output_place"),
    )


COLUMN_OF = {"shapes": "output_objects", "box": "output_weather", "menu": "output_place"}


@pytest.mark.parametrize(
    ("saved", "contract"), [("as it is", "strict"), ("in a table", "off"), ("as JSON text", "strict")]
)
def test_bad_rows_go_the_way_of_all(
    saved: str, contract: Any, bad: DataFrame, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    if saved == "in a table":
        bad.write.format("delta").save(f"{tmp_path}/saved")
        bad = bad.sparkSession.read.format("delta").load(f"{tmp_path}/saved")
    elif saved == "as JSON text":
        texts = [F.to_json(name).alias(name) for name in ("output_objects", "output_weather")]
        bad = bad.select("url", *texts, "output_place")
    options: dict[str, Any] = {"contract": contract, "row_key": "url"}

    dry = client.create_task_batch_from_table(bad, project, dry_run=True, **options)
    assert (dry.task_count, dry.invalid_rows) == (1, 3)
    with pytest.raises(InvalidRowsError) as raised:
        client.create_task_batch_from_table(bad, project, **options)
    for text in (repr(dry), str(raised.value), repr(dry.invalid), *raised.value.rows):
        assert "s1gn4ture" not in text
    assert "each polygon needs three or more [x, y]: [[[0" in str(raised.value)
    assert sandbox.tasks(project) == []

    table = f"{tmp_path}/rejected"
    result = client.create_task_batch_from_table(bad, project, on_invalid="reject", rejected_table=table, **options)
    assert [task["data"]["url"] for task in sandbox.tasks(project)] == ["good"]
    for frame in (result.rejected, bad.sparkSession.read.format("delta").load(table)):
        found = {json.loads(row.row_key)["url"]: row for row in frame.collect()}
        assert {url: row.column for url, row in found.items()} == COLUMN_OF
        assert all(row.reason.startswith("is no pre-annotation: ") and row.value for row in found.values())


def test_a_wrong_type_in_a_run(spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    tasks = spark.sql("SELECT 'u' AS url, '[[1, 2, 3, 4]]' AS boxes")
    tasks = tasks.select("url", boxes_to_output("boxes").alias("output_objects"))
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    with pytest.raises(
        InvalidRowsError, match="'output_objects' is no pre-annotation: boxes is a column of type string"
    ):
        client.create_task_batch_from_table(tasks, project)


@pytest.mark.both_kinds
def test_records_of_bad_rows(bad: DataFrame, sandbox: Sandbox, project: int) -> None:
    """Rows that were collected first are refused too."""
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    for row in bad.where("url != 'good'").collect():
        with pytest.raises(InvalidRowsError, match=f"{COLUMN_OF[row.url]}.*is no pre-annotation") as raised:
            client.create_task_batch(project, [row.asDict(recursive=True)])
        assert "s1gn4ture" not in str(raised.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: boxes_to_output(None),  # type: ignore[arg-type]
        lambda: boxes_to_output(""),
        lambda: boxes_to_output(5),  # type: ignore[arg-type]
        lambda: boxes_to_output("b", label=5),  # type: ignore[arg-type]
        lambda: boxes_to_output("b", box_format=["xyxy"]),  # type: ignore[arg-type]
        lambda: boxes_to_output("b", tags=["camera"]),  # type: ignore[arg-type]
        lambda: boxes_to_output("b", tags={"camera": 5}),  # type: ignore[dict-item]
        lambda: boxes_to_output("b", "l", label_tag=None),  # type: ignore[arg-type]
        lambda: boxes_to_output("b", scale=5),  # type: ignore[arg-type]
        lambda: boxes_to_output("b", scale=("w", None)),  # type: ignore[arg-type]
        lambda: checkbox_to_output("w", "rain"),
        lambda: checkbox_to_output("w", []),
        lambda: checkbox_to_output("w", ["rain", None]),  # type: ignore[list-item]
        lambda: checkbox_to_output("w", 5),  # type: ignore[arg-type]
        lambda: menu_to_output(["m"]),  # type: ignore[arg-type]
    ],
)
def test_arguments_that_are_none(spark: SparkSession, call: Callable[[], Column]) -> None:
    with pytest.raises(InvalidInput):
        call()


def test_a_dry_run_tells_shapes_within_one_pixel(spark: SparkSession, sandbox: Sandbox, project: int) -> None:
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    fractions: dict[Any, str] = {boxes_to_output: "array(0.3, 0.4, 0.6, 0.8)", points_to_output: "array(0.1, 0.9)"}
    fractions[polylines_to_output] = "array(array(0.1, 0), array(1, 1.002))"
    fractions[polygons_to_output] = "array(array(0, 0), array(1, 1), array(0, 1))"
    for make, shape in fractions.items():
        rows = spark.sql(f"SELECT 'u' AS url, array({shape}) AS s, 640 AS width, 480L AS height")
        for scale, count in ((None, 1), (("width", "height"), 0)):
            tasks = rows.select("url", make("s", scale=scale).alias("output_objects"))
            dry = client.create_task_batch_from_table(tasks, project, dry_run=True)
            assert (dry.task_count, dry.invalid_rows, len(dry.warnings)) == (1, 0, count)
            assert ("'output_objects' lie within one pixel" in repr(dry)) == bool(count)
    plain = client.create_task_batch_from_table(spark.sql("SELECT 'u' AS url"), project, dry_run=True)
    assert plain.warnings == ()


@pytest.mark.both_kinds
def test_a_stream_gets_the_ways_out(spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path) -> None:
    """And what takes streams goes on to take them."""
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    stream = spark.readStream.format("rate").load().selectExpr("CAST(value AS STRING) AS url")
    for arguments in ((stream, project), (project, stream)):
        with pytest.raises(InvalidInput, match=r"MicroBatches\("):
            client.create_task_batch_from_table(*arguments)
    with pytest.raises(InvalidInput, match="stream"):
        client.purge(spark, outbox=f"{tmp_path}/o", rows=stream)
    delivered = stream.selectExpr("url AS id", "'{}' AS data_raw", "'{}' AS answers_raw")
    with pytest.raises(InvalidInput, match=r"stream.*`inputs` and `outputs`"):
        to_pre_annotations(delivered)
    assert to_pre_annotations(delivered, inputs=["url"], outputs=["o"]).isStreaming
    assert set(sandbox.calls()) == set()
