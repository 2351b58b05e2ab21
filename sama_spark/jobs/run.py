"""One run of a job, from its YAML file to its line of JSON."""

from __future__ import annotations

import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sama_spark.api.errors import SamaError
from sama_spark.api.secrets import Redactor, Secret
from sama_spark.client import Client
from sama_spark.databricks_utilities import on_databricks
from sama_spark.errors import BatchesNotStarted
from sama_spark.jobs.load import LITERAL_KEY, key_of, load
from sama_spark.jobs.record import append_run, as_text, runs_table, set_task_values
from sama_spark.jobs.session import job_session
from sama_spark.jobs.work import Work

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.jobs.config import AnyJob

_LONGEST = 2000


def run(name: str, path: str, overrides: Sequence[str]) -> None:
    """Run the job `name` as the YAML file says. Its last line on standard output is JSON, also where it fails.

    Raises:
        Exception: on Databricks what made it fail. SystemExit: elsewhere, with that as its text and status 1.
    """
    line: dict[str, Any] = {"job": name, "status": "failed", "project": None, "run_id": uuid.uuid4().hex}
    begun, started_at = time.monotonic(), datetime.now(timezone.utc)
    line["started_at"] = f"{started_at:%FT%TZ}"
    job: AnyJob | None = None
    spark: SparkSession | None = None
    failure: BaseException | None = None
    try:
        with _ended_as_interrupted():
            job = load(path, overrides, name)
            line["project"] = str(job.project)
            spark = job_session()
            _do(job, spark, line)
            line["status"] = "succeeded"
    except BaseException as error:  # a cancelled run is a failed one too
        failure = error
        line["error"] = told(error, job)
    line["seconds"] = round(time.monotonic() - begun, 1)
    if job is not None and spark is not None and (table := runs_table(job)) is not None:
        append_run(spark, table, line, started_at)
    finish(line, failure)


def finish(line: dict[str, Any], failure: BaseException | None) -> None:
    """Task values, the line of JSON, and the end: nothing after success, else as told for `run`."""
    set_task_values(line)
    sys.stderr.flush()
    print(as_text(line), flush=True)
    if failure is None:
        return
    if on_databricks() or isinstance(failure, KeyboardInterrupt):
        raise failure
    raise SystemExit(f"sama-spark {line['job']}: {line['error']['message']}") from None


def _do(job: AnyJob, spark: SparkSession, line: dict[str, Any]) -> None:
    if isinstance(job.api_key, str):
        print(LITERAL_KEY, file=sys.stderr)
    with Client(key_of(job), base_url=job.base_url, staging=job.staging) as client:
        Work(client, spark, line).run(job)


def told(error: BaseException, job: AnyJob | None) -> dict[str, Any]:
    """The error as the line of JSON has it."""
    notes = getattr(error, "__notes__", ())
    described: dict[str, Any] = {
        "type": type(error).__name__,
        "message": _without_key(job)(". ".join([str(error) or type(error).__name__, *notes]))[:_LONGEST],
        "retryable": isinstance(error, SamaError) and error.retryable,
    }
    if isinstance(error, BatchesNotStarted):
        described |= {"started": error.started, "not_started": list(error.not_started)}
    return described | getattr(error, "sama_batches", {})


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """A run that is told to end (SIGTERM) ends as by Ctrl-C, with its line of JSON."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("told to end (SIGTERM)")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _without_key(job: AnyJob | None) -> Redactor:
    """Errors of `sama_spark` hold no key; those of others pass through here."""
    try:
        return Redactor(Secret(key_of(job))) if job is not None else Redactor()
    except SamaError:
        return Redactor()
