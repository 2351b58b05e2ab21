"""Rows of thousands of columns: what is planned grows with the columns, and not with their square."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from test_encode import INTEGER, STRING, known, tasks_of

from sama_spark.outbound.columns import Computed
from sama_spark.outbound.creation_schema import CreationSchema, Rule
from sama_spark.outbound.encode import encode
from sama_spark.outbound.row_keys import OutboxKeys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def wide(spark: SparkSession, columns: int) -> tuple[DataFrame, CreationSchema]:
    """One row of texts, with a number and a date in between."""
    kinds = ["string"] * 8 + ["int", "date"]
    names = [f"column {i}" for i in range(columns)]
    row = [f"cast('{'2024-02-29' if i % 10 == 9 else i}' AS {kinds[i % 10]})" for i in range(columns)]
    df = spark.sql(f"SELECT {', '.join(f'{value} AS `{name}`' for value, name in zip(row, names, strict=True))}")
    return df, known(**{name: STRING if i % 10 else Rule("string", required=True) for i, name in enumerate(names)})


@pytest.mark.parametrize("columns", [300, pytest.param(2000, marks=pytest.mark.long)])
def test_many_columns(spark: SparkSession, columns: int) -> None:
    df, contract = wide(spark, columns)
    [text], invalid = tasks_of(df, contract)
    assert invalid == []
    assert json.loads(text) == {f"column {i}": "2024-02-29" if i % 10 == 9 else str(i) for i in range(columns)}
    _, [row] = tasks_of(
        df.selectExpr("*", "null AS last").drop(f"column {columns - 10}"),
        known(**dict.fromkeys(df.columns, STRING), last=Rule("string", required=True)),
    )
    assert (row.column, row.value) == ("last", "null")


def test_the_first_column_with_a_problem_is_told(spark: SparkSession) -> None:
    df = spark.sql("SELECT 'u' AS a, '/Volumes/x' AS b, cast(null AS string) AS c, 'x' AS d, double('NaN') AS e")
    required = Rule("string", required=True)
    contract = known(a=STRING, b=STRING, c=required, d=INTEGER, e=STRING)
    for gone, first in (((), "b"), (("b",), "c"), (("b", "c"), "d"), (("b", "c", "d"), "e")):
        rules = {name: rule for name, rule in contract.inputs.items() if name not in gone}
        assert [row.column for row in tasks_of(df.drop(*gone), known(**rules))[1]] == [first]


@pytest.mark.one_kind
def test_few_expressions_for_many_columns(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many for 200 columns as for 20, with an outbox too."""
    added: list[int] = []
    add = Computed.add
    monkeypatch.setattr(Computed, "add", lambda self, column: (added.append(1), add(self, column))[1])
    counts = []
    for columns in (20, 200):
        added.clear()
        df, contract = wide(spark, columns)
        encode(df, contract, {}, outbox_keys=OutboxKeys())
        counts.append(len(added))
    assert counts[0] == counts[1] > 0
