"""Decides how the values of an `output_` column become JSON."""

from __future__ import annotations

import json
from itertools import islice
from typing import Literal

from pyspark.sql import types as T

from sama_spark.api.marked_values import PROBLEM
from sama_spark.errors import ContractError
from sama_spark.exact import is_text
from sama_spark.outbound.creation_schema import OutputFormat, Rule
from sama_spark.outbound.output_schemas import misfits
from sama_spark.outbound.render import is_native_json

TextCheck = str
"""How a worker checks a text before it splices the text into a task.

"json": the text has to be an object or array. "auto": any other text becomes a string. Anything else is a JSON Schema,
as text: the text has to be an object or array that fits the schema.
"""


def output_rule(rule: Rule, data_type: T.DataType, chosen: OutputFormat | None) -> tuple[Rule, str]:
    """Return the rule for an output's values, and a sentence about it for the result.

    Args:
        rule: what the creation schema says.
        data_type: type of the column.
        chosen: what the user chose in `outputs`; None for no choice.
    """
    if chosen is not None:
        kind: Literal["json", "string"] = "json" if chosen == "json" else "string"
        json_schema = rule.json_schema if chosen == "json" else ""
        return Rule(kind=kind, required=rule.required, json_schema=json_schema), f"{chosen}, as asked"
    if is_native_json(data_type) and rule.kind in ("json", "any"):
        return rule, f"JSON, from a column of type {data_type.typeName()}"
    if rule.kind == "json":
        return rule, f"JSON text, because {rule.because}"
    if rule.kind == "any":
        how = "JSON where the text is an object or array, else text" if is_text(data_type) else "as it is"
        return rule, f"{how}: {rule.because}"
    return rule, f"text, because {rule.because}"


def text_check_of(rule: Rule, data_type: T.DataType, *, lenient: bool) -> TextCheck | None:
    """Return how a worker checks an output's JSON text and puts it into the task; None if Spark writes it as JSON."""
    json_schema = "" if lenient else rule.json_schema
    if is_text(data_type):
        return (json_schema or "json") if rule.kind == "json" else "auto" if rule.kind == "any" else None
    return json_schema if json_schema and is_native_json(data_type) else None


def refuse_misfit(rule: Rule, data_type: T.DataType, name: str) -> None:
    """Refuse a column if no value of its type can fit the creation schema.

    Raises:
        ContractError: it names up to three misfits.
    """
    if not is_native_json(data_type):
        return
    if found := list(islice(misfits(_as_sent(data_type), json.loads(rule.json_schema), name), 3)):
        raise ContractError(
            f"column {name!r} does not fit the project's output: {'; '.join(found)}",
            column=name,
            remedy="give the output's own structure, or say contract='lenient' to leave that to Sama",
        )


def _as_sent(data_type: T.DataType) -> T.DataType:
    """Return the type without the field `problem` that `boxes_to_output` and its like add. No task has this field."""
    if isinstance(data_type, T.StructType) and data_type.names == ["layers", PROBLEM]:
        return T.StructType(data_type.fields[:1])
    return data_type
