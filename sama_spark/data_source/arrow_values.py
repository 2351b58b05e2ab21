"""Arrow batches, as Spark hands them to a writer's workers, to Python values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sama_spark.outbound.cut import ROWS_AT_A_TIME

if TYPE_CHECKING:
    import pyarrow as pa


def column_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[list[list[Any]]]:
    """Yield some hundred rows at a time, column by column.

    Dates are days and timestamps are microseconds since 1970: Python's own types end at the year 9999.
    """
    for batch in batches:
        # Cast before it is sliced: pyarrow fails to read a cast slice that has a struct with nulls alone.
        columns = [column.cast(_as_numbers(column.type)) for column in batch.columns]
        for start in range(0, batch.num_rows, ROWS_AT_A_TIME):
            yield [column.slice(start, ROWS_AT_A_TIME).to_pylist() for column in columns]


def _as_numbers(kind: pa.DataType) -> pa.DataType:
    """Return the type with whole numbers for dates and timestamps, at any depth."""
    import pyarrow as pa

    if pa.types.is_date32(kind):
        return pa.int32()
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _as_numbers(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(_as_numbers(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _as_numbers(field.type)) for field in kind])
    return kind
