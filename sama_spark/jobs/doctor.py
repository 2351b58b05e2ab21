"""`sama-spark doctor`: whether a job could run here, looked at piece by piece. Nothing is changed at Sama."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
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
from sama_spark.jobs.job_session import job_session
from sama_spark.jobs.load import LITERAL_KEY, key_of, load
from sama_spark.jobs.probes import Unavailable, capabilities, rivals, table_probe
from sama_spark.jobs.process import as_a_job
from sama_spark.jobs.record import in_short
from sama_spark.jobs.run import finish, told
from sama_spark.jobs.work import rows_of
from sama_spark.names import split
from sama_spark.outbound.creation_schema import Contract
from sama_spark.staging import Staging

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.jobs.config import AnyJob

# Seconds. A host that cannot be reached should be told soon.
_CONNECT, _DEADLINE = 5.0, 20.0
_UPLOADS = (
    "Sama names the host of uploads only when a batch is opened, which a doctor does not do. The driver must reach it "
    "as well: signed URLs of S3, https://*.amazonaws.com. An upload of one row (max_tasks=1) shows it."
)
_NOT_REACHED = (RetryableError, InvalidResponse, RedirectRefused)


def examine(path: str, overrides: Sequence[str]) -> None:
    """Print a line for each thing looked at, ok, failed with a remedy, or skipped; the last line is JSON.

    Raises:
        ConnectorError: on Databricks, where something failed. SystemExit: elsewhere, with status 1.
    """
    begun = time.monotonic()
    doctor = Doctor()
    failure: BaseException | None = None
    with as_a_job():
        try:
            doctor.examine(path, overrides)
        except BaseException as error:  # cancelled, most likely; its line is due all the same
            failure = error
    failed = [check["check"] for check in doctor.checks if check["result"] == "failed"]
    line: dict[str, Any] = {
        "job": "doctor",
        "status": "failed" if failed else "succeeded",
        "project": doctor.project,
        "checks": doctor.checks,
        "seconds": round(time.monotonic() - begun, 1),
    }
    if failure is not None:
        cancelled = isinstance(failure, KeyboardInterrupt)
        line |= {"status": "cancelled" if cancelled else "failed", "error": told(failure, Redactor())}
    elif failed:
        failure = ConnectorError(f"{len(failed)} of {len(doctor.checks)} checks failed: {', '.join(failed)}")
        line["error"] = told(failure, Redactor())
    finish(line, failure)


class Doctor:
    """One examination. `checks`: what was found, line by line."""

    def __init__(self) -> None:
        self.checks: list[dict[str, str]] = []
        self.project: str | None = None

    def look(self, name: str, how: Callable[[], Any], remedy: str = "") -> Any:
        """What `how` gives, None where it raises. A text is shown."""
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
        """Everything that this job needs."""
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
        api: ApiClient | None = None
        information: dict[str, Any] | ConnectorError = InvalidInput("there is no key to ask with")

        def resolve() -> str:
            nonlocal api, information
            seconds = min(_DEADLINE, job.deadline)
            api = ApiClient(
                key_of(job), base_url=job.base_url, connect_timeout=_CONNECT, read_timeout=seconds, deadline=seconds
            )
            try:
                information = api.get_project_information(str(job.project))
            except ConnectorError as error:
                information = error
            if isinstance(job.api_key, str):
                print(LITERAL_KEY, file=sys.stderr)
                return "a text in the configuration, which should be a reference"
            return f"from {job.api_key.described()}"

        def reached() -> str:
            if isinstance(information, _NOT_REACHED) or api is None:
                if isinstance(information, ConnectorError) and api is not None:
                    raise information
                raise Unavailable("no key")
            return f"the driver reaches {api.base_url}"

        def accepted() -> str:
            if isinstance(information, (*_NOT_REACHED, InvalidInput)):
                raise Unavailable("Sama was not asked")
            if isinstance(information, AuthenticationError):
                raise information
            return "Sama accepts it"

        def found() -> str:
            if isinstance(information, NotFoundError):
                raise information
            if isinstance(information, ConnectorError):
                raise Unavailable("Sama was not asked, or did not answer")
            return f"{job.project} {information.get('name', '')}".strip()

        self.look("key", resolve)
        self.look("egress of the driver", reached, _way_to(job.base_url) if api else "")
        self.look("key accepted", accepted)
        self.look("project", found)
        there = None if isinstance(information, ConnectorError) else api
        self.look("creation schema", lambda: _creation(_needed(there), job))
        self.look("delivery schema", lambda: _delivery(_needed(there), job))
        self.look("page caps", lambda: _pages(_needed(there), job))
        if isinstance(job, Upload):
            self.look("egress to the store of uploads", _skip_uploads)

    def _tables(self, spark: SparkSession, job: AnyJob) -> None:
        into: str | None = getattr(job, "into", None)
        names = [getattr(job, field, None) for field in ("outbox", "rejected_table", "runs")]
        places = dict.fromkeys(split(name)[0].rstrip("/") for name in names if name)
        if into is not None:
            places[into.rstrip("/")] = None
        for place in places:
            self.look(
                f"tables in {place or 'the current schema'}",
                partial(table_probe, spark, place),
                "grant USE CATALOG, USE SCHEMA, CREATE TABLE, SELECT and MODIFY there, or WRITE FILES on the folder",
            )
        outbox: str | None = getattr(job, "outbox", None)
        if outbox is not None or isinstance(job, Upload):  # the others do without, and create nothing
            self.look("rival claims on an outbox", lambda: rivals(spark, outbox, str(job.project)))


def _way_to(base_url: str) -> str:
    """What to do where Sama cannot be reached: by a proxy, if the environment names one for it, or without."""
    url = urlsplit(base_url)
    proxies = getproxies()
    if not (proxies.get(url.scheme) or proxies.get("all")) or proxy_bypass(url.netloc.rpartition("@")[2]):
        return f"see that {url.hostname} is the right host, open it in the driver's firewall, or set HTTPS_PROXY"
    return (
        f"the driver goes through the proxy that {url.scheme.upper()}_PROXY names: see that it runs, that its address "
        f"holds user and password if it wants them, and that it lets {url.hostname} through; or add that to NO_PROXY"
    )


def _needed(api: ApiClient | None) -> ApiClient:
    if api is None:
        raise Unavailable("the project cannot be read")
    return api


def _creation(api: ApiClient, job: AnyJob) -> str:
    contract = Contract.from_schemas(api.get_creation_task_schema(str(job.project)))
    return f"inputs {', '.join(contract.inputs)}"


def _delivery(api: ApiClient, job: AnyJob) -> str:
    _, answers = delivery_contract(api, str(job.project))
    return f"answers {answers.simpleString()[:300]}"


def _pages(api: ApiClient, job: AnyJob) -> str:
    delivered = len(next(api.delivered_pages(str(job.project)), []))
    status = len(next(api.state_pages(str(job.project), "delivered"), []))
    return f"pages of 1,000 deliveries and of 100 statuses are accepted; the first ones hold {delivered} and {status}"


def _skip_uploads() -> str:
    raise Unavailable(_UPLOADS)


def _staging(spark: SparkSession, folder: str | None) -> str:
    stage = Staging().stage(spark, folder)
    if stage is None:
        raise Unavailable("driver and workers share no folder by themselves: text streams through the driver")
    return f"driver and workers share {stage.path}, both ways"


def _source(spark: SparkSession, job: Upload) -> str:
    return f"columns {', '.join(rows_of(spark, job.source).columns)}"
