"""Deliveries into Delta tables: `Client.sync`, one table as Sama's connector saves it, and dlt beside them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from measure import Figure, reference_client, save, timed
from pyspark.sql import SparkSession
from samples import PROJECT, STREET_TAGS, STREETS, deliveries

from sama_spark import Client
from sama_spark.sandbox import Sandbox

WARM_UP = 5  # runs until the JVM has compiled what is hot
SLOW_TASKS, SLOW_PAGE = 20_000, 0.5  # seconds, as from a server that is far away
_DLT = Path(__file__).with_name("dlt_pipeline.py")


def sync_figures(
    spark: SparkSession, sandbox: Sandbox, folder: str, repeat: int, tasks: int, dlt_python: str
) -> list[Figure]:
    """Ours comes first: the others leave their memory behind. `dlt_python`: "" leaves dlt out."""
    ours = Client(sandbox.api_key, base_url=sandbox.base_url)
    outputs = {"objects": {"type": "image", "tags": STREET_TAGS}, "weather": "text"}
    project = str(sandbox.create_project(inputs=PROJECT, outputs=outputs))
    sandbox.deliver(int(project), deliveries(range(tasks), STREETS))
    numbers = iter(range(1000))

    def saved() -> None:
        """The columns that Sama's connector has: no JSON text beside them, answers as text."""
        df = ours.get_delivered_tasks_to_table(spark, project, staging=folder, answers_schema="string")
        save(df.drop("raw", "data_raw", "answers_raw"), f"{folder}/saved-{next(numbers)}")
        ours.close()

    def sync(into: str) -> None:
        ours.sync(spark, project, into, staging=folder)

    def first() -> None:
        sync(f"{folder}/synced-{next(numbers)}")

    for _ in range(WARM_UP):
        saved()
        first()
    into = f"{folder}/later"
    figures = [
        timed("sync, saved as one table", tasks, repeat, saved),
        timed("sync, three tables", tasks, repeat, first),
    ]
    sync(into)
    figures.append(timed("sync, nothing new", tasks, repeat, lambda: sync(into)))
    days = iter(range(3, 28))

    def again() -> None:
        sandbox.deliver(int(project), deliveries(range(0, tasks, 100), STREETS, next(days)))

    for _ in range(WARM_UP):
        again()
        sync(into)
    figures.append(timed("sync, 1 % delivered again", tasks, repeat, lambda: sync(into), again))
    if dlt_python:
        figures.append(timed("sync, dlt", tasks, 1, lambda: _dlt(dlt_python, sandbox, project, folder)))
    sama = reference_client(sandbox)

    def saved_by_sama() -> None:
        save(sama.get_delivered_tasks_to_table(spark, project), f"{folder}/sama-{next(numbers)}")

    figures.append(timed("sync, sama 0.5.12", tasks, 1, saved_by_sama))
    project = str(sandbox.create_project(inputs=PROJECT, outputs=outputs))
    sandbox.deliver(int(project), deliveries(range(SLOW_TASKS), STREETS))
    sandbox.fail("delivered", kind="slow", seconds=SLOW_PAGE, times=None)
    return [
        *figures,
        timed(f"slow sync, {SLOW_PAGE} s a page, three tables", SLOW_TASKS, repeat, first),
        timed("slow sync, sama 0.5.12", SLOW_TASKS, 1, saved_by_sama),
    ]


def _dlt(python: str, sandbox: Sandbox, project: str, folder: str) -> None:
    subprocess.run([python, str(_DLT), sandbox.base_url, sandbox.api_key, project, f"{folder}/dlt"], check=True)
