"""Rows to task JSON where there is no session: `encode` for the Arrow batches that a writer's workers get.

Both plan alike and give the same columns to `chunk.PieceCutter`; `values` has the rendering of each type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from sama_spark.data_source.write_arrow import Rendered, Renderer
from sama_spark.data_source.write_values import as_json, renderer
from sama_spark.errors import ContractError
from sama_spark.exact import is_text, plain_type
from sama_spark.outbound import addresses
from sama_spark.outbound.chunk import ROWS_AT_A_TIME, Texts
from sama_spark.outbound.creation_schema import OUTPUT_PREFIX, CreationSchema, OutputFormat, Rule
from sama_spark.outbound.encode import refuse
from sama_spark.outbound.outputs import SpliceMode, output_rule, refuse_misfit, splice_mode
from sama_spark.outbound.problems import SHOWN_CHARACTERS
from sama_spark.outbound.task_fields import TaskFields

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import types as T

_json = msgspec.json.Encoder().encode
_is_out_of_reach = re.compile(addresses.OUT_OF_REACH, re.ASCII).match
_quoted_number = re.compile('"(NaN|-?Infinity)"')


@dataclass(frozen=True)
class _Member:
    """A column's place in the task: `key`, its value, `end`; and what stands there for null."""

    column: int
    key: bytes
    render: Renderer
    end: bytes = b""
    otherwise: bytes | None = None

    def of(self, rendered: Iterable[bytes | None]) -> list[bytes | None]:
        return [self.otherwise if v is None else self.key + v + self.end for v in rendered]


@dataclass(frozen=True)
class _Text:
    """A column that is spliced: JSON text, or what `render` makes JSON text of."""

    column: int
    name: str
    mode: SpliceMode
    render: Renderer | None = None


@dataclass(frozen=True)
class _Checks:
    """What is looked at in a column beside its rendering. `shown` renders the value for an error."""

    name: str
    shown: Renderer | None
    required: bool = False
    reachable: bool = False
    is_text: bool = False


@dataclass(frozen=True)
class RowEncoder:
    """How rows become tasks. Planned beside the driver, pickled, used by workers.

    `head` and `spliced`: as in `encode.EncodedRows`. `beside` stand before `data`, `flat` within it.
    """

    head: bytes
    spliced: tuple[tuple[str, SpliceMode], ...]
    beside: tuple[_Member, ...]
    flat: tuple[_Member, ...]
    texts: tuple[_Text, ...]
    key: tuple[_Member, ...]
    checks: tuple[_Checks, ...]

    def encode(self, batches: Iterable[pa.RecordBatch]) -> Iterator[list[Texts]]:
        """The columns `flat`, `problem`, `key`, `content` and the spliced texts, some hundred rows at a time."""
        for batch in batches:
            for start in range(0, batch.num_rows, ROWS_AT_A_TIME):
                yield self._columns(batch.slice(start, ROWS_AT_A_TIME))

    def _columns(self, rows: pa.RecordBatch) -> list[Texts]:
        import pyarrow as pa

        wrong: dict[int, list[tuple[set[int], str]]] = {}

        def rendered(members: Iterable[_Member]) -> Iterator[list[bytes | None]]:
            for member in members:
                found: Rendered = member.render(rows.column(member.column))
                wrong.setdefault(member.column, []).extend(found.problems)
                yield member.of(found.json)

        def spliced(text: _Text) -> list[bytes | None]:
            values = rows.column(text.column)
            if text.render is None:
                texts: list[bytes | None] = values.cast(pa.large_binary()).to_pylist()
                return texts
            found = text.render(values)
            wrong.setdefault(text.column, []).extend(found.problems)
            return found.json

        beside, flat = list(rendered(self.beside)), list(rendered(self.flat))
        texts = list(map(spliced, self.texts))
        data = [b'"data":{' + b",".join(filter(None, row)) + b"}" for row in _rows(flat, rows.num_rows)]
        before = [b"".join(filter(None, row)) for row in _rows(beside, rows.num_rows)] if beside else None
        keys = [member.of(map(_quoted, member.render(rows.column(member.column)).json)) for member in self.key]
        return [
            [own + rest for own, rest in zip(before, data, strict=True)] if before else data,
            self._problems(rows, wrong),
            [b"{" + b",".join(filter(None, row)) + b"}" for row in _rows(keys, rows.num_rows)]
            if keys
            else [None] * rows.num_rows,
            [None] * rows.num_rows,  # no outbox, so no content is compared
            *texts,
        ]

    def _problems(self, rows: pa.RecordBatch, wrong: Mapping[int, list[tuple[set[int], str]]]) -> Texts:
        found: list[bytes | None] = [None] * rows.num_rows
        for i, column in enumerate(self.checks):
            values = rows.column(i)
            problems = list(wrong.get(i, ()))
            if column.required and values.null_count:
                nulls = {place for place, there in enumerate(values.is_valid().to_pylist()) if not there}
                problems.insert(0, (nulls, "is null, and the project requires a value"))
            if column.reachable:
                problems.append((_out_of_reach(values), addresses.REASON))
            for places, reason in problems:
                for place in places:
                    if found[place] is None:
                        found[place] = _problem(column, reason, values.slice(place, 1))
        return found


def plan_rows(
    schema: T.StructType,
    contract: CreationSchema,
    output_formats: Mapping[str, OutputFormat],
    fields: TaskFields,
    *,
    lenient: bool = False,
) -> RowEncoder:
    """Plan the encoding of rows of this schema, as `encode` does for a DataFrame.

    Raises:
        ContractError: columns do not fit the project, or a type has no exact rendering.
    """
    columns = [column.name for column in schema.fields]
    inputs = set(fields.inputs(columns))
    contract.check_columns([name for name in columns if name in inputs], output_formats, lenient=lenient)
    plan = _Plan(contract, output_formats, fields, lenient)
    for i, column in enumerate(schema.fields):
        plan.add(i, column.name, plain_type(column.dataType), is_input=column.name in inputs)
    refuse(plan.refused)
    return RowEncoder(
        head=fields.head(),
        spliced=tuple((text.name, text.mode) for text in plan.texts),
        beside=tuple(plan.beside),
        flat=tuple(plan.flat),
        texts=tuple(plan.texts),
        key=tuple(sorted(plan.key, key=lambda member: columns[member.column])),
        checks=tuple(plan.checks),
    )


@dataclass
class _Plan:
    """What the columns come to, gathered one by one, as in `encode`."""

    contract: CreationSchema
    output_formats: Mapping[str, OutputFormat]
    fields: TaskFields
    lenient: bool
    beside: list[_Member] = field(default_factory=list)
    flat: list[_Member] = field(default_factory=list)
    texts: list[_Text] = field(default_factory=list)
    key: list[_Member] = field(default_factory=list)
    checks: list[_Checks] = field(default_factory=list)
    refused: list[ContractError] = field(default_factory=list)

    def add(self, i: int, name: str, data_type: T.DataType, *, is_input: bool) -> None:
        required = reachable = False
        try:
            if is_input:
                is_output = name.startswith(OUTPUT_PREFIX)
                required = self.contract.rule(name).required and not self.lenient
                reachable = is_text(data_type) and not is_output and not self.lenient
                if is_output:
                    self._add_output(i, name, data_type)
                else:
                    self._add_input(i, name, data_type, self.contract.rule(name))
            else:
                self._add_beside(i, name, data_type)
            if name in self.fields.row_key:
                self.key.append(_Member(i, _key(name), as_json(data_type, name)))
        except ContractError as error:
            self.refused.append(error)
        self.checks.append(_Checks(name, _shown_as(data_type, name), required, reachable, is_text(data_type)))

    def _add_beside(self, i: int, name: str, data_type: T.DataType) -> None:
        for member, rule, otherwise in self.fields.by_row(name):
            render = renderer(data_type, rule, name)
            self.beside.append(_Member(i, _key(member), render, b",", otherwise.encode()))

    def _add_input(self, i: int, name: str, data_type: T.DataType, rule: Rule) -> None:
        self.flat.append(_Member(i, _key(name), renderer(data_type, rule, name)))

    def _add_output(self, i: int, name: str, data_type: T.DataType) -> None:
        chosen = self.output_formats.get(name.removeprefix(OUTPUT_PREFIX))
        rule, _ = output_rule(self.contract.rule(name), data_type, chosen)
        mode = splice_mode(rule, data_type, lenient=self.lenient)
        if mode is None:
            self._add_input(i, name, data_type, rule)
        elif is_text(data_type):
            self.texts.append(_Text(i, name, mode))
        else:
            refuse_misfit(rule, data_type, name)
            self.texts.append(_Text(i, name, mode, renderer(data_type, rule, name)))


def _key(name: str) -> bytes:
    return _json(name) + b":"


def _quoted(value: bytes | None) -> bytes | None:
    """A key's value as text, so that 1 and "1" are one key."""
    return value if value is None or value[:1] in (b'"', b"{", b"[") else b'"%b"' % value


def _rows(columns: list[list[bytes | None]], count: int) -> Iterable[tuple[bytes | None, ...]]:
    return zip(*columns, strict=True) if columns else ((),) * count


def _out_of_reach(values: pa.Array) -> set[int]:
    return {i for i, v in enumerate(values.to_pylist()) if v is not None and _is_out_of_reach(v[: addresses.BEGINNING])}


def _shown_as(data_type: T.DataType, name: str) -> Renderer | None:
    try:
        return as_json(data_type, name)
    except ContractError:
        return None


def _problem(column: _Checks, reason: str, value: pa.Array) -> bytes:
    shown = column.shown(value).json[0] if column.shown else None
    described = {"column": column.name, "reason": reason}
    if shown is not None:
        text = shown.decode()
        described["value"] = (text if column.is_text else _quoted_number.sub(r"\1", text))[:SHOWN_CHARACTERS]
    return _json(described)
