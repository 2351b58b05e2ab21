"""`show_annotations`: draws annotations over their images in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.arguments import check_whole, check_yes_no
from sama_spark.errors import InvalidInput
from sama_spark.pictures import check_rows
from sama_spark.sessions import check_dataframe

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pyspark.sql import Column, DataFrame, SparkSession

    from sama_spark.pictures.images import ImageSource
    from sama_spark.pictures.sheet import Scene

Key = tuple[str, "int | None"]  # task and frame

_USED = (
    "task_id", "ordinal", "frame", "output", "kind", "type", "label", "visible", "points",
    "value", "values", "mask_url", "mask_path",
)  # fmt: skip
_LOOKED_AT, _MOST_ROWS = 10_000, 20_000
_IN_FLIGHT = 8


def show_annotations(df: DataFrame, images: DataFrame | str | None = None, *, n: int = 9, zoom: bool = False) -> Figure:
    """Draw shapes with their labels over the images: a panel for each task, and in a video for each frame.

    A label has the same colour in all pictures of a session; a shape without a label has the colour of its output. The
    text under an image lists the answers about the whole scene, and what is not drawn, with the reason.

    Args:
        df: rows of the table `annotations`, of `labels_current`, or of `flatten_annotations(...)`. Sort and filter `df`
            to choose: the first tasks in its order are drawn, with the shapes that `df` has.
        images: the images. A DataFrame with the task's id (`task_id` or `id`), one other column, and for videos
            `frame`; or the name of a column of `df`. That column holds the images themselves (binary), paths
            (`/Volumes/...`), http(s) URLs, or other addresses that Spark reads (`s3://...`). The driver reads them and
            sends no key. By default, and for an image that cannot be read, shapes are drawn on a blank canvas.
        n: most panels, 9 by default.
        zoom: show only the part of the image that has shapes, for small shapes; by default the whole image.

    Returns:
        A matplotlib `Figure`, which a notebook shows, as does `display(...)`. At most 20,000 rows are collected.

    Raises:
        InvalidInput: `df` is a stream, `df` or `images` lacks a column, `images` has too many, or `n` is below 1.
        ModuleNotFoundError: matplotlib is not installed.
    """
    check_rows(
        df, _USED, "give all columns of `annotations` or `labels_current`; of deliveries, flatten_annotations(df)"
    )
    from sama_spark.pictures.sheet import draw_sheet

    check_whole(n, "n", 1)
    check_yes_no(zoom, "zoom")
    if images is not None and not isinstance(images, str):
        check_dataframe(images, "images")
    places = _Images(df, images)
    keys = _first(df.select("task_id", "frame").limit(_LOOKED_AT).collect(), n)
    if not keys:
        raise InvalidInput("the DataFrame has no row: there is nothing to draw", remedy="look at its filters")
    chosen = df.where(_is_one_of(keys, "task_id"))
    rows = [row.asDict() for row in chosen.select(*_USED).limit(_MOST_ROWS).collect()]
    found = places.of(keys)
    with ThreadPoolExecutor(_IN_FLIGHT, "sama-pictures") as pool:
        scenes = list(pool.map(lambda key: _scene(df.sparkSession, key, rows, found, zoom), keys))
    is_cut = len(rows) == _MOST_ROWS
    return draw_sheet(scenes, f"The first {_MOST_ROWS:,} annotations of these tasks" if is_cut else "")


class _Images:
    """The images of tasks, in a column of `images` or of `df`."""

    def __init__(self, df: DataFrame, images: DataFrame | str | None) -> None:
        if images is None or isinstance(images, str):
            self._df, self._key, self._column = df, "task_id", images
            if images is not None and images not in df.columns:
                raise InvalidInput(
                    f"the DataFrame has no column {images!r} with images: {df.columns}",
                    remedy="name one that it has, or give a DataFrame with the columns task_id and path",
                )
        else:
            self._df, (self._key, self._column) = images, _columns(images)
        if self._column is not None and not isinstance(
            self._df.schema[self._column].dataType, (T.StringType, T.BinaryType)
        ):
            raise InvalidInput(
                f"the images in {self._column!r} are {self._df.schema[self._column].dataType.simpleString()}",
                remedy="give their bytes (binary), or their paths or URLs (string)",
            )

    def of(self, keys: Sequence[Key]) -> dict[Key, ImageSource] | None:
        """Return the image (bytes, path or link) of each task and frame; None where the caller gave no images."""
        if self._column is None:
            return None
        frame: Column = F.col("frame").cast("int") if "frame" in self._df.columns else F.lit(None).cast("int")
        found = self._df.where(_is_one_of(keys, self._key)).where(F.col(self._column).isNotNull())
        found = found.select(
            F.col(self._key).alias("task_id"), frame.alias("frame"), F.col(self._column).alias("place")
        )
        return {(row.task_id, row.frame): row.place for row in found.dropDuplicates(["task_id", "frame"]).collect()}


def _columns(images: DataFrame) -> tuple[str, str]:
    keys = [name for name in ("task_id", "id") if name in images.columns]
    others = [name for name in images.columns if name not in ("task_id", "id", "frame")]
    if not keys or len(others) != 1:
        raise InvalidInput(
            f"images has the columns {images.columns}; one is due with ids of tasks, and one with images",
            remedy='select them, such as images.select("task_id", "path")',
        )
    return keys[0], others[0]


def _first(rows: Iterable[Any], n: int) -> list[Key]:
    """Return the first `n` tasks with their frames, in the order of the rows; frame None for a task without frames."""
    frames: dict[str, dict[int | None, None]] = {}
    for task_id, frame in rows:
        frames.setdefault(task_id, {})[frame] = None
    keys = [(task, frame) for task, seen in frames.items() for frame in seen if frame is not None or len(seen) == 1]
    return keys[:n]


def _is_one_of(keys: Sequence[Key], column: str) -> Column:
    return F.col(column).isin(sorted({task for task, _ in keys}))


def _scene(
    spark: SparkSession, key: Key, rows: list[dict[str, Any]], places: dict[Key, ImageSource] | None, zoom: bool
) -> Scene:
    from sama_spark.pictures.images import UnreadableImage, read_image, read_mask
    from sama_spark.pictures.sheet import Scene, around

    task, frame = key
    of_task = [row for row in rows if row["task_id"] == task and row["frame"] in (frame, None)]
    of_task.sort(key=lambda row: row["ordinal"] or 0)
    scene = Scene(task if frame is None else f"{task}, frame {frame}", of_task)
    if places is not None:
        try:
            place = places.get(key) or places.get((task, None))
            scene.image = read_image(spark, place, around(of_task) if zoom else None)
        except UnreadableImage as error:
            scene.missing = str(error)
    for row in of_task:
        if row["kind"] == "mask":
            try:
                scene.masks.append((row, read_mask(spark, row["mask_path"] or row["mask_url"])))
            except UnreadableImage as error:
                scene.lost.append(f"mask {row['output']} not drawn: {error}")
    return scene
