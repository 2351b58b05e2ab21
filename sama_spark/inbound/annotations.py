"""Deliveries as one table of annotations, with the same columns for every project and vendor."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact
from sama_spark.arguments import check_one_of
from sama_spark.driver_rows import arrow_type, local_rows
from sama_spark.errors import InvalidInput
from sama_spark.sessions import check_dataframe
from sama_spark.vendors import READERS
from sama_spark.vendors.seam import Annotation, AnnotationReader, Frames, Label

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

_ROWS_AT_A_TIME = 2_000  # larger batches do not fit the processor's cache and are a tenth slower

_TEXT, _INT, _NUMBER, _YES_NO = T.StringType(), T.IntegerType(), T.DoubleType(), T.BooleanType()
_TIME, _TEXTS, _POINTS = T.TimestampType(), T.ArrayType(_TEXT), T.ArrayType(T.ArrayType(_NUMBER))


def _numbers(*names: str) -> T.StructType:
    return T.StructType([T.StructField(name, _NUMBER) for name in names])


# A new column needs its line in `_COLUMNS` (a new type also one in `arrow_type`), a field of the same name in
# `vendors.seam.Annotation`, a reader that fills it, such as `vendors.sama.reader`, a new `_LAYOUT` in
# `inbound.sync.tables`, and a row in `docs/tables.md`.
# These columns come from the task, and so need no field.
_OF_TASK: tuple[tuple[str, T.DataType, str], ...] = (
    ("vendor", _TEXT, "System in which the annotation was made, such as sama; the key is (vendor, task_id, ordinal)"),
    ("task_id", _TEXT, "Id of the task"),
    ("delivered_at", _TIME, "When the task was delivered"),
)
_COLUMNS: tuple[tuple[str, T.DataType, str], ...] = (
    *_OF_TASK,
    ("output", _TEXT, "Name of the output; null where answers were no JSON object"),
    ("ordinal", _INT, "Place among the rows of the task, from 0"),
    (
        "kind",
        _TEXT,
        "box, polygon, polyline, point, keypoints, ellipse, cuboid, cuboid_3d, polyline_3d, mask, span, relation, "
        "event, answer (about the whole task) or unknown",
    ),
    ("type", _TEXT, "The vendor's word for the kind, such as slider_rectangle; null for answers"),
    ("annotation_id", _TEXT, "The vendor's id of this annotation"),
    (
        "object_id",
        _TEXT,
        "Id of the object, the same over the frames of a video; of Sama the shape's index in its output",
    ),
    ("refers_to", _TEXTS, "Ids of the annotations that a relation connects, or of the parent of this one"),
    ("group_id", _INT, "Place of the shape's group in its output, from 0"),
    ("group_type", _TEXT, "Type of the shape's group"),
    ("response", _INT, "Which answer this is where several people answered the same task, from 0"),
    ("annotator", _TEXT, "Who made the annotation"),
    ("annotated_at", _TIME, "When the annotation was made"),
    ("seconds", _NUMBER, "How long the annotator took for the task, in seconds"),
    ("frame", _INT, "Frame of the video or point cloud, from 0, and first frame of an event; null for images"),
    ("frame_end", _INT, "Last frame of an event"),
    ("time_start", _NUMBER, "Start in a sound or video, in seconds"),
    ("time_end", _NUMBER, "End in a sound or video, in seconds"),
    ("page", _INT, "Page of a document, from 0"),
    ("sensor", _TEXT, "Camera or lidar that saw the object"),
    ("key_frame", _YES_NO, "Whether an annotator set this frame; null for images"),
    ("visible", _YES_NO, "Whether the object is seen in the frame; null for images"),
    (
        "label",
        _TEXT,
        "Class of the annotation; of Sama the value of the tag named as `label`, levels and options joined by |",
    ),
    (
        "tags",
        T.MapType(_TEXT, _TEXTS),
        "Tags of the shape: the one value, the chosen options, or the levels of a menu; in videos as of this frame",
    ),
    ("value", _TEXT, "Text of an answer; null for options"),
    ("values", _TEXTS, "Chosen options of an answer, levels of a menu, or the one text"),
    ("score", _NUMBER, "Confidence of the model, from 0 to 1"),
    ("model", _TEXT, "Name of the model that made the annotation"),
    (
        "points",
        _POINTS,
        "[x, y] in pixels, from 0, y downwards; a box has its upper left, upper right, lower left and lower right "
        "corner. [x, y, z] in units of the point cloud",
    ),
    ("rings", T.ArrayType(_POINTS), "Outlines of a shape that has more than one, holes among them; else null"),
    ("x_min", _NUMBER, "Left edge of two-dimensional points, in pixels; null for a single point"),
    ("y_min", _NUMBER, "Upper edge"),
    ("x_max", _NUMBER, "Right edge"),
    ("y_max", _NUMBER, "Lower edge"),
    ("rotation", _NUMBER, "Rotation of a box or ellipse, clockwise, in radians"),
    ("text_start", _INT, "First character of a span of text, from 0, in Unicode code points"),
    ("text_end", _INT, "Character after the last one of a span of text"),
    ("position", _numbers("x", "y", "z"), "Centre of a 3D cuboid, in units of the point cloud"),
    ("dimensions", _numbers("length", "width", "height"), "Size of a 3D cuboid along x, y and z"),
    ("direction", _numbers("roll", "pitch", "yaw"), "Rotation of a 3D cuboid, in radians"),
    ("mask_url", _TEXT, "Link to the mask; it expires"),
    ("mask_path", _TEXT, "Copy of the mask, by sync(masks=...); null where there is none"),
    ("mask_value", _TEXT, "Index or colour by which the mask shows this annotation; null for the whole mask"),
    ("status", _TEXT, "The vendor's review status"),
    ("raw", _TEXT, "JSON text, to the byte, of the shape, of its place in the video, or of the answer"),
)

ANNOTATIONS = T.StructType(
    [T.StructField(name, kind, True, {"comment": comment}) for name, kind, comment in _COLUMNS],
)


def flatten_annotations(
    df: DataFrame, *, vendor: str = "sama", label: Label = None, frames: Frames = "key"
) -> DataFrame:
    """Return the annotations of delivered tasks: a row for each shape, frame of a video, mask and scene-level answer.

    Args:
        df: deliveries: `get_delivered_tasks_to_table(...)`, a table of it, or any DataFrame with `id` and one of
            `answers_raw` (JSON text) and `answers` (JSON text, struct, map or variant). A struct has lost what its
            type does not hold, such as the options of tags that the project's schema does not declare.
        vendor: the system that the answers come from, "sama" by default. It fills the column `vendor`.
        label: name of the tag that is the class of a shape, for all outputs (`str`) or by output (`dict`). By default
            `label` is null, as it is for a shape without that tag. `select(explode(map_keys("tags"))).distinct()` of
            the result lists the tags that occur.
        frames: the frames of videos and 3D that become rows: "key", the key locations, by default; or "all", every
            entry of `locations`. A shape that has only one of the two lists gives the rows of that list.

    Returns:
        A DataFrame with the columns of `ANNOTATIONS`, whatever was delivered. `delivered_at` is null where `df` has no
        such column. Answers of another form raise no error: a value that does not fit its column is null there, an
        answer that cannot be read is a row of kind `unknown`, and `raw` holds the JSON text.

    Raises:
        InvalidInput: `df` lacks a column, `vendor` or `frames` is unknown, or `label` is no name.
    """
    check_dataframe(df, "df")
    check_one_of(vendor, "vendor", tuple(READERS))
    reader = READERS[vendor](label, frames)
    if "id" not in df.columns:
        raise InvalidInput(
            f"the DataFrame has no column `id`: {df.columns}",
            remedy="give deliveries as get_delivered_tasks_to_table gives them, or rename the column of task ids",
        )
    delivered_at = "delivered_at" if "delivered_at" in df.columns else "NULL"
    tasks = df.select(
        F.lit(vendor).alias("vendor"),
        F.col("id").cast("string").alias("task_id"),
        F.expr(f"try_cast({delivered_at} AS TIMESTAMP_LTZ)").alias("delivered_at"),
        json_text(df, "answers").alias("answers"),
    )
    return tasks.mapInArrow(partial(annotation_batches, reader), ANNOTATIONS)


def annotations_on_driver(
    spark: SparkSession, tasks: pa.RecordBatch, vendor: str, label: Label, frames: Frames
) -> DataFrame:
    """Return what `flatten_annotations` returns, for a few tasks that the driver holds: no worker takes part.

    Args:
        spark: the session.
        tasks: has `id`, `delivered_at` and `answers_raw`.
        vendor: as for `flatten_annotations`, like what follows.
        label: names the tag that is the class.
        frames: which frames become rows.
    """
    import pyarrow as pa

    names = ("id", "delivered_at", "answers_raw")
    columns = [pa.array([vendor] * len(tasks), pa.string()), *map(tasks.column, names)]
    batch = pa.RecordBatch.from_arrays(columns, ["vendor", *names])
    made = annotation_batches(READERS[vendor](label, frames), iter([batch]))
    return local_rows(spark, pa.Table.from_batches(made, _arrow_schema()), ANNOTATIONS)


def json_text(df: DataFrame, name: str) -> Column:
    """Return the JSON text of `answers` or `data`: the column `<name>_raw`, or else `<name>`, rendered as JSON.

    Raises:
        InvalidInput: `df` has neither.
    """
    raw = f"{name}_raw"
    if raw in df.columns:
        return F.col(raw).cast("string")
    if name not in df.columns:
        raise InvalidInput(
            f"the DataFrame has neither `{raw}` nor `{name}`: {df.columns}",
            remedy=f"keep one of them: `{raw}` where it is there, since it has the values to the byte",
        )
    found = df.schema[name].dataType
    return F.col(name) if isinstance(found, T.StringType) else exact.to_json(F.col(name))


def annotation_batches(reader: AnnotationReader, tasks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Read batches of vendor, task id, time of delivery and answers (JSON text); yield batches of annotations."""
    import pyarrow as pa

    schema = _arrow_schema()
    for batch in tasks:
        rows = _rows(reader, batch.column(len(_OF_TASK)).cast(pa.binary()).to_pylist())
        while made := _batch(batch, islice(rows, _ROWS_AT_A_TIME), schema):
            yield made


def _rows(reader: AnnotationReader, answers: list[bytes | None]) -> Iterator[tuple[int, Annotation]]:
    """Yield the annotations, each with the position of its task."""
    for task, text in enumerate(answers):
        if text is not None:
            for row in reader.rows(text):
                yield task, row


def _batch(tasks: pa.RecordBatch, rows: Iterator[tuple[int, Annotation]], schema: pa.Schema) -> pa.RecordBatch | None:
    """Return the rows as Arrow columns, those of their tasks first; None where there are no rows."""
    import pyarrow as pa

    with _no_garbage_collection():
        found = list(rows)
        if not found:
            return None
        positions = pa.array([task for task, _ in found], pa.int32())
        columns = [tasks.column(i).take(positions) for i in range(len(_OF_TASK))]
        by_column = zip(*(astuple(row) for _, row in found), strict=True)
        by_name = dict(zip(Annotation.__struct_fields__, by_column, strict=True))
        columns += [_column(field, by_name[field.name]) for field in list(schema)[len(_OF_TASK) :]]
    return pa.RecordBatch.from_arrays(columns, schema.names)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Switch off the search for reference cycles: it takes half of the time here, and there are none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _column(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    if values[0] is None and values.count(None) == len(values):  # ten times faster, and most columns are null
        return pa.nulls(len(values), field.type)
    if field.name == "raw":
        return pa.array(values, pa.binary()).view(pa.string())
    if field.name != "tags":
        return pa.array(values, field.type)
    different = {id(tags): tags for tags in values}  # readers mostly share one object among equal tags
    position = {key: i for i, key in enumerate(different)}
    pairs = [None if tags is None else list(tags.items()) for tags in different.values()]
    return pa.array(pairs, field.type).take(pa.array([position[id(tags)] for tags in values], pa.int32()))


def _arrow_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(field.name, arrow_type(field.dataType)) for field in ANNOTATIONS.fields])
