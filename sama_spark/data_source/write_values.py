"""Arrow columns to what their JSON has to say: the table of `render`, for workers that hold no JVM columns.

The text of a float or double is the shortest that reads back as the same number. Java before 19 writes a digit more
for a few numbers beyond 1e9 (float) or 1e16 (double), and so `render` does there; both read back alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
from pyspark.sql import types as T

from sama_spark.data_source import write_arrow as arrow
from sama_spark.data_source.write_arrow import Rendered, Renderer
from sama_spark.exact import FRACTIONS, INTEGERS, is_text
from sama_spark.outbound.render import (
    DATE_TEXT,
    INTEGER_TEXT,
    NO_DATE_TEXT,
    NO_INTEGER_TEXT,
    is_native_json,
    none_of,
    not_whole,
    outside,
    refusal,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from sama_spark.outbound.creation_schema import Rule

_encode = msgspec.json.Encoder().encode
_integer_text = re.compile(INTEGER_TEXT.replace(r"\z", r"\Z"), re.ASCII).match
_date_text = re.compile(DATE_TEXT.replace(r"\z", r"\Z"), re.ASCII).match


def renderer(data_type: T.DataType, rule: Rule, path: str) -> Renderer:
    """How columns of this type are rendered as the rule wants them; `path` names the column in errors.

    Raises:
        ContractError: the type has no exact rendering.
    """
    if rule.kind == "string":
        text = _as_text(data_type, path)
        options = frozenset(map(_encode, rule.options))
        return partial(_one_of, inner=text, options=options, reason=none_of(rule)) if options else text
    if rule.kind == "integer":
        return _as_integer(data_type, rule, path)
    if rule.kind == "date":
        return _as_date(data_type, path)
    if rule.kind == "json" and not is_native_json(data_type):
        raise refusal(path, data_type, "a structured value", "a struct, array, map or variant, or JSON text")
    return as_json(data_type, path)


def as_json(data_type: T.DataType, path: str) -> Renderer:
    """How columns of this type are rendered where no schema says more.

    Raises:
        ContractError: the type has no exact rendering.
    """
    if is_text(data_type):
        return arrow.text
    for kind, flat in _FLAT.items():
        if isinstance(data_type, kind):
            return flat
    if isinstance(data_type, T.ArrayType):
        return partial(arrow.array, element=as_json(data_type.elementType, f"{path}[]"))
    if isinstance(data_type, T.StructType):
        names = data_type.fieldNames()
        if len(set(names)) < len(names):
            raise refusal(path, data_type, "JSON", "a struct whose fields have different names")
        fields = tuple((_encode(f.name) + b":", as_json(f.dataType, f"{path}.{f.name}")) for f in data_type.fields)
        return partial(arrow.struct, fields=fields)
    if isinstance(data_type, T.MapType):
        if not (is_text(data_type.keyType) or isinstance(data_type.keyType, INTEGERS)):
            raise refusal(path, data_type, "JSON", "a map with string or integer keys")
        return partial(arrow.mapping, value=as_json(data_type.valueType, f"{path}{{}}"))
    if data_type.typeName() == "variant":
        raise refusal(
            path, data_type, "JSON in a writer", "its text (to_json()), or use Client.create_task_batch_from_table"
        )
    raise refusal(path, data_type, "JSON", "a type that JSON has: base64() for binary, a string for intervals")


def _as_text(data_type: T.DataType, path: str) -> Renderer:
    if is_text(data_type):
        return arrow.text
    if isinstance(data_type, (*INTEGERS, T.BooleanType, T.DecimalType)):
        return partial(_in_quotes, inner=as_json(data_type, path))
    if isinstance(data_type, FRACTIONS):
        return partial(_in_quotes, inner=partial(arrow.fraction, write=arrow.as_java_writes))
    if isinstance(data_type, (T.DateType, T.TimestampType, T.TimestampNTZType)):
        return as_json(data_type, path)
    raise refusal(path, data_type, "text", "a string: to_json() for nested values, base64() for binary")


def _as_integer(data_type: T.DataType, rule: Rule, path: str) -> Renderer:
    if isinstance(data_type, INTEGERS):
        return partial(_in_range, rule=rule)
    if is_text(data_type):
        return partial(_integer_of_text, rule=rule)
    if isinstance(data_type, (T.DecimalType, *FRACTIONS)):
        return partial(_whole, rule=rule)
    raise refusal(path, data_type, "an integer", "an integer column, cast as you mean it")


def _as_date(data_type: T.DataType, path: str) -> Renderer:
    if isinstance(data_type, T.DateType):
        return arrow.day
    if is_text(data_type):
        return _date_of_text
    raise refusal(path, data_type, "a date", "a date column (to_date()) or YYYY-MM-DD text")


_FLAT: dict[type[T.DataType] | tuple[type[T.DataType], ...], Renderer] = {
    INTEGERS: arrow.integer,
    T.BooleanType: arrow.boolean,
    T.DecimalType: arrow.decimal,
    FRACTIONS: arrow.fraction,
    T.DateType: arrow.day,
    T.TimestampType: partial(arrow.moment, end="Z"),
    T.TimestampNTZType: partial(arrow.moment, end=""),
}

# --- for a rule


def _in_quotes(array: pa.Array, inner: Renderer) -> Rendered:
    found = inner(array)
    return Rendered([v if v is None or v[:1] == b'"' else b'"%b"' % v for v in found.json], found.problems)


def _one_of(array: pa.Array, inner: Renderer, options: frozenset[bytes], reason: str) -> Rendered:
    found = inner(array)
    others = {i for i, v in enumerate(found.json) if v is not None and v not in options}
    return Rendered(found.json, (*found.problems, (others, reason)))


def _in_range(array: pa.Array, rule: Rule) -> Rendered:
    return Rendered(arrow.integer(array).json, _out_of_range(array.to_pylist(), rule))


def _out_of_range(numbers: Iterable[Any], rule: Rule) -> tuple[tuple[set[int], str], ...]:
    beyond = {i for i, v in enumerate(numbers) if v is not None and not rule.minimum <= v <= rule.maximum}
    return ((beyond, outside(rule)),)


def _integer_of_text(array: pa.Array, rule: Rule) -> Rendered:
    texts = array.to_pylist()
    numbers = [int(v) if v is not None and _integer_text(v) else None for v in texts]
    wrong = {i for i, v in enumerate(texts) if v is not None and numbers[i] is None}
    json = [None if v is None else b"%d" % v for v in numbers]
    return Rendered(json, ((wrong, NO_INTEGER_TEXT), *_out_of_range(numbers, rule)))


def _whole(array: pa.Array, rule: Rule) -> Rendered:
    values = array.to_pylist()
    fits = [v is not None and isfinite(v) and v == int(v) and rule.minimum <= v <= rule.maximum for v in values]
    wrong = {i for i, v in enumerate(values) if v is not None and not fits[i]}
    json = [b"%d" % int(v) if fit else None for v, fit in zip(values, fits, strict=True)]
    return Rendered(json, ((wrong, not_whole(rule)),))


def _date_of_text(array: pa.Array) -> Rendered:
    wrong = {i for i, v in enumerate(array.to_pylist()) if v is not None and not _date_text(v)}
    return Rendered(arrow.text(array).json, ((wrong, NO_DATE_TEXT),))
