# Databricks notebook source
# MAGIC %md
# MAGIC # Scheduled sync, and questions in SQL
# MAGIC
# MAGIC Run this as a job, such as every hour. Each run adds what was delivered since the last run to the tables, and
# MAGIC updates the states of the other tasks. If a run fails, the next one finishes its work.

# COMMAND ----------

# MAGIC %pip install /Volumes/main/default/wheels/sama_spark-0.1.0-py3-none-any.whl

# COMMAND ----------

dbutils.library.restartPython()

# COMMAND ----------

dbutils.widgets.text("project", "4242", "Sama project")
dbutils.widgets.text("catalog", "main", "Catalog for the tables")
dbutils.widgets.text("schema", "labels", "Schema for the tables")
dbutils.widgets.text("label", "label", "Tag that is a shape's class")
dbutils.widgets.text("secret_scope", "sama", "Secret scope of the API key")
dbutils.widgets.text("secret_key", "api_key", "Secret key of the API key")
dbutils.widgets.text("base_url", "https://api.sama.com/v2", "Sama's API, or a sandbox")

# COMMAND ----------

from sama_spark import Client

setting = dbutils.widgets.get
project, into = setting("project"), f"{setting('catalog')}.{setting('schema')}"
client = Client(dbutils.secrets.get(setting("secret_scope"), setting("secret_key")), base_url=setting("base_url"))

synced = client.sync(
    spark,
    project,
    into,
    label=setting("label"),
    feeds=["delivered", "status"],
    max_calls=600,  # Sama gives 100 statuses a second: ten minutes at most, and the next run goes on
    views=True,
)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Labels to train on

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT l.task_id, l.label, l.kind, l.x_min, l.y_min, l.x_max, l.y_max, t.data
# MAGIC FROM IDENTIFIER(:catalog || '.' || :schema || '.labels_current') l
# MAGIC JOIN IDENTIFIER(:catalog || '.' || :schema || '.tasks') t ON t.id = l.task_id
# MAGIC WHERE l.kind = 'box' LIMIT 100

# COMMAND ----------

# MAGIC %sql
# MAGIC -- which options were chosen, and how often
# MAGIC SELECT output, tag, value, count(*) AS times
# MAGIC FROM IDENTIFIER(:catalog || '.' || :schema || '.tags') GROUP BY ALL ORDER BY times DESC

# COMMAND ----------

from sama_spark import show_label_counts, show_progress

counts = spark.table(f"{into}.label_counts")
if counts.where("kind <> 'answer'").isEmpty():
    print("Nothing is delivered yet.")
else:
    display(show_label_counts(counts, by_output=True))

# COMMAND ----------

# MAGIC %md
# MAGIC ## How the work goes

# COMMAND ----------

progress = spark.table(f"{into}.progress_by_day")
if progress.isEmpty():
    print("No task is known yet.")
else:
    display(show_progress(progress))

# COMMAND ----------

# MAGIC %sql
# MAGIC -- open work, longest waiting first
# MAGIC SELECT * FROM IDENTIFIER(:catalog || '.' || :schema || '.open_work') ORDER BY oldest_since

# COMMAND ----------

# MAGIC %sql
# MAGIC -- hours from creation to the first delivery
# MAGIC SELECT * FROM IDENTIFIER(:catalog || '.' || :schema || '.turnaround') ORDER BY median_hours DESC

# COMMAND ----------

# MAGIC %sql
# MAGIC -- rejection rate and rework
# MAGIC SELECT * FROM IDENTIFIER(:catalog || '.' || :schema || '.rework') ORDER BY rejection_rate DESC

# COMMAND ----------

import json

dbutils.notebook.exit(
    json.dumps({"new": synced.new, "updated": synced.updated, "contract_changes": synced.contract_changes})
)
