"""`format("sama")`: rows become tasks, and deliveries are read in batch and in streams, by Spark's own API."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

try:
    from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, WriterCommitMessage
except ImportError as error:
    raise ImportError(
        'format("sama") needs Spark 4.0 or newer, which has Python data sources; on this one use sama_spark.Client'
    ) from error

from sama_spark.data_source.batch_read import TaskReader
from sama_spark.data_source.read_options import read_options
from sama_spark.data_source.read_rows import SCHEMA, checked
from sama_spark.data_source.staged_write import Staged, Target, checked_pieces, send, stage_rows
from sama_spark.data_source.stream_read import TaskStreamReader
from sama_spark.data_source.write_options import write_options
from sama_spark.errors import InvalidInput
from sama_spark.outbound.creation_schema import CreationSchema, read_creation_schema
from sama_spark.outbound.encode_values import RowEncoder, plan_rows
from sama_spark.process_folder import run_name
from sama_spark.sessions import check_session

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType


def register(spark: SparkSession) -> None:
    """Make `format("sama")` known to a session. Not needed where the wheel is installed on the driver's machine.

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
    """Writes rows as tasks, and reads deliveries in batch and in streams.

    `df.write.format("sama").mode("append").option("project", "4242").save()`

    Workers check rows, render them as `Client.create_task_batch_from_table` does and stage them. Then Python beside
    the driver opens batches, uploads them and, once all uploads are complete, continues them; it does so only if all
    rows are valid. On the wire: GET the creation schema, then POST batches.json, PUT and POST continue.json for each
    chunk. A DataFrame without rows makes no call but the first.

    Streams are not written by this format: `df.writeStream.foreachBatch(MicroBatches(...))` creates a task for each
    of their rows once.

    `spark.read.format("sama").option("project", "4242").load()`

    Reads deliveries with the columns of `Client.get_delivered_tasks_to_table` except `data` and `answers`. Their JSON
    text is in `data_raw` and `answers_raw`: `from_json(answers_raw, ...)` types it, and `flatten_annotations` reads it
    as it is. A schema given by `.schema(...)` selects some of these columns. Spark's planning fetches the feed and
    stages it for seven days. So each action, and explain(), calls Sama again, while the function fetches once. On
    the wire: GET tasks/delivered.json, or tasks.json for feed "status".

    `spark.readStream.format("sama")` gives each micro-batch the deliveries of a window of time, which ends just after
    the latest delivery seen. The checkpoint holds these ends. If Spark runs a micro-batch again, the window is read
    from Sama again: a task delivered anew in between has left this window and comes in a later one. Nothing is
    acknowledged at Sama. Sama is called at most once in `lag` seconds. Trigger.AvailableNow takes what is there when
    it starts.

    `docs/options.md` lists the options, whose names may be in any case. The variable that `api_key_env` names has to be
    set before the session starts.

    Raises, as text within Spark's own errors:
        InvalidInput: an option is unknown, or asks for what only the function can do; a checkpoint is of another
            project; a stream is written.
        ContractError: columns do not fit the project; at planning, before anything runs.
        InvalidRowsError, TooManyTasks, StagingError: before anything is sent.
        BatchesNotStarted: all uploads are complete, but not all batches were started.
        ConnectorError: a call failed for good; batches opened by then were cancelled.
    """

    @classmethod
    def name(cls) -> str:
        """Return what `format()` calls this source."""
        return "sama"

    def schema(self) -> StructType:
        """Return all columns that reading gives. Check the options here, so that load() raises for wrong ones."""
        read_options(self.options)
        return SCHEMA

    def reader(self, schema: StructType) -> TaskReader:
        """Plan `spark.read`."""
        return TaskReader(read_options(self.options).of_a_table(), checked(schema))

    def streamReader(self, schema: StructType) -> TaskStreamReader:  # noqa: N802
        """Plan `spark.readStream`."""
        return TaskStreamReader(read_options(self.options).of_a_stream(), checked(schema))

    def writer(self, schema: StructType, overwrite: bool) -> TaskWriter:
        """Plan `df.write`: read the project's creation schema and check the columns against it."""
        target = write_options(self.options)
        if overwrite:
            raise InvalidInput("tasks are not overwritten", remedy='say .mode("append")')
        return TaskWriter(target, _planned(target, schema))

    def streamWriter(self, schema: StructType, overwrite: bool) -> NoReturn:  # noqa: ARG002, N802
        """Refuse `df.writeStream`, and say what to write instead."""
        raise InvalidInput(
            'df.writeStream.format("sama") does not create tasks: nothing was sent',
            remedy="write the stream through an outbox, which creates each row's task once: "
            "each = sama_spark.MicroBatches(lambda: sama_spark.Client(api_key), project_id, "
            'outbox="catalog.schema.outbox", row_key="url"); '
            'df.writeStream.foreachBatch(each).option("checkpointLocation", "/Volumes/...").start()',
        )


class TaskWriter(DataSourceArrowWriter):
    """One `save()`. Its workers stage in a folder of its own in the stage."""

    _KIND = "sama-spark-sink"  # marks the folder as ours in a temporary folder

    def __init__(self, target: Target, rows: RowEncoder) -> None:
        self._target, self._rows = target, rows
        self._folder = target.stage.path / run_name(self._KIND)

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Staged:
        """Stage the rows of one Spark task, on a worker."""
        return stage_rows(iterator, self._rows, self._target.options, self._folder)

    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """Send what all workers staged, on the driver's machine."""
        target = self._target
        try:
            staged = [message for message in messages if isinstance(message, Staged)]
            if pieces := checked_pieces(staged, target.options):
                with closing(target.connect()) as api:
                    send(api, target, pieces)
        finally:
            self._clear()

    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:  # noqa: ARG002
        """Remove what was staged. Nothing was sent."""
        self._clear()

    def _clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)  # with what failed attempts left in it
        self._target.stage.sweep(self._KIND)  # a task may end, and stage, after abort()


def _planned(target: Target, schema: StructType) -> RowEncoder:
    options = target.options
    creation_schema = CreationSchema()
    if options.contract != "off":
        with closing(target.connect()) as api:
            creation_schema = read_creation_schema(api, target.project_id)
    return plan_rows(schema, creation_schema, options.outputs, options.fields, lenient=options.contract != "strict")
