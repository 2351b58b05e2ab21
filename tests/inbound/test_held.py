"""What the driver makes of a few deliveries is what Spark makes of many."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from chispa import assert_df_equality
from pyspark.sql import functions as F

from kit.examples import many
from sama_spark.api.task_text import task_text
from sama_spark.driver_rows import local_texts, takes_arrow
from sama_spark.inbound.annotations import annotations_on_driver, flatten_annotations
from sama_spark.inbound.lines import line_tables
from sama_spark.inbound.sync import held
from sama_spark.inbound.sync.landing import Landing
from sama_spark.inbound.sync.sync_result import FeedSync
from sama_spark.inbound.sync.tables import SyncTables

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = [
    pytest.mark.one_kind,
    pytest.mark.skipif(not takes_arrow(), reason="this Spark takes no Arrow tables from the driver"),
]

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)
PLAIN = ["2026-01-02T03:04:05.678Z", "2026-01-02 03:04", "20260102T030405", "1767322999", "1767322999123", "soon", ""]
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))
ZONES = st.sampled_from(["", "Z", " UTC", "GMT", "+01:00", "-0930", "+18:01", "+00:60"])
FORMATS = st.sampled_from(["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y%m%dT%H%M%S", "%H:%M"])
TIMES = st.one_of(
    st.builds(lambda moment, form, zone: f"{moment:{form}}{zone}", MOMENTS, FORMATS, ZONES),
    st.sampled_from(PLAIN),
    st.text("0123456789-:T Z+.", max_size=24),
    st.integers(),
    st.none(),
)
SHAPE = {"type": "rectangle", "index": 1, "points": [[1, 2], [3, 2], [1, 4], [3, 4]], "tags": {"kind": "car"}}
ANSWERS = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.fixed_dictionaries({"weather": st.text(max_size=3)}),
    st.lists(st.just(SHAPE), max_size=3).map(
        lambda shapes: {"objects": {"layers": {"vector_tagging": [{"shapes": shapes, "group_type": None}]}}}
    ),
)
TASKS = st.fixed_dictionaries(
    {"id": st.one_of(st.text(max_size=4), st.integers(), st.none())},
    optional={"delivered_at": TIMES, "data": st.dictionaries(st.text(max_size=2), st.integers()), "answers": ANSWERS},
)


@pytest.fixture(scope="module")
def page() -> list[Any]:
    tasks = [json.dumps(task, ensure_ascii=n % 2 == 0) for n, task in enumerate(many(TASKS, 600))]
    texts = [text.encode(errors="replace") for text in (*tasks, '{"id": ', "[]", '{"id": "a", "id": "b"}')]
    return [task_text(msgspec.Raw(text)) for text in texts]


def test_they_land_alike(spark: SparkSession, page: list[Any], tmp_path: Path) -> None:
    (lines,) = line_tables([page], 1 << 30)
    tables = SyncTables(spark, str(tmp_path), "1")
    landing = Landing(tables, lambda: None, "delivered", FeedSync("delivered", "run"), NOW, None, None, is_empty=True)
    by_spark = landing._raw_rows(local_texts(spark, lines), "next")
    by_driver = held.raw_frame(spark, held.deliveries([page], NOW), "delivered", "run", NOW, "next")
    assert sum(delivery.delivered_at is not None for delivery in held.deliveries([page], NOW)) > len(page) / 10
    assert_df_equality(
        by_driver,
        by_spark.select(*by_driver.columns),
        ignore_row_order=True,
        ignore_nullable=True,
        ignore_metadata=True,
    )


def test_their_annotations_are_alike(spark: SparkSession, page: list[Any]) -> None:
    deliveries = held.deliveries([page], NOW)
    batch = held.task_batch(deliveries)
    tasks = held.task_frame(spark, batch)
    by_driver = annotations_on_driver(spark, batch, "sama", "kind", "key")
    by_spark = flatten_annotations(tasks, label="kind")
    assert by_driver.schema.simpleString() == by_spark.schema.simpleString()
    assert by_driver.count() > len(page) / 10
    assert_df_equality(
        _plain(by_driver), _plain(by_spark), ignore_row_order=True, ignore_nullable=True, ignore_metadata=True
    )


@pytest.mark.parametrize(
    ("most", "most_bytes", "is_few"), [(3, 1 << 20, True), (2, 1 << 20, False), (3, 33, True), (3, 32, False)]
)
def test_few_is_by_number_and_by_size(
    monkeypatch: pytest.MonkeyPatch, most: int, most_bytes: int, is_few: bool
) -> None:
    monkeypatch.setattr(held, "MOST", most)
    monkeypatch.setattr(held, "MOST_BYTES", most_bytes)
    pages = [[task_text(msgspec.Raw(b'{"id": "%d"}' % n))] for n in range(3)]
    assert sum(len(task.text) for page in pages for task in page) == 33
    rest = iter(pages)
    taken, are_all = held.take_few(rest)
    assert are_all == is_few
    assert taken + list(rest) == pages


def _plain(annotations: DataFrame) -> DataFrame:
    """Maps cannot be compared, and `assert_df_equality` sorts by all columns."""
    return annotations.withColumn("tags", F.to_json("tags"))
