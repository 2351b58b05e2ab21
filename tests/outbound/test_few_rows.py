"""Few rows are collected as they come encoded; more rows, or larger ones, never reach the driver at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("pyspark")

from pyspark.sql import functions as F

from sama_spark.outbound.creation_schema import CreationSchema
from sama_spark.outbound.encode import encode
from sama_spark.outbound.encoded_batch import EncodedBatch
from sama_spark.outbound.few_rows import FEW_BYTES, FEW_ROWS, fetch_few

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.one_kind


def fetched(df: DataFrame) -> list[EncodedBatch] | None:
    return fetch_few(encode(df, CreationSchema(), {}).rows)


@pytest.mark.both_kinds
@pytest.mark.parametrize(("rows", "are_few"), [(1, True), (FEW_ROWS, True), (FEW_ROWS + 1, False)])
def test_by_their_number(spark: SparkSession, rows: int, are_few: bool) -> None:
    found = fetched(spark.range(rows, numPartitions=3).selectExpr("id AS n"))
    assert (found is not None) == are_few
    if found is not None:
        tasks = [task for batch in found for task in batch.tasks]
        assert tasks == [b'"data":{"n":%d}' % n for n in range(rows)]


@pytest.mark.parametrize(
    "large", ["repeat('x', {size}) AS url", """concat('{{"a":"', repeat('x', {size}), '"}}') AS output_objects"""]
)
def test_by_the_size_of_each(spark: SparkSession, large: str) -> None:
    """One large row is enough, also where its JSON text is spliced later."""
    for size, are_few in ((FEW_BYTES - 200, True), (FEW_BYTES + 1, False)):
        df = spark.range(10, numPartitions=2).selectExpr(large.format(size=f"if(id = 7, {size}, 1)"))
        assert (fetched(df) is not None) == are_few


def test_no_rows_are_few(spark: SparkSession) -> None:
    assert fetched(spark.range(3).where(F.lit(False))) == []
