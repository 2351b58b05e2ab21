"""Views over a project's tables: the labels to train on, and what the head of a labelling team asks every week.

Spark parses a view's text anew at each use, but keeps the columns that `*` stood for when the view was made. So the
texts name every column.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from sama_spark.delta import table_errors
from sama_spark.errors import SyncError
from sama_spark.inbound.annotation_columns import ANNOTATIONS
from sama_spark.inbound.sync.feeds.status_feed import task_states
from sama_spark.names import quoted
from sama_spark.sql_texts import ddl_comment

if TYPE_CHECKING:
    from sama_spark.inbound.sync.tables import SyncTables

LABELS = "labels_current"
_TABLES = ("deliveries_raw", "tasks", "annotations", "task_states", "runs")

# A delivered task in any other state was sent back.
_DONE = "('delivered', 'acknowledged', 'gone')"

# A delivery that two runs landed at the same time counts once.
_DELIVERIES = """
    SELECT id, min(delivered_at) AS first_at, count(DISTINCT delivered_at) AS times
    FROM {deliveries_raw} WHERE id IS NOT NULL GROUP BY id
"""

_LABELS_COMMENT = "Annotations of tasks that were not sent back since they were delivered: what to train on"
# A task that was sent back may be seen as delivered, or gone, before its new delivery is in `tasks`.
_LABELS_QUERY = f"""
    SELECT {", ".join(f"a.`{name}`" for name in ANNOTATIONS.names)}, t.batch_id, t.client_batch_id, t.current_state
    FROM {{annotations}} a JOIN {{tasks}} t ON a.task_id = t.id
    LEFT ANTI JOIN {{task_states}} s
    ON s.task_id = t.id AND s.seen_at > t.synced_at AND s.state NOT IN {_DONE}
    WHERE t.current_state IS NULL OR t.current_state IN {_DONE}
    OR (t.current_state = t.state AND t.state <> 'rejected')
"""

# Name, comment and query, in the order in which the views are made.
VIEWS = {
    LABELS: (_LABELS_COMMENT, _LABELS_QUERY),
    "tags": (
        "A row for each chosen option or level of each tag of labels_current",
        """
        SELECT task_id, ordinal, output, kind, label, frame, tag, explode(chosen) AS value FROM (
            SELECT task_id, ordinal, output, kind, label, frame, explode(tags) AS (tag, chosen) FROM {labels_current}
        )
        """,
    ),
    "label_counts": (
        "Rows of labels_current by output, kind and label",
        """
        SELECT output, kind, label, count(*) AS annotations, count(DISTINCT task_id) AS tasks
        FROM {labels_current} GROUP BY output, kind, label
        """,
    ),
    "open_work": (
        "Tasks that are not delivered, or were sent back, by batch and state, as the status feed last saw them",
        f"""
        SELECT batch_id, client_batch_id, state, count(*) AS tasks, min(since) AS oldest_since FROM (
            SELECT coalesce(t.batch_id, s.last.batch_id) AS batch_id,
                   coalesce(t.client_batch_id, s.last.client_batch_id) AS client_batch_id,
                   if(t.synced_at >= s.seen_at, t.current_state, s.last.state) AS state,
                   greatest(t.synced_at, s.seen_at) AS since
            FROM (
                SELECT task_id, max(seen_at) AS seen_at,
                       max_by(struct(batch_id, client_batch_id, state), seen_at) AS last
                FROM {{task_states}} GROUP BY task_id
            ) s LEFT JOIN {{tasks}} t ON t.id = s.task_id
        )
        WHERE state NOT IN {_DONE} GROUP BY batch_id, client_batch_id, state
        """,
    ),
    "throughput_by_day": (
        "Deliveries by day, in the session's time zone: of tasks that came for the first time, and again",
        """
        SELECT to_date(delivered_at) AS day, count(*) AS deliveries,
               count_if(delivered_at = first_at) AS first_time, count_if(delivered_at > first_at) AS again
        FROM (
            SELECT DISTINCT id, delivered_at, min(delivered_at) OVER (PARTITION BY id) AS first_at
            FROM {deliveries_raw} WHERE id IS NOT NULL AND delivered_at IS NOT NULL
        )
        GROUP BY to_date(delivered_at)
        """,
    ),
    "progress_by_day": (
        "Tasks by state at the end of each day, in the session's time zone, up to the last sync, as known from "
        "deliveries and the status feed",
        """
        WITH seen AS (
            SELECT id AS task_id, 'new' AS state, created_at AS at FROM {tasks} WHERE created_at IS NOT NULL
            UNION ALL SELECT task_id, state, seen_at FROM {task_states}
            UNION ALL SELECT id, 'delivered', delivered_at FROM {deliveries_raw}
            WHERE id IS NOT NULL AND delivered_at IS NOT NULL
        ), spans AS (
            SELECT state, day, lead(day) OVER (PARTITION BY task_id ORDER BY day) AS until FROM (
                SELECT task_id, to_date(at) AS day, max_by(state, at) AS state FROM seen GROUP BY task_id, to_date(at)
            )
        ), changes AS (
            SELECT day, state, sum(change) AS change FROM (
                SELECT day, state, 1 AS change FROM spans
                UNION ALL SELECT until, state, -1 FROM spans WHERE until IS NOT NULL
            ) GROUP BY day, state
        ), days AS (
            SELECT explode(sequence(min(day), greatest(max(day), (SELECT to_date(max(started_at)) FROM {runs})))) AS day
            FROM changes
        )
        SELECT day, state, tasks FROM (
            SELECT d.day, s.state, sum(coalesce(c.change, 0)) OVER (PARTITION BY s.state ORDER BY d.day) AS tasks
            FROM days d CROSS JOIN (SELECT DISTINCT state FROM changes) s
            LEFT JOIN changes c ON c.day = d.day AND c.state = s.state
        )
        WHERE tasks > 0
        """,
    ),
    "rework": (
        "Delivered tasks by batch: how many came again, and how many were sent back, now or ever",
        f"""
        SELECT batch_id, client_batch_id, count(*) AS tasks, count_if(again) AS delivered_again,
               count_if(back) AS sent_back_now, count_if(again OR back OR rejected) AS ever_sent_back,
               round(count_if(again OR back OR rejected) / count(*), 4) AS rejection_rate
        FROM (
            SELECT t.batch_id, t.client_batch_id, d.times > 1 AS again,
                   coalesce(t.current_state NOT IN {_DONE}, false) AS back, r.task_id IS NOT NULL AS rejected
            FROM {{tasks}} t JOIN ({_DELIVERIES}) d ON d.id = t.id
            LEFT JOIN (SELECT DISTINCT task_id FROM {{task_states}} WHERE state = 'rejected') r ON r.task_id = t.id
        )
        GROUP BY batch_id, client_batch_id
        """,
    ),
    "turnaround": (
        "Hours from a task's creation to its first delivery, by batch",
        f"""
        SELECT batch_id, client_batch_id, count(*) AS tasks, round(percentile(hours, 0.5), 2) AS median_hours,
               round(percentile(hours, 0.9), 2) AS ninety_percent_within, round(max(hours), 2) AS slowest_hours
        FROM (
            SELECT t.batch_id, t.client_batch_id,
                   (unix_micros(d.first_at) - unix_micros(t.created_at)) / 3600000000 AS hours
            FROM {{tasks}} t JOIN ({_DELIVERIES}) d ON d.id = t.id
        )
        WHERE hours IS NOT NULL GROUP BY batch_id, client_batch_id
        """,
    ),
}


def ensure_labels(tables: SyncTables) -> None:
    """Create `labels_current` where a catalog can keep this view and has none.

    Raises:
        SyncError: Spark or the catalog refuses.
    """
    with _view_errors(tables):
        if not tables.is_path and not tables.spark.catalog.tableExists(tables[LABELS].sql_name):
            _create(tables, [LABELS])


def create_views(tables: SyncTables) -> None:
    """Create or replace all views beside the tables; for tables in a folder, in this session alone.

    Raises:
        SyncError: Spark or the catalog refuses.
    """
    with _view_errors(tables):
        _create(tables, VIEWS)


def _view_errors(tables: SyncTables) -> AbstractContextManager[None]:
    return table_errors(f"the views beside {tables.place} cannot be made", SyncError)


def _create(tables: SyncTables, names: Iterable[str]) -> None:
    task_states(tables)
    placed = {table: tables[table].sql_name for table in _TABLES} | {LABELS: _place(tables, LABELS)}
    temporary = "TEMPORARY " if tables.is_path else ""
    for name in names:
        comment, query = VIEWS[name]
        tables.spark.sql(
            f"CREATE OR REPLACE {temporary}VIEW {_place(tables, name)} COMMENT {ddl_comment(comment)} "
            f"AS {query.format(**placed)}"
        ).collect()


def _place(tables: SyncTables, name: str) -> str:
    # A view in a folder has no catalog to keep it.
    return quoted(f"{tables.prefix}{name}") if tables.is_path else tables[name].sql_name
