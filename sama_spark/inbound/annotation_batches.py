"""Makes Arrow batches of the rows of `annotations` that a vendor's reader yields."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from sama_spark.inbound.annotation_columns import OF_TASK, arrow_schema
from sama_spark.vendors.seam import Annotation, AnnotationReader, ImageAnnotation

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_A_TIME = 2_000  # 500 are as quick, and 4,000 a twentieth slower; a worker's memory stays small
_Row = tuple[int, int, ImageAnnotation]  # position of the task, place of the row in the task


def annotation_batches(reader: AnnotationReader, tasks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Read batches of vendor, task id, time of delivery and answers (JSON text); yield batches of annotations."""
    import pyarrow as pa

    schema = arrow_schema()
    for batch in tasks:
        rows = _rows(reader, batch.column(len(OF_TASK)).cast(pa.binary()).to_pylist())
        while made := _batch(batch, rows, schema):
            yield made


def _rows(reader: AnnotationReader, answers: list[bytes | None]) -> Iterator[_Row]:
    """Yield the annotations, each with the position of its task and its place in the task."""
    for task, text in enumerate(answers):
        if text is not None:
            for ordinal, row in enumerate(reader.rows(text)):
                yield task, ordinal, row


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Switch off the search for reference cycles: it takes half of the time here, and there are none.

    Use it as a decorator. The function's own values are gone when the search goes on, so that it does not meet them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_garbage_collection()
def _batch(tasks: pa.RecordBatch, rows: Iterator[_Row], schema: pa.Schema) -> pa.RecordBatch | None:
    """Return the next rows as Arrow columns, those of their tasks first; None where there are no rows."""
    import pyarrow as pa

    taken = list(islice(rows, _ROWS_AT_A_TIME))
    if not taken:
        return None
    of_tasks, ordinals, annotations = zip(*taken, strict=True)
    positions = pa.array(of_tasks, pa.int32())
    found = {name: tasks.column(i).take(positions) for i, name in enumerate(schema.names[: len(OF_TASK)])}
    found["ordinal"] = pa.array(ordinals, pa.int32())
    for name, values in _filled(annotations):
        found[name] = _column(schema.field(name), values)
    if "points" in found:
        found |= _edges(found["points"])
    columns = [found[field.name] if field.name in found else pa.nulls(len(taken), field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema.names)


def _filled(rows: Sequence[ImageAnnotation]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield name and values of the columns that have any: most are null, and null columns are made ten times faster."""
    names = Annotation.__struct_fields__
    # The fields of `ImageAnnotation` come first. `zip` ends with the shortest row, so it gives what all rows have.
    found = dict(zip(names, zip(*map(astuple, rows), strict=False), strict=False))
    yield from ((name, values) for name, values in found.items() if _has_any(values))
    if any(isinstance(row, Annotation) for row in rows):
        for name in names[len(found) :]:
            values = [getattr(row, name, None) for row in rows]
            if _has_any(values):
                yield name, values


def _has_any(values: Sequence[Any]) -> bool:
    return values[0] is not None or values.count(None) < len(values)


def _column(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    if field.name == "raw":
        return pa.array(values, pa.binary()).view(pa.string())
    if field.name != "tags":
        return pa.array(values, field.type)
    keys = [*map(id, values)]  # readers mostly share one object among equal tags
    different = dict(zip(keys, values, strict=True))
    position = {key: i for i, key in enumerate(different)}
    pairs = [None if tags is None else list(tags.items()) for tags in different.values()]
    return pa.array(pairs, field.type).take(pa.array([*map(position.__getitem__, keys)], pa.int32()))


def _edges(points: pa.ListArray) -> dict[str, pa.Array]:
    """Return the edges of the boxes around two points or more in the plane; null for others, and if a number lacks."""
    import numpy as np
    import pyarrow as pa

    begins = points.offsets.to_numpy()
    numbers = points.values.values.to_numpy(zero_copy_only=False)  # NaN for null
    places = points.values.offsets.to_numpy()  # of the points among the numbers
    counts = np.diff(begins)
    odd = np.concatenate([[0], np.cumsum(np.diff(places) != 2)])  # how many points before this one are not in the plane
    boxed = (counts > 1) & (odd[begins[1:]] == odd[begins[:-1]])
    x_places = places[:-1][np.repeat(boxed, counts)]
    firsts = np.cumsum(counts[boxed]) - counts[boxed]
    found = {}
    for name, values in ("x", numbers[x_places]), ("y", numbers[x_places + 1]):
        for edge, reduce in ("min", np.minimum), ("max", np.maximum):
            edges = np.zeros(len(counts))
            edges[boxed] = reduce.reduceat(values, firsts) + 0.0  # -0.0 becomes 0.0
            found[f"{name}_{edge}"] = pa.array(edges, mask=~boxed | np.isnan(edges))
    return found
