"""Few rows stay on the driver, which encodes and cuts them: Spark runs one job, and no worker takes part.

Most runs send some hundred rows. To plan their encoding in the JVM, to look for the stage, to start workers and to
write and list files takes longer than all the rest.

With an outbox Spark encodes few rows too: the hash of a row's content must be the same when they are many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.exact import FRACTIONS, INTEGERS, TEXT, is_text, plain_type
from sama_spark.outbound.columns import numbered
from sama_spark.outbound.cut import ROWS_AT_A_TIME, PieceCutter
from sama_spark.outbound.encoded_batch import EncodedBatch
from sama_spark.outbound.pieces import StreamedPiece

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from sama_spark.outbound.encode_values import Columns

# So many rows, if none of them is larger than that: 80 MB at most.
FEW_ROWS, FEW_BYTES = 5_000, 1 << 14

_NUMBERS = (*INTEGERS, *FRACTIONS, T.DecimalType, T.BooleanType, T.NullType)


def can_be_fetched(schema: T.StructType) -> bool:
    """Return whether the driver gets the values of these columns as Spark has them, whatever its own time zone."""
    return all(
        isinstance(data_type, T.DateType | T.TimestampType) or _is_plain(data_type)
        for data_type in (plain_type(column.dataType) for column in schema.fields)
    )


def fetch_rows(df: DataFrame) -> list[Columns] | None:
    """Return the rows as `render_values` takes them, if they are few and small, else None: one Spark job."""
    rows, columns = numbered(df)
    sizes, values = [], []
    for _, name, data_type in columns:
        sizes.append(F.coalesce(_size(F.col(name), data_type), F.lit(0)))
        values.append(_value(F.col(name), data_type).alias(name))
    if not columns:
        return None
    found = _collect_small(rows, reduce(add, sizes), [F.struct(*values).alias("row")])
    return found if found is None else list(_batches([row[0] for row in found]))


def fetch_encoded(rows: DataFrame) -> list[EncodedBatch] | None:
    """Return rows that `encode` has encoded, if they are few and small, else None: one Spark job."""
    size = reduce(add, (F.coalesce(F.length(name), F.lit(0)) for name in rows.columns))
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


def _is_plain(data_type: T.DataType) -> bool:
    """Return whether `collect` gives values of this type unchanged: it reorders maps, and shifts nested moments."""
    if isinstance(data_type, T.ArrayType):
        return _is_plain(data_type.elementType)
    if isinstance(data_type, T.StructType):
        names = {name.lower() for name in data_type.names}
        return len(names) == len(data_type.names) and all(_is_plain(field.dataType) for field in data_type.fields)
    return is_text(data_type) or isinstance(data_type, _NUMBERS)


def _size(column: Column, data_type: T.DataType) -> Column:
    if isinstance(data_type, T.ArrayType | T.StructType):
        return F.length(column.cast(TEXT))
    return F.length(column) if is_text(data_type) else F.lit(8)


def _value(column: Column, data_type: T.DataType) -> Column:
    if isinstance(data_type, T.DateType):
        return F.unix_date(column)
    return F.unix_micros(column) if isinstance(data_type, T.TimestampType) else column
