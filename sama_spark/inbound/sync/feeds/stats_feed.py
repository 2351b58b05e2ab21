"""The feed of statistics: Sama's own counts, each time they have changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec
from pyspark.sql import functions as F

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


def sync_stats(api: ApiClient, tables: SyncTables, done: FeedSync) -> None:
    """A row for the project's statistics if they are not those of the last row."""
    table = tables.ensure("project_stats", _STATS, "Statistics", "seen_at")
    stats = api.get_project_stats(tables.project_id)
    done.pages = 1
    raw = msgspec.json.encode(stats, order="sorted").decode()
    if table.read().agg(F.max_by("raw", "seen_at")).collect()[0][0] == raw:
        return
    row = (datetime.now(timezone.utc), raw, _counts(stats.get("tasks")), _count(stats.get("total")), done.run_id)
    table.append(tables.spark.createDataFrame([row], _STATS))
    done.changes = 1


def _counts(found: Any) -> dict[str, int] | None:
    """Sama does not document the reply: what is no count is left to `raw`."""
    if not isinstance(found, Mapping):
        return None
    counts = {name: _count(value) for name, value in found.items()}
    return {name: count for name, count in counts.items() if count is not None}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
