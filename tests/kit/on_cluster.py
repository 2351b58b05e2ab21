"""A driver that goes all ways of rows and deliveries, on any master: `python -m kit.on_cluster JSON`.

The JSON has `base_url` and `api_key` of the sandbox, a `folder` that all workers see, `settings` of the session, and
`steps`: the project of each step, in their order. A line of JSON for each step says what came of it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sama_spark import Client, flatten_annotations
from sama_spark.errors import ConnectorError
from sama_spark.local import local_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FEW, MANY = 500, 20_000
SAID = "step: "


class Driver:
    """Each method is a step; what it returns is told."""

    def __init__(self, spark: SparkSession, base_url: str, api_key: str, folder: str) -> None:
        self.spark, self.base_url, self.api_key, self.folder = spark, base_url, api_key, folder
        self.client = self.new_client()

    def new_client(self, **options: Any) -> Client:
        return Client(self.api_key, base_url=self.base_url, **options)

    def rows(self, count: int) -> DataFrame:
        return self.spark.range(count).selectExpr("concat('https://example.org/', id, '.jpg') AS url", "id AS n")

    def out_few(self, project: str) -> Any:
        return self.client.create_task_batch_from_table(self.rows(FEW), project).task_count

    def out_many(self, project: str) -> Any:
        return self.client.create_task_batch_from_table(self.rows(MANY), project).task_count

    def outbox(self, project: str) -> Any:
        into = {"outbox": f"{self.folder}/outbox", "row_key": "url"}
        results = [
            self.client.create_task_batch_from_table(self.rows(count), project, **into)
            for count in (FEW, FEW, MANY, MANY)
        ]
        return [(result.task_count, result.outbox and result.outbox.known) for result in results]

    def back(self, project: str) -> Any:
        delivered = self.client.get_delivered_tasks_to_table(self.spark, project)
        shapes = flatten_annotations(delivered, label="color")
        return _digest(delivered, "id", "answers_raw"), _digest(shapes, "task_id", "label", "points")

    def sync(self, project: str) -> Any:
        into = f"{self.folder}/tables-{project}"
        landed = [self.client.sync(self.spark, project, into).feeds[0].landed for _ in range(2)]
        tasks, annotations = (
            self.spark.read.format("delta").load(f"{into}/{name}") for name in ("tasks", "annotations")
        )
        return landed, _digest(tasks, "id", "data.n"), _digest(annotations, "task_id", "kind", "points")

    sync_few = sync_many = sync

    def own_doors(self, project: str) -> Any:
        """By `format("sama")`, which needs a stage that all see."""
        options = {"project": project, "base_url": self.base_url, "staging": f"{self.folder}/shared"}
        self.rows(FEW).write.format("sama").mode("append").options(**options).save()
        delivered = self.spark.read.format("sama").options(**options).load()
        stream = self.spark.readStream.format("sama").options(**options, lag=0).load()
        arrived = f"{self.folder}/arrived"
        writer = stream.writeStream.format("delta").trigger(availableNow=True)
        writer.option("checkpointLocation", f"{self.folder}/checkpoint").start(arrived).awaitTermination()
        return _digest(delivered, "id", "answers_raw"), _digest(
            self.spark.read.format("delta").load(arrived), "id", "answers_raw"
        )

    def own_doors_without_stage(self, project: str) -> Any:
        options = {"project": project, "base_url": self.base_url}
        return [
            _refusal(lambda: self.rows(FEW).write.format("sama").mode("append").options(**options).save()),
            _refusal(lambda: self.spark.read.format("sama").options(**options).load().collect()),
        ]

    def huge_page(self, project: str) -> Any:
        delivered = self.client.get_delivered_tasks_to_table(self.spark, project)
        return list(
            delivered.selectExpr("count(*)", "sum(length(get_json_object(answers_raw, '$.notes')))").collect()[0]
        )

    def a_worker_beside_the_driver(self, project: str) -> Any:
        """From here on one worker sees the driver's temporary folder, and the other does not."""
        temporary = Path(tempfile.gettempdir())
        for place in Path(self.folder).glob("worker-0/app-*/*"):
            shutil.rmtree(place / "tmp", ignore_errors=True)  # what earlier steps wrote there
            (place / "tmp").symlink_to(temporary.resolve())
        named = self.new_client(staging=str(temporary / "named"))
        refused = _refusal(lambda: named.create_task_batch_from_table(self.rows(MANY), project))
        return refused, self.new_client().create_task_batch_from_table(self.rows(MANY), project).task_count

    def workers_without_the_package(self, project: str) -> Any:
        python = Path(self.folder) / "python-without-packages"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={sysconfig.get_path("purelib")} exec {sys.executable} -S "$@"\n')
        python.chmod(0o755)
        self.spark.sparkContext.pythonExec = str(python)
        few = self.client.create_task_batch_from_table(self.rows(FEW), project).task_count
        return few, _refusal(lambda: self.client.create_task_batch_from_table(self.rows(MANY), project))


def _digest(rows: DataFrame, *columns: str) -> tuple[int, int]:
    """The number of rows, and a number that other rows do not have."""
    count, total = rows.selectExpr("count(*)", f"sum(xxhash64({', '.join(columns)}) % 1000000)").collect()[0]
    return count, total


def _refusal(action: Any) -> str:
    try:
        return f"it ran: {action()}"
    except Exception as error:
        text = str(error)
        return text if isinstance(error, ConnectorError) else text[text.find("sama_spark.errors.") :][:600]


def main() -> None:
    told = json.loads(sys.argv[1])
    os.environ["SAMA_API_KEY"] = told["api_key"]
    begun = time.monotonic()
    spark = local_session(settings=told["settings"])
    spark.range(1).collect()
    print(f"the session starts: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    driver = Driver(spark, told["base_url"], told["api_key"], told["folder"])
    for step, project in told["steps"].items():
        begun = time.monotonic()
        found = getattr(driver, step)(project)
        print(f"{SAID}{json.dumps([step, found])}", flush=True)
        print(f"{step}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
