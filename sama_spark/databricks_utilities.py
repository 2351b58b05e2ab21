"""Databricks' `dbutils`, for code outside of notebooks."""

from __future__ import annotations

import os
from typing import Any


def on_databricks() -> bool:
    """Return True on the driver of a Databricks cluster, serverless included."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


def find_dbutils() -> Any | None:
    """Return `dbutils` on Databricks, and where Databricks Connect is set up; else None."""
    try:
        from databricks.sdk.runtime import dbutils

        if dbutils is not None:
            return dbutils
    except Exception:  # noqa: S110 - the SDK is not installed, or raises where nothing is set up
        pass
    try:
        from pyspark.dbutils import DBUtils
        from pyspark.sql import SparkSession

        # On Databricks the session exists already, although nobody may have used it yet.
        return DBUtils(SparkSession.builder.getOrCreate() if on_databricks() else SparkSession.getActiveSession())
    except Exception:
        return None
