"""A process whose Spark tasks may fail three times: `python -m kit.retrying URL KEY PROJECT PROJECT FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sama_spark import Client
from sama_spark.local import local_session

if TYPE_CHECKING:
    import pandas as pd

ROWS = 3_000  # several batches of Arrow for each task


def failing_at_first(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Gives part of its rows, and fails until its third attempt; every attempt gives other notes."""
    from pyspark import TaskContext

    context: Any = TaskContext.get()
    for batch in batches:
        yield batch.assign(note=f"attempt {context.attemptNumber()}")
        if context.attemptNumber() < 2:
            raise RuntimeError("this attempt fails")


def main() -> None:
    base_url, api_key, failing, changing, folder = sys.argv[1:]
    settings = {"spark.sql.warehouse.dir": folder, "spark.sql.execution.arrow.maxRecordsPerBatch": "500"}
    spark = local_session(cores="2,4", settings=settings)
    streaming = Client(api_key, base_url=base_url)
    streaming._staging._found.setdefault(spark, {})[None] = None
    ids = spark.range(2 * ROWS, numPartitions=4).selectExpr("concat('https://example.org/', id, '.jpg') AS url")
    half = spark.range(ROWS, numPartitions=4).selectExpr("concat('https://example.org/', id, '.jpg') AS url")
    for client, df in ((Client(api_key, base_url=base_url), half), (streaming, ids), (streaming, half)):
        flaky = df.mapInPandas(failing_at_first, "url string, note string")
        result = client.create_task_batch_from_table(
            flaky, failing, outbox=f"{folder}/failing", row_key="url", chunk_rows=700
        )
        print(result.task_count, result.outbox.known, result.outbox.changed, result.staged)
    client = Client(api_key, base_url=base_url)
    for share in (0.3, 0.5, 0.5, 1.0, 1.0):
        unsteady = half.selectExpr("url", "uuid() AS note").where(f"rand() < {share}").repartition(3)
        result = client.create_task_batch_from_table(
            unsteady, changing, outbox=f"{folder}/changing", row_key="url", chunk_rows=700
        )
        print("known", result.outbox.known, "changed", result.outbox.changed)
    spark.stop()


if __name__ == "__main__":
    main()
