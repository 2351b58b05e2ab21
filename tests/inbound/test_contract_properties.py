"""The contract holds still: whatever schemas come, in whatever order, and whatever they call their fields."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from pyspark.sql import types as T

from sama_spark.inbound.delivery_types import delivery_types, grown, sama_name, saveable

SCALARS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "format": "date"},
    {"type": "integer"},
    {"type": "number"},
    {"type": "boolean"},
    {"type": ["string", "integer"]},
    {},
]
PLAIN = st.text("abcdefg", min_size=1, max_size=2)
# Names that Delta refuses, that differ in case alone, or that Spark takes for the same.
ODD = st.text("aAbB _;.`'\"=(1éÉſsKkσςiİı", min_size=1, max_size=3)  # noqa: RUF001


def nodes(names: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of values."""

    def deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        return st.one_of(
            st.dictionaries(names, inner, min_size=1, max_size=5).map(lambda p: {"type": "object", "properties": p}),
            inner.map(lambda items: {"type": "array", "items": items}),
            inner.map(lambda others: {"type": "object", "additionalProperties": others}),
        )

    return st.recursive(st.sampled_from(SCALARS), deeper, max_leaves=12)


def fields(names: st.SearchStrategy[str]) -> st.SearchStrategy[T.DataType]:
    """Types of `answers`."""
    outputs = st.dictionaries(names, nodes(names), min_size=1, max_size=5)
    return outputs.map(lambda properties: answers_of({"properties": properties}))


def answers_of(answers: Any) -> T.DataType:
    return delivery_types({"properties": {"answers": answers}})[1]


@st.composite
def parts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Versions of one schema, each with some of its fields."""

    def part(node: dict[str, Any]) -> dict[str, Any]:
        if "properties" in node:
            some = {name: part(child) for name, child in node["properties"].items() if draw(st.booleans())}
            # Without fields it would be a map, and so another type.
            return {"type": "object", "properties": some or {n: part(c) for n, c in node["properties"].items()}}
        for key in ("items", "additionalProperties"):
            if key in node:
                return {**node, key: part(node[key])}
        return node

    whole = {"properties": draw(st.dictionaries(PLAIN, nodes(PLAIN), min_size=1, max_size=5))}
    return [part(whole) for _ in range(draw(st.integers(2, 4)))]


def unordered(found: T.DataType) -> Any:
    if isinstance(found, T.StructType):
        return frozenset((field.name, unordered(field.dataType)) for field in found.fields)
    if isinstance(found, T.ArrayType):
        return "array", unordered(found.elementType)
    if isinstance(found, T.MapType):
        return "map", unordered(found.valueType)
    return found.simpleString()


def as_java_compares(name: str) -> str:
    """Letter by letter, as String.equalsIgnoreCase does."""
    upper = [letter.upper() if len(letter.upper()) == 1 else letter for letter in name]
    return "".join(letter.lower()[0] for letter in upper)


def grow(old: T.DataType, new: T.DataType) -> T.DataType:
    return grown(old, new, "answers", [])


def extends(new: T.DataType, old: T.DataType) -> bool:
    """Whether Delta makes `new` of `old` by adding fields at the end of structs."""
    if isinstance(old, T.StructType):
        pairs = zip(new.fields, old.fields, strict=False) if isinstance(new, T.StructType) else ()
        return (
            isinstance(new, T.StructType)
            and len(new) >= len(old)
            and all(n.name == o.name and extends(n.dataType, o.dataType) for n, o in pairs)
        )
    if isinstance(old, T.ArrayType):
        return isinstance(new, T.ArrayType) and extends(new.elementType, old.elementType)
    if isinstance(old, T.MapType):
        return isinstance(new, T.MapType) and extends(new.valueType, old.valueType)
    return new == old


def structs(found: T.DataType) -> list[T.StructType]:
    if isinstance(found, T.StructType):
        return [found, *(inner for field in found.fields for inner in structs(field.dataType))]
    if isinstance(found, T.ArrayType):
        return structs(found.elementType)
    return structs(found.valueType) if isinstance(found, T.MapType) else []


@given(parts(), st.randoms(use_true_random=False))
def test_versions_of_a_schema_end_equal_in_any_order(versions: list[dict[str, Any]], random: Any) -> None:
    types = [answers_of(version) for version in versions]
    shuffled = random.sample(types, len(types))
    left, other = reduce(grow, types), reduce(grow, shuffled)
    right = reduce(lambda new, old: grow(old, new), reversed(types))
    assert unordered(left) == unordered(other) == unordered(right)
    assert left == right  # the order of fields too: as they came


@given(st.lists(fields(ODD), min_size=1, max_size=4))
def test_growing_only_adds(types: list[T.DataType]) -> None:
    holds = types[0]
    for new in types:
        gained: list[str] = []
        grew = grown(holds, new, "answers", gained)
        assert extends(grew, holds)
        assert extends(saveable(grew), saveable(holds))
        assert (grew != holds) == bool(gained)
        assert grow(grew, new) == grew
        holds = grew


@given(st.lists(fields(ODD), min_size=1, max_size=3))
def test_names_are_told_apart_and_lead_back(types: list[T.DataType]) -> None:
    holds = reduce(grow, types)
    for ours, theirs in zip(structs(saveable(holds)), structs(holds), strict=True):
        assert [sama_name(field) for field in ours] == theirs.names
        assert len(set(map(as_java_compares, ours.names))) == len(ours.names)
        assert not set(" ,;{}()\n\t=") & set("".join(ours.names))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(JSON, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(examples: list[Any], random: Any) -> None:
    shuffled = random.sample(examples, len(examples))
    one, other = (answers_of({"properties": {"o": {"examples": some}}}) for some in (examples, shuffled))
    assert unordered(one) == unordered(other)


KEYWORDS = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "additionalProperties",
        "anyOf",
        "examples",
        "minimum",
        "maximum",
        "format",
        "$ref",
        "definitions",
    ]
)
WORDS = st.sampled_from(["object", "array", "integer", "string", "date", "#/definitions", "#"])


@example({"examples": True})
@example({"type": 5})
@example({"properties": {"n": {"type": "integer", "minimum": "0"}}})
@given(st.recursive(JSON | WORDS, lambda inner: st.dictionaries(KEYWORDS | WORDS, inner, max_size=4), max_leaves=15))
def test_no_schema_stops_a_sync(answers: Any) -> None:
    for found in delivery_types({"properties": {"data": answers, "answers": answers}}):
        assert found == saveable(found) or structs(found)
