# Databricks notebook source
# MAGIC %md
# MAGIC # Pre-annotations from a model
# MAGIC
# MAGIC Correcting is faster than drawing: each task carries what a model finds, and people start from there.
# MAGIC
# MAGIC The project has an image output (`output`) whose shapes have a tag for their class (`label`). The table of
# MAGIC images is as in `01_quickstart`.

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
dbutils.widgets.text("output", "objects", "Image output of the project")
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
output, label = setting("output"), setting("label")

spark.sql(f"CREATE SCHEMA IF NOT EXISTS {into}")
images = spark.table(setting("images"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The model
# MAGIC
# MAGIC Put your model here: anything that gives each row its boxes, their classes and their scores. This example finds
# MAGIC the same two things in every image.

# COMMAND ----------


def predict(images):
    """Add `boxes` (left, top, right, bottom, in pixels), `classes` and `scores` to each row."""
    return images.selectExpr(
        "*",
        "array(array(20D, 30D, 120D, 110D), array(10D, 10D, 25D, 22D)) AS boxes",
        "array('object', 'speck') AS classes",
        "array(0.9D, 0.2D) AS scores",
    )


predictions = predict(images)
display(predictions.select(key, "boxes", "classes", "scores").limit(5))

# COMMAND ----------

# MAGIC %md
# MAGIC ## From boxes to the shapes of Sama
# MAGIC
# MAGIC Keep only boxes with a high score: removing a wrong box takes people longer than drawing a missing one.

# COMMAND ----------

from pyspark.sql import functions as F

from sama_spark import boxes_to_output

found = F.filter(F.arrays_zip("boxes", "classes", "scores"), lambda one: one.scores >= 0.5)
sure = predictions.withColumn("found", found).drop("boxes", "classes", "scores")
shapes = boxes_to_output("found.boxes", label="found.classes", label_tag=label)
rows = sure.withColumn(f"output_{output}", shapes).drop("found").orderBy(key).limit(max_tasks)

print(client.create_task_batch_from_table(rows, project, not_sent=picture, row_key=key, dry_run=True))

# COMMAND ----------

# MAGIC %md
# MAGIC Look at some of them before you pay anybody to correct them.

# COMMAND ----------

from sama_spark import flatten_annotations, show_annotations

answers = F.struct(F.col(f"output_{output}").alias(output)).alias("answers")
before = flatten_annotations(rows.select(F.col(key).alias("id"), answers), label=label)

display(show_annotations(before, rows.select(F.col(key).alias("task_id"), picture), n=6))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Send
# MAGIC
# MAGIC From here on people work, and Sama charges for it. Rows that the outbox knows, such as those of
# MAGIC `01_quickstart`, are not sent again.

# COMMAND ----------

batches = client.create_task_batch_from_table(
    rows, project, not_sent=picture, row_key=key, outbox=f"{into}.outbox", max_tasks=max_tasks
)
print(batches)
print(batches.wait(timeout=1800))

# COMMAND ----------

import json

dbutils.notebook.exit(json.dumps({"sent": batches["task_count"]}))
