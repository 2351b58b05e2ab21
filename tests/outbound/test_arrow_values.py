"""Arrow batches as Python values: dates and timestamps as numbers at any depth, all rows, whatever the types."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

pytest.importorskip("pyspark.sql.datasource")

from sama_spark.data_source.arrow_values import column_batches
from sama_spark.outbound.cut import ROWS_AT_A_TIME

DAY, DAYS = date(2024, 2, 29), 19_782
MOMENT, MICROS = datetime(1969, 12, 31, 23, 59, 59, 999_999, timezone.utc), -1
UTC, WALL = pa.timestamp("us", "UTC"), pa.timestamp("us")


def required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


FLAT: list[tuple[pa.DataType, Any, Any]] = [
    (pa.date32(), DAY, DAYS),
    (UTC, MOMENT, MICROS),
    (WALL, MOMENT.replace(tzinfo=None), MICROS),
    (pa.null(), None, None),
    (pa.bool_(), True, True),
    (pa.decimal128(18, 6), Decimal("1.500000"), Decimal("1.500000")),
    (pa.float32(), 0.5, 0.5),
    (pa.string(), "é", "é"),
    (pa.large_string(), "é", "é"),
    (pa.binary(), b"a", b"a"),
]


@pytest.mark.parametrize(("kind", "given", "found"), FLAT, ids=[str(kind) for kind, _, _ in FLAT])
def test_every_row_at_any_depth(kind: pa.DataType, given: Any, found: Any) -> None:
    struct = pa.struct([pa.field("v", kind), required("n", pa.int64())])
    types = [
        kind,
        struct,
        pa.list_(required("element", struct)),
        pa.map_(pa.int64(), pa.field("value", struct)),
    ]
    rows = 2 * ROWS_AT_A_TIME + 1
    columns = [
        pa.array([wrapped(level, given, n) if n % 7 else None for n in range(rows)], wanted)
        for level, wanted in enumerate(types)
    ]
    batch = pa.RecordBatch.from_arrays(columns, ["flat", "struct", "list", "map"])
    batches = list(column_batches([batch, batch.slice(0, 0)]))
    assert [len(values[0]) for values in batches] == [ROWS_AT_A_TIME, ROWS_AT_A_TIME, 1]
    for level in range(len(types)):
        values = [value for columns in batches for value in columns[level]]
        assert values == [wrapped(level, found, n) if n % 7 else None for n in range(rows)]


def wrapped(level: int, value: Any, number: int) -> Any:
    struct = {"v": value, "n": number}
    return (value, struct, [struct, struct], [(number, struct)])[level]


def test_dates_beyond_those_of_python() -> None:
    days = pa.array([2_932_897, -800_000], pa.int32()).view(pa.date32())
    assert list(column_batches([pa.RecordBatch.from_arrays([days], ["day"])])) == [[[2_932_897, -800_000]]]
