"""Tables of a Lakeflow pipeline: deliveries as they arrive, and their labels as rows."""

from pyspark import pipelines as dp
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import sama_spark

spark = SparkSession.builder.getOrCreate()  # the pipeline's own
sama_spark.register(spark)


@dp.table(comment="Each delivery, as received; a task that is delivered again has two rows")
def deliveries() -> DataFrame:
    named = {name: spark.conf.get(f"sama.{name}", None) for name in ("project", "base_url", "staging", "api_key_file")}
    options = {name: value for name, value in named.items() if value is not None}
    return spark.readStream.format("sama").options(**options).load()


@dp.materialized_view(comment="A row for each shape or answer of each task, as it was last delivered")
def labels() -> DataFrame:
    last = F.max_by(F.struct("*"), "delivered_at").alias("last")
    return sama_spark.flatten_annotations(spark.read.table("deliveries").groupBy("id").agg(last).select("last.*"))
