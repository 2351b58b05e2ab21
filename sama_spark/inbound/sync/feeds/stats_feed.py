"""The feed of statistics: a row of Sama's own counts each time they have changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from pyspark.sql import functions as F

from sama_spark.driver_rows import local_values

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient
    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.inbound.sync.tables import SyncTables

_STATS = """
    seen_at TIMESTAMP_LTZ,
    raw STRING COMMENT 'the reply, JSON text with its keys sorted',
    counts MAP<STRING, BIGINT> COMMENT 'tasks by state, where the reply has them',
    total BIGINT COMMENT 'where the reply has it',
    run_id STRING
"""


@dataclass(frozen=True)
class StatsFeed:
    """Asks Sama for the project's statistics, in one call."""

    name: ClassVar[str] = "stats"
    api: ApiClient

    def bring(self, tables: SyncTables, progress: FeedSync) -> None:
        """Append the statistics to the table `project_stats` if they differ from its last row."""
        table = tables.ensure("project_stats", _STATS, "Statistics", "seen_at")
        stats = self.api.get_project_stats(tables.project_id)
        progress.pages = 1
        raw = msgspec.json.encode(stats, order="sorted").decode()
        if table.read().agg(F.max_by("raw", "seen_at")).collect()[0][0] == raw:
            return
        now = datetime.now(timezone.utc)
        row = (now, raw, _counts(stats.get("tasks")), _count(stats.get("total")), progress.run_id)
        table.append(local_values(tables.spark, [row], _STATS))
        progress.changes = 1


def _counts(found: Any) -> dict[str, int] | None:
    """Return the counts. Sama does not document the reply, so whatever is no count stays in `raw` alone."""
    if not isinstance(found, Mapping):
        return None
    counts = {name: _count(value) for name, value in found.items()}
    return {name: count for name, count in counts.items() if count is not None}


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value if is_count else None
