"""Databricks' `dbutils`, for code that is no notebook cell."""

from __future__ import annotations

import os
from typing import Any


def on_databricks() -> bool:
    """Whether this process is the driver of a Databricks cluster, serverless included."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def find_dbutils() -> Any | None:
    """`dbutils`, on Databricks and where Databricks Connect is set up; else None."""
    try:
        from databricks.sdk.runtime import dbutils

        if dbutils is not None:
            return dbutils
    except Exception:  # noqa: S110 - it is not installed, or raises errors of its own where nothing is set up
        pass
    try:
        from pyspark.dbutils import DBUtils
        from pyspark.sql import SparkSession

        # On Databricks the session is there already, whether or not somebody has asked for it yet.
        return DBUtils(SparkSession.builder.getOrCreate() if on_databricks() else SparkSession.getActiveSession())
    except Exception:
        return None
