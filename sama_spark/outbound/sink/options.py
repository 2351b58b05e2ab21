"""Options of `format("sama")`: text in, the parameters of `Client.create_task_batch_from_table` out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from sama_spark.api.errors import InvalidInput
from sama_spark.outbound.encode import TaskFields
from sama_spark.outbound.options import CreationOptions
from sama_spark.outbound.sink.staged_write import KEY_ENV, KeyReference, Target
from sama_spark.staging import local_path

Parsed = TypeVar("Parsed")

_THE_FUNCTION = "Client.create_task_batch_from_table, in a stream from foreachBatch"
_KEYS = ("api_key", "apikey", "api-key", "access_key", "key", "token", "secret", "password")
_ONLY_IN_THE_FUNCTION = ("outbox", "rejected_table", "dry_run", "wait", "on_progress")
_OF_SPARK = ("checkpointlocation",)
_QUERY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}").fullmatch


@dataclass(frozen=True)
class SinkOptions:
    """`staging`: the shared folder, None for a temporary one. `query`: a stream's name, None without a stream."""

    target: Target
    staging: Path | None = None
    query: str | None = None


def read_options(given: Mapping[str, str], *, stream: bool) -> SinkOptions:
    """Read all options; names in any case, as Spark gives them.

    Raises:
        InvalidInput: one is unknown, missing, not understood, or beyond what a writer can do. Values that may be
            a key are not repeated.
    """
    options = {name.lower(): text for name, text in given.items() if name.lower() not in _OF_SPARK}
    for name in options:
        _refuse(name)
    if options.get("on_invalid", "raise").lower() != "raise":
        raise _beyond(f"on_invalid={options['on_invalid']!r}")
    values = {name: _PARSERS[name](name, text) for name, text in options.items()}
    project = values.get("project", values.get("project_id"))
    if not project or values.get("project_id", project) != project:
        raise InvalidInput("the project is not named once", remedy='say .option("project", "4242")')
    if "api_key_env" in values and "api_key_file" in values:
        raise InvalidInput("`api_key_env` and `api_key_file` are both named", remedy="name one of them")
    target = Target(
        project_id=project,
        base_url=values.get("base_url", "https://api.sama.com/v2"),
        key=KeyReference(values.get("api_key_env", KEY_ENV), values.get("api_key_file")),
        options=CreationOptions(
            fields=TaskFields(
                priority=values.get("batch_priority", 0), **{k: v for k, v in values.items() if k in _FIELDS}
            ),
            **{k: v for k, v in values.items() if k in _CREATION},
        ),
    )
    staging, query = values.get("staging"), values.get("query")
    if stream and (staging is None or query is None):
        raise InvalidInput(
            "a stream keeps a record of what was sent, and `staging` or `query` is missing",
            remedy='say .option("staging", a folder that lasts and is shared) and .option("query", a name that this '
            "stream keeps across restarts and no other has)",
        )
    return SinkOptions(target, None if staging is None else _folder(staging), query if stream else None)


def _folder(staging: str) -> Path:
    folder = local_path(staging)
    if not folder.is_absolute():
        raise InvalidInput(
            "option `staging` is a relative path, which means one folder here and another in Spark's own processes",
            remedy="give the whole path, such as /Volumes/catalog/schema/volume",
        )
    return folder


def _refuse(name: str) -> None:
    if name in _KEYS:
        raise InvalidInput(
            f"option `{name}` would show the key in plans and logs",
            remedy=f"name an environment variable in `api_key_env` (by default {KEY_ENV}) or a file in "
            "`api_key_file`; both are read beside the driver; and change the key, which Spark may have logged",
        )
    if name in _ONLY_IN_THE_FUNCTION:
        raise _beyond(f"`{name}`")
    if name == "path":
        raise InvalidInput("save() and start() take no path here", remedy='say .option("project", "4242")')
    if name not in _PARSERS:
        nearest = get_close_matches(name, _PARSERS, n=1)
        raise InvalidInput(
            f"there is no option `{name}`",
            remedy=f"do you mean `{nearest[0]}`?" if nearest else f"the options are {', '.join(sorted(_PARSERS))}",
        )


def _beyond(what: str) -> InvalidInput:
    return InvalidInput(
        f"{what} needs a session, which a writer does not have", remedy=f"use {_THE_FUNCTION}, which takes it"
    )


def _text(name: str, text: str) -> str:
    if not text.strip():
        raise InvalidInput(f"option `{name}` is empty", remedy="give a value, or leave the option out")
    return text


def _int(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"option `{name}` is no whole number", remedy="give one, such as 5000") from None


def _bool(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InvalidInput(f"option `{name}` is neither true nor false", remedy="give one of them")
    return text.lower() == "true"


def _list(name: str, text: str) -> tuple[str, ...]:
    if text.lstrip().startswith("["):
        return _json(name, text, tuple[str, ...], '["a", "b"]')
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def _outputs(name: str, text: str) -> dict[str, str]:
    return _json(name, text, dict[str, str], '{"objects": "json", "notes": "text"}')


def _json(name: str, text: str, kind: type[Parsed], example: str) -> Parsed:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"option `{name}` is not understood: {error}", remedy=f"give {example}") from None


def _query_name(name: str, text: str) -> str:
    if not _QUERY(text):
        raise InvalidInput(
            f"option `{name}` is no name that a folder can have",
            remedy="give up to 100 letters, digits, dots, dashes and underscores",
        )
    return text


_FIELDS: Mapping[str, Callable[[str, str], Any]] = {
    "submit": _bool,
    "priority_column": _text,
    "reserve_for_column": _text,
    "not_sent": _list,
    "row_key": _list,
}
_CREATION: Mapping[str, Callable[[str, str], Any]] = {
    "contract": _text,
    "notification_email": _text,
    "tasks_file_name": _text,
    "chunk_rows": _int,
    "chunk_bytes": _int,
    "in_flight": _int,
    "max_tasks": _int,
    "outputs": _outputs,
}
_PARSERS: Mapping[str, Callable[[str, str], Any]] = {
    "project": _text,
    "project_id": _text,
    "base_url": _text,
    "api_key_env": _text,
    "api_key_file": _text,
    "staging": _text,
    "query": _query_name,
    "batch_priority": _int,
    "on_invalid": _text,
    **_FIELDS,
    **_CREATION,
}
