"""Questions in SQL: each view against what a person would count."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyspark")

from chispa import assert_df_equality

from kit.fake_clock import FakeClock
from sama_spark import ANNOTATIONS, Client
from sama_spark.inbound.sync.views import VIEWS

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

IDS = [f"{n:024x}" for n in range(8)]
_BATCH = "batch_id bigint, client_batch_id string, "
EXPECTED: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "labels_current": (
        "task_id string, kind string, label string, batch_id bigint, current_state string",
        [
            (IDS[0], "answer", None, 7, "delivered"),
            (IDS[0], "box", "car", 7, "delivered"),
            (IDS[1], "answer", None, 7, "delivered"),
            (IDS[1], "box", "bus", 7, "delivered"),
            (IDS[3], "answer", None, None, "delivered"),
            (IDS[3], "box", "car", None, "delivered"),
            (IDS[7], "answer", None, 8, "gone"),
            (IDS[7], "box", "car", 8, "gone"),
        ],
    ),
    "tags": (
        "task_id string, output string, label string, tag string, value string",
        [
            (IDS[task], "shapes", label, tag, value)
            for task, label in ((0, "car"), (1, "bus"), (3, "car"), (7, "car"))
            for tag, value in (("class", label), ("side", "left"), ("side", "rear"))
        ],
    ),
    "label_counts": (
        "output string, kind string, label string, annotations bigint, tasks bigint",
        [("shapes", "box", "bus", 1, 1), ("shapes", "box", "car", 3, 3), ("weather", "answer", None, 4, 4)],
    ),
    "open_work": (
        _BATCH + "state string, tasks bigint",
        [(None, None, "rejected", 1), (7, "seven", "in progress", 1), (70001, None, "new", 1)],
    ),
    "throughput_by_day": (
        "day date, deliveries bigint, first_time bigint, again bigint",
        [(date(2026, 1, 2), 3, 3, 0), (date(2026, 1, 3), 6, 5, 1)],
    ),
    "rework": (
        _BATCH + "tasks bigint, delivered_again bigint, sent_back_now bigint, ever_sent_back bigint, "
        "rejection_rate double",
        [(None, None, 2, 0, 1, 1, 0.5), (7, "seven", 3, 1, 1, 2, 0.6667), (8, "eight", 3, 0, 0, 2, 0.6667)],
    ),
    "turnaround": (
        _BATCH + "tasks bigint, median_hours double, ninety_percent_within double, slowest_hours double",
        [(None, None, 2, 30.0, 34.8, 36.0), (7, "seven", 3, 26.0, 35.6, 38.0), (8, "eight", 3, 12.0, 12.0, 12.0)],
    ),
}


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    sandbox.switch(status_calls_per_second=None)
    with Client(sandbox.api_key, base_url=sandbox.base_url, experimental=True, clock=FakeClock()) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> str:
    """Eight tasks, the third delivered on the second of January in New York and on the third in Greenwich."""
    project = sandbox.create_project({"name": "string"}, {"shapes": "image", "weather": "text"})
    seven, eight = {"batch_id": 7, "client_batch_id": "seven"}, {"batch_id": 8, "client_batch_id": "eight"}
    deliveries = [
        delivery(0, "01T12", "02T12", **seven),
        delivery(1, "01T12", "02T14", **seven),
        delivery(2, "01T12", "03T02", **seven),
        delivery(3, "02T12", "03T12"),
        delivery(4, "02T00", "03T12"),
        *(delivery(n, "03T00", "03T12", **eight) for n in (5, 6, 7)),
    ]
    sandbox.deliver(project, deliveries)
    return str(project)


def delivery(n: int, created: str, delivered: str, label: str = "car", **more: Any) -> dict[str, Any]:
    shape = {
        "type": "rectangle",
        "index": 1,
        "points": [[0, 0], [9, 0], [0, 5], [9, 5]],
        "tags": {"class": label, "side": {"left": "1", "rear": "1", "front": "0"}},
    }
    return {
        "id": IDS[n],
        "data": {"name": f"image {n}"},
        "answers": {"shapes": {"layers": {"vector_tagging": [{"shapes": [shape]}]}}, "weather": "sun"},
        "created_at": f"2026-01-{created}:00:00.000Z",
        "delivered_at": f"2026-01-{delivered}:00:00.000Z",
        **more,
    }


@pytest.fixture
def schema(spark: SparkSession) -> Iterator[str]:
    yield "viewed"
    spark.sql("DROP SCHEMA IF EXISTS viewed CASCADE").collect()


@pytest.mark.one_kind
def test_views_answer_as_a_person_would(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: str, schema: str
) -> None:
    where = {"into": schema, "prefix": "p_"}
    client.sync(spark, project, **where, label="class")
    assert {row.viewName for row in spark.sql("SHOW VIEWS IN viewed").collect()} == {"p_labels_current"}
    spark.sql("DROP VIEW viewed.p_labels_current").collect()  # as where the first sync died before it was made
    client.sync(spark, project, **where, label="class")
    labels = spark.table("viewed.p_labels_current")
    assert labels.columns == [*ANNOTATIONS.names, "batch_id", "client_batch_id", "current_state"]
    assert labels.count() == 2 * len(IDS)
    # As by two runs at once.
    spark.sql(f"INSERT INTO viewed.p_deliveries_raw SELECT * FROM viewed.p_deliveries_raw WHERE id < '{IDS[2]}'")

    sandbox.set_state(int(project), [IDS[n] for n in (1, 2, 5, 6)], "rejected")
    client.reject_task(project, IDS[4], ["too loose"], spark=spark, **where)
    sandbox.set_state(int(project), [IDS[7]], "new")
    client.delete_tasks(project, [IDS[7]])
    client.create_tasks_inline(project, [{"data": {"name": "young"}}])
    client.sync(spark, project, **where, feeds=["status"])

    # Delivered again; reworked; deleted while it was.
    sandbox.deliver(int(project), [delivery(1, "01T12", "03T13", "bus", batch_id=7, client_batch_id="seven")])
    sandbox.set_state(int(project), [IDS[2]], "in progress")
    sandbox.set_state(int(project), [IDS[6]], "new")
    client.delete_tasks(project, [IDS[6]])
    client.sync(spark, project, **where, label="class", views=True)
    assert spark.sql("SELECT sum(tasks) FROM viewed.p_open_work").collect()[0][0] == 5  # as the last status told
    # Delivered again too, and the tables still have the labels that were rejected.
    sandbox.deliver(int(project), [delivery(5, "03T00", "03T14", "bus", batch_id=8, client_batch_id="eight")])
    client.sync(spark, project, **where, feeds=["status"])

    assert {*EXPECTED, "progress_by_day"} == set(VIEWS)
    for name, (ddl, rows) in EXPECTED.items():
        expected = spark.createDataFrame(rows, ddl)
        found = spark.table(f"viewed.p_{name}").select(*expected.columns)
        assert_df_equality(found, expected, ignore_nullable=True, ignore_metadata=True, ignore_row_order=True)
    check_progress(spark)
    since = spark.sql("SELECT oldest_since FROM viewed.p_open_work WHERE state = 'in progress'").collect()
    assert since == spark.sql("SELECT seen_at FROM viewed.p_task_states WHERE state = 'in progress'").collect()


def check_progress(spark: SparkSession) -> None:
    """Day by day in New York, and today, when the status feed saw what had become of them."""
    counts: dict[str, dict[str, int]] = {}
    for row in spark.table("viewed.p_progress_by_day").orderBy("day").collect():
        counts.setdefault(str(row.day), {})[row.state] = row.tasks
    assert list(counts.values())[-1] == {"delivered": 4, "gone": 2, "in progress": 1, "new": 1, "rejected": 1}
    assert {day: counts[day] for day in list(counts)[:4]} == {
        "2026-01-01": {"new": 4},
        "2026-01-02": {"new": 5, "delivered": 3},
        "2026-01-03": {"delivered": 8},
        "2026-01-04": {"delivered": 8},
    }


@pytest.mark.one_kind
def test_a_folder_has_its_views_in_the_session(
    spark: SparkSession, client: Client, project: str, tmp_path: Path
) -> None:
    try:
        client.sync(spark, project, str(tmp_path), prefix="of 'it' ", label="class", views=True)
        counts = [spark.table(f"`of 'it' {name}`").count() for name in VIEWS]
        assert counts == [16, 24, 2, 0, 2, counts[5], 3, 3]
    finally:
        for name in VIEWS:
            spark.catalog.dropTempView(f"of 'it' {name}")
