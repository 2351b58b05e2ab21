"""Rows to task JSON, as one select in the JVM.

`column_plan` says what becomes of each column, `render` has the rendering of each type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact
from sama_spark.errors import ContractError
from sama_spark.outbound.addresses import OUT_OF_REACH, are_out_of_reach
from sama_spark.outbound.column_plan import NULL_INPUT, ColumnPlan, descriptions, output_rules, plan_columns, refuse
from sama_spark.outbound.columns import Computed, Member, grouped, in_order, json_of, numbered
from sama_spark.outbound.creation_schema import CreationSchema, OutputFormat, Rule
from sama_spark.outbound.encoded_batch import Encoding
from sama_spark.outbound.outputs import TextCheck
from sama_spark.outbound.problems import Problems
from sama_spark.outbound.render import Value, render
from sama_spark.outbound.row_keys import NULL_KEY, OutboxKeys, key_of
from sama_spark.outbound.task_fields import TaskFields

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

TASK, PROBLEM, KEY, CONTENT = "task", "problem", "key", "content"
PLAIN = TaskFields()
_BINARY = T.BinaryType()


@dataclass(frozen=True)
class EncodedRows(Encoding):
    """A plan: `rows` computes the columns of an `EncodedBatch`, a row for each task."""

    rows: DataFrame


class _SplicedColumn(NamedTuple):
    name: str
    text_check: TextCheck
    text: Column


def encode(
    df: DataFrame,
    schema: CreationSchema,
    output_formats: Mapping[str, OutputFormat],
    fields: TaskFields = PLAIN,
    *,
    lenient: bool = False,
    outbox_keys: OutboxKeys | None = None,
) -> EncodedRows:
    """Plan the encoding of `df`. Spark computes nothing yet.

    Args:
        df: rows that are to become tasks.
        schema: what the project accepts.
        output_formats: for some outputs whether text is sent as JSON or as text, as the user chose.
        fields: what tasks have beside their inputs.
        lenient: whether what only Sama can judge is left to Sama.
        outbox_keys: how an outbox knows the rows again; None without an outbox.

    Raises:
        ContractError: columns do not fit the project, or a type has no exact rendering.
    """
    rows, columns = numbered(df)
    names = [column.name for column in columns]
    plans = plan_columns(
        [(column.name, column.data_type) for column in columns], schema, output_formats, fields, lenient=lenient
    )
    select = _Select(columns, plans)
    select.render()
    key, content = key_of(columns, fields.row_key), F.lit(None)
    if outbox_keys is not None:
        inputs = [column for column, plan in zip(columns, plans, strict=True) if plan.is_input]
        key = outbox_keys.key(columns, select.computed)
        content = outbox_keys.content(inputs, select.computed)
        select.problems.of_nulls([names.index(name) for name in outbox_keys.names], NULL_KEY)
    spliced = in_order(select.spliced)
    first = select.problems.first().alias(PROBLEM)
    task = F.concat(*in_order(select.own_members), F.lit('"data":'), json_of(in_order(select.data)))
    return EncodedRows(
        # In three steps, since Spark would compute an expression again in each place where it is used.
        rows=rows.select("*", *select.computed.columns)
        .select("*", first)
        .select(
            task.cast(_BINARY).alias(TASK),
            select.problems.described(F.col(PROBLEM), names).cast(_BINARY).alias(PROBLEM),
            key.cast(_BINARY).alias(KEY),
            content.cast(_BINARY).alias(CONTENT),
            *(column.text.cast(_BINARY).alias(f"s{i}") for i, column in enumerate(spliced)),
        ),
        task_start=fields.task_start(),
        spliced=tuple((column.name, column.text_check) for column in spliced),
        output_rules=output_rules(plans),
        columns=descriptions(plans),
    )


class _Wanted(NamedTuple):
    """A column that is to be rendered by a rule. `put` takes the result, as SQL text and type."""

    number: int
    column: Member
    plan: ColumnPlan
    rule: Rule
    put: Callable[[str, T.DataType], None]


@dataclass
class _Select:
    """The expressions of all columns. Columns of one type and rule are rendered by one expression."""

    columns: Sequence[Member]
    plans: Sequence[ColumnPlan]
    computed: Computed = field(default_factory=Computed)
    data: dict[int, Member] = field(default_factory=dict)
    own_members: dict[tuple[int, str], Column] = field(default_factory=dict)
    spliced: dict[int, _SplicedColumn] = field(default_factory=dict)
    refused: dict[int, ContractError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.problems = Problems(self.computed)

    def render(self) -> None:
        """Render and check all columns.

        Raises:
            ContractError: types have no exact rendering, or do not fit the project's outputs; it names all columns.
        """
        wanted = [
            one
            for number, (column, plan) in enumerate(zip(self.columns, self.plans, strict=True))
            for one in self._wanted(number, column, plan)
        ]
        self.problems.of_nulls(self._numbers(lambda plan: plan.required), NULL_INPUT)
        for alike in grouped(wanted, lambda one: f"{one.column.data_type.json()} {one.rule}"):
            self._render_alike(alike)
        texts = self._numbers(lambda plan: plan.may_be_address)
        self.problems.of_values(texts, exact.TEXT, OUT_OF_REACH, are_out_of_reach)
        refuse(in_order(self.refused))

    def _numbers(self, of: Callable[[ColumnPlan], bool]) -> list[int]:
        return [i for i, plan in enumerate(self.plans) if of(plan)]

    def _wanted(self, number: int, column: Member, plan: ColumnPlan) -> list[_Wanted]:
        """Return what has to be rendered of a column."""
        text_check = plan.text_check
        if text_check and plan.is_text:
            self.spliced[number] = _SplicedColumn(plan.name, text_check, F.col(column.column))
            return []

        def put_own_member(value: str, _: T.DataType, member: str, otherwise: str) -> None:
            own = F.concat(F.lit(f'"{member}":'), F.expr(value).cast(exact.TEXT), F.lit(","))
            self.own_members[number, member] = F.coalesce(own, F.lit(otherwise))

        def put_spliced(value: str, _: T.DataType) -> None:
            assert text_check  # noqa: S101
            self.spliced[number] = _SplicedColumn(plan.name, text_check, exact.to_json(F.expr(value)))

        def put_into_data(value: str, data_type: T.DataType) -> None:
            self.data[number] = Member(plan.name, value, data_type)

        if plan.is_input:
            return [_Wanted(number, column, plan, plan.rule, put_spliced if text_check else put_into_data)]
        return [
            _Wanted(number, column, plan, rule, partial(put_own_member, member=name, otherwise=otherwise))
            for name, rule, otherwise in plan.own_members
        ]

    def _render_alike(self, alike: Sequence[_Wanted]) -> None:
        """Render columns of one type and one rule."""
        data_type, rule = alike[0].column.data_type, alike[0].rule
        # A rendered null shows what these columns share: the type, the reasons, and whether values change at all.
        untouched = F.lit(None)
        probe = self._rendered_or_refused(untouched, alike[0])
        if probe is None:
            for wanted in alike[1:]:  # so that the error names all
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
        try:
            wanted.plan.check_structure()
            return render(value, wanted.column.data_type, wanted.rule, wanted.column.name)
        except ContractError as error:
            self.refused[wanted.number] = error
            return None
