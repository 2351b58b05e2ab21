"""Deliveries land as text, each once, before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.delta import is_conflict, time_column
from sama_spark.inbound.lines import ahead, line_tables, stage_lines
from sama_spark.inbound.table import TABLE_BYTES, Line, arrow_rows, as_timestamp, staged_lines

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.api.task_text import Page
    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.staging import Stage

PROBLEM = "problem"
_LINK = r'(https?:[^"?\s]*)\?[^"]*'  # as in `api.task_text`
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
            if stage_lines(ahead(iter(pages)), folder):
                _append(staged_lines(spark, folder), table, origin, since)
    else:
        for lines in line_tables(ahead(iter(pages)), TABLE_BYTES):
            _append(arrow_rows(spark, lines), table, origin, since)


def counted(pages: Iterable[Page], done: FeedSync) -> Iterator[Page]:
    """The same pages, counted on the way."""
    for page in pages:
        done.pages += 1
        yield page


def _append(lines: DataFrame, table: DeltaTable, origin: Mapping[str, Any], since: datetime | None) -> None:
    line = Line()
    rows = lines.select(
        line.id.alias("id"),
        as_timestamp(line.delivered_at).alias("delivered_at"),
        line.raw.alias("raw"),
        line.parts.alias("parts"),
        line.problem.alias(PROBLEM),
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
    if PROBLEM not in there.columns:  # a table of an earlier version
        table.grow(T.StructType().add(PROBLEM, T.StringType()))
        there = table.read()
    if since is not None:
        there = there.where(F.col("delivered_at").isNull() | (time_column(table.spark, "delivered_at") >= F.lit(since)))
    # A delivery is known by its task and time. What lacks one of them is known by its text, without what signs its
    # links, and so is what cannot be read: it may come again in order.
    by_time = F.concat("id", F.lit(_KEY_END), F.unix_micros("delivered_at"))
    by_text = F.concat(F.coalesce("id", F.lit("")), F.lit(_KEY_END), F.regexp_replace("raw", _LINK, "$1"))
    known_by = F.coalesce(F.when(F.col(PROBLEM).isNull(), by_time), by_text)
    known = there.select(known_by.alias("known_by"))
    return rows.withColumn("known_by", known_by).join(known, "known_by", "left_anti").drop("known_by")
