"""`format("sama")`: Spark's own doors, out and back, in batch and in streams."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, WriterCommitMessage
except ImportError as error:
    raise ImportError(
        'format("sama") needs Spark 4.0 or newer, which has Python data sources; on this one use sama_spark.Client'
    ) from error

from sama_spark.data_source import read_options as source
from sama_spark.data_source.batch_read import TaskReader
from sama_spark.data_source.read_rows import SCHEMA, checked
from sama_spark.data_source.staged_write import Staged, Target, clear, send, stage_rows, tasks_in
from sama_spark.data_source.stream_read import TaskStreamReader
from sama_spark.data_source.write_options import WriteOptions, write_options
from sama_spark.data_source.write_rows import RowEncoder, plan_rows
from sama_spark.errors import InvalidInput
from sama_spark.outbound.creation_schema import Contract, read_contract
from sama_spark.sessions import check_session
from sama_spark.staging import Stage, run_name

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType


def register(spark: SparkSession) -> None:
    """Make `format("sama")` known to a session; not needed where the wheel is installed beside the driver.

    Args:
        spark: a session of Spark 4.0 or newer, classic or Connect.
    """
    from pyspark.errors import AnalysisException

    check_session(spark)
    try:
        spark.dataSource.register(SamaDataSource)
    except AnalysisException as error:  # some versions refuse what the wheel has made known
        if "DATA_SOURCE_ALREADY_EXISTS" not in str(error):
            raise


class SamaDataSource(DataSource):
    """Writes rows as tasks and reads deliveries, in batch and in streams.

    `df.write.format("sama").mode("append").option("project", "4242").save()`

    Workers check rows, render them as `Client.create_task_batch_from_table` does and stage them. Beside the
    driver, and only if all rows are valid, batches are opened, uploaded and, once all uploads stand, continued.
    On the wire: GET the creation schema (for streams once for each micro-batch), then POST batches.json, PUT and
    POST continue.json for each chunk. A DataFrame without rows makes no call but the first.

    `spark.read.format("sama").option("project", "4242").load()`

    Deliveries with the columns of `Client.get_delivered_tasks_to_table` but `data` and `answers`, whose JSON text is in
    `data_raw` and `answers_raw`: `from_json(answers_raw, ...)` types it, `flatten_annotations` reads it as it is. A
    schema that is given (`.schema(...)`) names some of these columns. Planning, beside the driver, fetches the feed and
    stages it, where it stays for seven days; so each action, and explain(), calls Sama again, while the function
    fetches once. On the wire: GET tasks/delivered.json, or tasks.json for feed "status".

    `spark.readStream.format("sama")` gives each micro-batch the deliveries of a window of time, which ends just after
    the latest that was seen. The checkpoint holds these ends. A micro-batch that Spark runs again is read from Sama
    again: a task delivered anew in between is no longer in it and comes later. Nothing is acknowledged at Sama, which
    is asked at most once in `lag` seconds. Trigger.AvailableNow takes what is there when it starts.

    Options are text, in any case; those of the way out are named as the function's parameters:
        project (or project_id): Sama's project.
        api_key_env: environment variable beside the driver that holds the key, by default SAMA_API_KEY. It has to
            be set before the session starts.
        api_key_file: a file beside the driver that holds the key, instead.
        staging: a folder that driver and workers share and may write, such as /Volumes/catalog/schema/volume. By
            default a temporary folder, which does on a single machine. Streams out need one that lasts.
        base_url: the API's root, for a sandbox or proxy.
    Out:
        query: for streams, the name under which what was sent is recorded in the stage. A micro-batch that Spark
            runs again after a failure sends nothing twice. Each stream needs a name of its own.
        batch_priority, notification_email, submit, tasks_file_name, chunk_rows, chunk_bytes, in_flight, max_tasks,
        priority_column, reserve_for_column, contract: as for the function.
        not_sent, row_key: comma text or a JSON array. outputs: a JSON object.
    Back:
        feed: "delivered" by default, or "status" (not in streams).
        batch_id, client_batch_id, client_batch_id_match_type, task_id, from_timestamp: as for
            `Client.get_delivered_tasks_to_table`; a stream begins at `from_timestamp`.
        state, date_type, to_timestamp, omit_answers, priority, primary_keys, same_as_delivery, and the above but
            task_id: as for `Client.get_multi_task_status_to_table`, with feed "status".
        lag: whole seconds that a stream stays behind now, 60 by default. What becomes visible at Sama later than that
            after its delivery may be passed by; `Client.sync(full=True)` finds it.

    Raises, as text within Spark's own errors:
        InvalidInput: an option is unknown, or what it asks for needs the function; a checkpoint is of another project.
        ContractError: columns do not fit the project; at planning, before anything runs.
        InvalidRowsError, TooManyTasks, StagingError: before anything is sent.
        BatchesNotStarted: uploads stand, but not all batches were started. A stream settles them on its restart.
        ConnectorError: a call failed for good; batches opened by then were cancelled.
    """

    @classmethod
    def name(cls) -> str:
        return "sama"

    def schema(self) -> StructType:
        source.read_options(self.options)  # so that load() tells what is wrong with them
        return SCHEMA

    def reader(self, schema: StructType) -> TaskReader:
        return TaskReader(source.read_options(self.options).of_a_table(), checked(schema))

    def streamReader(self, schema: StructType) -> TaskStreamReader:  # noqa: N802
        return TaskStreamReader(source.read_options(self.options).of_a_stream(), checked(schema))

    def writer(self, schema: StructType, overwrite: bool) -> TaskWriter:
        options = write_options(self.options)
        if overwrite:
            raise InvalidInput("tasks are not overwritten", remedy='say .mode("append")')
        rows = _planned(options.target, schema)
        stage = Path(tempfile.gettempdir()) if options.staging is None else options.staging / "sama-spark"
        return TaskWriter(options, rows, stage)

    def streamWriter(self, schema: StructType, overwrite: bool) -> Any:  # noqa: ARG002, N802
        raise InvalidInput(
            'df.writeStream.format("sama") does not create tasks: nothing was sent',
            remedy="write the stream with df.writeStream.foreachBatch(MicroBatches(...)), which has an outbox",
        )


class TaskWriter(DataSourceArrowWriter):
    """One `save()`, whose workers stage in a folder of its own in `stage`."""

    _KIND = "sama-spark-sink"  # says whose it is in a temporary folder

    def __init__(self, options: WriteOptions, rows: RowEncoder, stage: Path) -> None:
        self._options, self._rows, self._stage = options, rows, stage
        self._folder = stage / run_name(self._KIND)

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Staged:
        return stage_rows(iterator, self._rows, self._options.target.options, self._folder)

    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        target = self._options.target
        try:
            if pieces := tasks_in(_staged(messages), target.options):
                with closing(target.connect()) as api:
                    send(api, target, pieces)
        finally:
            self._clear()

    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:  # noqa: ARG002
        self._clear()

    def _clear(self) -> None:
        clear(self._folder)
        Stage(self._stage).sweep(self._KIND)  # a task may end, and stage, after abort()


def _planned(target: Target, schema: StructType) -> RowEncoder:
    options = target.options
    contract = Contract()
    if options.contract != "off":
        with closing(target.connect()) as api:
            contract = read_contract(api, target.project_id)
    return plan_rows(schema, contract, options.outputs, options.fields, lenient=options.contract != "strict")


def _staged(messages: Sequence[WriterCommitMessage | None]) -> list[Staged]:
    return [message for message in messages if isinstance(message, Staged)]
