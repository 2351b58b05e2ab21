"""Two syncs of one project at once: what Delta refused is told as what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING

from sama_spark.delta import is_conflict
from sama_spark.errors import SyncError

if TYPE_CHECKING:
    from sama_spark.inbound.sync.result import Feed, SyncResult
    from sama_spark.inbound.sync.run import Sync

    Run = Callable[[Sync, Sequence[Feed]], SyncResult]


def tells_conflicts(run: Run) -> Run:
    """`run`, whose lost races are a `SyncError`."""

    @wraps(run)
    def told(sync: Sync, feeds: Sequence[Feed]) -> SyncResult:
        try:
            return run(sync, feeds)
        except Exception as error:
            if not is_conflict(error):
                raise
            raise SyncError(
                f"another writer, most likely a second sync of this project, wrote to {sync.tables['*'].name} at the "
                "same time, and this sync stopped; nothing is lost or doubled",
                project_id=sync.tables.project_id,
                remedy="let one sync of a project run at a time; this one brings what is left when it runs again",
                retryable=True,
            ) from error

    return told
