"""Few deliveries are compared by name, many by a join: both tell the same."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

from sama_spark.delta import DeltaTable
from sama_spark.inbound.sync import changed
from sama_spark.inbound.sync.changed import Counts, _among_few, _among_many, placed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TIMES = [datetime(2026, 1, 2, tzinfo=timezone.utc) + timedelta(microseconds=n) for n in range(3)]


@pytest.mark.one_kind
def test_few_and_many(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    raw = placed(spark.createDataFrame(landed, columns))
    tasks = DeltaTable(spark, str(tmp_path / "tasks"))
    tasks.append(spark.createDataFrame(known, "id string, delivered_at timestamp, synced_at timestamp"))
    now = TIMES[1]  # what was delivered later comes from a clock that is ahead
    few = _among_few(raw, tasks, "this", now)
    assert few is not None
    rows, counts = _among_many(raw, tasks, "this", now, is_empty=False)
    newer = {(row[0], row[1]) for row in rows.select("id", F.unix_micros("delivered_at")).collect()}
    assert (set(few[0]), few[1]) == (newer, counts)
    *tasks_of_each, latest = counts
    assert min(tasks_of_each) > 0
    assert latest == now
    # One by one, as it is told in words: what is ahead of the landing ranks by the landing.
    ranks: dict[str, list[tuple[datetime, datetime]]] = {}
    for task_id, at, _, landed_at, problem in landed:
        if task_id and not problem:
            ranks.setdefault(task_id, []).append((min(at or landed_at, landed_at), at or landed_at))
    before = {task_id: (min(at, synced_at), at) for task_id, at, synced_at in known}
    due = {task_id: max(of_task) for task_id, of_task in ranks.items()}
    due = {task_id: rank for task_id, rank in due.items() if task_id not in before or rank > before[task_id]}
    micros = {(task_id, round(at.timestamp() * 1e6)) for task_id, (_, at) in due.items()}
    assert newer == micros

    nothing = raw.limit(0)
    assert _among_few(nothing, tasks, "this", now) == ([], Counts(0, 0, 0, 0, 0, None))
    monkeypatch.setattr(changed, "_MOST_NAMED", 119)
    assert _among_few(raw, tasks, "this", now) is None
