"""Checks of structured outputs against their JSON Schema: types, members, options, lengths.

`misfits` compares column types with the schema before anything is sent, and `check` compares JSON texts on the workers.
Other words of JSON Schema, such as `anyOf` or `pattern`, are left to Sama. A null counts as absent, as it does for
Sama, so only a required member must not be null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Annotated, Any, Literal, Union

import msgspec
from pyspark.sql import types as T

from sama_spark.exact import FRACTIONS, INTEGERS, is_flat

Schema = Mapping[str, Any]

_UNREAD = ("$ref", "anyOf", "oneOf", "allOf", "not", "if", "const")
_NUMBERS = (*INTEGERS, *FRACTIONS, T.DecimalType)


def kinds_of(schema: Schema) -> list[str]:
    """Return the types that a schema names; none if it names none."""
    declared = schema.get("type")
    return [declared] if isinstance(declared, str) else [k for k in declared or () if isinstance(k, str)]


# --- columns


def misfits(data_type: T.DataType, schema: Any, path: str) -> Iterator[str]:
    """Yield why no value of this type can fit the schema. Each reason names the part of the column that it is about."""
    if not isinstance(schema, Mapping) or any(word in schema for word in _UNREAD):
        return
    kinds, own = kinds_of(schema), _kinds(data_type)
    if kinds and own and not own & set(kinds):
        yield f"{path} is {data_type.simpleString()[:100]}, and the project's schema says {'/'.join(kinds)}"
    elif isinstance(data_type, T.ArrayType):
        yield from misfits(data_type.elementType, schema.get("items"), f"{path}[]")
    elif isinstance(data_type, T.MapType):
        if not schema.get("properties"):
            yield from misfits(data_type.valueType, schema.get("additionalProperties"), f"{path}{{}}")
    elif isinstance(data_type, T.StructType):
        yield from _misfits_of_fields(data_type, schema, path)


def _misfits_of_fields(data_type: T.StructType, schema: Schema, path: str) -> Iterator[str]:
    names, properties = data_type.fieldNames(), _properties(schema)
    for name in _required(schema):
        if name not in names:
            yield f"{path} has no field {name!r}, which the project's schema requires"
    for field in data_type.fields:
        if field.name in properties:
            yield from misfits(field.dataType, properties[field.name], f"{path}.{field.name}")
        elif _is_closed(schema):
            yield f"{path} has a field {field.name!r}, and the project's schema knows {sorted(properties)} alone"
        elif "patternProperties" not in schema:
            yield from misfits(field.dataType, schema.get("additionalProperties"), f"{path}.{field.name}")


def _kinds(data_type: T.DataType) -> set[str]:
    """Return the JSON types that a value of this Spark type can have; none if they depend on the value."""
    if isinstance(data_type, (T.StructType, T.MapType)):
        return {"object"}
    if isinstance(data_type, T.ArrayType):
        return {"array"}
    if isinstance(data_type, T.BooleanType):
        return {"boolean"}
    if isinstance(data_type, _NUMBERS):
        return {"integer", "number"}
    return {"string"} if is_flat(data_type) else set()


# --- values


@lru_cache(maxsize=256)
def check(schema: str) -> Callable[[bytes], Any]:
    """Return a function that checks a text. It raises `msgspec.DecodeError` if the text is no JSON or does not fit.

    Args:
        schema: JSON Schema, as text.
    """
    return msgspec.json.Decoder(_type(msgspec.json.decode(schema), count())).decode


def is_too_large(error: msgspec.ValidationError) -> bool:
    """Return whether `check` failed only because a number is larger than it can hold."""
    return "out of range" in str(error)


def _type(schema: Any, numbers: count[int]) -> Any:
    """Return a type whose decoder accepts what the schema allows. `numbers` gives names to the types of its parts."""
    if not isinstance(schema, Mapping) or any(word in schema for word in _UNREAD):
        return msgspec.Raw
    of_kinds: dict[str, Callable[[Schema, count[int]], Any]] = {
        "object": _object,
        "array": _array,
        "string": _string,
        "integer": lambda schema, _: _number(schema, multiple_of=1),  # 1.0 is one
        "number": lambda schema, _: _number(schema),
        "boolean": lambda *_: bool,
        "null": lambda *_: None,
    }
    kinds = [kind for kind in kinds_of(schema) if kind in of_kinds]
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    if not kinds:
        return msgspec.Raw
    return _usable(Union[tuple(of_kinds[kind](schema, numbers) for kind in kinds)])  # noqa: UP007


def _object(schema: Schema, numbers: count[int]) -> Any:
    properties, required = _properties(schema), _required(schema)
    if not properties and not required and isinstance(others := schema.get("additionalProperties"), Mapping):
        return dict.__class_getitem__((str, _type(others, numbers)))
    names = {f"f{i}": name for i, name in enumerate(dict.fromkeys([*properties, *required]))}
    fields: list[Any] = []
    for field, name in names.items():
        inner = _type(properties.get(name), numbers)
        fields.append((field, inner) if name in required else (field, _or_null(inner), None))
    try:
        return msgspec.defstruct(
            f"Object{next(numbers)}",
            sorted(fields, key=len),  # those without a default come first
            rename=names,
            forbid_unknown_fields=_is_closed(schema),
            gc=False,
        )
    except ValueError:  # a name with a quote or a backslash
        return dict[str, msgspec.Raw]


def _array(schema: Schema, numbers: count[int]) -> Any:
    limits = {
        limit: schema[word]
        for word, limit in (("minItems", "min_length"), ("maxItems", "max_length"))
        if isinstance(schema.get(word), int)
    }
    inner = list.__class_getitem__(_type(schema.get("items"), numbers))
    return Annotated[inner, msgspec.Meta(**limits)] if limits else inner


def _string(schema: Schema, _: count[int]) -> Any:
    options = [option for option in schema.get("enum") or () if isinstance(option, str)]
    return Literal[tuple(options)] if options else str


def _number(schema: Schema, **limits: Any) -> Any:
    for word, limit in (("minimum", "ge"), ("maximum", "le")):
        if isinstance(schema.get(word), (int, float)):
            limits[limit] = schema[word]
    return Annotated[float, msgspec.Meta(**limits)] if limits else float


def _or_null(inner: Any) -> Any:
    return inner if inner is msgspec.Raw else _usable(Union[inner, None])  # noqa: UP007


def _usable(union: Any) -> Any:
    """Return the union, or the type of any value if a decoder cannot tell the union's parts from each other."""
    try:
        msgspec.json.Decoder(union)
    except TypeError:
        return msgspec.Raw
    return union


def _properties(schema: Schema) -> Schema:
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _required(schema: Schema) -> list[str]:
    required = schema.get("required")
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def _is_closed(schema: Schema) -> bool:
    return schema.get("additionalProperties") is False and "patternProperties" not in schema
