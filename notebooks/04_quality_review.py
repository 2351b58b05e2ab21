# Databricks notebook source
# MAGIC %md
# MAGIC # Quality review
# MAGIC
# MAGIC SQL finds labels that look wrong. You look at them, and send wrong ones back to Sama with a reason.
# MAGIC
# MAGIC The tables are those of `03_scheduled_sync_and_sql`, the table of images is that of `01_quickstart`.

# COMMAND ----------

# MAGIC %pip install /Volumes/main/default/wheels/sama_spark-0.1.0-py3-none-any.whl

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

dbutils.widgets.text("project", "4242", "Sama project")
dbutils.widgets.text("catalog", "main", "Catalog for the tables")
dbutils.widgets.text("schema", "labels", "Schema for the tables")
dbutils.widgets.text("images", "main.default.images", "Table of images")
dbutils.widgets.text("key", "name", "Its column that tells rows apart")
dbutils.widgets.text("picture", "path", "Its column with the pictures")
dbutils.widgets.text("least_pixels", "20", "Boxes are suspicious below")
dbutils.widgets.dropdown("reject", "none", ["none", "all that are shown"], "Send back")
dbutils.widgets.text("label", "label", "Tag that is a shape's class")
dbutils.widgets.text("secret_scope", "sama", "Secret scope of the API key")
dbutils.widgets.text("secret_key", "api_key", "Secret key of the API key")
dbutils.widgets.text("base_url", "https://api.sama.com/v2", "Sama's API, or a sandbox")

# COMMAND ----------

from pyspark.sql import functions as F

from sama_spark import Client, show_annotations

setting = dbutils.widgets.get
project, into = setting("project"), f"{setting('catalog')}.{setting('schema')}"
client = Client(dbutils.secrets.get(setting("secret_scope"), setting("secret_key")), base_url=setting("base_url"))
key, picture = setting("key"), setting("picture")

client.sync(spark, project, into, label=setting("label"))
tasks = spark.table(f"{into}.tasks").select(F.col("id").alias("task_id"), F.col("data").getField(key).alias(key))
pictures = tasks.join(spark.table(setting("images")), key).select("task_id", picture)

# COMMAND ----------

# MAGIC %md
# MAGIC ## What looks wrong
# MAGIC
# MAGIC Very small boxes. Replace this with your own conditions: a rare label, an answer that contradicts another one,
# MAGIC shapes that are nearly the same.

# COMMAND ----------

suspicious = spark.sql(
    f"""
    SELECT * FROM {into}.labels_current
    WHERE kind = 'box' AND least(x_max - x_min, y_max - y_min) < {float(setting("least_pixels"))}
    """
)
shown = [row.task_id for row in suspicious.select("task_id").distinct().orderBy("task_id").limit(9).collect()]
suspicious = suspicious.where(F.col("task_id").isin(shown))
display(suspicious.select("task_id", "output", "label", "x_min", "y_min", "x_max", "y_max"))

# COMMAND ----------

if shown:
    display(show_annotations(suspicious, pictures, zoom=True))
else:
    print("Nothing looks wrong.")

# COMMAND ----------

# MAGIC %md
# MAGIC ## Send back
# MAGIC
# MAGIC Rework costs people's time: look first, then choose `all that are shown` above and run the next cell. It updates
# MAGIC the tables at once, and `labels_current` leaves these tasks out until they are delivered again.

# COMMAND ----------

rejected = shown if setting("reject") == "all that are shown" else []
for task_id in rejected:
    reason = (
        f"There is a box of less than {setting('least_pixels')} pixels: draw it around the whole object or remove it."
    )
    client.reject_task(project, task_id, [reason], spark=spark, into=into)
print(f"{len(rejected)} tasks sent back")

# COMMAND ----------

# MAGIC %md
# MAGIC ## When they are delivered again
# MAGIC
# MAGIC Come back later: the sync adds the new deliveries, and the view `rework` shows how often tasks went back.

# COMMAND ----------

feeds = ["delivered", "status"]
synced = client.sync(spark, project, into, label=setting("label"), feeds=feeds, max_calls=600, views=True)

display(spark.table(f"{into}.rework").orderBy(F.desc("rejection_rate")))

# COMMAND ----------

again = spark.table(f"{into}.labels_current").where(F.col("task_id").isin(rejected))
if again.isEmpty():
    print("None of them is back yet.")
else:
    display(show_annotations(again, pictures))

# COMMAND ----------

import json

dbutils.notebook.exit(json.dumps({"rejected": len(rejected), "delivered_again": synced.updated}))
