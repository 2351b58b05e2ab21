"""Observe the schema of JSON texts, written as Spark writes the schema of VARIANT values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import msgspec
from pyspark.sql import functions as F

from sama_spark.names import in_backticks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_NUMBERS = ("BIGINT", "DOUBLE")
# A kind is a type's name, {name: kind} for objects, or [kind] for arrays.
_Kind = Any


def observed_schemas(texts: DataFrame) -> list[str]:
    """Return the schema of all values of each column, such as `OBJECT<a: BIGINT, b: ARRAY<VOID>>`.

    Values that are only null or no JSON are VOID; values that conflict are VARIANT. Spark 4.0 and later compute the
    schema. On Spark 3.5 the driver reads the texts one by one.

    Args:
        texts: columns of JSON text.
    """
    if hasattr(F, "schema_of_variant_agg"):
        found = texts.agg(*(F.schema_of_variant_agg(F.try_parse_json(name)) for name in texts.columns)).collect()[0]
        return [schema or "VOID" for schema in found]
    return schemas_of_texts(texts.toLocalIterator(), len(texts.columns))


def schemas_of_texts(rows: Iterable[Sequence[str | bytes | None]], width: int) -> list[str]:
    """Return what `observed_schemas` returns, for rows of `width` JSON texts on the driver."""
    kinds: list[_Kind] = ["VOID"] * width
    for row in rows:
        kinds = [_merged(kind, _kind_of_text(text)) for kind, text in zip(kinds, row, strict=True)]
    return [_schema(kind) for kind in kinds]


def _kind_of_text(text: str | bytes | None) -> _Kind:
    try:
        return _kind(msgspec.json.decode(text or "null"))
    except (msgspec.DecodeError, RecursionError):
        return "VOID"


def _kind(value: Any) -> _Kind:
    if value is None:
        return "VOID"
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        return "BIGINT" if -(2**63) <= value < 2**63 else "DOUBLE"
    if isinstance(value, float):
        return "DOUBLE"
    if isinstance(value, list):
        return [reduce(_merged, map(_kind, value), "VOID")]
    if isinstance(value, Mapping):
        return {name: _kind(inner) for name, inner in value.items()}
    return "STRING"


def _merged(one: _Kind, other: _Kind) -> _Kind:
    if other in (one, "VOID"):
        return one
    if one == "VOID":
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {name: _merged(one.get(name, "VOID"), kind) for name, kind in other.items()}
    if isinstance(one, list) and isinstance(other, list):
        return [_merged(one[0], other[0])]
    return "DOUBLE" if one in _NUMBERS and other in _NUMBERS else "VARIANT"


def _schema(kind: _Kind) -> str:
    if isinstance(kind, list):
        return f"ARRAY<{_schema(kind[0])}>"
    if isinstance(kind, dict):
        fields = (f"{in_backticks(name)}: {_schema(inner)}" for name, inner in sorted(kind.items()))
        return f"OBJECT<{', '.join(fields)}>"
    return str(kind)
