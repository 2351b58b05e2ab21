"""What the fields of a configuration are, in words: read from the types that load it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from sama_spark.jobs.config import JOBS, Source
from sama_spark.keys import KeyReference

_KINDS: dict[type[Any], str] = {
    inspect.IntType: "int",
    inspect.FloatType: "number",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.DictType: "{name: value}",
    inspect.StructType: "{name: value}",
    inspect.ListType: "list",
    inspect.VarTupleType: "list",
}


def help_on(job: str) -> str:
    """The fields of a job, a line each: name, meaning, kind and default; those that are required first."""
    fields = sorted(_of(job), key=lambda field: not field.required)
    lines = [f"  {f.encode_name:<28}{_meaning(f.type)} ({_kind(f.type)}{_default(f)})" for f in fields]
    return "\n".join([f"fields of a file with `job: {job}`:", *lines])


def names_in(place: str, job: str) -> tuple[str, ...]:
    """The fields that there are at a place of a job's configuration."""
    if place in ("source", "rows"):
        return Source.__struct_fields__
    if place == "api_key":
        return KeyReference.__struct_fields__
    return ("job", *JOBS[job].__struct_fields__)


def choices_of(name: str, job: str) -> str:
    """The words that a field takes."""
    types: Any = {field.encode_name: field.type for field in _of(job)}
    words = [str(word) for kind in _parts(types.get(name)) for word in getattr(kind, "values", ())]
    return ", ".join(words) or "what is expected"


def _of(job: str) -> tuple[inspect.Field, ...]:
    described: Any = inspect.type_info(JOBS[job])
    fields: tuple[inspect.Field, ...] = described.fields
    return fields


def _parts(kind: Any) -> Iterator[Any]:
    """The type itself, and what it is made of."""
    if kind is None:
        return
    yield kind
    for part in (*getattr(kind, "types", ()), *(getattr(kind, n, None) for n in ("type", "item_type", "value_type"))):
        yield from _parts(part)


def _kind(kind: Any) -> str:
    if isinstance(kind, inspect.Metadata):
        return _kind(kind.type)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(dict.fromkeys(_kind(part) for part in kind.types if not isinstance(part, inspect.NoneType)))
    if isinstance(kind, inspect.LiteralType):
        return "|".join(map(str, kind.values))
    items = getattr(kind, "item_type", None)
    if isinstance(items, inspect.LiteralType):
        return f"list of {_kind(items)}"
    return _KINDS[type(kind)]


def _default(field: inspect.Field) -> str:
    if field.required:
        return ", required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, KeyReference):
        return "; {env: SAMA_API_KEY}"
    if value in (None, "", [], {}):
        return ""
    return f"; {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"


def _meaning(kind: Any) -> str:
    return str((getattr(kind, "extra_json_schema", None) or {}).get("description", ""))
