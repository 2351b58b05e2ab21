"""Views over a project's tables: the labels to train on, and what a labelling lead asks every week."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sama_spark.delta import sql_text

if TYPE_CHECKING:
    from sama_spark.inbound.sync.tables import SyncTables

LABELS = "labels_current"

# First deliveries and how often a task came; what two runs at once landed twice counts once.
_DELIVERIES = """
    SELECT id, min(delivered_at) AS first_at, count(DISTINCT delivered_at) AS times
    FROM {deliveries_raw} WHERE id IS NOT NULL GROUP BY id
"""

VIEWS = {
    LABELS: (
        "Annotations of tasks that are not rejected: what to train on",
        """
        SELECT a.*, t.batch_id, t.client_batch_id, t.current_state
        FROM {annotations} a JOIN {tasks} t ON a.task_id = t.id
        WHERE t.current_state IS DISTINCT FROM 'rejected'
        """,
    ),
    "open_work": (
        "Tasks that are not delivered, by batch and state, as the status feed last saw them",
        """
        SELECT s.batch_id, s.client_batch_id, s.state, count(*) AS tasks, min(s.seen_at) AS oldest_since
        FROM (
            SELECT task_id, max(seen_at) AS seen_at, max_by(state, seen_at) AS state,
                   max_by(batch_id, seen_at) AS batch_id, max_by(client_batch_id, seen_at) AS client_batch_id
            FROM {task_states} GROUP BY task_id
        ) s LEFT JOIN {tasks} t ON t.id = s.task_id AND t.delivered_at > s.seen_at
        WHERE t.id IS NULL AND s.state NOT IN ('delivered', 'acknowledged', 'deleted')
        GROUP BY ALL
        """,
    ),
    "throughput_by_day": (
        "Deliveries by day, in the session's time zone: tasks that came for the first time, and again",
        f"""
        SELECT to_date(r.delivered_at) AS day, count(DISTINCT r.id) AS tasks,
               count(DISTINCT CASE WHEN r.delivered_at = d.first_at THEN r.id END) AS first_time,
               count(DISTINCT CASE WHEN r.delivered_at > d.first_at THEN r.id END) AS again
        FROM {{deliveries_raw}} r JOIN ({_DELIVERIES}) d USING (id)
        GROUP BY day
        """,
    ),
    "rework": (
        "Tasks that were rejected or delivered again, by batch",
        f"""
        SELECT t.batch_id, t.client_batch_id, count(*) AS tasks,
               count_if(d.times > 1) AS delivered_again,
               count_if(t.current_state = 'rejected') AS rejected_now,
               count_if(d.times > 1 OR t.current_state = 'rejected' OR s.task_id IS NOT NULL) AS ever_rejected,
               round(ever_rejected / tasks, 4) AS rejection_rate
        FROM {{tasks}} t JOIN ({_DELIVERIES}) d USING (id)
        LEFT JOIN (SELECT DISTINCT task_id FROM {{task_states}} WHERE state = 'rejected') s ON s.task_id = t.id
        GROUP BY ALL
        """,
    ),
    "label_counts": (
        "Annotations of tasks that are not rejected, by output, kind and label",
        """
        SELECT output, kind, label, count(*) AS annotations, count(DISTINCT task_id) AS tasks
        FROM {labels_current} GROUP BY ALL
        """,
    ),
    "turnaround": (
        "Hours from a task's creation to its first delivery, by batch",
        f"""
        SELECT batch_id, client_batch_id, count(*) AS tasks, round(percentile(hours, 0.5), 2) AS median_hours,
               round(percentile(hours, 0.9), 2) AS ninety_percent_within, round(max(hours), 2) AS slowest_hours
        FROM (
            SELECT t.batch_id, t.client_batch_id,
                   (unix_micros(d.first_at) - unix_micros(t.created_at)) / 3.6e9 AS hours
            FROM {{tasks}} t JOIN ({_DELIVERIES}) d USING (id)
        )
        WHERE hours IS NOT NULL GROUP BY ALL
        """,
    ),
}


def create_view(tables: SyncTables, name: str) -> None:
    """Make or replace a view beside the tables; where these lie in a folder, a temporary one of this session."""
    comment, query = VIEWS[name]
    names = {table: tables[table].sql_name for table in ("deliveries_raw", "tasks", "annotations", "task_states")}
    names[LABELS] = view_name(tables, LABELS)
    temporary = "TEMPORARY " if tables.is_path else ""
    tables.spark.sql(
        f"CREATE OR REPLACE {temporary}VIEW {view_name(tables, name)} COMMENT {sql_text(comment)} "
        f"AS {query.format(**names)}"
    ).collect()


def view_name(tables: SyncTables, name: str) -> str:
    return f"{tables.prefix}{name}" if tables.is_path else tables[name].sql_name
