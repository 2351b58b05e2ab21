"""Makes `format("sama")` known to Spark, which looks into top modules named `pyspark_...` for a `DefaultSource`.

The wheel has this file at its top. The import must never fail: that would hide the sources of all such modules.
"""

from contextlib import suppress

with suppress(ImportError):  # Spark before 4.0 has no Python data sources
    from sama_spark.data_source.datasource import SamaDataSource as DefaultSource  # noqa: F401
