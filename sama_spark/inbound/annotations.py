"""Deliveries become one table of annotations, with one schema for every project."""

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
from sama_spark.errors import InvalidInput
from sama_spark.sessions import check_dataframe
from sama_spark.vendors.sama.reader import Annotation, Flattener, Frames, Label

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

_ROWS_AT_A_TIME = 2_000  # more fall out of the processor's cache: a tenth slower
_ID, _DELIVERED, _ANSWERS = "task_id", "delivered_at", "answers"

_TEXT, _INT, _NUMBER, _YES_NO = T.StringType(), T.IntegerType(), T.DoubleType(), T.BooleanType()
_TEXTS = T.ArrayType(_TEXT)


def _numbers(*names: str) -> T.StructType:
    return T.StructType([T.StructField(name, _NUMBER) for name in names])


_COLUMNS: tuple[tuple[str, T.DataType, str], ...] = (
    (_ID, _TEXT, "Id of the task"),
    (_DELIVERED, T.TimestampType(), "When the task was delivered"),
    ("output", _TEXT, "Name of the output; null where answers were no JSON object"),
    ("ordinal", _INT, "Place among the rows of the task, from 0; (task_id, ordinal) is the key"),
    (
        "kind",
        _TEXT,
        "box, polygon, polyline, point, keypoints, cuboid, cuboid_3d, polyline_3d, mask, answer (of the whole scene) "
        "or unknown",
    ),
    ("type", _TEXT, "Type of the shape in Sama's word; raster_coding for masks, null for answers"),
    ("object_id", _INT, "Index of the shape in its output; the same over the frames of a video"),
    ("group_id", _INT, "Place of the shape's group in its output, from 0"),
    ("group_type", _TEXT, "Type of the shape's group"),
    ("frame", _INT, "Frame of the video or point cloud, from 0; null for images"),
    ("key_frame", _YES_NO, "Whether an annotator set this frame; null for images"),
    ("visible", _YES_NO, "Whether the object is seen in the frame; null for images"),
    ("label", _TEXT, "Value of the tag that was named as the class; levels and options joined by |"),
    (
        "tags",
        T.MapType(_TEXT, _TEXTS),
        "Tags of the shape: the one value, the chosen options, or the levels of a menu; in videos as of this frame",
    ),
    ("value", _TEXT, "Text of an answer; null for options"),
    ("values", _TEXTS, "Chosen options of an answer, levels of a menu, or the one text"),
    ("points", T.ArrayType(T.ArrayType(_NUMBER)), "[x, y] in pixels, or [x, y, z] in units of the point cloud"),
    ("x_min", _NUMBER, "Left edge of two-dimensional points, in pixels; null for a single point"),
    ("y_min", _NUMBER, "Upper edge"),
    ("x_max", _NUMBER, "Right edge"),
    ("y_max", _NUMBER, "Lower edge"),
    ("position", _numbers("x", "y", "z"), "Centre of a 3D cuboid, in units of the point cloud"),
    ("dimensions", _numbers("length", "width", "height"), "Size of a 3D cuboid along x, y and z"),
    ("direction", _numbers("roll", "pitch", "yaw"), "Rotation of a 3D cuboid, in radians"),
    ("mask_url", _TEXT, "Link to the mask; it expires"),
    ("mask_path", _TEXT, "Copy of the mask, by sync(masks=...); null where there is none"),
    ("raw", _TEXT, "JSON text, to the byte, of the shape, of its place in the video, or of the answer"),
)

ANNOTATIONS = T.StructType(
    [T.StructField(name, kind, True, {"comment": comment}) for name, kind, comment in _COLUMNS],
)


def flatten_annotations(df: DataFrame, *, label: Label = None, frames: Frames = "key") -> DataFrame:
    """The annotations of delivered tasks: one row for each shape, place in a video, mask and scene-level answer.

    Args:
        df: deliveries: `get_delivered_tasks_to_table(...)`, a table of it, or any DataFrame with `id` and one of
            `answers_raw` (JSON text) and `answers` (JSON text, struct, map or variant). A struct has lost what its
            type does not hold, such as the options of tags that the project's schema does not declare.
        label: name of the tag that is the class of a shape, for all outputs or by output; None: `label` is null. Where
            no shape has that tag `label` is null too: `select(explode(map_keys("tags"))).distinct()` of the result has
            the tags that there are.
        frames: "key", the key locations of videos and 3D, or "all", every frame in `locations`. A shape that has
            only the other of the two gives that.

    Returns:
        A DataFrame of the schema `ANNOTATIONS`, whatever was delivered. `delivered_at` is null where `df` has none.
        Nothing raises on odd answers: what does not fit is null, or of kind `unknown`, and its text is in `raw`.

    Raises:
        InvalidInput: `df` lacks a column, `label` is no name, or `frames` is another word.
    """
    check_dataframe("df", df)
    flattener = Flattener(label, frames)
    if "id" not in df.columns:
        raise InvalidInput(
            f"the DataFrame has no column `id`: {df.columns}",
            remedy="give deliveries as get_delivered_tasks_to_table gives them, or rename the column of task ids",
        )
    delivered = F.expr(f"try_cast({_DELIVERED if _DELIVERED in df.columns else 'NULL'} AS TIMESTAMP_LTZ)")
    tasks = df.select(
        F.col("id").cast("string").alias(_ID),
        delivered.alias(_DELIVERED),
        json_text(df, "answers").alias(_ANSWERS),
    )
    return tasks.mapInArrow(partial(annotation_batches, flattener), ANNOTATIONS)


def json_text(df: DataFrame, name: str) -> Column:
    """The JSON text of `answers` or `data`: the column `<name>_raw`, else `<name>` as text or rendered as JSON.

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


def annotation_batches(flattener: Flattener, tasks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On a worker: batches of task id, moment of delivery and answers (JSON text) become batches of annotations."""
    import pyarrow as pa

    schema = _arrow_schema()
    for batch in tasks:
        rows = _rows(flattener, batch.column(_ANNOTATED).cast(pa.binary()).to_pylist())
        while some := _columns(islice(rows, _ROWS_AT_A_TIME), schema):
            positions, columns = some
            of_task = [batch.column(column).take(positions) for column in range(_ANNOTATED)]
            yield pa.RecordBatch.from_arrays(of_task + columns, schema.names)


def _rows(flattener: Flattener, answers: list[bytes | None]) -> Iterator[tuple[int, Annotation]]:
    for task, text in enumerate(answers):
        if text is not None:
            for row in flattener.rows(text):
                yield task, row


_ANNOTATED = 2  # position of the answers; before it stands what belongs to the task


def _columns(rows: Iterator[tuple[int, Annotation]], schema: pa.Schema) -> tuple[pa.Array, list[pa.Array]] | None:
    """The tasks that the rows belong to, by position, and the rows as columns; None where there are no rows."""
    import pyarrow as pa

    with _no_collections():
        found = list(rows)
        if not found:
            return None
        by_column = zip(*(astuple(row) for _, row in found), strict=True)
        by_name = dict(zip(Annotation.__struct_fields__, by_column, strict=True))
        columns = [_column(field, by_name[field.name]) for field in list(schema)[_ANNOTATED:]]
    return pa.array([task for task, _ in found], pa.int32()), columns


@contextmanager
def _no_collections() -> Iterator[None]:
    """Python looks for cycles in all these lists again and again, half of the time, and there are none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _column(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    if field.name == "raw":
        return pa.array(values, pa.binary()).view(pa.string())
    if field.name != "tags":
        return pa.array(values, field.type)
    different = {id(tags): tags for tags in values}  # equal tags are one object, mostly
    position = {key: i for i, key in enumerate(different)}
    pairs = [None if tags is None else list(tags.items()) for tags in different.values()]
    return pa.array(pairs, field.type).take(pa.array([position[id(tags)] for tags in values], pa.int32()))


def _arrow_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(field.name, _arrow_type(field.dataType)) for field in ANNOTATIONS.fields])


def _arrow_type(kind: T.DataType) -> pa.DataType:
    import pyarrow as pa

    if isinstance(kind, T.StructType):
        return pa.struct([(field.name, _arrow_type(field.dataType)) for field in kind.fields])
    if isinstance(kind, T.ArrayType):
        return pa.list_(_arrow_type(kind.elementType))
    if isinstance(kind, T.MapType):
        return pa.map_(_arrow_type(kind.keyType), _arrow_type(kind.valueType))
    plain = {"string": pa.string(), "int": pa.int32(), "double": pa.float64(), "boolean": pa.bool_()}
    return plain.get(kind.simpleString(), pa.timestamp("us", "UTC"))
