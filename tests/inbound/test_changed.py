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
from sama_spark.inbound.sync.changed import Counts, _among_few, _among_many

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TIMES = [datetime(2026, 1, 2, tzinfo=timezone.utc) + timedelta(microseconds=n) for n in range(3)]


@pytest.mark.one_kind
def test_few_and_many(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(4242)
    ids = [f"it's {n}" for n in range(60)]
    landed = [
        (chance.choice([*ids, None]), chance.choice([*TIMES, None]), chance.choice(["this", "other"]))
        for _ in range(120)
    ]
    known = [(task_id, chance.choice(TIMES)) for task_id in [*ids[20:], "another"]]
    raw = spark.createDataFrame(landed, "id string, delivered_at timestamp, run_id string")
    tasks = DeltaTable(spark, str(tmp_path / "tasks"))
    tasks.append(spark.createDataFrame(known, "id string, delivered_at timestamp"))
    now = TIMES[1]  # what was delivered later comes from a clock that is ahead
    few = _among_few(raw, tasks, "this", now)
    assert few is not None
    rows, counts = _among_many(raw, tasks, "this", now, is_empty=False)
    newer = {(row[0], row[1]) for row in rows.select("id", F.unix_micros("delivered_at")).collect()}
    assert (set(few[0]), few[1]) == (newer, counts)
    *tasks_of_each, latest = counts
    assert min(tasks_of_each) > 0
    assert latest == now

    nothing = raw.limit(0)
    assert _among_few(nothing, tasks, "this", now) == ([], Counts(0, 0, 0, 0, 0, 0, None))
    monkeypatch.setattr(changed, "_MOST_NAMED", 119)
    assert _among_few(raw, tasks, "this", now) is None
