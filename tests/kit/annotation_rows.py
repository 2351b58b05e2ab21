"""Answers of tasks on their way into the table `annotations`, as Spark's workers take them, without Spark."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pyarrow as pa

from sama_spark.inbound.annotation_batches import annotation_batches
from sama_spark.vendors.sama.reader import SamaReader
from sama_spark.vendors.seam import AnnotationReader


def batches_of(texts: Sequence[str | bytes | None], reader: AnnotationReader | None = None) -> list[pa.RecordBatch]:
    """The batches of annotations of these tasks: the first has the id 0."""
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    columns = [
        pa.array(["sama"] * len(texts)),
        pa.array([str(n) for n, _ in enumerate(texts)]),
        pa.nulls(len(texts), pa.timestamp("us", "UTC")),
        pa.array(raw, pa.binary()).view(pa.string()),
    ]
    tasks = pa.RecordBatch.from_arrays(columns, ["vendor", "task_id", "delivered_at", "answers"])
    return list(annotation_batches(reader or SamaReader(), iter([tasks])))


def rows_of_task(answers: bytes, reader: AnnotationReader) -> list[SimpleNamespace]:
    """The rows of one task by the names of their columns, with `raw` as bytes."""
    rows = []
    for batch in batches_of([answers], reader):
        raw = batch.column("raw").view(pa.binary()).to_pylist()  # it may be no UTF-8
        names = [name for name in batch.schema.names if name != "raw"]
        for row, text in zip(batch.select(names).to_pylist(), raw, strict=True):
            tags = None if row["tags"] is None else dict(row["tags"])
            rows.append(SimpleNamespace(**row | {"tags": tags, "raw": text}))
    return rows
