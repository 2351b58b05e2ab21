"""Staged lines to Arrow batches, on a worker.

The columns are those of `inbound.table.task_table` except the typed `data` and `answers`: only the JVM's parser types
them, and a Python data source does not have it. Their JSON text is there, to the byte, as is that of
`submitter_ids_by_step` and `_extras`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pyarrow as pa
from pyspark.sql import types as T

from sama_spark.errors import InvalidInput
from sama_spark.inbound.lines import cut_line
from sama_spark.inbound.times import micros
from sama_spark.vendors.sama.envelope import ENVELOPE
from sama_spark.vendors.seam import Field

BATCH_BYTES = 16 << 20
_WHOLE = re.compile(r"(?P<sign>[+-]?)0*(?P<digits>\d{1,19})", re.ASCII)  # `int` raises for thousands of digits

_TYPES: dict[str, T.DataType] = {
    "STRING": T.StringType(),
    "BIGINT": T.LongType(),
    "INT": T.IntegerType(),
    "TIMESTAMP": T.TimestampType(),
    "JSON": T.StringType(),
}
_DELIVERED_AT = Field("delivered_at", "TIMESTAMP", "delivered_at")

SCHEMA = T.StructType(
    [
        T.StructField("id", T.StringType()),
        *(
            T.StructField(field.name, _TYPES[field.spark_type])
            for field in sorted([*ENVELOPE, _DELIVERED_AT], key=lambda field: field.spark_type == "JSON")
        ),
        *(T.StructField(name, T.StringType()) for name in ("data_raw", "answers_raw", "raw")),
    ]
)
_ARROW: dict[T.DataType, pa.DataType] = {
    T.StringType(): pa.string(),
    T.LongType(): pa.int64(),
    T.IntegerType(): pa.int32(),
    T.TimestampType(): pa.timestamp("us", tz="UTC"),
}
_NULL = msgspec.Raw(b"null")

# Each column of the envelope is a member of the same name.
_Envelope = msgspec.defstruct("_Envelope", [(field.name, msgspec.Raw, _NULL) for field in ENVELOPE], gc=False)
_envelope = msgspec.json.Decoder(_Envelope)


def checked(schema: T.StructType) -> T.StructType:
    """Return `schema` after a check that its columns are some of the source's.

    Raises:
        InvalidInput: a column is none of them, or has another type.
    """
    types = {field.name: field.dataType for field in SCHEMA}
    for field in schema:
        if types.get(field.name) != field.dataType:
            due = types[field.name].simpleString() if field.name in types else None
            raise InvalidInput(
                f"column `{field.name}` {field.dataType.simpleString()} of the schema is not what the source gives",
                remedy=f"it is {due}"
                if due
                else f"name some of {', '.join(types)}; typed columns come of from_json(answers_raw, ...)",
            )
    return schema


def arrow_batches(lines: Iterable[bytes], schema: T.StructType) -> Iterator[pa.RecordBatch]:
    """Yield the rows of lines (`inbound.lines`), in batches of some 16 MiB of text."""
    rows: list[list[Any]] = []
    size = 0
    for line in lines:
        rows.append(_row(line, schema.names))
        size += len(line)
        if size >= BATCH_BYTES:
            yield _batch(rows, schema)
            rows, size = [], 0
    if rows:
        yield _batch(rows, schema)


def _row(line: bytes, names: list[str]) -> list[Any]:
    task = cut_line(line)
    known = {  # `id` and `delivered_at` as the driver has read them
        "id": task.id,
        "delivered_at": micros(task.delivered_at),
        "data_raw": task.data,
        "answers_raw": task.answers,
        "raw": task.raw,
    }
    envelope = _read(task.raw)
    return [
        known[name] if name in known else _value(_text(getattr(envelope, name)), SCHEMA[name].dataType)
        for name in names
    ]


def _read(raw: bytes) -> msgspec.Struct:
    """Return what can be read of a task. A task that is no JSON has nothing."""
    try:
        return _envelope.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return _Envelope()


def _text(value: msgspec.Raw) -> str | None:
    """Return a string's content, or the JSON text of another value."""
    if value == _NULL:
        return None
    text = bytes(value)
    return str(msgspec.json.decode(text)) if text.startswith(b'"') else text.decode()


def _value(text: str | None, kind: T.DataType) -> str | int | None:
    """As `try_cast` would have it: null where the text is not of its type."""
    if text is None or isinstance(kind, T.StringType):
        return text
    if isinstance(kind, T.TimestampType):
        return micros(text)
    if not (found := _WHOLE.fullmatch(text.strip())):
        return None
    number, bits = int(found["sign"] + found["digits"]), 63 if isinstance(kind, T.LongType) else 31
    return number if -(2**bits) <= number < 2**bits else None


def _batch(rows: list[list[Any]], schema: T.StructType) -> pa.RecordBatch:
    fields = [pa.field(field.name, _ARROW[field.dataType], field.nullable) for field in schema]
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), fields, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
