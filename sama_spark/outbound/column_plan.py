"""Plans what each column becomes: an input, a pre-annotation, a member beside `data`, or nothing.

`encode` follows these plans in the JVM, `encode_values` in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sama_spark.errors import ContractError
from sama_spark.exact import is_text
from sama_spark.outbound.creation_schema import OUTPUT_PREFIX, CreationSchema, OutputFormat, Rule
from sama_spark.outbound.outputs import TextCheck, output_rule, refuse_misfit, text_check_of

if TYPE_CHECKING:
    from pyspark.sql import types as T

    from sama_spark.outbound.task_fields import OwnMember, TaskFields

ANY = Rule()
NULL_INPUT = "is null, and the project requires a value"
_INPUTS = {
    "string": "text",
    "integer": "32-bit integer",
    "date": "YYYY-MM-DD",
    "json": "structured",
    "any": "as its type has it",
}


@dataclass(frozen=True)
class ColumnPlan:
    """What becomes of one column.

    Attributes:
        name, data_type: of the column; the type is a plain one (`exact.plain_type`).
        description: what becomes of it, for users.
        own_members: the members beside `data` that get their values from it.
        is_input: whether it goes into `data`, as an input or a pre-annotation. What follows matters only then.
        rule: what its values have to be.
        output_format: for a pre-annotation, how its values travel and why.
        text_check: how a worker checks its JSON text, which is then spliced; None where Spark writes the JSON.
        required: whether a null makes the row invalid.
        may_be_address: whether its texts are checked for paths that Sama cannot reach.
    """

    name: str
    data_type: T.DataType
    description: str
    own_members: Sequence[OwnMember] = ()
    is_input: bool = True
    # of inputs and pre-annotations
    rule: Rule = ANY
    output_format: str | None = None
    text_check: TextCheck | None = None
    required: bool = False
    may_be_address: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the values are text."""
        return is_text(self.data_type)

    def check_structure(self) -> None:
        """Refuse a structured column that cannot fit the creation schema, whatever its values.

        Raises:
            ContractError: no value of this type can be what the schema says of the output.
        """
        if self.text_check:
            refuse_misfit(self.rule, self.data_type, self.name)


def plan_columns(
    columns: Sequence[tuple[str, T.DataType]],
    schema: CreationSchema,
    output_formats: Mapping[str, OutputFormat],
    fields: TaskFields,
    *,
    lenient: bool,
) -> list[ColumnPlan]:
    """Plan what becomes of columns of these names and plain types.

    Args:
        columns: name and type of each.
        schema: what the project accepts.
        output_formats: for some outputs whether text is sent as JSON or as text, as the user chose.
        fields: what tasks have beside their inputs.
        lenient: whether what only Sama can judge is left to Sama.

    Raises:
        ContractError: columns do not fit the project, or one that `fields` names does not exist.
    """
    inputs = fields.inputs([name for name, _ in columns])
    schema.check_columns(inputs, output_formats, lenient=lenient)
    are_inputs = set(inputs)
    plans = []
    for name, data_type in columns:
        if name not in are_inputs:
            plans.append(_own_members(name, data_type, fields))
        elif name.startswith(OUTPUT_PREFIX):
            plans.append(_output(name, data_type, schema.rule(name), output_formats, lenient=lenient))
        else:
            plans.append(_input(name, data_type, schema.rule(name), lenient=lenient))
    return plans


def output_rules(plans: Iterable[ColumnPlan]) -> dict[str, str]:
    """Return for each output how its values travel and why."""
    return {plan.name.removeprefix(OUTPUT_PREFIX): plan.output_format for plan in plans if plan.output_format}


def descriptions(plans: Iterable[ColumnPlan]) -> dict[str, str]:
    """Return for each column what becomes of it."""
    return {plan.name: plan.description for plan in plans}


def _own_members(name: str, data_type: T.DataType, fields: TaskFields) -> ColumnPlan:
    members = fields.members_from(name)
    description = f"the task's `{members[-1].name}`" if members else "not sent"
    return ColumnPlan(name, data_type, description, members, is_input=False)


def _input(name: str, data_type: T.DataType, rule: Rule, *, lenient: bool) -> ColumnPlan:
    return ColumnPlan(
        name,
        data_type,
        f"{'required ' if rule.required else ''}input, {_INPUTS[rule.kind]}",
        rule=rule,
        required=rule.required and not lenient,
        may_be_address=is_text(data_type) and not lenient,
    )


def _output(
    name: str, data_type: T.DataType, rule: Rule, output_formats: Mapping[str, OutputFormat], *, lenient: bool
) -> ColumnPlan:
    sent_as, how = output_rule(rule, data_type, output_formats.get(name.removeprefix(OUTPUT_PREFIX)))
    return ColumnPlan(
        name,
        data_type,
        f"pre-annotation, {how}",
        rule=sent_as,
        output_format=how,
        text_check=text_check_of(sent_as, data_type, lenient=lenient),
        required=rule.required and not lenient,
    )


def refuse(refused: Sequence[ContractError]) -> None:
    """Raise one error for all refused columns."""
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise ContractError(
            "these columns cannot become tasks: " + "; ".join(error.message for error in refused),
            column=refused[0].column,
            remedy="; ".join(f"{error.column!r}: {error.remedy}" for error in refused),
        )
