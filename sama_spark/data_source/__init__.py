"""`format("sama")`, Spark's own API for data sources. It needs Spark 4.0 or newer.

Spark calls `datasource` beside the driver and, pickled, on workers. Neither place has a session or dbutils, so the API
key travels as a reference (`keys.KeyReference`) that is resolved beside the driver alone.

- `datasource`: what Spark finds under the name "sama", the writer, and `register`.
- `text_options`: options as Spark gives them (text), parsed to Python values.

Writing rows as tasks, in batch:

- `write_options`: the options of `df.write`.
- `arrow_values`: Arrow batches to Python values, on a worker; `outbound.encode_values` makes tasks of them.
- `staged_write`: stages the tasks on a worker, and sends what all workers staged beside the driver.

Reading deliveries:

- `read_options`: the options of `spark.read` and `spark.readStream`.
- `batch_read`: fetches the feed into the stage beside the driver; workers read the stage.
- `read_rows`: staged lines to rows, on a worker.
- `stream_times`: times of deliveries, and the windows of time that are a stream's micro-batches.
- `stream_read`: fetches a window for each micro-batch.
"""
