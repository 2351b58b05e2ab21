"""Few rows stay on the driver, which encodes and cuts them: Spark runs one job, and no worker takes part.

Most runs send some hundred rows. To plan their encoding in the JVM, to look for the stage, to start workers and to
write and list files takes longer than all the rest.

With an outbox, and where columns are nested, Spark encodes few rows too: the hash of a row's content must be the same
when they are many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.exact import FRACTIONS, INTEGERS, is_text, plain_type
from sama_spark.outbound.columns import numbered, of_columns
from sama_spark.outbound.cut import ROWS_AT_A_TIME, PieceCutter
from sama_spark.outbound.encoded_batch import EncodedBatch
from sama_spark.outbound.pieces import StreamedPiece

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from sama_spark.outbound.encode_values import Columns
    from sama_spark.outbound.task_fields import TaskFields

# So many rows, if none of them is larger than that: 80 MB at most.
FEW_ROWS, FEW_BYTES = 5_000, 1 << 14

_NUMBERS = (*INTEGERS, *FRACTIONS, T.DecimalType, T.BooleanType, T.NullType)
_TIMES: dict[type[T.DataType], str] = {T.DateType: "unix_date", T.TimestampType: "unix_micros"}


def can_be_fetched(schema: T.StructType, fields: TaskFields) -> bool:
    """Return whether the driver gets the values of these columns as Spark has them, and in little memory.

    Objects of Python that stand for nested values take up to 70 times the memory of their JSON.
    """
    types = [plain_type(column.dataType) for column in schema.fields if _is_sent(column.name, fields)]
    return bool(types) and all(is_text(found) or isinstance(found, (*_NUMBERS, *_TIMES)) for found in types)


def fetch_rows(df: DataFrame, fields: TaskFields) -> list[Columns] | None:
    """Return the rows as `render_values` takes them: one Spark job. Columns that are not sent hold nulls.

    None if the rows are not few and small, or if a text is no UTF-8, which only the JVM and the workers tell exactly.
    """
    rows, columns = numbered(df)
    texts = [sent.column for sent in columns if _is_sent(sent.name, fields) and is_text(sent.data_type)]
    values = [
        f"{_value(column, data_type) if _is_sent(name, fields) else 'NULL'} AS {column}"
        for name, column, data_type in columns
    ]
    size = of_columns("concat_ws", ["''", *texts])
    found = _collect_small(rows, F.octet_length(size) + 8 * len(columns), [of_columns("struct", values)])
    if found is None:
        return None
    are_texts = [column in texts for _, column, _ in columns]
    try:
        return list(_batches([_decoded(row, are_texts) for (row,) in found]))
    except UnicodeDecodeError:
        return None


def fetch_encoded(rows: DataFrame) -> list[EncodedBatch] | None:
    """Return rows that `encode` has encoded, if they are few and small, else None: one Spark job."""
    size = F.length(of_columns("concat", (f"coalesce({name}, X'')" for name in rows.columns)))
    found = _collect_small(rows, size, [F.col(name) for name in rows.columns])
    if found is None:
        return None
    encoded = [[None if value is None else bytes(value) for value in row] for row in found]
    return [EncodedBatch.of(columns) for columns in _batches(encoded)]


def few_pieces(batches: Iterable[EncodedBatch], cutter: PieceCutter) -> list[StreamedPiece]:
    """Cut rows that the driver has."""
    return [StreamedPiece(header, body) for header, body in cutter.pieces(batches)]


def _collect_small(rows: DataFrame, size: Column, columns: Sequence[Column]) -> list[Sequence[Any]] | None:
    """Return these columns of few small rows; None if there are too many, or one is too large."""
    sized = rows.select("*", (size > FEW_BYTES).alias("is_large"))
    # Whatever the rows hold, the driver gets little.
    kept = (F.when(~F.col("is_large"), column) for column in columns)
    found = sized.select("is_large", *kept).limit(FEW_ROWS + 1).collect()
    return None if len(found) > FEW_ROWS or any(row[0] for row in found) else [row[1:] for row in found]


def _batches(rows: Sequence[Sequence[Any]]) -> Iterator[Columns]:
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        yield list(zip(*rows[start : start + ROWS_AT_A_TIME], strict=True))


def _is_sent(name: str, fields: TaskFields) -> bool:
    return name not in fields.not_sent or name in fields.row_key or bool(fields.members_from(name))


def _value(column: str, data_type: T.DataType) -> str:
    """Return SQL for what does not depend on the session's zone; texts as bytes, which no client decodes on its own."""
    if is_text(data_type):
        return f"CAST({column} AS BINARY)"
    return f"{_TIMES[type(data_type)]}({column})" if type(data_type) in _TIMES else column


def _decoded(row: Sequence[Any], are_texts: Sequence[bool]) -> list[Any]:
    return [
        bytes(value).decode() if is_text and value is not None else value
        for value, is_text in zip(row, are_texts, strict=True)
    ]
