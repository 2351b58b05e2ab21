"""Deliveries land as text, each once, before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from pyspark.sql import functions as F

from sama_spark.delta import is_conflict
from sama_spark.inbound.feeds import SPANS, ahead, line_tables, spans, stage_lines
from sama_spark.inbound.table import TABLE_BYTES, arrow_rows, as_timestamp, cut, number_at, staged_lines

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.api.task_text import Page, TaskText
    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.result import FeedSync
    from sama_spark.staging import Stage

_KEY_END = "\x1f"  # JSON text cannot hold it
# Another sync may land at the same time, and since_last_call does not serve a page again.
_TRIES = 10


def land(
    spark: SparkSession,
    pages: Iterable[Page],
    table: DeltaTable,
    stage: Stage | None,
    origin: Mapping[str, Any],
    since: datetime | None,
) -> None:
    """Append the deliveries of `pages` that `table` lacks.

    All pages are fetched first where there is a stage; else they pass through the driver in pieces of some 64 MB.

    Args:
        origin: the columns `feed`, `run_id` and `landed_at`.
        since: from when on any of the deliveries can be in the table; None is ever.
    """
    if stage is not None:
        with stage.run("sync") as folder:
            if stage_lines(ahead(iter(pages)), folder, _head):
                _append(staged_lines(spark, folder), table, origin, since)
    else:
        for lines in line_tables(ahead(iter(pages)), TABLE_BYTES, _head):
            _append(arrow_rows(spark, lines), table, origin, since)


def counted(pages: Iterable[Page], done: FeedSync) -> Iterator[Page]:
    """The same pages, counted on the way."""
    for page in pages:
        done.pages += 1
        yield page


def _head(task: TaskText) -> bytes:
    """Before a task's text: its spans, the lengths in bytes of its id and moment of delivery, then these two."""
    task_id, at = _text(task.id), _text(task.delivered_at)
    return b"%b%010d%010d%b%b" % (spans(task), len(task_id), len(at), task_id, at)


def _text(value: object) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _append(lines: DataFrame, table: DeltaTable, origin: Mapping[str, Any], since: datetime | None) -> None:
    line = F.col("value").cast("binary")  # in bytes nothing has to be counted from the start
    of_id, of_at = number_at(line, SPANS + 1), number_at(line, SPANS + 11)
    at_from = F.lit(SPANS + 21) + of_id
    rows = lines.select(
        cut(line, F.lit(SPANS + 21), of_id).alias("id"),
        as_timestamp(cut(line, at_from, of_at)).alias("delivered_at"),
        cut(line, at_from + of_at, F.lit(2**31 - 1)).alias("raw"),
        cut(line, F.lit(1), F.lit(SPANS)).alias("parts"),
        *(F.lit(value).alias(name) for name, value in origin.items()),
    )
    for left in reversed(range(_TRIES)):
        try:
            fresh = _not_in(table, rows, since)
            if not fresh.isEmpty():  # an append of nothing leaves a file each time
                table.append(fresh)
            return
        except Exception as error:  # noqa: PERF203 - a commit of Delta takes longer
            if not is_conflict(error) or not left:
                raise


def _not_in(table: DeltaTable, rows: DataFrame, since: datetime | None) -> DataFrame:
    there = table.read()
    if since is not None:
        there = there.where(F.col("delivered_at").isNull() | (F.col("delivered_at") >= F.lit(since)))
    # A delivery is known by its task and time; what lacks one of them, by its text.
    known_by = F.coalesce(F.concat("id", F.lit(_KEY_END), F.unix_micros("delivered_at")), "raw")
    known = there.select(known_by.alias("known_by"))
    return rows.withColumn("known_by", known_by).join(known, "known_by", "left_anti").drop("known_by")
