"""What Spark and Delta refuse in a sync is told as what it is: most of all two syncs of one project at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING

from sama_spark.delta import is_conflict, table_errors
from sama_spark.errors import SyncError

if TYPE_CHECKING:
    from sama_spark.inbound.sync.sync_result import Feed, SyncResult
    from sama_spark.inbound.sync.sync_run import Sync

    Run = Callable[[Sync, Sequence[Feed]], SyncResult]


def tells_conflicts(run: Run) -> Run:
    """`run`, where lost races and other refusals of Spark and Delta are a `SyncError`."""

    @wraps(run)
    def told(sync: Sync, feeds: Sequence[Feed]) -> SyncResult:
        try:
            with table_errors(f"the tables {sync.tables['*'].name} cannot be brought up to date", SyncError):
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
