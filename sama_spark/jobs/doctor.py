"""`sama-spark doctor`: checks, one by one, whether a job could run here. The checks change nothing at Sama."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from sama_spark.api.api_client import ApiClient
from sama_spark.errors import ConnectorError, InvalidInput
from sama_spark.http.call_errors import (
    AuthenticationError,
    InvalidResponse,
    NotFoundError,
    RedirectRefused,
    RetryableError,
)
from sama_spark.http.secrets import Redactor
from sama_spark.inbound.read import delivery_contract
from sama_spark.jobs.config import Upload
from sama_spark.jobs.load import LITERAL_KEY, key_of, load
from sama_spark.jobs.probes import Unavailable, capabilities, rivals, table_probe
from sama_spark.jobs.record import in_short
from sama_spark.jobs.run import error_as_json, finish, status_of
from sama_spark.jobs.work import rows_of
from sama_spark.names import split
from sama_spark.outbound.creation_schema import CreationSchema
from sama_spark.sessions import job_session
from sama_spark.staging import Staging

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.jobs.config import AnyJob

# Seconds. A host that cannot be reached should be reported soon.
_CONNECT, _DEADLINE = 5.0, 20.0
_UPLOADS = (
    "Sama names the host of uploads only when a batch is opened, which a doctor does not do. The driver must reach it "
    "as well: signed URLs of S3, https://*.amazonaws.com. An upload of one row (max_tasks=1) shows it."
)
Found = TypeVar("Found")
_NOT_REACHED = (RetryableError, InvalidResponse, RedirectRefused)


def examine(path: str, overrides: Sequence[str]) -> None:
    """Print a line for each check: ok, failed with a remedy, or skipped with a reason. The last line is JSON.

    Raises:
        ConnectorError: on Databricks, where something failed. SystemExit: elsewhere, with status 1.
    """
    begun = time.monotonic()
    doctor = Doctor()
    failure: BaseException | None = None
    try:
        doctor.examine(path, overrides)
        failed = [check["check"] for check in doctor.checks if check["result"] == "failed"]
        if failed:
            raise ConnectorError(f"{len(failed)} of {len(doctor.checks)} checks failed: {', '.join(failed)}")
    except BaseException as error:  # cancelled ones too: the line of JSON is printed all the same
        failure = error
    line: dict[str, Any] = {
        "job": "doctor",
        "status": status_of(failure),
        "project": doctor.project,
        "checks": doctor.checks,
        "seconds": round(time.monotonic() - begun, 1),
    }
    if failure is not None:
        line["error"] = error_as_json(failure, Redactor())
    finish(line, failure)


class Doctor:
    """One examination. `checks`: what was found, check by check."""

    def __init__(self) -> None:
        self.checks: list[dict[str, str]] = []
        self.project: str | None = None

    def look(self, name: str, how: Callable[[], Any], remedy: str = "") -> Any:
        """Run one check, print its line and return what `how` gives; None where it raises. A text is printed."""
        found, said, result = None, "", "ok"
        try:
            found = how()
            said = found if isinstance(found, str) else ""
        except Unavailable as reason:
            result, said = "skipped", str(reason)
        except ConnectorError as error:
            result, said = "failed", str(error)
        except Exception as error:  # Spark's, the catalog's and the file system's own
            result, said = "failed", in_short(error)
        if result == "failed" and remedy:
            said = f"{said} -> {remedy}"
        self.checks.append({"check": name, "result": result, "said": said})
        print(f"{result:<8} {name}{': ' if said else ''}{said}", flush=True)
        return found if result == "ok" else None

    def examine(self, path: str, overrides: Sequence[str]) -> None:
        """Check everything that this job needs."""
        job: AnyJob | None = None

        def read() -> str:
            nonlocal job
            job = load(path, overrides)
            return f"{path} is a valid configuration of {type(job).__name__.lower()}"

        self.look("configuration", read)
        if job is None:
            return
        self.project = str(job.project)
        self._sama(job)  # before Spark starts, which takes its time
        spark = self.look("session", job_session, "see that Java and Spark are there, or that the cluster runs")
        if spark is None:
            return
        for name, how in capabilities(spark).items():
            self.look(name, how)
        self.look("staging", lambda: _staging(spark, job.staging))
        if isinstance(job, Upload):
            self.look("source", lambda: _source(spark, job), "see that the table is there, with SELECT on it")
        self._tables(spark, job)

    def _sama(self, job: AnyJob) -> None:
        asked: _Asked | None = None

        def ask() -> str:
            nonlocal asked
            asked = _Asked(job)
            return _place_of_key(job)

        self.look("key", ask)
        remedy = _way_to(job.base_url) if asked is not None else ""
        self.look("egress of the driver", lambda: _needed(asked, "no key").reached(), remedy)
        self.look("key accepted", lambda: _needed(asked, "Sama was not asked").accepted())
        self.look("project", lambda: _needed(asked, "Sama was not asked, or did not answer").found())
        api = asked.api if asked is not None and asked.failure is None else None
        readable = partial(_needed, api, "the project cannot be read")
        self.look("creation schema", lambda: _creation(readable(), job))
        self.look("delivery schema", lambda: _delivery(readable(), job))
        self.look("page caps", lambda: _pages(readable(), job))
        if isinstance(job, Upload):
            self.look("egress to the store of uploads", lambda: _needed(None, _UPLOADS))

    def _tables(self, spark: SparkSession, job: AnyJob) -> None:
        into: str | None = job.value_of("into")
        names = [job.value_of(field) for field in ("outbox", "rejected_table", "runs")]
        places = dict.fromkeys(split(name)[0].rstrip("/") for name in names if name)
        if into is not None:
            places[into.rstrip("/")] = None
        for place in places:
            self.look(
                f"tables in {place or 'the current schema'}",
                partial(table_probe, spark, place),
                "grant USE CATALOG, USE SCHEMA, CREATE TABLE, SELECT and MODIFY there, or WRITE FILES on the folder",
            )
        outbox: str | None = job.value_of("outbox")
        if outbox is not None or isinstance(job, Upload):  # the other jobs create nothing, and need no outbox
            self.look("rival claims on an outbox", lambda: rivals(spark, outbox, str(job.project)))


class _Asked:
    """One call to Sama, and what its answer says about the way there, the key and the project."""

    def __init__(self, job: AnyJob) -> None:
        seconds = min(_DEADLINE, job.deadline)
        self.api = ApiClient(
            key_of(job), base_url=job.base_url, connect_timeout=_CONNECT, read_timeout=seconds, deadline=seconds
        )
        self.failure: ConnectorError | None = None
        self._project = str(job.project)
        try:
            information = self.api.get_project_information(self._project)
            self._project = f"{self._project} {information.get('name', '')}".strip()
        except ConnectorError as error:
            self.failure = error

    def reached(self) -> str:
        """Raise what kept the driver from Sama."""
        if isinstance(self.failure, _NOT_REACHED):
            raise self.failure
        return f"the driver reaches {self.api.base_url}"

    def accepted(self) -> str:
        """Raise what Sama has against the key."""
        if isinstance(self.failure, (*_NOT_REACHED, InvalidInput)):
            raise Unavailable("Sama was not asked")
        if isinstance(self.failure, AuthenticationError):
            raise self.failure
        return "Sama accepts it"

    def found(self) -> str:
        """Return the project's id and name. Raise NotFoundError where there is no such project."""
        if isinstance(self.failure, NotFoundError):
            raise self.failure
        if self.failure is not None:
            raise Unavailable("Sama was not asked, or did not answer")
        return self._project


def _place_of_key(job: AnyJob) -> str:
    if isinstance(job.api_key, str):
        print(LITERAL_KEY, file=sys.stderr)
        return "a text in the configuration, which should be a reference"
    return f"from {job.api_key.described()}"


def _way_to(base_url: str) -> str:
    """Return what to do where Sama cannot be reached; it depends on whether the environment names a proxy."""
    url = urlsplit(base_url)
    proxies = getproxies()
    if not (proxies.get(url.scheme) or proxies.get("all")) or proxy_bypass(url.netloc.rpartition("@")[2]):
        return f"see that {url.hostname} is the right host, open it in the driver's firewall, or set HTTPS_PROXY"
    return (
        f"the driver goes through the proxy that {url.scheme.upper()}_PROXY names: see that it runs, that its address "
        f"holds user and password if it wants them, and that it lets {url.hostname} through; or add that to NO_PROXY"
    )


def _needed(found: Found | None, otherwise: str) -> Found:
    if found is None:
        raise Unavailable(otherwise)
    return found


def _creation(api: ApiClient, job: AnyJob) -> str:
    schema = CreationSchema.from_schemas(api.get_creation_task_schema(str(job.project)))
    return f"inputs {', '.join(schema.inputs)}"


def _delivery(api: ApiClient, job: AnyJob) -> str:
    _, answers = delivery_contract(api, str(job.project))
    return f"answers {answers.simpleString()[:300]}"


def _pages(api: ApiClient, job: AnyJob) -> str:
    delivered = len(next(api.delivered_pages(str(job.project)), []))
    status = len(next(api.state_pages(str(job.project), "delivered"), []))
    return f"pages of 1,000 deliveries and of 100 statuses are accepted; the first ones hold {delivered} and {status}"


def _staging(spark: SparkSession, folder: str | None) -> str:
    stage = Staging().stage(spark, folder)
    if stage is None:
        raise Unavailable("driver and workers share no folder by themselves: text streams through the driver")
    return f"driver and workers share {stage.path}, both ways"


def _source(spark: SparkSession, job: Upload) -> str:
    return f"columns {', '.join(rows_of(spark, job.source).columns)}"
