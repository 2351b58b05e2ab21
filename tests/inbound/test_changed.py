"""Spark, the driver and a comparison one by one find the same newer deliveries."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from sama_spark.delta import DeltaTable
from sama_spark.inbound.sync.changed import (
    Counts,
    changed_keys,
    compare,
    count,
    count_few,
    counted_columns,
    timed,
)
from sama_spark.inbound.sync.landed import ComparedTask, KnownTask, LandedDelivery, compare_few, compare_on_driver
from sama_spark.inbound.sync.tables import SyncTables
from sama_spark.inbound.times import of_datetime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

TIMES = [datetime(2026, 1, 2, tzinfo=timezone.utc) + timedelta(microseconds=n) for n in range(3)]


@pytest.mark.one_kind
def test_newer_deliveries(spark: SparkSession, tmp_path: Path) -> None:
    chance = random.Random(4242)
    ids = [f"it's {n}" for n in range(60)]
    landed = [
        (
            chance.choice([*ids, None]),
            chance.choice([*TIMES, None]),
            chance.choice(["this", "other"]),
            chance.choice(TIMES),
            chance.choice([None, None, None, "no JSON"]),
        )
        for _ in range(120)
    ]
    known = [(task_id, chance.choice(TIMES), chance.choice(TIMES)) for task_id in [*ids[20:], "another"]]
    columns = "id string, delivered_at timestamp, run_id string, landed_at timestamp, problem string"
    raw = timed(spark.createDataFrame(landed, columns))
    tasks = DeltaTable(spark, str(tmp_path / "tasks"))
    tasks.append(spark.createDataFrame(known, "id string, delivered_at timestamp, synced_at timestamp"))
    now = TIMES[1]  # what was delivered later comes from a clock that is ahead
    compared = compare(raw, tasks, "this")
    rows, counts = changed_keys(compared), count(compared, now)
    on_driver = by_driver(landed, known)
    assert on_driver == by_spark(compared)
    assert count_few(on_driver, now) == counts
    found = {(row[0], row[1]) for row in rows.select("id", F.unix_micros("delivered_at")).collect()}
    *tasks_of_each, latest = counts
    assert min(tasks_of_each) > 0
    assert latest == now
    # The rule, one by one: compare by time, but by landing if a task has a delivery without a time or one from the
    # future.
    by_task: dict[str, list[tuple[datetime, datetime, bool]]] = {}
    for task_id, at, _, landed_at, problem in landed:
        if task_id and not problem:
            is_odd = at is None or at > landed_at
            by_task.setdefault(task_id, []).append((at or landed_at, landed_at, is_odd))
    before = {task_id: (at, synced_at) for task_id, at, synced_at in known}
    due = {}
    for task_id, of_task in by_task.items():
        is_odd = any(odd for *_, odd in of_task)
        at, landed_at, _ = max(of_task, key=lambda found: (found[1], found[0]) if is_odd else found)
        known_at, synced_at = before.get(task_id, (None, None))
        if known_at is None or (landed_at > synced_at if is_odd or known_at >= synced_at else at > known_at):
            due[task_id] = at
    assert found == {(task_id, round(at.timestamp() * 1e6)) for task_id, at in due.items()}
    new = sum(task_id not in before for task_id in by_task)
    assert counts[:3] == (new, len(due) - new, len(by_task) - len(due))
    assert counts.landed == sum(run_id == "this" for _, _, run_id, *_ in landed)
    assert counts.max_deliveries == max(map(len, by_task.values()))

    compared = compare(raw, None, "this")
    assert changed_keys(compared).count() == len(by_task)
    assert count(compared, now)[:3] == (len(by_task), 0, 0)
    assert by_driver(landed, []) == by_spark(compared)
    assert count_few(by_spark(compared), now) == count(compared, now)
    compared = compare(raw.limit(0), tasks, "this")
    assert changed_keys(compared).count() == 0
    assert count(compared, now) == count_few([], now) == Counts(0, 0, 0, 0, 0, None)

    # The driver asks `tasks` only for what may have changed.
    tables = SyncTables(spark, str(tmp_path), "1")
    for since, last_write in ((None, TIMES[1]), (TIMES[1], TIMES[1]), (TIMES[2], TIMES[0]), (TIMES[1], TIMES[2])):
        asked = compare_on_driver(tables, rows_of(landed), since, last_write, "this")
        compared_ones = [
            row
            for row in landed
            if since is None or (row[1] or row[3]) >= since or row[3] > last_write  # as `find_changed` lists them
        ]
        assert sorted(asked or [], key=str) == by_driver(compared_ones, known)


def by_spark(compared: DataFrame) -> list[ComparedTask]:
    return sorted((ComparedTask(*row) for row in counted_columns(compared).collect()), key=str)


def by_driver(landed: Sequence[Sequence[Any]], known: Sequence[tuple[str, datetime, datetime]]) -> list[ComparedTask]:
    tasks = {task_id: KnownTask(of_datetime(at), of_datetime(synced_at)) for task_id, at, synced_at in known}
    return sorted(compare_few(rows_of(landed), tasks, "this"), key=str)


def rows_of(landed: Sequence[Sequence[Any]]) -> list[LandedDelivery]:
    return [
        LandedDelivery(task_id, None if at is None else of_datetime(at), of_datetime(landed_at), run_id, problem)
        for task_id, at, run_id, landed_at, problem in landed
    ]
