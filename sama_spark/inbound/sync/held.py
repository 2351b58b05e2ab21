"""The deliveries of a sync that brings few: the driver holds them, so Spark need not read them back.

Most syncs bring some hundred deliveries. To pass them through files, and to read them again from `deliveries_raw` for
each table, takes a dozen Spark jobs. In a fresh process these cost more than all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from sama_spark.driver_rows import local_rows
from sama_spark.inbound.lines import cut_line, line_prefix
from sama_spark.inbound.times import micros, of_datetime

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.vendors.seam import Page

# More than that is quicker by files, which all cores read.
MOST, MOST_BYTES = 5_000, 16 << 20
_TASKS = "id STRING, delivered_at TIMESTAMP_LTZ, raw STRING, data_raw STRING, answers_raw STRING"
_TIME = pa.timestamp("us", "UTC")


class Delivery(NamedTuple):
    """A delivery with the values that Spark would cut from its line.

    Attributes:
        id: of the task; None where it has none.
        delivered_at: in microseconds since 1970; None where the delivery has no time.
        at: `delivered_at`, or the time of the landing where there is none.
        problem: why it cannot be read as a task.
        parts, raw, data, answers: as in `lines.LineTexts`.
    """

    id: str | None
    delivered_at: int | None
    at: int
    problem: str | None
    parts: bytes
    raw: bytes
    data: bytes | None
    answers: bytes | None


def take_few(pages: Iterator[Page]) -> tuple[list[Page], bool]:
    """Read pages until they are many. Return them, and whether these are all: few."""
    taken: list[Page] = []
    count = size = 0
    for page in pages:
        taken.append(page)
        count += len(page)
        size += sum(len(task.text) for task in page)
        if _are_many(count, size):
            return taken, False
    return taken, True


def few_or_none(held: list[Delivery]) -> list[Delivery] | None:
    """Return the deliveries if they are few, else None: pages that land one by one can be many together."""
    return None if _are_many(len(held), sum(len(delivery.raw) for delivery in held)) else held


def _are_many(count: int, size: int) -> bool:
    return count > MOST or size > MOST_BYTES


def deliveries(pages: Iterable[Page], landed_at: datetime) -> list[Delivery]:
    """Return the deliveries of pages that land at that time."""
    landing, found = of_datetime(landed_at), []
    for page in pages:
        for task in page:
            line = cut_line(line_prefix(task) + task.text)
            time = micros(line.delivered_at)
            at = landing if time is None else time
            found.append(Delivery(line.id, time, at, line.problem, line.parts, line.raw, line.data, line.answers))
    return found


def raw_frame(
    spark: SparkSession, held: Sequence[Delivery], feed: str, run_id: str, landed_at: datetime, cursor: str | None
) -> DataFrame:
    """Return the deliveries in the columns of `deliveries_raw`."""
    count = len(held)
    columns = {
        "id": pa.array([delivery.id for delivery in held], pa.string()),
        "delivered_at": pa.array([delivery.delivered_at for delivery in held], pa.int64()).cast(_TIME),
        "raw": _texts([delivery.raw for delivery in held]),
        "parts": _texts([delivery.parts for delivery in held]),
        "problem": pa.array([delivery.problem for delivery in held], pa.string()),
        "feed": pa.array([feed] * count, pa.string()),
        "run_id": pa.array([run_id] * count, pa.string()),
        "landed_at": pa.array([of_datetime(landed_at)] * count, pa.int64()).cast(_TIME),
        "cursor": pa.array([cursor] * count, pa.string()),
    }
    return spark.createDataFrame(pa.table(columns))


def task_batch(held: Sequence[Delivery]) -> pa.RecordBatch:
    """Return the tasks with `id`, `delivered_at`, `raw`, `data_raw` and `answers_raw`."""
    columns = {
        "id": pa.array([delivery.id for delivery in held], pa.string()),
        "delivered_at": pa.array([delivery.at for delivery in held], pa.int64()).cast(_TIME),
        "raw": _texts([delivery.raw for delivery in held]),
        "data_raw": _texts([delivery.data for delivery in held]),
        "answers_raw": _texts([delivery.answers for delivery in held]),
    }
    return pa.RecordBatch.from_pydict(columns)


def task_frame(spark: SparkSession, batch: pa.RecordBatch) -> DataFrame:
    """Return what `task_batch` returned as a DataFrame."""
    return local_rows(spark, pa.Table.from_batches([batch]), _TASKS)


def _texts(values: Sequence[bytes | None]) -> pa.Array:
    # As they are: a conversion would refuse what is no UTF-8.
    return pa.array(values, pa.binary()).view(pa.string())
