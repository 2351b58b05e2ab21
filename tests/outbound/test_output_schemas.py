"""Structured outputs are held against the creation schema, as far as it says how they look, and no further."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pyspark.sql import types as T
from test_encode import tasks_of
from test_rows import by_the_writer

from sama_spark import boxes_to_output
from sama_spark.errors import ContractError
from sama_spark.outbound import output_schemas
from sama_spark.outbound.creation_schema import CreationSchema
from sama_spark.outbound.cut import PieceCutter
from sama_spark.outbound.encode import encode
from sama_spark.outbound.encode_values import plan_rows
from sama_spark.outbound.encoded_batch import EncodedBatch
from sama_spark.outbound.task_fields import TaskFields
from sama_spark.sandbox.definitions import Output
from sama_spark.sandbox.schemas import example, value

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CHECKBOX = {
    "type": "object",
    "properties": {"rain": {"type": "string", "enum": ["0", "1"]}, "a \u00fc": {"type": "string"}},
    "additionalProperties": False,
}
IMAGE = value(Output("image"))
LIST = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
EITHER = {"type": ["object", "array"]}


def verdict(schema: Any, text: str) -> str:
    """What the workers say of a text."""
    rows = EncodedBatch.of([[b'"data":{}'], [None], [None], [None], [text.encode()]])
    [(header, body)] = PieceCutter(b"{", (("output_o", json.dumps(schema)),)).pieces([rows])
    return msgspec.json.decode(b"[" + body + b"]")[0]["reason"] if header.invalid_rows else ""


FIT = [
    (CHECKBOX, "{}"),
    (CHECKBOX, '{"rain":"1"}'),
    (CHECKBOX, '{"rain":null}'),
    (CHECKBOX, ' {"rain": "0", "a \u00fc": "x"}\n'),
    (IMAGE, '{"layers":{"vector_tagging":[]}}'),
    (IMAGE, '{"layers":{"vector_tagging":[{"shapes":[{"type":"point","points":[[1,2.5]]}],"more":[1]}]},"more":1}'),
    (LIST, "[0, 1.0, 12345678901234567890123]"),
    (LIST, "[1e400]"),
    (EITHER, "{}"),
    (EITHER, "[[]]"),
    ({"type": "object", "additionalProperties": {"type": "string"}}, '{"x":"1"}'),
    ({"type": "object", "anyOf": [{"required": ["a"]}]}, "{}"),
    ({"type": "object", "properties": {"a": {"$ref": "#/x"}}}, '{"a":[{"b":1e9}]}'),
    ({"type": "object", "properties": {"a": {"type": ["string", "null"], "pattern": "^x"}}}, '{"a":"y"}'),
    ({"type": "object", "properties": {'a"b': {"type": "string"}}}, '{"a\\"b":1}'),
    ({"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": False}, '{"xy":1}'),
    ({"type": "object", "properties": {"a": {"type": ["string", "integer", "array"]}}}, '{"a":[1]}'),
    ({"type": "object", "properties": {"a": {"type": "string", "format": "uri"}}}, '{"a":"no uri"}'),
    ({"type": "object", "properties": "nothing", "required": "a"}, "{}"),
]
MISFIT = [
    (CHECKBOX, '["rain"]', "array"),
    (CHECKBOX, '{"rain":"yes"}', "rain"),
    (CHECKBOX, '{"rain":1}', "rain"),
    (CHECKBOX, '{"snow":"1"}', "snow"),
    (IMAGE, "[[1,2,3,4]]", "array"),
    (IMAGE, "{}", "layers"),
    (IMAGE, '{"layers":null}', "layers"),
    (IMAGE, '{"layers":{}}', "vector_tagging"),
    (IMAGE, '{"layers":{"vector_tagging":[{"shapes":[{"type":"blob","points":[[1,2]]}]}]}}', "type"),
    (IMAGE, '{"layers":{"vector_tagging":[{"shapes":[{"type":"point","points":[["1",2]]}]}]}}', "points"),
    (LIST, "{}", "object"),
    (LIST, "[]", "length"),
    (LIST, "[-1]", ">= 0"),
    (LIST, "[1.5]", "multiple"),
    (LIST, '["1"]', "str"),
    ({"type": "object", "additionalProperties": {"type": "string"}}, '{"x":1}', "str"),
    ({"type": "object", "required": ["a"]}, "{}", "`a`"),
]


@pytest.mark.parametrize(("schema", "text"), FIT, ids=lambda v: str(v)[:30])
def test_what_the_schema_allows(schema: Any, text: str) -> None:
    assert verdict(schema, text) == ""


@pytest.mark.parametrize(("schema", "text", "named"), MISFIT, ids=lambda v: str(v)[:30])
def test_what_the_schema_refuses(schema: Any, text: str, named: str) -> None:
    reason = verdict(schema, text)
    assert reason.startswith("is not what the project's schema says of it")
    assert named in reason


def test_what_is_no_json_stays_no_json() -> None:
    assert verdict(CHECKBOX, '{"rain":').startswith("is not JSON")
    assert "structured" in verdict(CHECKBOX, "1")


@pytest.mark.parametrize("kind", ["image", "raster", "video", "3d", "checkbox"])
def test_what_annotators_give_fits(kind: Any) -> None:
    output = Output(kind, options=("rain", "sun")) if kind == "checkbox" else Output(kind)
    assert verdict(value(output), json.dumps(example(output))) == ""


TYPES = [
    (CHECKBOX, "array<string>", "array<string>"),
    (CHECKBOX, "struct<rain: string>", ""),
    (CHECKBOX, "struct<rain: int>", "rain"),
    (CHECKBOX, "struct<snow: string>", "snow"),
    (CHECKBOX, "map<string, string>", ""),
    (CHECKBOX, "string", "string"),
    (IMAGE, "array<array<int>>", "array<array<int>>"),
    (IMAGE, "struct<x: int>", "layers"),
    (IMAGE, "struct<layers: struct<vector_tagging: array<struct<shapes: array<int>>>>>", "shapes[]"),
    (LIST, "array<double>", ""),
    (LIST, "array<string>", "output_o[]"),
    (LIST, "struct<a: int>", "struct<a:int>"),
    (EITHER, "array<int>", ""),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, "map<string, string>", "output_o{}"),
    ({"type": "object", "anyOf": []}, "array<int>", ""),
]


@pytest.mark.one_kind
def test_columns(spark: SparkSession) -> None:
    for schema, sql, named in TYPES:
        data_type = spark.sql(f"SELECT cast(null AS {sql}) AS v").schema["v"].dataType
        found = "; ".join(output_schemas.misfits(data_type, schema, "output_o"))
        assert named in found
        assert bool(found) == bool(named), (sql, found)


def of(schema: Any) -> CreationSchema:
    return CreationSchema.from_schemas(
        {"properties": {"data": {"properties": {"url": {}, "n": {}, "output_o": schema}}}}
    )


def test_a_column_of_the_wrong_type_is_refused_before_anything_is_sent(spark: SparkSession) -> None:
    for sql, schema in (("array('rain')", CHECKBOX), ("array(array(1, 2))", IMAGE), ("struct(1 AS a)", LIST)):
        df = spark.sql(f"SELECT 'u' AS url, {sql} AS output_o")
        with pytest.raises(ContractError, match=r"'output_o'.*schema says") as function:
            encode(df, of(schema), {})
        with pytest.raises(ContractError) as writer:
            plan_rows(df.schema, of(schema), {}, TaskFields())
        assert str(writer.value) == str(function.value)
        encode(df, of(schema), {}, lenient=True)
        plan_rows(df.schema, of(schema), {}, TaskFields(), lenient=True)


def test_rows_of_the_wrong_shape_are_rejected(spark: SparkSession) -> None:
    texts = spark.createDataFrame(
        [("a", '{"rain":"1"}'), ("b", '["rain"]'), ("c", None)], "url string, output_o string"
    )
    maps = spark.sql(
        "SELECT * FROM VALUES ('a', map('rain', '1')), ('b', map('snow', '1')), ('c', null) AS t(url, output_o)"
    )
    structs = spark.sql(
        "SELECT * FROM VALUES ('a', named_struct('rain', '1')), ('b', named_struct('rain', '2')), ('c', null)"
        " AS t(url, output_o)"
    )
    for df in (texts, maps, structs):
        df = df.coalesce(1)  # noqa: PLW2901
        for tasks, invalid in (tasks_of(df, of(CHECKBOX)), by_the_writer(df, of(CHECKBOX))):
            assert len(tasks) == 2
            [row] = invalid
            assert (row.column, row.reason[:30]) == ("output_o", "is not what the project's sche")
        assert json.loads(tasks_of(df, of(CHECKBOX))[0][0]) == {"url": "a", "output_o": {"rain": "1"}}


def test_a_schema_that_takes_no_other_members_takes_what_helpers_give(spark: SparkSession) -> None:
    """And refuses these members of a user's own, by the column's type or row by row."""
    schema = _closed(IMAGE)
    rows = [("a", [[1.0, 2.0, 3.0, 4.0]]), ("b", [[9.0, 2.0, 3.0, 4.0]]), ("c", None)]
    df = spark.createDataFrame(rows, "url string, boxes array<array<double>>").coalesce(1)
    df = df.select("url", boxes_to_output("boxes").alias("output_o"))
    for tasks, invalid in (tasks_of(df, of(schema)), by_the_writer(df, of(schema))):
        assert len(tasks) == 2
        assert [(row.column, row.reason[:24]) for row in invalid] == [("output_o", "is no pre-annotation: ea")]
    good = df.where("url = 'a'")
    with pytest.raises(ContractError, match="has a field 'more'"):
        encode(good.selectExpr("url", "struct(output_o.layers, 1 AS more) AS output_o"), of(schema), {})
    [row] = tasks_of(good.selectExpr("url", "struct(output_o.layers, 'x' AS problem) AS output_o"), of(schema))[1]
    assert "unknown field `problem`" in row.reason


def _closed(schema: Any) -> Any:
    """The schema with `additionalProperties: false` in each object whose members it names."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    return closed | {"additionalProperties": False} if schema.get("properties") else closed


@pytest.mark.skipif(not hasattr(T, "VariantType"), reason="VARIANT came with Spark 4.0")
def test_a_variant_is_looked_at_row_by_row(spark: SparkSession) -> None:
    df = spark.sql("""SELECT parse_json(v) AS output_o FROM VALUES ('{"rain":"1"}'), ('["rain"]'), ('1') AS t(v)""")
    tasks, invalid = tasks_of(df.coalesce(1), of(CHECKBOX))
    assert tasks == ['{"output_o":{"rain":"1"}}']
    assert [row.value for row in invalid] == ['["rain"]', "1"]
