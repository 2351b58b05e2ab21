"""Writes what a job leaves for others to read: a row of `runs`, task values, a line of JSON."""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime
from typing import Any

from sama_spark.delta import DeltaTable
from sama_spark.driver_rows import local_values
from sama_spark.inbound.sync.tables import RUNS
from sama_spark.jobs.config import AnyJob
from sama_spark.names import inside
from sama_spark.sessions import find_dbutils, on_databricks, running_session

log = logging.getLogger("sama_spark")

# Two columns beside those of a sync.
_OF_JOBS = "job STRING COMMENT 'null for a feed of a sync', result STRING COMMENT 'its line of JSON'"


def runs_table(job: AnyJob) -> str | None:
    """Return the table that `runs` names; by default the one that a sync keeps beside its tables."""
    if job.runs is None and (into := job.value_of("into")) is not None:
        return inside(into, f"{job.value_of('prefix')}runs")
    return job.runs


def record(job: AnyJob, line: dict[str, Any], started_at: datetime) -> None:
    """Append a row for one run of a job, if there is a table for it and Spark runs.

    An error or Ctrl-C here does not fail the run, and is logged.
    """
    name = runs_table(job)
    if name is None:
        return
    try:
        spark = running_session()
        if spark is None:  # the job ended before Spark started
            return
        table = DeltaTable(spark, name)
        if not table.exists():
            table.create(f"{RUNS}, {_OF_JOBS}", "Runs of sama_spark", {})
        elif not {"job", "notes"} <= set(table.read().columns):
            table.grow(spark.createDataFrame([], f"{RUNS}, {_OF_JOBS}").schema)
        error = line.get("error")
        same = ("run_id", "seconds", "landed", "new", "updated", "rejected", "notes", "job")
        row = {name: line.get(name) for name in same} | {
            "started_at": started_at,
            "error": f"{error['type']}: {error['message']}" if error else None,
            "result": as_text(line),
        }
        table.append(local_values(spark, [row], f"{RUNS}, {_OF_JOBS}"))
    except (Exception, KeyboardInterrupt) as error:
        log.warning("this run could not be recorded in %s: %s", name, in_short(error))


def set_task_values(line: dict[str, Any]) -> None:
    """Set each field of the line as a task value, in a job of Databricks: {{tasks.<name>.values.<field>}}."""
    dbutils = find_dbutils() if on_databricks() else None
    if dbutils is None:
        return
    try:
        for name, value in line.items():
            dbutils.jobs.taskValues.set(key=name, value=value)
    except Exception as error:
        log.warning("task values are not set: %s", type(error).__name__)


def as_text(line: dict[str, Any]) -> str:
    """Return the line of JSON in ASCII, which survives any encoding of standard output."""
    return json.dumps(line, default=str, separators=(",", ":"))


def in_short(error: BaseException) -> str:
    """Return an error of Spark, the catalog or the file system in one line, without the stack of the JVM."""
    text = re.split(r"\n\s*at |\n+JVM stacktrace", str(error))[0]
    return f"{type(error).__name__}: {' '.join(text.split())[:400]}"
