"""The task id of each row, in a table beside the outbox.

Sama keeps no row key, and documents no order of tasks. So a row and its task are matched by the value of one input
that is part of the row key, and only where one row and one task of the batch have that value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from pyspark.sql import functions as F

from sama_spark.delta import DeltaTable, table_errors
from sama_spark.driver_rows import local_values
from sama_spark.errors import InvalidInput, OutboxError
from sama_spark.names import with_suffix

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.api.api_client import ApiClient
    from sama_spark.outbound.outbox.ledger import Ledger
    from sama_spark.outbound.upload import UploadedBatch

TABLE_SUFFIX = "_tasks"
_SCHEMA = """
    row_key STRING,
    batch_id BIGINT,
    task_id STRING,
    reason STRING COMMENT 'why there is no task_id'
"""
_FOUND = "batch_id bigint, task_id string, value string"
_NO_TASK = "no task of the batch has this value: it failed, is still being created, or Sama changed the value"


def map_tasks(
    api: ApiClient, ledger: Ledger, batches: Sequence[UploadedBatch], match_on: str, not_sent: Sequence[str]
) -> DataFrame:
    """Return `row_key`, `batch_id`, `task_id` and `reason` (why `task_id` is null) of each row of `batches`.

    The rows are also kept in the table `<outbox>_tasks`: Sama is not asked again for batches that are complete there.
    On the wire, for each other batch: GET tasks/delivered.json, 1,000 tasks a call, and where tasks are not delivered
    yet GET tasks.json, 100 tasks a call and one call a second.

    Args:
        api: the client that asks Sama.
        ledger: the outbox's table.
        batches: batches of one run.
        match_on: the column of the row key whose value Sama gives back.
        not_sent: columns that were not sent.

    Raises:
        InvalidInput: `match_on` was not sent, or is no part of the row key.
        OutboxError: the table cannot be read or written.
    """
    if match_on in not_sent:
        raise InvalidInput(
            f"match_on={match_on!r} names a column that was not sent, so that no task has its value",
            remedy="take it out of not_sent: Sama gives inputs back",
        )
    if match_on not in ledger.keys.names:
        raise InvalidInput(
            f"match_on={match_on!r} is no part of the outbox's row key {list(ledger.keys.names)}",
            remedy="name the column of row_key whose value Sama gives back unchanged",
        )
    spark = ledger.table.spark
    table = DeltaTable(spark, with_suffix(ledger.table.name, TABLE_SUFFIX))
    with table_errors(f"{table.name!r} cannot be brought up to date", OutboxError):
        return _mapped(api, ledger, table, batches, match_on)


def _mapped(
    api: ApiClient, ledger: Ledger, table: DeltaTable, batches: Sequence[UploadedBatch], match_on: str
) -> DataFrame:
    spark = ledger.table.spark
    ids = [batch.batch_id for batch in batches]
    complete = _complete(table, ids)
    asked = [batch for batch in batches if batch.batch_id not in complete]
    if asked:
        found = [row for batch in asked for row in _tasks_of(api, ledger.project_id, batch, match_on)]
        matched = _matched(
            ledger.rows_of([batch.batch_id for batch in asked]), local_values(spark, found, _FOUND), match_on
        )
        if not table.exists():
            table.create(_SCHEMA, f"The tasks of {ledger.table.name}; written by sama_spark", {})
        table.replace(matched, "batch_id", [batch.batch_id for batch in asked])
    return table.read().where(F.col("batch_id").isin(ids))


def _complete(table: DeltaTable, batch_ids: Sequence[int]) -> set[int]:
    if not table.exists():
        return set()
    known = table.read().where(F.col("batch_id").isin(list(batch_ids)))
    by_batch = known.groupBy("batch_id").agg(F.every(F.col("task_id").isNotNull()).alias("complete"))
    return {row["batch_id"] for row in by_batch.where("complete").collect()}


def _tasks_of(api: ApiClient, project_id: str, batch: UploadedBatch, name: str) -> Iterator[tuple[int, str, str]]:
    """Yield batch id, task id and the value of input `name`, as text, of each task that Sama shows."""
    seen: set[str] = set()
    in_batch = str(batch.batch_id)
    for feed in ("delivered", "status"):
        if len(seen) == batch.tasks:
            return
        pages = (
            api.delivered_pages(project_id, batch_id=in_batch)
            if feed == "delivered"
            else api.status_pages(project_id, batch_id=in_batch, omit_answers=True)
        )
        for page in pages:
            for text in page:
                task = msgspec.json.decode(text.text)
                value = (task.get("data") or {}).get(name)
                if task["id"] not in seen and value is not None:
                    seen.add(task["id"])
                    as_text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
                    yield batch.batch_id, str(task["id"]), as_text


def _matched(rows: DataFrame, tasks: DataFrame, match_on: str) -> DataFrame:
    """Return `rows` (`batch_id`, `row_key`) with the task of each, where one row and one task have its value."""
    value = F.from_json("row_key", "map<string, string>")[match_on]
    valued = rows.withColumn("value", value)
    counted = valued.groupBy("batch_id", "value").agg(F.count("*").alias("rows"))
    of_value = tasks.groupBy("batch_id", "value").agg(F.count("*").alias("tasks"), F.min("task_id").alias("one"))
    unique = (F.col("rows") == 1) & (F.col("tasks") == 1)
    reason = (
        F.when(F.col("tasks").isNull(), F.lit(_NO_TASK))
        .when(F.col("rows") > 1, F.concat(F.col("rows").cast("string"), F.lit(" rows of the batch have this value")))
        .when(F.col("tasks") > 1, F.concat(F.col("tasks").cast("string"), F.lit(" tasks of the batch have this value")))
    )
    joined = valued.join(counted, ["batch_id", "value"]).join(of_value, ["batch_id", "value"], "left")
    return joined.select("row_key", "batch_id", F.when(unique, F.col("one")).alias("task_id"), reason.alias("reason"))
