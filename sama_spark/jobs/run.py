"""One run of a job, from its YAML file to its line of JSON."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sama_spark.api.sama_errors import BatchesNotStarted
from sama_spark.client import Client
from sama_spark.errors import ConnectorError
from sama_spark.http.secrets import Redactor, Secret
from sama_spark.jobs.load import LITERAL_KEY, key_of, load
from sama_spark.jobs.process import Terminated, ignore_signals
from sama_spark.jobs.record import as_text, record, set_task_values
from sama_spark.jobs.work import Work
from sama_spark.sessions import job_session, on_databricks

if TYPE_CHECKING:
    from sama_spark.jobs.config import AnyJob

_LONGEST = 2000


def run(name: str, path: str, overrides: Sequence[str]) -> None:
    """Run the job `name` as its YAML file says. The last line on standard output is JSON, however the job ends.

    Raises:
        Exception: on Databricks, what made the job fail.
        SystemExit: elsewhere, with that error as text and status 1; status 130 after Ctrl-C, 143 after SIGTERM.
    """
    line: dict[str, Any] = {"job": name, "status": None, "project": None, "run_id": uuid.uuid4().hex}
    begun, started_at = time.monotonic(), datetime.now(timezone.utc)
    line["started_at"] = f"{started_at:%FT%TZ}"
    job: AnyJob | None = None
    redact = Redactor()
    failure: BaseException | None = None
    try:
        job = load(path, overrides, name)
        line["project"] = str(job.project)
        key = Secret(key_of(job))
        redact = Redactor(key)
        _do(job, key, line)
    except BaseException as error:  # a cancelled run prints its line too
        failure = error
        line["error"] = error_as_json(error, redact)
    line["status"] = status_of(failure)
    line["seconds"] = round(time.monotonic() - begun, 1)
    if job is not None:
        record(job, line, started_at)
    finish(line, failure)


def status_of(failure: BaseException | None) -> str:
    """Return the status of a run that ended with this error, None without one."""
    return "succeeded" if failure is None else "cancelled" if isinstance(failure, KeyboardInterrupt) else "failed"


def finish(line: dict[str, Any], failure: BaseException | None) -> None:
    """Set task values, print the line of JSON, and raise as `run` documents, unless the job succeeded."""
    ignore_signals()
    set_task_values(line)
    sys.stderr.flush()
    print(as_text(line), flush=True)
    if failure is None:
        return
    if on_databricks():
        raise failure
    said = f"sama-spark {line['job']}: {line['error']['message']}"
    if isinstance(failure, KeyboardInterrupt):
        print(said, file=sys.stderr)
        raise SystemExit(143 if isinstance(failure, Terminated) else 130) from None
    raise SystemExit(said) from None


def _do(job: AnyJob, key: Secret, line: dict[str, Any]) -> None:
    if isinstance(job.api_key, str):
        print(LITERAL_KEY, file=sys.stderr)
    # Key and address are checked before Spark starts, which takes its time.
    with Client(key.reveal(), base_url=job.base_url, staging=job.staging, deadline=job.deadline) as client:
        Work(client, job_session(), line).run(job)


def error_as_json(error: BaseException, redact: Redactor) -> dict[str, Any]:
    """Return the error as the line of JSON has it, with the notes that were added to the error.

    Errors of `sama_spark` hold no key; `redact` removes it from other errors.
    """
    text = str(error) or ("cancelled" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
    texts = [text, *map(str, getattr(error, "__notes__", ()))]
    described: dict[str, Any] = {
        "type": type(error).__name__,
        "message": " ".join(redact(text)[:_LONGEST] for text in texts),
        "retryable": isinstance(error, ConnectorError) and error.retryable,
    }
    if isinstance(error, BatchesNotStarted):
        described |= {"started": error.started, "not_started": list(error.not_started)}
    return described | getattr(error, "sama_batches", {})
