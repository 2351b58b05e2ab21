"""Encodes rows of Python values as task JSON, as `encode` does in the JVM. It needs neither a session nor Arrow.

The driver uses this module for few rows, and so do the workers of `format("sama")`, which have no JVM.
`render_values` has the rendering of each type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from sama_spark.errors import ContractError
from sama_spark.exact import plain_type
from sama_spark.exact_values import quoted
from sama_spark.outbound.addresses import OUT_OF_REACH, is_out_of_reach
from sama_spark.outbound.column_plan import (
    ANY,
    NULL_INPUT,
    ColumnPlan,
    descriptions,
    output_rules,
    plan_columns,
    refuse,
)
from sama_spark.outbound.creation_schema import CreationSchema, OutputFormat, Rule
from sama_spark.outbound.encoded_batch import EncodedBatch, Encoding, Texts
from sama_spark.outbound.outputs import TextCheck
from sama_spark.outbound.problems import SHOWN_CHARACTERS
from sama_spark.outbound.render import is_native_json
from sama_spark.outbound.render_values import Renderer, renderer

if TYPE_CHECKING:
    from pyspark.sql import types as T

    from sama_spark.outbound.task_fields import TaskFields

Columns = Sequence[Sequence[Any]]
"""The values of some rows, column by column; `render_values` says which."""

_json = msgspec.json.Encoder().encode
_quoted_number = re.compile('"(NaN|-?Infinity)"')
_AS_TEXT = Rule(kind="string")


@dataclass(frozen=True)
class _JsonMember:
    """A member of a JSON object, which gets its value from a column: `before`, the value, `after`; or `otherwise`."""

    column: int
    render: Renderer
    before: bytes
    after: bytes = b""
    otherwise: bytes | None = None

    def of(self, values: Iterable[bytes | None]) -> list[bytes | None]:
        return [self.otherwise if v is None else self.before + v + self.after for v in values]


@dataclass(frozen=True)
class _SplicedText:
    """A column of JSON texts, or of values that `render` makes JSON texts of."""

    column: int
    name: str
    text_check: TextCheck
    render: Renderer | None = None


@dataclass(frozen=True)
class _ColumnCheck:
    """What makes a row invalid beside its rendering. `shown` renders a value for the error."""

    column: int
    plan: ColumnPlan
    shown: Renderer | None


@dataclass(frozen=True)
class RowEncoder(Encoding):
    """Encodes rows as tasks. The driver plans it once; Spark pickles it for workers that use it."""

    _own_members: tuple[_JsonMember, ...]
    _data: tuple[_JsonMember, ...]
    _texts: tuple[_SplicedText, ...]
    _key: tuple[_JsonMember, ...]
    _checks: tuple[_ColumnCheck, ...]

    def encode(self, batches: Iterable[Columns]) -> Iterator[EncodedBatch]:
        """Encode batch by batch."""
        return map(self._encoded, batches)

    def _encoded(self, columns: Columns) -> EncodedBatch:
        count = len(columns[0])
        problems: dict[int, list[Mapping[int, str]]] = {}

        def rendered(column: int, render: Renderer) -> list[bytes | None]:
            found = render.of(columns[column])
            problems.setdefault(column, []).append(found.problems)
            return found.json

        def objects(members: Iterable[_JsonMember]) -> Iterator[tuple[bytes | None, ...]]:
            return _rows([member.of(rendered(member.column, member.render)) for member in members], count)

        tasks = [
            b"".join(filter(None, own)) + b'"data":{' + b",".join(filter(None, data)) + b"}"
            for own, data in zip(objects(self._own_members), objects(self._data), strict=True)
        ]
        spliced = [
            rendered(text.column, text.render)
            if text.render
            else [None if v is None else v.encode() for v in columns[text.column]]
            for text in self._texts
        ]
        first = self._first_problems(columns, problems)
        keys = _rows([key.of(key.render.of(columns[key.column]).json) for key in self._key], count)
        return EncodedBatch(
            tasks=tasks,
            problems=first,
            keys=[b"{" + b",".join(filter(None, key)) + b"}" if self._key else None for key in keys],
            contents=[None] * count,  # there is no outbox, so no content is compared
            spliced=spliced,
        )

    def _first_problems(self, columns: Columns, rendering: Mapping[int, list[Mapping[int, str]]]) -> Texts:
        """Describe the first problem of each row, in the order of the columns."""
        first: list[bytes | None] = [None] * len(columns[0])
        for check in self._checks:
            values = columns[check.column]
            problems = list(rendering.get(check.column, ()))
            if check.plan.required and None in values:
                problems.insert(0, dict.fromkeys((i for i, v in enumerate(values) if v is None), NULL_INPUT))
            if check.plan.may_be_address:
                found = (i for i, v in enumerate(values) if v is not None and is_out_of_reach(v))
                problems.append(dict.fromkeys(found, OUT_OF_REACH))
            for reasons in problems:
                for row, reason in reasons.items():
                    if first[row] is None:
                        first[row] = _described(check, reason, values[row])
        return first


def plan_rows(
    schema: T.StructType,
    creation_schema: CreationSchema,
    output_formats: Mapping[str, OutputFormat],
    fields: TaskFields,
    *,
    lenient: bool = False,
) -> RowEncoder:
    """Plan the encoding of rows of this Spark schema, as `encode` does for a DataFrame.

    Raises:
        ContractError: columns do not fit the project, or a type has no exact rendering.
    """
    columns = [(column.name, plain_type(column.dataType)) for column in schema.fields]
    plans = plan_columns(columns, creation_schema, output_formats, fields, lenient=lenient)
    rows = _EncoderParts(fields)
    refuse([error for i, plan in enumerate(plans) if (error := rows.add_or_refuse(i, plan))])
    return RowEncoder(
        task_start=fields.task_start(),
        spliced=tuple((text.name, text.text_check) for text in rows.texts),
        output_rules=output_rules(plans),
        columns=descriptions(plans),
        _own_members=tuple(rows.own_members),
        _data=tuple(rows.data),
        _texts=tuple(rows.texts),
        _key=tuple(sorted(rows.key, key=lambda member: plans[member.column].name)),
        _checks=tuple(_ColumnCheck(i, plan, _for_errors(plan)) for i, plan in enumerate(plans)),
    )


@dataclass
class _EncoderParts:
    """The parts of a `RowEncoder`, gathered column by column."""

    fields: TaskFields
    own_members: list[_JsonMember] = field(default_factory=list)
    data: list[_JsonMember] = field(default_factory=list)
    texts: list[_SplicedText] = field(default_factory=list)
    key: list[_JsonMember] = field(default_factory=list)

    def add_or_refuse(self, i: int, plan: ColumnPlan) -> ContractError | None:
        """Add a column, or return why its type cannot be sent."""
        try:
            self._add(i, plan)
        except ContractError as error:
            return error
        return None

    def _add(self, i: int, plan: ColumnPlan) -> None:
        plan.check_structure()
        if plan.text_check:
            self.texts.append(_SplicedText(i, plan.name, plan.text_check, None if plan.is_text else _renderer(plan)))
        elif plan.is_input:
            self.data.append(_JsonMember(i, _renderer(plan), _key(plan.name)))
        for name, rule, otherwise in plan.own_members:
            render = renderer(plan.data_type, rule, plan.name)
            self.own_members.append(_JsonMember(i, render, _key(name), b",", otherwise.encode()))
        if plan.name in self.fields.row_key:
            rule = ANY if is_native_json(plan.data_type) else _AS_TEXT
            self.key.append(_JsonMember(i, renderer(plan.data_type, rule, plan.name), _key(plan.name)))


def _renderer(plan: ColumnPlan) -> Renderer:
    return renderer(plan.data_type, plan.rule, plan.name)


def _for_errors(plan: ColumnPlan) -> Renderer | None:
    try:
        return renderer(plan.data_type, ANY, plan.name)
    except ContractError:
        return None


def _key(name: str) -> bytes:
    return quoted(name) + b":"


def _rows(columns: Sequence[Sequence[bytes | None]], count: int) -> Iterator[tuple[bytes | None, ...]]:
    return zip(*columns, strict=True) if columns else iter([()] * count)


def _described(check: _ColumnCheck, reason: str, value: Any) -> bytes:
    described = {"column": check.plan.name, "reason": reason}
    if check.shown and value is not None:
        text = (check.shown.of([value]).json[0] or b"").decode()
        text = text if check.plan.is_text else _quoted_number.sub(r"\1", text)
        described["value"] = text[:SHOWN_CHARACTERS]
    return _json(described)
