"""The options of `df.write.format("sama")`: those of the function `create_task_batch_from_table` without a session."""

from __future__ import annotations

from collections.abc import Mapping

from sama_spark.data_source.staged_write import Target
from sama_spark.data_source.text_options import read_text
from sama_spark.errors import InvalidInput
from sama_spark.outbound.creation_options import NEEDS_SESSION, CreationOptions


def write_options(given: Mapping[str, str]) -> Target:
    """Parse all options. Their names may be in any case, as Spark gives them.

    Raises:
        InvalidInput: an option is unknown, missing or not understood, or a writer cannot do what it asks for. The
            text never repeats a value, which may be a key.
    """
    beyond = {name: _beyond(f"`{name}`") for name in (*NEEDS_SESSION, "wait")}
    shared, options = read_text(given, CreationOptions, beyond, NEEDS_SESSION)
    if options.on_invalid != "raise":
        raise _beyond(f"on_invalid={options.on_invalid!r}")
    return Target(shared.the_project(), shared.base_url, shared.key(), options, shared.stage())


def _beyond(what: str) -> InvalidInput:
    return InvalidInput(
        f"{what} needs a session, which a writer does not have",
        remedy="use Client.create_task_batch_from_table, in a stream from foreachBatch, which takes it",
    )
