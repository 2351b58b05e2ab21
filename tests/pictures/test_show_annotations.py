"""`show_annotations` and the charts, from tables on Spark."""

from __future__ import annotations

import json
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("pyspark")
pytest.importorskip("matplotlib")

from PIL import Image

import sama_spark.pictures
from sama_spark import flatten_annotations, show_annotations, show_label_counts, show_progress
from sama_spark.errors import InvalidInput
from sama_spark.pictures.images import UnreadableImage, _reason, read_image

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.one_kind


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.axison]


def captions(figure: Figure) -> list[str]:
    return [axes.get_xlabel() for axes in figure.axes if axes.axison]


def deliveries(spark: SparkSession) -> DataFrame:
    """Four images with a box each, and a video with an object at three times."""
    corners = [[10, 10], [60, 10], [10, 40], [60, 40]]
    still = {
        "things": {
            "layers": {
                "vector_tagging": [{"shapes": [{"type": "rectangle", "points": corners, "tags": {"kind": "car"}}]}]
            }
        },
        "weather": "sun",
    }
    keys = [{"frame_number": n, "visibility": 1, "points": corners} for n in (0, 5, 9)]
    video = {
        "things": [{"shapes": [{"type": "rectangle", "key_locations": keys, "tags": {"kind": "bus"}}]}],
        "weather": "rain",
    }
    rows = [(f"task {n}", json.dumps(still)) for n in range(4)] + [("video", json.dumps(video))]
    return spark.createDataFrame(rows, "id string, answers_raw string").coalesce(1)


@pytest.mark.both_kinds
def test_tasks_are_drawn_over_their_images(spark: SparkSession, tmp_path: Path) -> None:
    content = BytesIO()
    Image.new("RGB", (80, 50)).save(content, "PNG")
    path = tmp_path / "1.png"
    path.write_bytes(content.getvalue())
    df = flatten_annotations(deliveries(spark), label="kind")
    stills = df.where("task_id <> 'video'")

    places = [("task 0", str(path)), ("task 1", str(tmp_path / "none.png")), ("task 2", path.as_uri()), ("other", "x")]
    figure = show_annotations(stills, spark.createDataFrame(places, "task_id string, path string"))
    assert titles(figure) == ["task 0", "task 1", "task 2", "task 3"]
    assert captions(figure) == [
        "weather: sun",
        "weather: sun\n(no image: no such file or directory; drawn on a blank canvas)",
        "weather: sun",
        "weather: sun\n(no image: none is given; drawn on a blank canvas)",
    ]
    assert [len(axes.get_images()) for axes in figure.axes] == [1, 0, 1, 0]
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]

    # In the order of the rows, of a column of the same DataFrame, and no more than asked for.
    last = stills.selectExpr("*", f"unhex('{content.getvalue().hex()}') AS png").orderBy("task_id", ascending=False)
    figure = show_annotations(last, "png", n=2)
    assert titles(figure) == ["task 3", "task 2"]
    assert [len(axes.get_images()) for axes in figure.axes] == [1, 1]


@pytest.mark.both_kinds
def test_so_many_rows_are_collected_and_no_more(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sama_spark.pictures.show._MOST_ROWS", 3)
    figure = show_annotations(flatten_annotations(deliveries(spark), label="kind"))
    assert figure.get_suptitle() == "The first 3 annotations of these tasks"
    assert sum(len(axes.patches) for axes in figure.axes) < 3


def test_a_video_has_a_panel_for_each_frame(spark: SparkSession) -> None:
    content = BytesIO()
    Image.new("RGB", (80, 50)).save(content, "PNG")
    df = flatten_annotations(deliveries(spark).where("id = 'video'"), label="kind")
    frames = spark.createDataFrame([("video", 5, content.getvalue())], "id string, frame int, png binary")
    figure = show_annotations(df, frames)
    assert titles(figure) == ["video, frame 0", "video, frame 5", "video, frame 9"]
    assert [len(axes.get_images()) for axes in figure.axes if axes.axison] == [0, 1, 0]
    assert all(caption.startswith("weather: rain") for caption in captions(figure))


@pytest.mark.both_kinds
def test_charts_count_in_spark(spark: SparkSession) -> None:
    rows = [(date(2026, 1, day), state, 10 * day) for day in (1, 2) for state in ("delivered", "odd")]
    figure = show_progress(spark.createDataFrame(rows, "day date, state string, tasks bigint"))
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["odd (20)", "delivered (20)"]

    df = flatten_annotations(deliveries(spark), label="kind")
    for counted in (
        df,
        df.groupBy("output", "kind", "label").agg({"*": "count"}).toDF("output", "kind", "label", "annotations"),
    ):
        [axes] = show_label_counts(counted).axes
        assert [label.get_text() for label in axes.get_yticklabels()] == ["car", "bus"]
        assert [bar.get_width() for bar in axes.patches] == [4, 3]  # type: ignore[attr-defined]


@pytest.mark.both_kinds
def test_wrong_tables_are_refused_with_the_remedy(spark: SparkSession) -> None:
    delivered = deliveries(spark)
    df = flatten_annotations(delivered)
    with pytest.raises(InvalidInput, match=r"flatten_annotations\(df\)"):
        show_annotations(delivered)
    with pytest.raises(InvalidInput, match="has no row"):
        show_annotations(df.where("false"))
    with pytest.raises(InvalidInput, match="no column 'path' with images"):
        show_annotations(df, "path")
    with pytest.raises(InvalidInput, match=r'images.select\("task_id", "path"\)'):
        show_annotations(df, spark.sql("SELECT 'a' AS task_id, 'b' AS path, 'c' AS url"))
    with pytest.raises(InvalidInput, match="'size' are int"):
        show_annotations(df, spark.sql("SELECT 'a' AS task_id, 1 AS size"))
    with pytest.raises(InvalidInput, match="n is 0"):
        show_annotations(df, n=0)
    with pytest.raises(InvalidInput, match="progress_by_day"):
        show_progress(df)
    with pytest.raises(InvalidInput, match="labels_current"):
        show_label_counts(delivered)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        *(
            (f"{scheme}://c@a.invalid/s3cret.png", f"Spark has nothing here that reads {scheme}: addresses")
            for scheme in ("s3", "s3a", "abfss", "wasbs", "gs", "odd")
        ),
        # The session on Connect has no DBFS, as serverless compute.
        pytest.param(
            "dbfs:/s3cret.png", "Spark has nothing here that reads dbfs: addresses", marks=pytest.mark.one_kind
        ),
        ("data:image/png;base64,s3cret", "its address cannot be read"),
        ("hdfs://nowhere.invalid:1/s3cret", "Spark cannot reach the storage of hdfs: addresses"),
        ("dbfs:/Volumes/a/b/c/s3cret.png", "no such file or directory"),
    ],
)
def test_why_spark_cannot_read_an_image_is_said_in_words(spark: SparkSession, place: str, reason: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        read_image(spark, place)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("[PATH_NOT_FOUND] Path does not exist: s3://b/s3cret.", "there is no such file"),
        ("java.io.FileNotFoundException: No such file: s3://b/s3cret", "there is no such file"),
        ("Access Denied (Service: Amazon S3; Status Code: 403)", "Spark may not read s3: there: see that it has"),
        ("No AWS Credentials provided by s3cret", "Spark may not read s3: there"),
        ("[INSUFFICIENT_PERMISSIONS] User lacks READ FILES: PERMISSION_DENIED", "Spark may not read s3: there"),
        ("java.net.UnknownHostException: s3cret", "Spark cannot reach the storage of s3: addresses"),
        ("\n\nodd thing at s3://b/s3cret?a=b today\nmore", "Spark cannot read it: odd thing at ... today"),
        ("", "Spark cannot read it: for no reason that it names"),
    ],
)
def test_what_spark_says_in_words(said: str, reason: str) -> None:
    assert _reason("s3", said).startswith(reason)
    assert "s3cret" not in _reason("s3", said)


def test_without_matplotlib_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sama_spark.pictures, "find_spec", {}.get)
    for show in (show_annotations, show_progress, show_label_counts):
        with pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
            show(None)  # type: ignore[arg-type]
