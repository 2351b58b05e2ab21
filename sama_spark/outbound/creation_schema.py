"""What a project accepts, read from its creation schema (JSON Schema, draft 7)."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

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

_SUGGESTIONS = 10  # to look for one among thousands of names takes time

# Inputs that Sama itself adds to a task, named after the workspace output (API reference, metadata inputs).
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
    """What one input or output takes.

    `kind`: "string", "integer" (32 bit), "date", "json" (a structured output), or "any" (the schema does not say).
    `options`: the only texts that are accepted, or empty for all. `shape`: of a structured output the part of the
    creation schema that is about it, as JSON text, or empty.
    """

    kind: Kind = "any"
    required: bool = False
    options: tuple[str, ...] = ()
    minimum: int = INT32[0]
    maximum: int = INT32[1]
    because: str = "no creation schema"
    shape: str = ""


@dataclass(frozen=True)
class Contract:
    """The inputs and pre-annotations of a project. `known` is False where no schema could be read."""

    inputs: Mapping[str, Rule] = field(default_factory=dict)
    outputs: Mapping[str, Rule] = field(default_factory=dict)
    known: bool = False
    open_ended: bool = False

    @classmethod
    def from_schemas(cls, create: Mapping[str, Any], deliver: Mapping[str, Any] | None = None) -> Contract:
        """Read `create_task.json`; outputs that it leaves out are taken from `deliver_task.json`."""
        data = _object(create, "properties", "data") or create
        properties = _object(data, "properties")
        required = set(data.get("required") or ())
        outputs = {
            name.removeprefix(OUTPUT_PREFIX): _with_shape(_rule(schema, required=name in required), schema)
            for name, schema in properties.items()
            if name.startswith(OUTPUT_PREFIX)
        }
        if not outputs and deliver is not None:
            answers = _object(deliver, "properties", "answers", "properties")
            # How a delivered answer looks says little about what may be sent, so no shape is taken from there.
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
        """Refuse, in one error, every column that cannot be sent and every required one that is missing.

        `lenient`: what only Sama can judge (an unknown column, a missing one) is logged and not refused.
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
        told = [
            (c, f"the project has no {'output' if c.startswith(OUTPUT_PREFIX) else 'input'} of this name")
            for c in unknown
        ]
        told[:_SUGGESTIONS] = [(c, why + do_you_mean(c, known)) for c, why in told[:_SUGGESTIONS]]
        there = set(columns)
        return told + [
            (name, "the project requires this input and the DataFrame has no such column")
            for name in self._required()
            if name not in there
        ]

    def rule(self, column: str) -> Rule:
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


def do_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to end a sentence with, where one of `known` looks like `name`; else nothing."""
    in_lower_case = {other.strip().lower(): other for other in known}
    nearest = get_close_matches(name.strip().lower(), in_lower_case, n=1)
    return f" (do you mean `{in_lower_case[nearest[0]]}`?)" if nearest else ""


def _repeated(columns: Sequence[str]) -> list[tuple[str, str]]:
    return [(c, "the name stands more than once") for c, times in Counter(columns).items() if times > 1]


def _object(document: Any, *path: str) -> dict[str, Any]:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return dict(document) if isinstance(document, Mapping) else {}


def _with_shape(rule: Rule, schema: Any) -> Rule:
    return replace(rule, shape=json.dumps(schema)) if rule.kind == "json" else rule


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


def read_contract(api: ApiClient, project_id: str | int) -> Contract:
    """Read a project's contract; an empty one where Sama has no creation schema for it (404).

    On the wire: GET schemas/create_task.json, and schemas/deliver_task.json where that one names no outputs.
    """
    try:
        create = api.get_creation_task_schema(project_id)
    except NotFoundError:
        return Contract()
    contract = Contract.from_schemas(create)
    if contract.outputs:
        return contract
    try:
        return Contract.from_schemas(create, api.get_delivery_task_schema(project_id))
    except NotFoundError:
        return contract
