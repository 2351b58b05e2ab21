"""Collations, lengths and voids say nothing about a value: bytes are compared, and a void is a null."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import types as T
from test_encode import DATE, INTEGER, STRING, known, tasks_of
from test_rows import by_the_writer

from sama_spark import Client, exact
from sama_spark.errors import ContractError
from sama_spark.outbound.creation_schema import Contract, Rule
from sama_spark.outbound.encode import TaskFields, encode
from sama_spark.outbound.row_keys import OutboxKeys

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

collations = pytest.mark.skipif(not hasattr(T, "VariantType"), reason="collations came with Spark 4.0")
COLLATIONS = ["UTF8_LCASE", "UNICODE_CI", "UNICODE", "UTF8_BINARY_RTRIM", "UNICODE_CI_AI"]

VOIDS = [
    ("NULL", STRING),
    ("NULL", INTEGER),
    ("NULL", DATE),
    ("NULL", Rule()),
    ("NULL", Rule("string", options=("a", "b"))),
]


def test_a_void_column_is_null(spark: SparkSession) -> None:
    for sql, rule in VOIDS:
        df = spark.sql(f"SELECT 'u' AS url, {sql} AS v, NULL AS output_o, NULL AS output_note")
        contract = Contract() if rule == Rule() else known(url=STRING, v=rule)
        assert tasks_of(df, contract) == (['{"url":"u"}'], []), rule
        assert by_the_writer(df, contract) == (
            [{"data": {"url": "u"}, "priority": ("whole number", "0"), "submit": False}],
            [],
        )


@pytest.mark.both_kinds
def test_voids_within_values(spark: SparkSession) -> None:
    df = spark.sql(
        "SELECT named_struct('a', NULL, 'b', 1) AS s, array() AS none, array(NULL) AS nulls, map('k', NULL) AS m"
    )
    texts, invalid = tasks_of(df)
    assert invalid == []
    assert texts == ['{"s":{"b":1},"none":[],"nulls":[null],"m":{"k":null}}']
    assert by_the_writer(df, Contract())[0][0]["data"] == json.loads(texts[0], parse_int=lambda t: ("whole number", t))


def test_a_required_void_rejects_each_row(spark: SparkSession) -> None:
    df = spark.sql("SELECT 'u' AS url, NULL AS v")
    contract = known(url=STRING, v=Rule("integer", required=True))
    for found in (tasks_of(df, contract), by_the_writer(df, contract)):
        assert found[0] == []
        assert [(row.column, row.reason[:7]) for row in found[1]] == [("v", "is null")]


def test_a_void_priority_and_key(spark: SparkSession) -> None:
    df = spark.sql("SELECT 'u' AS url, NULL AS p, NULL AS k")
    row = encode(df, Contract(), {}, TaskFields(priority_column="p", row_key=("k",), not_sent=("k",))).rows.collect()[0]
    assert bytes(row[0]) == b'"priority":0,"data":{"url":"u"}'
    keyed = encode(df, Contract(), {}, TaskFields(not_sent=("k", "p")), outbox_keys=OutboxKeys(("k",))).rows.collect()
    assert b'"column":"k"' in bytes(keyed[0][1])


@collations
@pytest.mark.parametrize("collation", COLLATIONS)
def test_checks_compare_bytes(spark: SparkSession, collation: str) -> None:
    values = ["sun", "SUN", "sun ", "s\u00fcn"]
    df = spark.createDataFrame([(value,) for value in values], "v string").coalesce(1)
    df = df.selectExpr(f"v COLLATE {collation} AS v")
    contract = known(v=Rule("string", options=("sun",)))
    for texts, invalid in (tasks_of(df, contract), by_the_writer(df, contract)):
        assert len(texts) == 1
        assert [row.value for row in invalid] == ['"SUN"', '"sun "', '"s\u00fcn"']


@collations
@pytest.mark.parametrize("collation", COLLATIONS)
@pytest.mark.both_kinds
def test_every_kind_of_text_may_have_a_collation(spark: SparkSession, collation: str) -> None:
    line = (
        "'u' AS url, '7' AS number, '2024-02-29' AS day, 'x' AS k, '{\"a\": 1}' AS output_o, 'N' AS output_note, "
        "named_struct('t', 'A', 'l', array('b', 'B')) AS s, map('k', 'V') AS m"
    )
    plain = spark.sql(f"SELECT {line}")
    types = {f.name: f.dataType for f in plain.schema.fields}
    collated = plain.selectExpr(
        *(f"{n} COLLATE {collation} AS {n}" for n, t in types.items() if n not in ("s", "m")),
        f"cast(s AS struct<t: string COLLATE {collation}, l: array<string COLLATE {collation}>>) AS s",
        f"cast(m AS map<string, string COLLATE {collation}>) AS m",
    )
    contract = known(url=STRING, number=INTEGER, day=DATE, k=STRING, s=Rule(), m=Rule())
    fields = TaskFields(row_key=("k",), not_sent=("k",))
    for keys in (OutboxKeys(("k",)), OutboxKeys()):
        found = [encode(df, contract, {}, fields, outbox_keys=keys).rows.collect() for df in (collated, plain)]
        assert found[0] == found[1]
    assert by_the_writer(collated, contract, fields) == by_the_writer(plain, contract, fields)
    bad = collated.selectExpr(
        "'/VOLUMES/c' COLLATE " + collation + " AS url", "'07' COLLATE " + collation + " AS number"
    )
    assert [row.column for row in tasks_of(bad, contract)[1]] == ["url"]


@collations
def test_an_outbox_tells_keys_apart_by_bytes(spark: SparkSession, sandbox: Sandbox, tmp_path: Path) -> None:
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    project = str(sandbox.create_project({"url": "string", "name": "string"}, {}))
    df = spark.createDataFrame([("u", "a"), ("u", "A"), ("u", "a ")], "url string, name string")
    df = df.selectExpr("url", "name COLLATE UTF8_LCASE AS name")
    outbox = str(tmp_path / "outbox")

    def send(rows: Any) -> int:
        return client.create_task_batch_from_table(rows, project, outbox=outbox, row_key="name").task_count

    assert send(df.where("hex(name) = '61'")) == 1
    assert send(df) == 2
    assert sorted(task["data"]["name"] for task in sandbox.tasks(int(project))) == ["A", "a", "a "]


@pytest.mark.parametrize("name", ["row_key", "not_sent", "priority_column"])
@pytest.mark.both_kinds
def test_unknown_names_get_a_question(spark: SparkSession, name: str) -> None:
    df = spark.createDataFrame([("u", 1)], "url string, Urgency int")
    value: Any = "urgency" if name == "priority_column" else ("urgency",)
    with pytest.raises(ContractError, match=r"'urgency'.*do you mean `Urgency`\?"):
        encode(df, Contract(), {}, TaskFields(**{name: value}))


def test_nan_is_told_as_it_is(spark: SparkSession) -> None:
    df = spark.sql("SELECT array(1.0D, double('NaN'), double('-Infinity')) AS v")
    for _, invalid in (tasks_of(df), by_the_writer(df, Contract())):
        assert [row.value for row in invalid] == ["[1.0,NaN,-Infinity]"]
    text = spark.sql("SELECT '\"NaN\"' AS v")
    assert tasks_of(text, known(v=Rule("string", options=("a",))))[1][0].value == '"\\"NaN\\""'


def test_a_plain_type_is_left_alone() -> None:
    nested = T.StructType([T.StructField("a", T.ArrayType(T.MapType(T.StringType(), T.LongType())))])
    assert exact.plain_type(nested).simpleString() == nested.simpleString()
    assert exact.plain_type(T.VarcharType(5)) == exact.plain_type(T.CharType(5)) == T.StringType()
    assert exact.plain_type(T.NullType()) == T.StringType()
    assert exact.plain_type(T.DecimalType(5, -2)) == T.DecimalType(7, 0)
    assert exact.plain_type(T.DecimalType(38, -2)) == T.DecimalType(38, 0)
