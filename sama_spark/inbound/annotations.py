"""Deliveries as one table of annotations, with the same columns for every project and vendor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact
from sama_spark.arguments import check_one_of
from sama_spark.driver_rows import local_rows
from sama_spark.errors import InvalidInput
from sama_spark.inbound.annotation_batches import annotation_batches
from sama_spark.inbound.annotation_columns import ANNOTATIONS, arrow_schema
from sama_spark.sessions import check_dataframe
from sama_spark.vendors import READERS
from sama_spark.vendors.seam import Frames, Label

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession


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
    return local_rows(spark, pa.Table.from_batches(made, arrow_schema()), ANNOTATIONS)


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
