"""The creation schema decides which columns travel, and how."""

from __future__ import annotations

from typing import Any

import pytest

from sama_spark.errors import ContractError
from sama_spark.outbound.creation_schema import CreationSchema, Rule

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "object",
            "required": ["url"],
            "properties": {
                "url": {"type": "string"},
                "count": {"type": ["integer", "null"], "minimum": 0},
                "day": {"type": "string", "format": "date"},
                "colour": {"type": "string", "enum": ["red", "green"]},
                "odd": {"type": ["string", "integer"]},
                "output_objects": {"type": "object"},
                "output_notes": {"type": "string"},
            },
            "additionalProperties": False,
        }
    },
}


def test_rules_come_from_the_schema() -> None:
    contract = CreationSchema.from_schemas(SCHEMA)
    kinds = {name: rule.kind for name, rule in contract.inputs.items()}
    assert kinds == {"url": "string", "count": "integer", "day": "date", "colour": "string", "odd": "any"}
    assert {name: rule.kind for name, rule in contract.outputs.items()} == {"objects": "json", "notes": "string"}
    assert contract.rule("url").required
    assert contract.rule("count").minimum == 0
    assert contract.rule("colour").options == ("red", "green")


def test_outputs_missing_there_come_from_the_delivery_schema() -> None:
    create = {"properties": {"data": {"properties": {"url": {"type": "string"}}}}}
    deliver = {"properties": {"answers": {"properties": {"objects": {"type": "object"}}}}}
    assert CreationSchema.from_schemas(create, deliver).rule("output_objects").kind == "json"


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        (["url", "url"], "'url': the name stands more than once"),
        (["url", "urll"], "'urll': the project has no input of this name"),
        (["url", "output_boxes"], "'output_boxes': the project has no output of this name"),
        (["count"], "'url': the project requires this input"),
    ],
)
def test_columns_that_do_not_fit_are_named(columns: list[str], named: str) -> None:
    with pytest.raises(ContractError) as caught:
        CreationSchema.from_schemas(SCHEMA).check_columns(columns, {})
    assert named in str(caught.value)


def test_all_that_is_wrong_is_in_one_error() -> None:
    with pytest.raises(ContractError) as caught:
        CreationSchema.from_schemas(SCHEMA).check_columns(["a", "b", "output_c"], {"d": "json"})
    assert all(f"'{name}'" in str(caught.value) for name in ("a", "b", "output_c", "output_d", "url"))


def test_inputs_that_sama_adds_itself_may_be_sent_back() -> None:
    CreationSchema.from_schemas(SCHEMA).check_columns(["url", "objects Original url", "objects Height"], {})


def test_without_a_schema_any_name_goes() -> None:
    contract = CreationSchema()
    contract.check_columns(["anything", "output_x"], {})
    assert contract.rule("anything") == Rule()


@pytest.mark.parametrize(
    ("column", "meant"),
    [("URL", "url"), ("Url ", "url"), ("urll", "url"), ("output_Objects", "output_objects"), ("colours", "colour")],
)
def test_an_unknown_column_gets_a_question(column: str, meant: str) -> None:
    with pytest.raises(ContractError, match=f"do you mean `{meant}`\\?"):
        CreationSchema.from_schemas(SCHEMA).check_columns(["url", column], {})


def test_what_looks_like_nothing_gets_none() -> None:
    with pytest.raises(ContractError) as caught:
        CreationSchema.from_schemas(SCHEMA).check_columns(["url", "zzz"], {})
    assert "do you mean" not in str(caught.value)


def test_thousands_of_unknown_columns_are_told_at_once() -> None:
    names = [f"unknown {i}" for i in range(5000)]
    properties = {f"known {i}": {"type": "string"} for i in range(5000)}
    contract = CreationSchema.from_schemas({"properties": {"data": {"properties": properties}}})
    with pytest.raises(ContractError, match="unknown 4999"):
        contract.check_columns(names, {})


def test_only_the_creation_schema_says_how_an_output_looks() -> None:
    contract = CreationSchema.from_schemas(SCHEMA)
    assert contract.rule("output_objects").json_schema == '{"type": "object"}'
    assert {contract.rule(name).json_schema for name in ("output_notes", "url", "odd")} == {""}
    create = {"properties": {"data": {"properties": {"url": {"type": "string"}}}}}
    deliver = {"properties": {"answers": {"properties": {"objects": {"type": "object", "required": ["a"]}}}}}
    assert CreationSchema.from_schemas(create, deliver).rule("output_objects").json_schema == ""
