"""The options of `df.write.format("sama")`, parsed to the parameters of `Client.create_task_batch_from_table`."""

from __future__ import annotations

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
from sama_spark.outbound.task_fields import TaskFields

Parsed = TypeVar("Parsed")

_ONLY_IN_THE_FUNCTION = ("outbox", "rejected_table", "dry_run", "wait", "on_progress")


@dataclass(frozen=True)
class WriteOptions:
    """Where and how to write. `staging`: the folder that driver and workers share, None for a temporary one."""

    target: Target
    staging: Path | None = None


def write_options(given: Mapping[str, str]) -> WriteOptions:
    """Parse all options. Their names may be in any case, as Spark gives them.

    Raises:
        InvalidInput: an option is unknown, missing or not understood, or a writer cannot do what it asks for. The
            text never repeats a value that may be a key.
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
    return WriteOptions(target, staging_in(values))


def _beyond(what: str) -> InvalidInput:
    return InvalidInput(
        f"{what} needs a session, which a writer does not have",
        remedy="use Client.create_task_batch_from_table, which takes it",
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
    "batch_priority": int_of,
    "on_invalid": text_of,
    **_FIELDS,
    **_CREATION,
}
