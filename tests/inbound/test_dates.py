"""A date is YYYY-MM-DD, at any depth; anything else is null and its task is kept whole, on every Spark."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyspark")

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.inbound.delivery_types import saveable
from sama_spark.inbound.table import RESCUED, typed_tasks
from sama_spark.vendors.sama.envelope import ENVELOPE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = T.DateType()
KIND = T.StructType(
    [
        T.StructField("day", DAY),
        T.StructField("list", T.ArrayType(T.ArrayType(DAY))),
        T.StructField("map", T.MapType(T.StringType(), DAY)),
        T.StructField("of `film`", T.StructType([T.StructField("a b", DAY), T.StructField("text", T.StringType())])),
    ]
)
GOOD = ["2024-02-29", "0001-01-01", "9999-12-31"]
BAD = ["2024-02-30", "2024-13-01", "0000-12-31", "-0001-01-01", "2024", "12345", "2024-1-5", "2024-01-01T00:00:00Z"]
BAD += [" 2024-01-01", "", "x"]
ODD = [2024, 12345, 19000.5, True, ["2024-01-01"], {"day": "2024-01-01"}]


@pytest.mark.core
@pytest.mark.one_kind
def test_a_date_or_null_and_the_whole_text(spark: SparkSession) -> None:
    values: list[Any] = [*GOOD, None, *BAD, *ODD]
    answers = [
        answer
        for value in values
        for answer in (
            {"day": value},
            {"list": [["2024-01-31", value], [], None]},
            {"map": {"k": value}},
            {"of `film`": {"a b": value, "text": "kept"}},
        )
    ]
    rows = [(str(n), json.dumps({"answers": answer}), None, None) for n, answer in enumerate(answers)]
    df = spark.createDataFrame(rows, "id string, raw string, data_raw string, answers_raw string")
    df = df.withColumn("delivered_at", F.lit(None).cast("timestamp"))
    found = typed_tasks(df, T.StringType(), KIND, ENVELOPE).collect()
    for row in found:
        n, place = divmod(int(row.id), 4)
        value, typed = values[n], list(row.answers.asDict(recursive=True).values())[place]
        day = datetime.date.fromisoformat(value) if value in GOOD else None
        parts = [day, [[datetime.date(2024, 1, 31), day], [], None], {"k": day}, {"a_b": day, "text": "kept"}]
        assert (row[RESCUED] is None) == (value is None or value in GOOD), value
        # Of what is of another kind the whole part may be null.
        assert typed == parts[place] or (typed is None and value in ODD), value
    assert len(found) == len(answers)
    assert saveable(KIND) == typed_tasks(df, T.StringType(), KIND, ENVELOPE).schema["answers"].dataType
