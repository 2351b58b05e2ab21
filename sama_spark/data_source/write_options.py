"""Options of `format("sama")`: text in, the parameters of `Client.create_task_batch_from_table` out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from sama_spark.data_source.staged_write import Target
from sama_spark.data_source.text_options import (
    BASE_URL,
    Parser,
    bool_of,
    int_of,
    key_in,
    parse_options,
    project_in,
    staging_in,
    text_of,
)
from sama_spark.errors import InvalidInput
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.encode import TaskFields

Parsed = TypeVar("Parsed")

_THE_FUNCTION = "Client.create_task_batch_from_table, in a stream from foreachBatch"
_ONLY_IN_THE_FUNCTION = ("outbox", "rejected_table", "dry_run", "wait", "on_progress")
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
    values = parse_options(given, _PARSERS, {name: _beyond(f"`{name}`") for name in _ONLY_IN_THE_FUNCTION})
    if values.get("on_invalid", "raise").lower() != "raise":
        raise _beyond(f"on_invalid={values['on_invalid']!r}")
    target = Target(
        project_id=project_in(values),
        base_url=values.get("base_url", BASE_URL),
        key=key_in(values),
        options=CreationOptions(
            fields=TaskFields(
                priority=values.get("batch_priority", 0), **{k: v for k, v in values.items() if k in _FIELDS}
            ),
            **{k: v for k, v in values.items() if k in _CREATION},
        ),
    )
    staging, query = staging_in(values), values.get("query")
    if stream and (staging is None or query is None):
        raise InvalidInput(
            "a stream keeps a record of what was sent, and `staging` or `query` is missing",
            remedy='say .option("staging", a folder that lasts and is shared) and .option("query", a name that this '
            "stream keeps across restarts and no other has)",
        )
    return SinkOptions(target, staging, query if stream else None)


def _beyond(what: str) -> InvalidInput:
    return InvalidInput(
        f"{what} needs a session, which a writer does not have", remedy=f"use {_THE_FUNCTION}, which takes it"
    )


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


_FIELDS: Mapping[str, Parser] = {
    "submit": bool_of,
    "priority_column": text_of,
    "reserve_for_column": text_of,
    "not_sent": _list,
    "row_key": _list,
}
_CREATION: Mapping[str, Parser] = {
    "contract": text_of,
    "notification_email": text_of,
    "tasks_file_name": text_of,
    "chunk_rows": int_of,
    "chunk_bytes": int_of,
    "in_flight": int_of,
    "max_tasks": int_of,
    "outputs": _outputs,
}
_PARSERS: Mapping[str, Parser] = {
    "query": _query_name,
    "batch_priority": int_of,
    "on_invalid": text_of,
    **_FIELDS,
    **_CREATION,
}
