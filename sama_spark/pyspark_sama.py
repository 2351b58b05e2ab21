"""Lies at the top of the wheel: Spark looks into modules named `pyspark_...` for a `DefaultSource`.

It must never fail to import, which would hide the sources of all such modules.
"""

from contextlib import suppress

with suppress(ImportError):  # Spark before 4.0 has no Python data sources
    from sama_spark.data_source.datasource import SamaDataSource as DefaultSource  # noqa: F401
