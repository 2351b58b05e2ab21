"""Spark sessions and DataFrames that callers give, workers that lack this package, the session of a job, `dbutils`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sama_spark.arguments import shown
from sama_spark.errors import ConnectorError, InvalidInput

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("sama_spark")

# Set by Spark Connect's settings and by spark-submit.
_GIVEN = ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "PYSPARK_GATEWAY_PORT")


def check_session(spark: Any) -> None:
    """Reject everything but a session, classic or Connect."""
    if not hasattr(spark, "createDataFrame"):
        raise InvalidInput(f"spark is {shown(spark)}", column="spark", remedy="give the Spark session")


def check_dataframe(df: Any, name: str) -> None:
    """Reject everything but a DataFrame, classic or Connect."""
    if not hasattr(df, "mapInArrow"):
        raise InvalidInput(f"{name} is {shown(df)}", column=name, remedy="give a Spark DataFrame")


def refuse_stream(df: DataFrame, ways_out: str) -> None:
    """Refuse a streaming DataFrame. `ways_out`: what its user can do instead."""
    if getattr(df, "isStreaming", False):
        raise InvalidInput("a DataFrame is due whose rows are all there, and this one is a stream", remedy=ways_out)


@contextmanager
def worker_errors() -> Iterator[None]:
    """Raise it as ConnectorError when Spark's workers cannot import this package or what it needs."""
    try:
        yield
    except Exception as error:
        lacking = re.search(r"No module named '((?:sama_spark|msgspec|urllib3|yaml)\b[\w.]*)", str(error))
        if lacking is None or isinstance(error, ConnectorError):
            raise
        raise ConnectorError(
            f"Spark's workers cannot import {lacking[1]}",
            remedy="install the same wheel of sama-spark on every worker, in the Python that PYSPARK_PYTHON or the "
            "setting `spark.pyspark.python` names, and start the session anew",
        ) from error


def job_session() -> SparkSession:
    """Return the session for a job.

    That is the active session; else the one that Databricks, spark-submit or SPARK_REMOTE provide; else a new one on
    this machine.
    """
    from pyspark.sql import SparkSession

    session = running_session()
    if session is not None:
        return session
    log.info("Spark starts")
    if any(name in os.environ for name in _GIVEN):
        return SparkSession.builder.getOrCreate()
    from sama_spark.local import local_session

    return local_session()


def running_session() -> SparkSession | None:
    """Return the session that exists already, the active one or that of Databricks; None without one."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate() if on_databricks() else SparkSession.getActiveSession()


def on_databricks() -> bool:
    """Return whether this process is the driver of a Databricks cluster, serverless included."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def find_dbutils() -> Any | None:
    """Return `dbutils` on Databricks and where Databricks Connect is set up, else None."""
    try:
        from databricks.sdk.runtime import dbutils

        if dbutils is not None:
            return dbutils
    except Exception:  # noqa: S110 - it is not installed, or raises errors of its own where nothing is set up
        pass
    try:
        from pyspark.dbutils import DBUtils

        return DBUtils(running_session())
    except Exception:
        return None
