"""Runs with an outbox, and what the sandbox has of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark import Client
    from sama_spark.outbound.creation_result import CreationResult
    from sama_spark.sandbox import Sandbox


def images(spark: SparkSession, first: int, end: int, *, version: str = "") -> DataFrame:
    """One row per number; the URL's signature is another one each time."""
    return spark.range(first, end, 1, 3).selectExpr(
        "concat('image ', id) AS image",
        f"concat('https://assets.invalid/{version}', id, '.jpg?signature=', uuid()) AS url",
        "cast(id AS int) AS n",
        """'{"layers":{"vector_tagging":[]}}' AS output_shapes""",
    )


def send(client: Client, df: DataFrame, project: int, outbox: str, **options: Any) -> CreationResult:
    named = {"row_key": "image", "not_sent": "image", "outbox": outbox, "chunk_rows": 7} | options
    return client.create_task_batch_from_table(df, str(project), **named)


def numbers(sandbox: Sandbox, project: int) -> Counter[int]:
    return Counter(task["data"]["n"] for task in sandbox.tasks(project))


def once(*ranges: range) -> Counter[int]:
    return Counter({n: 1 for numbers in ranges for n in numbers})
