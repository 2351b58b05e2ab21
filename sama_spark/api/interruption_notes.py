"""What a run leaves at Sama when it is interrupted, noted in the log and on the exception itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence

_log = logging.getLogger("sama_spark")


def note(error: BaseException, text: str) -> None:
    """Log `text` as an error, and add it to `error` as a note, which tracebacks show from Python 3.11 on."""
    _log.error("%s", text)
    error.__notes__ = [*getattr(error, "__notes__", ()), text]


def note_batches(
    error: BaseException,
    project_id: str | int,
    *,
    started: Sequence[int],
    unsure: Sequence[int],
    waiting: Sequence[int],
    cancelled: Sequence[int] = (),
    next_step: str,
) -> None:
    """Log which batches of a run are paid for, with all ids, because nothing else keeps them; see `note`.

    Args:
        error: the interruption. Gets the ids as its attribute `sama_batches`, too, for a job's line of JSON.
        project_id: the project's id.
        started: batches whose tasks are created.
        unsure: batches that may have been started.
        waiting: batches that were uploaded and not started.
        cancelled: batches that were cancelled.
        next_step: what the user should do.
    """
    groups = [
        (started, "started, their tasks are created and paid for"),
        (unsure, "unsure, they may have been started: their `continue` was under way"),
        (waiting, "not started, they wait at Sama and cost nothing"),
        (cancelled, "cancelled, they cost nothing"),
    ]
    found = "; ".join(f"{len(ids)} batches {what}: {', '.join(map(str, ids))}" for ids, what in groups if ids)
    paid = "" if started or unsure else "nothing was started, so nothing is paid for; "
    error.sama_batches = {  # type: ignore[attr-defined]
        "started": list(started),
        "unsure": list(unsure),
        "not_started": [*waiting, *cancelled],
    }
    note(
        error,
        f"the run on project {project_id} ended early ({type(error).__name__}): {paid}{found}. Next: {next_step}",
    )
