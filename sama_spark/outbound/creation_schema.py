"""Reads what a project accepts from its creation schema (JSON Schema, draft 7)."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from sama_spark.arguments import do_you_mean
from sama_spark.errors import ContractError
from sama_spark.http.call_errors import NotFoundError

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient

OUTPUT_PREFIX = "output_"
INT32 = (-(2**31), 2**31 - 1)

log = logging.getLogger("sama_spark")

Kind = Literal["string", "integer", "date", "json", "any"]
OutputFormat = Literal["json", "text"]
ContractMode = Literal["strict", "lenient", "off"]

_SUGGESTIONS = 10  # no more, because a search among thousands of names takes time

# Endings of inputs that Sama itself adds to a task; the name before is the workspace output's (API reference, metadata
# inputs).
_PLATFORM_INPUTS = (
    " Original url",
    " Original file name",
    " Size",
    " Height",
    " Width",
    " Files",
    " Frames per second",
    " Total frames",
    " Duration",
)


@dataclass(frozen=True)
class Rule:
    """What one input or output accepts.

    Attributes:
        kind: "string", "integer" (32 bits), "date", "json" (a structured output), or "any" (the schema does not say).
        required: whether each task has to have a value.
        options: the only texts that are accepted; empty for all.
        minimum, maximum: bounds of an integer.
        because: where the kind comes from, as an end of a sentence.
        json_schema: the part of the creation schema about a structured output, as JSON text, or empty.
    """

    kind: Kind = "any"
    required: bool = False
    options: tuple[str, ...] = ()
    minimum: int = INT32[0]
    maximum: int = INT32[1]
    because: str = "no creation schema"
    json_schema: str = ""


@dataclass(frozen=True)
class CreationSchema:
    """The inputs and pre-annotations that a project accepts.

    Attributes:
        inputs, outputs: rules by name; outputs without the prefix `output_`.
        known: False if no schema could be read.
        open_ended: whether the project also accepts inputs of other names.
    """

    inputs: Mapping[str, Rule] = field(default_factory=dict)
    outputs: Mapping[str, Rule] = field(default_factory=dict)
    known: bool = False
    open_ended: bool = False

    @classmethod
    def from_schemas(cls, create: Mapping[str, Any], deliver: Mapping[str, Any] | None = None) -> CreationSchema:
        """Read `create_task.json`. If it has no outputs, take them from `deliver_task.json`."""
        data = _object(create, "properties", "data") or create
        properties = _object(data, "properties")
        required = set(data.get("required") or ())
        outputs = {
            name.removeprefix(OUTPUT_PREFIX): _with_json_schema(_rule(schema, required=name in required), schema)
            for name, schema in properties.items()
            if name.startswith(OUTPUT_PREFIX)
        }
        if not outputs and deliver is not None:
            answers = _object(deliver, "properties", "answers", "properties")
            # A delivered answer's structure says little about what may be sent, so no JSON Schema is taken from there.
            outputs = {name: _rule(schema, required=False) for name, schema in answers.items()}
        return cls(
            inputs={
                name: _rule(schema, required=name in required)
                for name, schema in properties.items()
                if not name.startswith(OUTPUT_PREFIX)
            },
            outputs=outputs,
            known=bool(properties),
            open_ended=bool(data.get("additionalProperties")),
        )

    def check_columns(
        self, columns: Sequence[str], chosen_formats: Mapping[str, OutputFormat], *, lenient: bool = False
    ) -> None:
        """Refuse, in one error, all columns that cannot be sent and all required ones that are missing.

        Args:
            columns: names of inputs and of `output_` columns.
            chosen_formats: the user's choice of "json" or "text" for some outputs.
            lenient: whether unknown and missing columns, which only Sama can judge, are logged and not refused.

        Raises:
            ContractError: it names all columns.
        """
        problems = _repeated(columns)
        outputs = [c.removeprefix(OUTPUT_PREFIX) for c in columns if c.startswith(OUTPUT_PREFIX)]
        problems += [
            (
                OUTPUT_PREFIX + name,
                f"`outputs` names {name!r}, but there is no column {OUTPUT_PREFIX + name}{do_you_mean(name, outputs)}",
            )
            for name in chosen_formats
            if name not in outputs
        ]
        against_schema = self._differences(columns) if self.known else []
        if lenient:
            for name, why in against_schema:
                log.warning("column %r: %s; sent all the same, as contract='lenient' says", name, why)
        else:
            problems += against_schema
        if problems:
            raise ContractError(
                "these columns cannot become tasks: " + "; ".join(f"{c!r}: {why}" for c, why in problems),
                column=problems[0][0],
                remedy="rename, drop or add the columns, or name them in `not_sent`"
                + (f"; inputs: {sorted(self.inputs)}, outputs: {sorted(self.outputs)}" if self.known else ""),
            )

    def _differences(self, columns: Sequence[str]) -> list[tuple[str, str]]:
        unknown = [column for column in columns if not self._accepts(column)]
        known = [*self.inputs, *(OUTPUT_PREFIX + name for name in self.outputs)]
        problems = [
            (c, f"the project has no {'output' if c.startswith(OUTPUT_PREFIX) else 'input'} of this name")
            for c in unknown
        ]
        problems[:_SUGGESTIONS] = [(c, why + do_you_mean(c, known)) for c, why in problems[:_SUGGESTIONS]]
        there = set(columns)
        return problems + [
            (name, "the project requires this input and the DataFrame has no such column")
            for name in self._required()
            if name not in there
        ]

    def rule(self, column: str) -> Rule:
        """Return the rule for an input or an `output_` column. It accepts anything if the schema lacks the name."""
        if column.startswith(OUTPUT_PREFIX):
            return self.outputs.get(column.removeprefix(OUTPUT_PREFIX), Rule())
        return self.inputs.get(column, Rule())

    def _required(self) -> list[str]:
        prefixed = {OUTPUT_PREFIX + name: rule for name, rule in self.outputs.items()}
        return [name for name, rule in {**self.inputs, **prefixed}.items() if rule.required]

    def _accepts(self, column: str) -> bool:
        if column.startswith(OUTPUT_PREFIX):
            return column.removeprefix(OUTPUT_PREFIX) in self.outputs
        return (
            column in self.inputs
            or self.open_ended
            or any(column.endswith(end) and column.removesuffix(end) in self.outputs for end in _PLATFORM_INPUTS)
        )


def _repeated(columns: Sequence[str]) -> list[tuple[str, str]]:
    return [(c, "the name stands more than once") for c, times in Counter(columns).items() if times > 1]


def _object(document: Any, *path: str) -> dict[str, Any]:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return dict(document) if isinstance(document, Mapping) else {}


def _with_json_schema(rule: Rule, schema: Any) -> Rule:
    return replace(rule, json_schema=json.dumps(schema)) if rule.kind == "json" else rule


def _rule(schema: Any, *, required: bool) -> Rule:
    schema = schema if isinstance(schema, Mapping) else {}
    declared = schema.get("type")
    kinds = [declared] if isinstance(declared, str) else list(declared or ())
    kinds = [kind for kind in kinds if kind != "null"]
    options = tuple(o for o in schema.get("enum") or () if isinstance(o, str))
    kind: Kind = "any"
    if kinds == ["string"]:
        kind = "date" if schema.get("format") == "date" else "string"
    elif kinds == ["integer"]:
        kind = "integer"
    elif kinds and set(kinds) <= {"object", "array"}:
        kind = "json"
    return Rule(
        kind=kind,
        required=required,
        options=options if kind == "string" else (),
        minimum=max(int(schema.get("minimum", INT32[0])), INT32[0]),
        maximum=min(int(schema.get("maximum", INT32[1])), INT32[1]),
        because=f"the creation schema says {'/'.join(kinds)}" if kinds else "the creation schema does not say",
    )


def read_creation_schema(api: ApiClient, project_id: str | int) -> CreationSchema:
    """Read a project's creation schema; an empty one where Sama has none (404).

    On the wire: GET schemas/create_task.json, and schemas/deliver_task.json where that one names no outputs.
    """
    try:
        create = api.get_creation_task_schema(project_id)
    except NotFoundError:
        return CreationSchema()
    schema = CreationSchema.from_schemas(create)
    if schema.outputs:
        return schema
    try:
        return CreationSchema.from_schemas(create, api.get_delivery_task_schema(project_id))
    except NotFoundError:
        return schema
