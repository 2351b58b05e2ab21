"""Rows to task JSON: which column goes where, as one select in the JVM. `render` has the rendering of each type."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact
from sama_spark.arguments import check_texts, check_whole, check_yes_no
from sama_spark.errors import ContractError, InvalidInput
from sama_spark.exact import is_text
from sama_spark.outbound import addresses
from sama_spark.outbound.columns import Computed, Member, grouped, in_order, json_of, numbered
from sama_spark.outbound.creation_schema import INT32, OUTPUT_PREFIX, CreationSchema, OutputFormat, Rule, do_you_mean
from sama_spark.outbound.outputs import SpliceMode, output_rule, refuse_misfit, splice_mode
from sama_spark.outbound.problems import Problems
from sama_spark.outbound.render import Value, render
from sama_spark.outbound.row_keys import NULL_KEY, OutboxKeys, key_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FLAT, PROBLEM, KEY, CONTENT = "flat", "problem", "key", "content"
_BINARY = T.BinaryType()
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
                question = "" if found else do_you_mean(name, columns)
                raise ContractError(
                    f"`{option}` names {name!r}, and the DataFrame has {found or 'no'} such columns{question}",
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
    `content`: digits of its hash, null without an outbox. `spliced`: name and mode of each text that the
    worker puts into `data` unparsed, in column order. `output_rules`: for each output, how its value travels and why.
    `columns`: for each column, what becomes of it.
    """

    rows: DataFrame
    head: bytes
    spliced: tuple[tuple[str, SpliceMode], ...]
    output_rules: Mapping[str, str]
    columns: Mapping[str, str]


class _Spliced(NamedTuple):
    name: str
    mode: SpliceMode
    text: Column


def encode(
    df: DataFrame,
    contract: CreationSchema,
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
    names = df.columns
    inputs = set(fields.inputs(names))
    contract.check_columns([name for name in names if name in inputs], output_formats, lenient=lenient)
    rows, columns = numbered(df)
    plan = _Plan(contract, output_formats, fields, lenient)
    for i, column in enumerate(columns):
        plan.add(i, column, is_input=column.name in inputs)
    plan.render()
    refuse(in_order(plan.refused))
    key, content = key_of(columns, fields.row_key), F.lit(None)
    if outbox_keys is not None:
        key = outbox_keys.key(columns, plan.computed)
        content = outbox_keys.content([column for column in columns if column.name in inputs], plan.computed)
        plan.problems.of_nulls([names.index(name) for name in outbox_keys.names], NULL_KEY)
    spliced = in_order(plan.spliced)
    first = plan.problems.first().alias(PROBLEM)
    return EncodedRows(
        # In three steps, since Spark would write a thing anew in each place where it is used.
        rows=rows.select("*", *plan.computed.columns)
        .select("*", first)
        .select(
            F.concat(*in_order(plan.beside), F.lit('"data":'), json_of(in_order(plan.flat))).cast(_BINARY).alias(FLAT),
            plan.problems.told(F.col(PROBLEM), names).cast(_BINARY).alias(PROBLEM),
            key.cast(_BINARY).alias(KEY),
            content.cast(_BINARY).alias(CONTENT),
            *(text.text.cast(_BINARY).alias(f"s{i}") for i, text in enumerate(spliced)),
        ),
        head=fields.head(),
        spliced=tuple((text.name, text.mode) for text in spliced),
        output_rules=plan.output_rules,
        columns=plan.columns,
    )


class _Wanted(NamedTuple):
    """A column that is to be rendered by a rule; `put` takes what that gives, as SQL text and type."""

    number: int
    column: Member
    rule: Rule
    put: Callable[[str, T.DataType], None]


@dataclass
class _Plan:
    """What the columns come to: gathered one by one, rendered all of one type and rule at a time."""

    contract: CreationSchema
    output_formats: Mapping[str, OutputFormat]
    fields: TaskFields
    lenient: bool
    computed: Computed = field(default_factory=Computed)
    wanted: list[_Wanted] = field(default_factory=list)
    flat: dict[int, Member] = field(default_factory=dict)
    beside: dict[tuple[int, str], Column] = field(default_factory=dict)
    spliced: dict[int, _Spliced] = field(default_factory=dict)
    required: list[int] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    output_rules: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    refused: dict[int, ContractError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.problems = Problems(self.computed)

    def add(self, number: int, column: Member, *, is_input: bool) -> None:
        """One column of the DataFrame."""
        if not is_input:
            self._add_beside(number, column)
            return
        rule = self.contract.rule(column.name)
        if rule.required and not self.lenient:
            self.required.append(number)
        if column.name.startswith(OUTPUT_PREFIX):
            self._add_output(number, column, rule)
        else:
            self._add_input(number, column, rule)

    def _add_beside(self, number: int, column: Member) -> None:
        self.columns[column.name] = "not sent"
        for member, rule, otherwise in self.fields.by_row(column.name):
            self.columns[column.name] = f"the task's `{member}`"

            def put(value: str, _: T.DataType, member: str = member, otherwise: str = otherwise) -> None:
                own = F.concat(F.lit(f'"{member}":'), F.expr(value).cast(exact.TEXT), F.lit(","))
                self.beside[number, member] = F.coalesce(own, F.lit(otherwise))

            self.wanted.append(_Wanted(number, column, rule, put))

    def _add_input(self, number: int, column: Member, rule: Rule) -> None:
        self.columns[column.name] = f"{'required ' if rule.required else ''}input, {_INPUTS[rule.kind]}"
        self._want_flat(number, column, rule)
        if is_text(column.data_type) and not self.lenient:
            self.texts.append(number)

    def _add_output(self, number: int, column: Member, rule: Rule) -> None:
        name, data_type = column.name, column.data_type
        output = name.removeprefix(OUTPUT_PREFIX)
        rule, how = output_rule(rule, data_type, self.output_formats.get(output))
        self.output_rules[output] = how
        self.columns[name] = f"pre-annotation, {how}"
        mode = splice_mode(rule, data_type, lenient=self.lenient)
        if mode is None:
            self._want_flat(number, column, rule)
        elif is_text(data_type):
            self.spliced[number] = _Spliced(name, mode, F.col(column.column))
        else:

            def put(value: str, _: T.DataType) -> None:
                self.spliced[number] = _Spliced(name, mode, exact.to_json(F.expr(value)))

            self.wanted.append(_Wanted(number, column, rule, put))

    def _want_flat(self, number: int, column: Member, rule: Rule) -> None:
        def put(value: str, data_type: T.DataType) -> None:
            self.flat[number] = Member(column.name, value, data_type)

        self.wanted.append(_Wanted(number, column, rule, put))

    def render(self) -> None:
        """Render and check what is wanted. A type without an exact rendering is kept in `refused`."""
        self.problems.of_nulls(self.required, "is null, and the project requires a value")
        for alike in grouped(self.wanted, lambda wanted: f"{wanted.column.data_type.json()} {wanted.rule}"):
            self._render_alike(alike)
        self.problems.of_values(self.texts, exact.TEXT, addresses.REASON, _is_out_of_reach)

    def _render_alike(self, alike: Sequence[_Wanted]) -> None:
        """Columns of one type and one rule."""
        data_type, rule = alike[0].column.data_type, alike[0].rule
        untouched = F.lit(None)
        probe = self._rendered_or_refused(untouched, alike[0])
        if probe is None:
            for wanted in alike[1:]:  # so that all are named
                self._rendered_or_refused(untouched, wanted)
            return

        def rendered(value: Column) -> Value:
            return render(value, data_type, rule, alike[0].column.name)

        columns = [wanted.column.column for wanted in alike]
        if probe.column is not untouched:
            columns = self.computed.each(columns, lambda value: rendered(value).column)
        for wanted, column in zip(alike, columns, strict=True):
            wanted.put(column, probe.data_type)
        numbers = [wanted.number for wanted in alike]

        def nth(i: int) -> Callable[[Column], Column]:
            return lambda value: rendered(value).problems[i][0]

        for i, (_, reason) in enumerate(probe.problems):
            self.problems.of_values(numbers, data_type, reason, nth(i))

    def _rendered_or_refused(self, value: Column, wanted: _Wanted) -> Value | None:
        data_type, rule, name = wanted.column.data_type, wanted.rule, wanted.column.name
        try:
            if splice_mode(rule, data_type, lenient=self.lenient):
                refuse_misfit(rule, data_type, name)
            return render(value, data_type, rule, name)
        except ContractError as error:
            self.refused[wanted.number] = error
            return None


def _is_out_of_reach(text: Column) -> Column:
    beginning = F.substring(text, 1, addresses.BEGINNING)
    # The pattern costs more than all the rest, so that web addresses and words do not meet it.
    may_be_an_address = ~text.startswith("http") & (beginning.contains(":") | beginning.contains("/"))
    return may_be_an_address & beginning.rlike(addresses.OUT_OF_REACH)


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
