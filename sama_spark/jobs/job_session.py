"""The session that a job runs on."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from sama_spark.databricks_utilities import on_databricks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("sama_spark")

# Set by Spark Connect's settings and by spark-submit.
_GIVEN = ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "PYSPARK_GATEWAY_PORT")


def job_session() -> SparkSession:
    """The active session; else what Databricks, spark-submit or SPARK_REMOTE give; else one of this machine's own."""
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
    """The session that there is already: the active one, or that of Databricks."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate() if on_databricks() else SparkSession.getActiveSession()
