"""The delivery schema gives the types of `data` and `answers`, whatever was delivered."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pyspark")

from sama_spark.inbound.delivery_types import delivery_types, saveable


def types_of(data: dict[str, Any], answers: dict[str, Any]) -> tuple[str, str]:
    schema = {
        "definitions": {"point": {"type": "array", "items": {"type": "number"}}},
        "properties": {"data": {"properties": data}, "answers": {"properties": answers}},
    }
    types = delivery_types(schema)
    return types[0].simpleString(), types[1].simpleString()


NODES: list[tuple[dict[str, Any], str]] = [
    ({"type": "string"}, "string"),
    ({"type": ["string", "null"]}, "string"),
    ({"type": "string", "format": "date"}, "date"),
    ({"type": "integer"}, "bigint"),
    ({"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}, "int"),
    ({"type": "number"}, "double"),
    ({"type": "boolean"}, "boolean"),
    ({"type": "array", "items": {"$ref": "#/definitions/point"}}, "array<array<double>>"),
    ({"type": "array"}, "string"),
    ({"type": "object", "properties": {"a": {"type": "string"}}}, "struct<a:string>"),
    ({"type": "object"}, "map<string,string>"),
    ({"type": "object", "properties": {}}, "map<string,string>"),
    ({"type": "object", "additionalProperties": {"type": "string"}, "examples": [{"a": "1"}]}, "map<string,string>"),
    ({"type": "object", "properties": {"A": {}, "a": {}}}, "map<string,string>"),
    ({"type": "object", "properties": {f"k{i}": {} for i in range(500)}}, "map<string,string>"),
    ({"type": "object", "properties": {"a b": {"type": "integer"}, "c": {}}}, "map<string,string>"),
    ({"type": "object", "properties": {"a b": {"type": "array", "items": {}}}}, "struct<a b:array<string>>"),
    ({"type": ["object", "string"]}, "string"),
    ({"anyOf": [{"type": "string"}, {"type": "object"}]}, "string"),
    ({}, "string"),
    ({"examples": [{"a": 1, "b": None}, {"a": 2.5, "c": []}]}, "struct<a:double,b:string,c:array<string>>"),
    ({"examples": [{"tags": {"x": "1"}}, {"tags": {}}]}, "struct<tags:map<string,string>>"),
    ({"examples": ["a", {"b": 1}]}, "string"),
    ({"$ref": "#/definitions/missing"}, "string"),
    ({"$ref": "#/properties/answers/properties/o"}, "string"),
]


@pytest.mark.parametrize(("node", "expected"), NODES)
def test_type(node: dict[str, Any], expected: str) -> None:
    assert types_of({"i": node}, {"o": node}) == (f"struct<i:{expected}>", f"struct<o:{expected}>")


def test_field_names_that_delta_takes() -> None:
    schema = {"properties": {"answers": {"properties": {"my (boxes)": {"type": "array", "items": {}}}}}}
    assert saveable(delivery_types(schema)[1]).simpleString() == "struct<my__boxes_:array<string>>"


def test_depth_is_bounded() -> None:
    node: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        node = {"type": "object", "properties": {"deeper": node}}
    assert types_of({}, {"o": node})[1].count("struct") <= 12


@pytest.mark.parametrize("schema", [{}, {"properties": None}, {"properties": {"data": 1, "answers": []}}])
def test_a_schema_that_says_nothing_leaves_json_text(schema: dict[str, Any]) -> None:
    assert [t.simpleString() for t in delivery_types(schema)] == ["string", "string"]
