"""The columns of the table `annotations`, for Spark and for Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import types as T

from sama_spark.driver_rows import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

_TEXT, _INT, _NUMBER, _YES_NO = T.StringType(), T.IntegerType(), T.DoubleType(), T.BooleanType()
_TIME, _TEXTS, _POINTS = T.TimestampType(), T.ArrayType(_TEXT), T.ArrayType(T.ArrayType(_NUMBER))


def _numbers(*names: str) -> T.StructType:
    return T.StructType([T.StructField(name, _NUMBER) for name in names])


# A new column needs its line in `_COLUMNS` (a new type also one in `arrow_type`), a field of the same name in
# `vendors.seam.Annotation`, a reader that fills it, such as `vendors.sama.reader`, a new `_LAYOUT` in
# `inbound.sync.tables`, and a row in `docs/tables.md`.
# No field is needed for what comes from the task, as these do, nor for `ordinal` and the edges `x_min` to `y_max`:
# `inbound.annotation_batches` fills them.
OF_TASK: tuple[tuple[str, T.DataType, str], ...] = (
    ("vendor", _TEXT, "System in which the annotation was made, such as sama; the key is (vendor, task_id, ordinal)"),
    ("task_id", _TEXT, "Id of the task"),
    ("delivered_at", _TIME, "When the task was delivered"),
)
_COLUMNS: tuple[tuple[str, T.DataType, str], ...] = (
    *OF_TASK,
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


def arrow_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(field.name, arrow_type(field.dataType)) for field in ANNOTATIONS.fields])
