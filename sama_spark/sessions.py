"""Checks of what callers give as a session or a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sama_spark.arguments import shown
from sama_spark.errors import InvalidInput

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def check_session(spark: Any) -> None:
    """Reject everything but a session, classic or Connect."""
    if not hasattr(spark, "createDataFrame"):
        raise InvalidInput(f"spark is {shown(spark)}", column="spark", remedy="give the Spark session")


def check_dataframe(name: str, df: Any) -> None:
    """Reject everything but a DataFrame, classic or Connect."""
    if not hasattr(df, "mapInArrow"):
        raise InvalidInput(f"{name} is {shown(df)}", column=name, remedy="give a Spark DataFrame")


def refuse_stream(df: DataFrame, ways_out: str) -> None:
    """Reject a streaming DataFrame; `ways_out` says what its user can do instead."""
    if getattr(df, "isStreaming", False):
        raise InvalidInput("a DataFrame is due whose rows are all there, and this one is a stream", remedy=ways_out)
