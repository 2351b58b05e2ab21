"""A Spark session with Delta on this machine, for laptops, demos and tests."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",  # 50 by default: slow on small tables
    # One sync compiles more than the 100 classes that Spark keeps by default; the next would compile them again.
    "spark.sql.codegen.cache.maxEntries": "1000",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.log.level": "ERROR",
    "spark.ui.showConsoleProgress": "false",
}


def local_session(*, connect: bool = False, cores: str = "2", settings: dict[str, str] | None = None) -> SparkSession:
    """Return a session on `local[cores]` with Delta. The first time, Spark downloads Delta's jars (87 MB).

    Args:
        connect: use a local Spark Connect server instead of a classic session.
        cores: as in Spark's `local[...]`.
        settings: more Spark settings.
    """
    from delta import configure_spark_with_delta_pip
    from pyspark.sql import SparkSession

    # Otherwise workers start whatever `python3` is first on the path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    builder = SparkSession.builder
    builder = builder.remote(f"local[{cores}]") if connect else builder.master(f"local[{cores}]")
    for name, value in {**_SETTINGS, **(settings or {})}.items():
        builder = builder.config(name, value)
    packages = _connect_server() if connect else []
    with warnings.catch_warnings():
        # Connect sets the settings of its server a second time, and warns that it cannot.
        warnings.filterwarnings("ignore", message="Failed to set spark")
        return configure_spark_with_delta_pip(builder, packages).getOrCreate()


def _connect_server() -> list[str]:
    """Return the package with Connect's server, where pyspark's jars lack it, as before 4.0."""
    import pyspark

    if list((Path(pyspark.__file__).parent / "jars").glob("spark-connect_*.jar")):
        return []
    return [f"org.apache.spark:spark-connect_2.12:{pyspark.__version__}"]
