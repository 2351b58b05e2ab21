"""`format("sama")`, Spark's own API for data sources. It needs Spark 4.0 or newer.

Spark calls `datasource` in a Python process on the driver's machine and, pickled, on workers. Neither place has a
session or dbutils, so the API key travels as a reference (`keys.KeyReference`) that only the driver's machine resolves.

- `datasource`: what Spark finds under the name "sama", the writer, and `register`.
- `text_options`: options as Spark gives them (text), parsed to Python values.

Writing rows as tasks, in batch:

- `write_options`: the options of `df.write`.
- `arrow_values`: Arrow batches to Python values, on a worker; `outbound.encode_values` makes tasks of them.
- `staged_write`: stages the tasks on a worker; on the driver's machine, sends what all workers staged.

Reading deliveries:

- `read_options`: the options of `spark.read` and `spark.readStream`.
- `batch_read`: fetches the feed into the stage on the driver's machine; workers read the stage.
- `read_rows`: staged lines to rows, on a worker.
- `stream_window`: the windows of time that are a stream's micro-batches.
- `stream_read`: fetches a window for each micro-batch.
"""
