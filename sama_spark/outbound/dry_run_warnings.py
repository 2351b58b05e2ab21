"""Warnings of a dry run about rows that are valid and may be a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.names import in_backticks
from sama_spark.outbound.creation_schema import OUTPUT_PREFIX

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_ROWS = 10_000
_WAY_TO_POINTS = ("layers", "vector_tagging", "", "shapes", "", "points", "", "")  # "" for the elements of an array


def tiny_shapes(df: DataFrame, not_sent: Sequence[str] = ()) -> tuple[str, ...]:
    """Return a warning for each column whose shapes all lie within about one pixel, as fractions of a size do.

    It looks at the first 10,000 rows. One query does all columns of shapes; without such columns there is no query.
    """
    names = [
        column.name
        for column in df.schema
        if column.name.startswith(OUTPUT_PREFIX) and column.name not in not_sent and _has_points(column.dataType)
    ]
    if not names:
        return ()
    coordinates = [_coordinates(F.col(in_backticks(name))).alias(f"c{i}") for i, name in enumerate(names)]
    ends = [
        end.alias(f"{which}{i}")
        for i in range(len(names))
        for which, end in (("least", F.min(F.array_min(f"c{i}"))), ("most", F.max(F.array_max(f"c{i}"))))
    ]
    found = df.select(*coordinates).limit(_ROWS).agg(*ends).collect()[0]
    return tuple(
        f"all shapes of column {name!r} lie within one pixel: are they fractions of the image's size? Then give its "
        'size to the helper, as scale=("width", "height"), or multiply them yourself'
        for i, name in enumerate(names)
        if found[f"most{i}"] is not None and -0.5 < found[f"least{i}"] <= found[f"most{i}"] < 1.5
    )


def _has_points(data_type: T.DataType) -> bool:
    found: T.DataType | None = data_type
    for step in _WAY_TO_POINTS:
        if isinstance(found, T.ArrayType) and not step:
            found = found.elementType
        elif isinstance(found, T.StructType) and step in found.names:
            found = found[step].dataType
        else:
            return False
    return isinstance(found, T.NumericType)


def _coordinates(output: Column) -> Column:
    shapes = F.flatten(output.getField("layers").getField("vector_tagging").getField("shapes"))
    return F.flatten(F.flatten(shapes.getField("points")))
