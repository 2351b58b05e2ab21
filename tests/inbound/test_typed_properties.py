"""Whatever is delivered, the typed columns and the raw ones together hold it."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from pyspark.sql import functions as F
from pyspark.sql import types as T

from kit.examples import many
from sama_spark.api.replies import decode_page
from sama_spark.driver_rows import local_texts
from sama_spark.inbound.delivery_types import delivery_types, sama_name, saveable
from sama_spark.inbound.lines import line_columns, line_tables
from sama_spark.inbound.table import RESCUED, typed_tasks
from sama_spark.vendors.sama.envelope import ENVELOPE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAMES = st.text('aAbB _.`"=1éſ🚗', max_size=2)  # noqa: RUF001
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.dates(datetime.date(1900, 1, 1)).map(str)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
LEAVES: dict[str, tuple[dict[str, Any], st.SearchStrategy[Any]]] = {
    "text": ({"type": "string"}, st.text(max_size=4)),
    "date": ({"type": "string", "format": "date"}, st.dates(datetime.date(1900, 1, 1)).map(str)),
    "long": ({"type": "integer"}, st.integers(-(2**63), 2**63 - 1)),
    "int": ({"type": "integer", "minimum": 0, "maximum": 9}, st.integers(0, 9)),
    "number": ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)),
    "flag": ({"type": "boolean"}, st.booleans()),
    "anything": ({}, JSON),
}
OUTPUTS: dict[str, dict[str, Any]] = {
    **{name: schema for name, (schema, _) in LEAVES.items()},
    "list": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    "of 🚗": {"type": "object", "properties": {name: schema for name, (schema, _) in LEAVES.items()}},
    "options": {"type": "object"},
    "more": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
}
FITTING: dict[str, st.SearchStrategy[Any]] = {
    **{name: values for name, (_, values) in LEAVES.items()},
    "list": st.lists(st.lists(st.floats(-1e9, 1e9), max_size=3), max_size=3),
    "of 🚗": st.fixed_dictionaries({}, optional={name: values | st.none() for name, (_, values) in LEAVES.items()}),
    "options": st.dictionaries(NAMES, st.text(max_size=3), max_size=3),
    "more": st.dictionaries(NAMES, st.lists(st.integers(-9, 9), max_size=3), max_size=3),
}


@st.composite
def answers(draw: st.DrawFn) -> Any:
    """Answers that fit, but for one value perhaps; or anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(JSON)
    found = draw(st.fixed_dictionaries({}, optional=FITTING))
    if draw(st.booleans()):
        found[draw(st.sampled_from([*OUTPUTS, "unheard of"]))] = draw(JSON)
    if draw(st.booleans()):
        name = draw(st.sampled_from([*OUTPUTS, "unheard of"]))
        for level in range(draw(st.integers(0, 40))):
            found[name] = [found.get(name)] if level % 2 else {"deeper": found.get(name)}
    return found


def holds(typed: Any, kind: T.DataType, value: Any) -> bool:
    """Whether nothing of `value` is lost that the type has a place for."""
    if value is None or typed is None:
        return value is typed
    if isinstance(kind, T.StringType):
        return bool(typed == value if isinstance(value, str) else json.loads(typed) == value)
    if isinstance(kind, T.StructType):
        return isinstance(value, dict) and all(
            holds(typed[field.name], field.dataType, value.get(sama_name(field))) for field in kind.fields
        )
    if isinstance(kind, T.ArrayType):
        return (
            isinstance(value, list)
            and len(typed) == len(value)
            and all(holds(one, kind.elementType, of) for one, of in zip(typed, value, strict=True))
        )
    if isinstance(kind, T.MapType):
        return (
            isinstance(value, dict)
            and typed.keys() == value.keys()
            and all(holds(typed[name], kind.valueType, value[name]) for name in value)
        )
    if isinstance(kind, T.DateType):
        return str(typed) == value
    if isinstance(value, bool) or isinstance(kind, T.BooleanType):
        return typed is value
    return isinstance(value, (int, float)) and bool(typed == (float(value) if isinstance(typed, float) else value))


@pytest.mark.one_kind
def test_nothing_delivered_is_lost(spark: SparkSession) -> None:
    delivered = many(answers(), 500)
    texts = [json.dumps(one, ensure_ascii=False, indent=n % 2 or None) for n, one in enumerate(delivered)]
    tasks = [f'{{"id": "{n}", "answers": {text}, "data": {{}}}}' for n, text in enumerate(texts)]
    page = decode_page(f'{{"tasks": [{", ".join(tasks)}]}}'.encode())
    _, kind = delivery_types({"properties": {"answers": {"properties": OUTPUTS}}})
    (lines,) = line_tables([page], 1 << 30)
    line = line_columns()
    rows = local_texts(spark, lines).select(
        line.id.alias("id"),
        F.lit(None).cast("timestamp").alias("delivered_at"),
        line.raw.alias("raw"),
        line.data.alias("data_raw"),
        line.answers.alias("answers_raw"),
    )
    found = typed_tasks(rows, T.StringType(), kind, ENVELOPE).collect()
    assert len(found) == len(delivered)
    rescued = 0
    for row in found:
        n = int(row.id)
        assert row.raw == tasks[n]
        assert row.answers_raw == (None if delivered[n] is None else texts[n])
        if row[RESCUED] is None:
            assert holds(row.answers, saveable(kind), delivered[n]), (row.answers, texts[n])
        else:
            assert row[RESCUED] == tasks[n]
            rescued += 1
    assert len(delivered) / 10 < rescued < len(delivered) * 9 / 10  # else one half of this was not tried
