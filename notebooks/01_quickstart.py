# Databricks notebook source
# MAGIC %md
# MAGIC # Rows out, labels back
# MAGIC
# MAGIC A table of images becomes annotation tasks at Sama. What people draw comes back as Delta tables.
# MAGIC
# MAGIC You need a project at Sama, its API key in a secret scope, and a table of images with
# MAGIC
# MAGIC * the inputs of the project, such as `url`, an address that Sama can read,
# MAGIC * among these a column that tells rows apart (`key`),
# MAGIC * a column with the pictures themselves (`picture`: bytes, or paths such as `/Volumes/...`), which this notebook
# MAGIC   shows and does not send.

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
dbutils.widgets.text("max_tasks", "100", "Most tasks to create")
dbutils.widgets.text("label", "label", "Tag that is a shape's class")
dbutils.widgets.text("secret_scope", "sama", "Secret scope of the API key")
dbutils.widgets.text("secret_key", "api_key", "Secret key of the API key")
dbutils.widgets.text("base_url", "https://api.sama.com/v2", "Sama's API, or a sandbox")

# COMMAND ----------

from sama_spark import Client

setting = dbutils.widgets.get
project, into = setting("project"), f"{setting('catalog')}.{setting('schema')}"
client = Client(dbutils.secrets.get(setting("secret_scope"), setting("secret_key")), base_url=setting("base_url"))
key, picture, max_tasks = setting("key"), setting("picture"), int(setting("max_tasks"))

spark.sql(f"CREATE SCHEMA IF NOT EXISTS {into}")
images = spark.table(setting("images"))
display(images.limit(5))

# COMMAND ----------

# MAGIC %md
# MAGIC ## What would be sent
# MAGIC
# MAGIC A dry run sends nothing. It checks every row against the project and reports what would become of each column.

# COMMAND ----------

# The first rows by key, so that a second run takes the same rows.
rows = images.orderBy(key).limit(max_tasks)

print(client.create_task_batch_from_table(rows, project, not_sent=picture, row_key=key, dry_run=True))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Send
# MAGIC
# MAGIC From here on people work, and Sama charges for it. The outbox, a Delta table, remembers which rows
# MAGIC became tasks: run this cell again after any error, and it sends only the missing rows.

# COMMAND ----------

batches = client.create_task_batch_from_table(
    rows, project, not_sent=picture, row_key=key, outbox=f"{into}.outbox", max_tasks=max_tasks
)
print(batches)

outcome = batches.wait(timeout=1800)  # until Sama has created the tasks
print(outcome)

# COMMAND ----------

# MAGIC %md
# MAGIC ## When people have delivered
# MAGIC
# MAGIC Annotation takes hours or days: come back and run the notebook from here on. Each run adds what was
# MAGIC delivered since the last one.

# COMMAND ----------

labels = f"{into}.labels_current"
synced = client.sync(spark, project, into, label=setting("label"))  # prints what it did

display(spark.sql(f"SELECT output, kind, label, count(*) AS annotations FROM {labels} GROUP BY ALL ORDER BY ALL"))

# COMMAND ----------

from pyspark.sql import functions as F

from sama_spark import show_annotations

delivered = spark.table(f"{into}.tasks").select(F.col("id").alias("task_id"), F.col("data").getField(key).alias(key))
pictures = delivered.join(images, key).select("task_id", picture)

if spark.table(labels).isEmpty():
    print("Nothing is delivered yet.")
else:
    display(show_annotations(spark.table(labels), pictures, n=6))

# COMMAND ----------

import json

dbutils.notebook.exit(json.dumps({"sent": batches["task_count"], "new": synced.new, "updated": synced.updated}))
