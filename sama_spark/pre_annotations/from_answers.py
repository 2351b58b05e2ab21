"""Deliveries as the rows of new tasks, with their answers as pre-annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.api.broken_json import lenient
from sama_spark.api.marked_values import BEFORE_VALUE, MARK
from sama_spark.arguments import names_of
from sama_spark.errors import InvalidInput
from sama_spark.inbound.annotations import json_text
from sama_spark.inbound.delivery_types import sama_name, saveable_name
from sama_spark.outbound.creation_schema import OUTPUT_PREFIX
from sama_spark.sessions import check_dataframe, refuse_stream
from sama_spark.vendors.sama.answer_json import members, string

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

_SHOWN_CHARACTERS = 200
_decode = msgspec.json.Decoder(dict[str, Raw] | None).decode


def to_pre_annotations(
    df: DataFrame, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> DataFrame:
    """Return deliveries as rows for `create_task_batch_from_table`: the same inputs, the answers as pre-annotations.

    Args:
        df: deliveries with `data_raw` or `data`, and `answers_raw` or `answers`. Only the raw columns have the values
            to the byte.
        inputs: names of the inputs to take, `[]` for none. The default is the fields of a typed `data`, else all names
            that occur, which takes one pass over `df`. They include inputs that Sama itself adds (`... Original url`).
        outputs: the same for outputs and `answers`.

    Returns:
        A DataFrame of text: a column for each input, and `output_<name>` for each output. Objects, arrays and
        numbers are JSON text to the byte, strings are plain text, absent and null values are null.

    Raises:
        InvalidInput: `df` lacks a column, or no name is left.

    If answers or data are no JSON object, each of their columns says so, and `create_task_batch_from_table` reports the
    row as one that cannot become a task.
    """
    check_dataframe(df, "df")
    texts: list[Column] = []
    columns: list[tuple[str, ...]] = []
    chosen = {"data": ("inputs", inputs), "answers": ("outputs", outputs)}
    for name, (argument, asked) in chosen.items():
        given = None if asked is None else names_of(asked, argument)
        if given == ():
            texts.append(F.lit(None).cast("string").alias(name))
            columns.append(())
        else:
            text = json_text(df, name).alias(name)
            texts.append(text)
            columns.append(given or _names(df, name, text))
    cells = _Cells(*columns)
    if not cells.columns():
        raise InvalidInput(
            "these deliveries have neither inputs nor answers", remedy="name them in `inputs` and `outputs`"
        )
    schema = T.StructType([T.StructField(name, T.StringType()) for name in cells.columns()])
    return df.select(*texts).mapInArrow(cells.batches, schema)


def _names(df: DataFrame, column: str, text: Column) -> tuple[str, ...]:
    """Return the names in a typed column; if it has no fields, the names that occur."""
    found = df.schema[column].dataType if column in df.columns else None
    if isinstance(found, T.StructType):
        return tuple(map(sama_name, found.fields))
    refuse_stream(df, "name them in `inputs` and `outputs`: a stream cannot be looked through beforehand")
    names = df.select(F.explode(F.json_object_keys(text)).alias("name")).distinct().collect()
    return tuple(sorted(row["name"] for row in names))


@dataclass(frozen=True)
class _Cells:
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def columns(self) -> list[str]:
        return [*self.inputs, *(OUTPUT_PREFIX + name for name in self.outputs)]

    def batches(self, tasks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the columns of new tasks from batches of `data` and `answers`, on a worker."""
        import pyarrow as pa

        for batch in tasks:
            columns = [
                pa.array(cells, pa.binary()).view(pa.string())
                for texts, names in zip(batch.columns, (self.inputs, self.outputs), strict=True)
                for cells in cut(texts.cast(pa.binary()).to_pylist(), names)
            ]
            yield pa.RecordBatch.from_arrays(columns, self.columns())


def cut(texts: Sequence[bytes | None], names: Sequence[str]) -> list[list[bytes | None]]:
    """Return the values of each name in JSON objects: strings as plain text, all others as JSON text to the byte.

    If a text is no JSON object, each of its values is that problem; see `marked_values`.
    """
    rows = [_members(text) if text else {} for text in texts]
    return [[_cell(row, name) for row in rows] for name in names]


def _members(text: bytes) -> dict[str, Raw] | bytes:
    """Return the members of a JSON object, or why there are none."""
    try:
        return _decode(text) or {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(lenient(text), dict):  # for example one with NaN, whose other members are good
            return members(text) or {}
        shown = text.decode(errors="replace")[:_SHOWN_CHARACTERS]
        return f"{MARK}this is no JSON object ({error}){BEFORE_VALUE}{shown}".encode()


def _cell(row: dict[str, Raw] | bytes, name: str) -> bytes | None:
    if isinstance(row, bytes):
        return row
    raw = row.get(name, row.get(saveable_name(name)))
    if raw is None or bytes(raw) == b"null":
        return None
    found = string(raw)
    return bytes(raw) if found is None else found.encode()
