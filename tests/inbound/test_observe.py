"""The schema of JSON texts: Spark computes it, and where Spark cannot, the driver finds the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyspark")

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.errors import InvalidInput
from sama_spark.inbound.delivery_types import learnt_type, observed_type
from sama_spark.inbound.observe import observed_schemas
from sama_spark.inbound.table import asked_type

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.core, pytest.mark.one_kind]

CASES: list[tuple[list[str | None], str, str]] = [
    (['{"a": 1}', '{"a": 2.5, "b": null}'], "struct<a:double,b:string>", "struct<a:double>"),
    (['{"a": 1}', None, "null", "{not json"], "struct<a:bigint>", "struct<a:double>"),
    (['{"a": [], "b": {}}'], "struct<a:array<string>,b:map<string,string>>", "void"),
    (['{"a": [1, 2.5], "b": [[true]]}'], "struct<a:array<double>,b:array<array<boolean>>>", ""),
    (['{"a": "x"}', '{"a": {"b": 1}}'], "struct<a:string>", ""),
    (['{"a": {"b": 1}}', '{"a": 1}'], "struct<a:string>", ""),
    (['{"with space": {"b`c": "x", "VOID": 1e40}}'], "struct<with space:struct<VOID:double,b`c:string>>", ""),
    ([json.dumps({"n": 2**70, "m": -(2**63)})], "struct<m:bigint,n:double>", "struct<m:double,n:double>"),
    ([None, "null"], "string", "void"),
]


@pytest.mark.parametrize(("texts", "observed", "learnt"), CASES)
def test_both_ways_agree(
    spark: SparkSession, texts: list[Any], observed: str, learnt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = spark.createDataFrame([(text,) for text in texts], "text string")

    def seen() -> tuple[str, str]:
        [schema] = observed_schemas(column)
        return observed_type(schema).simpleString(), learnt_type(schema).simpleString()

    spark_says = seen()
    monkeypatch.delattr(F, "schema_of_variant_agg", raising=False)
    assert seen() == spark_says
    assert spark_says == (observed, learnt or observed)


def test_what_is_missing_is_named(spark: SparkSession) -> None:
    if hasattr(T, "VariantType"):
        assert asked_type(spark, "variant") == T.VariantType()
    else:
        with pytest.raises(InvalidInput, match=r"no VARIANT, which came with 4\.0: take STRING"):
            asked_type(spark, "variant")
