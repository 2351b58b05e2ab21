"""Rows to task JSON: which column goes where, as one select in the JVM. `render` has the rendering of each type."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Literal

import msgspec
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.api.arguments import check_texts, check_whole, check_yes_no
from sama_spark.api.errors import ContractError, InvalidInput
from sama_spark.outbound.contract import INT32, OUTPUT_PREFIX, Contract, OutputFormat, Rule
from sama_spark.outbound.render import is_native_json, is_text, render
from sama_spark.outbound.row_keys import NULL_KEY, OutboxKeys, key_text

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FLAT, PROBLEM, KEY, CONTENT = "flat", "problem", "key", "content"
SpliceMode = Literal["json", "auto"]

SHOWN_CHARACTERS = 80
LOCAL_PATHS = ("/Volumes/", "/dbfs/", "/Workspace/", "dbfs:", "file:")
OUT_OF_REACH = (
    "is a path that Sama cannot reach: give a URL, name the column in `not_sent`, or say contract='lenient' "
    "if this is no asset"
)
_INPUTS = {
    "string": "text",
    "integer": "32-bit integer",
    "date": "YYYY-MM-DD",
    "json": "structured",
    "any": "as its type has it",
}
_PRIORITY = Rule(kind="integer")
_AGENT = Rule(kind="integer", minimum=0, maximum=2**63 - 1)


@dataclass(frozen=True)
class TaskFields:
    """What stands beside `data` in a task, and the columns that are no inputs.

    `priority` and `submit` hold for all tasks. `priority_column` and `reserve_for_column` name integer columns
    with a row's own, where that is not null. `not_sent`: columns that stay out of the tasks. `row_key`: columns
    that name a row where it is spoken of; they are inputs unless they stand in `not_sent`.
    """

    priority: int = 0
    submit: bool = False
    priority_column: str | None = None
    reserve_for_column: str | None = None
    not_sent: tuple[str, ...] = ()
    row_key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_whole("batch_priority", self.priority, -sys.maxsize)
        check_yes_no(submit=self.submit)
        check_texts(priority_column=self.priority_column, reserve_for_column=self.reserve_for_column)
        if not INT32[0] <= self.priority <= INT32[1]:
            raise InvalidInput(
                f"batch_priority {self.priority} is beyond 32 bits",
                remedy=f"give a number from {INT32[0]} to {INT32[1]}; lower is served first",
            )

    def head(self) -> bytes:
        """What stands before a row's own in every task."""
        same = ({} if self.priority_column else {"priority": self.priority}) | {"submit": self.submit}
        return msgspec.json.encode(same)[:-1] + b","

    def by_row(self, column: str) -> list[tuple[str, Rule, str]]:
        """What `column` says about each task: member, its rule, and the JSON of a row without it."""
        found = []
        if column == self.priority_column:
            found.append(("priority", _PRIORITY, f'"priority":{self.priority},'))
        if column == self.reserve_for_column:
            found.append(("reserve_for", _AGENT, ""))
        return found

    def inputs(self, columns: Sequence[str]) -> list[str]:
        """The columns that go into `data`.

        Raises:
            ContractError: a column that is named here does not exist, or no input is left.
        """
        own = {"priority_column": self.priority_column, "reserve_for_column": self.reserve_for_column}
        named = {name: option for option, name in own.items() if name is not None}
        named |= dict.fromkeys(self.not_sent, "not_sent")
        for name, option in (dict.fromkeys(self.row_key, "row_key") | named).items():
            if (found := columns.count(name)) != 1:
                raise ContractError(
                    f"`{option}` names {name!r}, and the DataFrame has {found or 'no'} such columns",
                    column=name,
                    remedy=f"its columns are {sorted(columns)}",
                )
        inputs = [column for column in columns if column not in named]
        if not inputs:
            raise ContractError(
                "no column is left that goes into the tasks, which would all be empty",
                remedy=f"the columns are {sorted(columns)}, and none of them is an input",
            )
        return inputs


@dataclass(frozen=True)
class EncodedRows:
    """`rows` has a row per task: `flat`, `problem` (JSON or null), `key` (text or null), `content`, the spliced texts.

    `head`: what all tasks begin with. `flat`: what a task goes on with, up to the end of `data` without the texts.
    `content`: digits of a hash, null without an outbox. `spliced`: name and mode of each text that the worker puts
    into `data` unparsed, in column order. `output_rules`: for each output, how its value travels and why.
    `columns`: for each column, what becomes of it.
    """

    rows: DataFrame
    head: bytes
    spliced: tuple[tuple[str, SpliceMode], ...]
    output_rules: Mapping[str, str]
    columns: Mapping[str, str]


def encode(
    df: DataFrame,
    contract: Contract,
    output_formats: Mapping[str, OutputFormat],
    fields: TaskFields = TaskFields(),
    *,
    lenient: bool = False,
    outbox_keys: OutboxKeys | None = None,
) -> EncodedRows:
    """Plan the encoding of `df`; nothing is computed.

    `output_formats`: the user's word on `output_` text. `lenient`: what only Sama can judge is left to Sama.
    `outbox_keys`: how an outbox knows the rows again, where there is one.
    """
    inputs = fields.inputs(df.columns)
    contract.check_columns(inputs, output_formats, lenient=lenient)
    # By position: names may hold dots or backticks, or differ only in case.
    positional = df.toDF(*(f"c{i}" for i in range(len(df.columns))))
    plan = _Plan(contract, output_formats, fields, lenient)
    for i, column in enumerate(df.schema.fields):
        plan.add(column.name, column.dataType, F.col(f"c{i}"), is_input=column.name in inputs)
    refuse(plan.refused)
    columns = {name: F.col(f"c{i}") for i, name in enumerate(df.columns)}
    types = {column.name: column.dataType for column in df.schema.fields}
    key, content = key_text(columns, types, fields.row_key), F.lit(None)
    if outbox_keys is not None:
        key = outbox_keys.key(columns, types)
        content = outbox_keys.content({name: columns[name] for name in inputs}, types)
        plan.problems += [(name, columns[name].isNull(), NULL_KEY, columns[name]) for name in outbox_keys.names]
    data = F.to_json(F.struct(*plan.flat)) if plan.flat else F.lit("{}")
    return EncodedRows(
        rows=positional.select(
            F.concat(*plan.beside, F.lit('"data":'), data).cast("binary").alias(FLAT),
            _first_problem(plan.problems).cast("binary").alias(PROBLEM),
            key.cast("binary").alias(KEY),
            content.cast("string").cast("binary").alias(CONTENT),
            *(text.cast("binary").alias(f"s{i}") for i, (_, _, text) in enumerate(plan.spliced)),
        ),
        head=fields.head(),
        spliced=tuple((name, mode) for name, mode, _ in plan.spliced),
        output_rules=plan.output_rules,
        columns=plan.columns,
    )


@dataclass
class _Plan:
    """What the columns come to, gathered one by one."""

    contract: Contract
    output_formats: Mapping[str, OutputFormat]
    fields: TaskFields
    lenient: bool
    flat: list[Column] = field(default_factory=list)
    beside: list[Column] = field(default_factory=list)
    spliced: list[tuple[str, SpliceMode, Column]] = field(default_factory=list)
    problems: list[tuple[str, Column, str, Column]] = field(default_factory=list)
    output_rules: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    refused: list[ContractError] = field(default_factory=list)

    def add(self, name: str, data_type: T.DataType, column: Column, *, is_input: bool) -> None:
        """One column of the DataFrame. A type without an exact rendering is kept for `refuse`."""
        try:
            if is_input and name.startswith(OUTPUT_PREFIX):
                self._add_output(name, data_type, column)
            elif is_input:
                self._add_input(name, data_type, column)
            else:
                self._add_beside(name, data_type, column)
        except ContractError as error:
            self.refused.append(error)

    def _add_beside(self, name: str, data_type: T.DataType, column: Column) -> None:
        self.columns[name] = "not sent"
        for member, rule, otherwise in self.fields.by_row(name):
            value = self._rendered(name, data_type, column, rule)
            own = F.concat(F.lit(f'"{member}":'), value.cast("string"), F.lit(","))
            self.beside.append(F.coalesce(own, F.lit(otherwise)))
            self.columns[name] = f"the task's `{member}`"

    def _add_input(self, name: str, data_type: T.DataType, column: Column) -> None:
        rule = self.contract.rule(name)
        self.columns[name] = f"{'required ' if rule.required else ''}input, {_INPUTS[rule.kind]}"
        self._require(name, rule, column)
        self.flat.append(self._rendered(name, data_type, column, rule).alias(name))
        if is_text(data_type) and not self.lenient:
            self.problems.append((name, _out_of_reach(column), OUT_OF_REACH, column))

    def _add_output(self, name: str, data_type: T.DataType, column: Column) -> None:
        output = name.removeprefix(OUTPUT_PREFIX)
        rule, how = output_rule(self.contract.rule(name), data_type, self.output_formats.get(output))
        self.output_rules[output] = how
        self.columns[name] = f"pre-annotation, {how}"
        self._require(name, rule, column)
        if is_spliced(rule, data_type):
            self.spliced.append((name, "json" if rule.kind == "json" else "auto", column))
        else:
            self.flat.append(self._rendered(name, data_type, column, rule).alias(name))

    def _require(self, name: str, rule: Rule, column: Column) -> None:
        if rule.required and not self.lenient:
            self.problems.append((name, column.isNull(), "is null, and the project requires a value", column))

    def _rendered(self, name: str, data_type: T.DataType, column: Column, rule: Rule) -> Column:
        value = render(column, data_type, rule, name)
        self.problems += [(name, bad, reason, column) for bad, reason in value.problems]
        return value.column


def refuse(refused: Sequence[ContractError]) -> None:
    """Raise for all refused columns at once."""
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise ContractError(
            "these columns cannot become tasks: " + "; ".join(error.message for error in refused),
            column=refused[0].column,
            remedy="; ".join(f"{error.column!r}: {error.remedy}" for error in refused),
        )


def _out_of_reach(column: Column) -> Column:
    return reduce(or_, (column.startswith(prefix) for prefix in LOCAL_PATHS))


def output_rule(rule: Rule, data_type: T.DataType, chosen: OutputFormat | None) -> tuple[Rule, str]:
    if chosen is not None:
        kind: Literal["json", "string"] = "json" if chosen == "json" else "string"
        return Rule(kind=kind, required=rule.required), f"{chosen}, as asked"
    if is_native_json(data_type) and rule.kind in ("json", "any"):
        return rule, f"JSON, from a column of type {data_type.typeName()}"
    if rule.kind == "json":
        return rule, f"JSON text, because {rule.because}"
    if rule.kind == "any":
        how = "JSON where the text is an object or array, else text" if is_text(data_type) else "as it is"
        return rule, f"{how}: {rule.because}"
    return rule, f"text, because {rule.because}"


def is_spliced(rule: Rule, data_type: T.DataType) -> bool:
    return is_text(data_type) and rule.kind in ("json", "any")


def _first_problem(problems: list[tuple[str, Column, str, Column]]) -> Column:
    if not problems:
        return F.lit(None).cast("string")
    return F.coalesce(
        *(
            F.when(
                bad,
                F.to_json(
                    F.struct(
                        F.lit(name).alias("column"),
                        F.lit(reason).alias("reason"),
                        _shown(column).alias("value"),
                    )
                ),
            )
            for name, bad, reason, column in problems
        )
    )


def _shown(column: Column) -> Column:
    """The start of the value's JSON; null where it has none."""
    wrapped = F.to_json(F.struct(column.alias("v")))  # {"v":...}
    text = F.substr(wrapped, F.lit(6), F.length(wrapped) - 6)
    return F.when(column.isNotNull(), F.left(text, F.lit(SHOWN_CHARACTERS)))
