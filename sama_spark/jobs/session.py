"""The session that a job runs on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sama_spark.databricks_utilities import on_databricks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Set by Spark Connect's settings and by spark-submit.
_GIVEN = ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "PYSPARK_GATEWAY_PORT")


def job_session() -> SparkSession:
    """The active session; else what Databricks, spark-submit or SPARK_REMOTE give; else one of this machine's own."""
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    if on_databricks() or any(name in os.environ for name in _GIVEN):
        return SparkSession.builder.getOrCreate()
    from sama_spark.local import local_session

    return local_session()
