"""The fields of job files in words, for `sama-spark <job> --help` and for errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect

from sama_spark.jobs.config import JOBS, Source, options_of
from sama_spark.keys import KeyReference
from sama_spark.options import choices, default, fields_of, kinds, meaning

_KINDS: Mapping[type[Any], str] = {
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
    """Return the fields of a job, a line each: name, meaning, kind and default; those that are required first."""
    fields = sorted(_of(job).items(), key=lambda named: not named[1].required)
    lines = [f"  {name:<28}{meaning(f)} ({_kind(f.type)}{_default(f)})" for name, f in fields]
    return "\n".join([f"fields of a file with `job: {job}`:", *lines])


def names_in(place: str, job: str) -> tuple[str, ...]:
    """Return the names that a place of a job's file can hold."""
    if place in ("source", "rows"):
        return Source.__struct_fields__
    if place == "api_key":
        return KeyReference.__struct_fields__
    return ("job", *_of(job))


def choices_of(name: str, job: str) -> str:
    """Return the words that a field takes."""
    field = _of(job).get(name)
    return ", ".join(choices(field.type) if field else ()) or "what is expected"


def _of(job: str) -> dict[str, inspect.Field]:
    options = options_of(JOBS[job])
    own = {name: field for name, field in fields_of(JOBS[job]).items() if not (options and name == "options")}
    return own | options


def _kind(type_: Any) -> str:
    def word(kind: Any) -> str:
        if isinstance(kind, inspect.LiteralType):
            return "|".join(map(str, kind.values))
        items = getattr(kind, "item_type", None)
        return f"list of {word(items)}" if isinstance(items, inspect.LiteralType) else _KINDS[type(kind)]

    return " or ".join(dict.fromkeys(map(word, kinds(type_))))


def _default(field: inspect.Field) -> str:
    if field.required:
        return ", required"
    value = default(field)
    if isinstance(value, KeyReference):
        return "; {env: SAMA_API_KEY}"
    if value in (None, "", [], {}, ()):
        return ""
    return f"; {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
