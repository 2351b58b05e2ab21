"""Few rows are collected, as they are or encoded; more or larger ones never reach the driver at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("pyspark")

from pyspark.sql import functions as F

from sama_spark.outbound.creation_schema import CreationSchema
from sama_spark.outbound.encode import encode
from sama_spark.outbound.few_rows import FEW_BYTES, FEW_ROWS, can_be_fetched, fetch_encoded, fetch_rows
from sama_spark.outbound.task_fields import TaskFields

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.outbound.encode_values import Columns

pytestmark = pytest.mark.one_kind


def fetched(df: DataFrame) -> list[Columns] | None:
    return fetch_rows(df, TaskFields())


def fetched_as_encoded(df: DataFrame) -> list[Columns] | None:
    batches = fetch_encoded(encode(df, CreationSchema(), {}).rows)
    return None if batches is None else [[batch.tasks] for batch in batches]


Fetch = Callable[["DataFrame"], "list[Columns] | None"]
by_both = pytest.mark.parametrize("fetch", [fetched, fetched_as_encoded])


@by_both
@pytest.mark.both_kinds
@pytest.mark.parametrize(("rows", "are_few"), [(1, True), (FEW_ROWS, True), (FEW_ROWS + 1, False)])
def test_by_their_number(spark: SparkSession, fetch: Fetch, rows: int, are_few: bool) -> None:
    found = fetch(spark.range(rows, numPartitions=3).selectExpr("id AS n"))
    assert (found is not None) == are_few
    if found is not None:
        values = [value for (column,) in found for value in column]
        assert values == ([*range(rows)] if fetch is fetched else [b'"data":{"n":%d}' % n for n in range(rows)])


@by_both
@pytest.mark.parametrize(
    "large",
    [
        "repeat('x', {size}) AS url",
        """concat('{{"a":"', repeat('x', {size}), '"}}') AS output_objects""",
    ],
)
def test_by_the_size_of_each(spark: SparkSession, fetch: Fetch, large: str) -> None:
    """One large row is enough, also where its JSON text is spliced later."""
    for size, are_few in ((FEW_BYTES - 200, True), (FEW_BYTES + 1, False)):
        df = spark.range(10, numPartitions=2).selectExpr(large.format(size=f"if(id = 7, {size}, 1)"))
        assert (fetch(df) is not None) == are_few


@by_both
def test_no_rows_are_few(spark: SparkSession, fetch: Fetch) -> None:
    assert fetch(spark.range(3).where(F.lit(False))) == []


@pytest.mark.both_kinds
@pytest.mark.parametrize("count", [300, 1_000])
def test_many_columns(spark: SparkSession, count: int) -> None:
    df = spark.range(2, numPartitions=1).selectExpr(*(f"'{n}' AS `a.{n}`" for n in range(count)))
    assert fetch_rows(df, TaskFields()) == [[(f"{n}",) * 2 for n in range(count)]]


@pytest.mark.both_kinds
def test_what_is_not_sent_is_neither_computed_nor_weighed(spark: SparkSession) -> None:
    df = spark.range(2, numPartitions=1).selectExpr(
        "id",
        "raise_error('computed') AS bad",
        f"repeat('x', {FEW_BYTES + 1}) AS large",
        "array(id) AS nested",
        "id AS k",
    )
    fields = TaskFields(not_sent=("bad", "large", "nested", "k"), row_key=("k",))
    assert can_be_fetched(df.schema, fields)
    assert fetch_rows(df, fields) == [[(0, 1), *[(None, None)] * 3, (0, 1)]]
    assert not can_be_fetched(df.schema, TaskFields())


@pytest.mark.both_kinds
def test_texts_that_are_no_utf_8_are_not_fetched(spark: SparkSession) -> None:
    """What becomes of them is told by one place, whatever the number of rows."""
    df = spark.sql("SELECT cast(X'e4' AS string) AS v UNION ALL SELECT 'plain'")
    assert fetch_rows(df, TaskFields()) is None
    assert fetch_rows(df.where("v = 'plain'"), TaskFields()) == [[("plain",)]]


def test_no_columns_are_nothing_to_fetch(spark: SparkSession) -> None:
    assert not can_be_fetched(spark.range(1).select().schema, TaskFields())
