"""A DataFrame becomes tasks: rows -> pieces -> chunks -> uploaded batches -> claimed batches -> started batches."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sama_spark.delta import DeltaTable, row_count
from sama_spark.driver_rows import text_lines
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.creation_result import CreationResult, RunTables
from sama_spark.outbound.creation_schema import CreationSchema, read_creation_schema
from sama_spark.outbound.dry_run import DryRun
from sama_spark.outbound.dry_run_warnings import tiny_shapes
from sama_spark.outbound.encode import encode
from sama_spark.outbound.encode_values import plan_rows
from sama_spark.outbound.encoded_batch import EncodedBatch, Encoding
from sama_spark.outbound.few_rows import can_be_fetched, fetch_encoded, fetch_rows, few_pieces
from sama_spark.outbound.outbox.no_outbox import NoOutbox, UnclaimedBatches
from sama_spark.outbound.outbox.outbox import ClaimedBatches, Outbox
from sama_spark.outbound.pieces import (
    Piece,
    StreamedPiece,
    cutter_for,
    refuse_too_many,
    spool,
    stage_pieces,
    stream_pieces,
)
from sama_spark.outbound.rejected import InvalidRows, RejectedRows, task_pieces
from sama_spark.outbound.upload import UploadedBatch, Uploader, upload_claim_and_continue
from sama_spark.sessions import worker_errors
from sama_spark.staging import private_stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.api.api_client import ApiClient
    from sama_spark.outbound.row_keys import OutboxKeys
    from sama_spark.staging import Stage, Staging


@dataclass(frozen=True)
class _Run:
    """What all steps of one run need. `find_stage`: returns a folder shared with Spark's workers, or None."""

    api: ApiClient
    df: DataFrame
    project_id: str
    options: CreationOptions
    find_stage: Callable[[], Stage | None]
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    begun: float = field(default_factory=time.monotonic)


def create_tasks(
    api: ApiClient,
    df: DataFrame,
    project_id: str | int,
    options: CreationOptions,
    staging: Staging,
    find_stage: Callable[[], Stage | None],
) -> CreationResult:
    """Create a task for each row of `df`; the public face is `Client.create_task_batch_from_table`.

    No batch of this run is continued before all rows were looked at, all uploads are complete, and the outbox has the
    claim. Batches that earlier runs left in the outbox may be continued first, before any row is looked at, and for an
    empty DataFrame too.
    """
    run = _Run(api, df, str(project_id), options, find_stage)
    uploader = Uploader(api, project_id, options)
    with uploader.naming_batches(_next_step(options)), worker_errors(), ExitStack() as until_the_end:
        outbox = _open_outbox(run)
        encoded = _encode(run, outbox.keys)
        cut = until_the_end.enter_context(_cut(run, encoded, needs_files=outbox.keys is not None))
        if options.dry_run and encoded:  # `encoded` is never None in a dry run
            return _dry_run(run, encoded.encoding, cut, outbox)

        rejected = _rejected_rows(run, staging, cut.stage)
        lookup = outbox.look_up_and_pack(_accepted(cut.pieces, rejected), options, cut.text_lines)
        chunks = _read_within_max_tasks(run, lookup.chunks, streamed=cut.streams)

        def append_rejected_and_claim(batches: list[UploadedBatch]) -> ClaimedBatches | UnclaimedBatches:
            if rejected is not None:
                # No batch is continued before its rejected rows are in their table.
                rejected.append()
            return lookup.claim(batches, uploader)

        claimed = upload_claim_and_continue(uploader, chunks, append_rejected_and_claim)
        report = claimed.settle_other_runs()  # waits for other runs that hold rows of this one, minutes at most
        return CreationResult(
            run.project_id,
            tuple(claimed.batches),
            encoded.encoding.output_rules if encoded else {},
            time.monotonic() - run.begun,
            cut.stage is not None,
            run_id=run.run_id,
            rejected_rows=rejected.count if rejected else 0,
            rejected=rejected.frame() if rejected else None,
            outbox=report,
            api=api,
            tables=RunTables(claimed.batches, options.fields, rejected, outbox),
        )


def _next_step(options: CreationOptions) -> str | None:
    """Return what to do after a run with an outbox that was not finished."""
    if options.outbox is None:
        return None
    return f"run the same call again, or client.resume(spark, outbox={options.outbox!r}): nothing is sent twice"


def _open_outbox(run: _Run) -> Outbox | NoOutbox:
    """Open the outbox, which settles what dead runs left: it calls Sama, and may continue batches of those runs.

    A dry run settles nothing.
    """
    options, dry_run = run.options.outbox_options, run.options.dry_run
    if options is None:
        return NoOutbox()
    # Check before creating the table: it keeps these key columns for good.
    run.options.fields.inputs(run.df.columns)
    options.keys.check(run.df.schema)
    spark = run.df.sparkSession
    if dry_run and not DeltaTable(spark, options.table).exists():
        return NoOutbox()
    return Outbox(run.api, spark, run.project_id, options, run.run_id, look_only=dry_run)


@dataclass(frozen=True)
class _Encoded:
    """Encoded rows: as a list if the driver has them, because they are few; else Spark will compute them."""

    encoding: Encoding
    rows: DataFrame | list[EncodedBatch]


def _encode(run: _Run, keys: OutboxKeys | None) -> _Encoded | None:
    """Encode the rows, or plan to; None for an empty DataFrame, of which only a dry run looks at the columns."""
    options, lenient = run.options, run.options.contract != "strict"
    is_fetched = keys is None and can_be_fetched(run.df.schema, options.fields)
    fetched = fetch_rows(run.df, options.fields) if is_fetched else None
    if not options.dry_run and (fetched == [] if is_fetched else _is_empty(run.df)):
        return None
    schema = CreationSchema() if options.contract == "off" else read_creation_schema(run.api, run.project_id)
    if fetched is not None:
        encoder = plan_rows(run.df.schema, schema, options.outputs, options.fields, lenient=lenient)
        return _Encoded(encoder, list(encoder.encode(fetched)))
    encoded = encode(run.df, schema, options.outputs, options.fields, lenient=lenient, outbox_keys=keys)
    few = None if is_fetched else fetch_encoded(encoded.rows)
    return _Encoded(encoded, encoded.rows if few is None else few)


def _is_empty(df: DataFrame) -> bool:
    # `selectExpr("1")`: on Connect `isEmpty` fetches a row, and 3.5 cannot decode month intervals.
    return df.selectExpr("1").isEmpty()


@dataclass(frozen=True)
class _Cut:
    """The pieces of a run, and where they are.

    Attributes:
        spark: the session.
        pieces: the pieces.
        stage: a shared folder that many rows need; None where there is none, and for few rows.
        folder: this run's folder, in the stage or of the driver alone; None where the pieces are in memory.
        streams: whether Spark makes the pieces as they are read. Then they can be read once.
    """

    spark: SparkSession
    pieces: Iterable[Piece] = ()
    stage: Stage | None = None
    folder: Path | None = None
    streams: bool = False

    def text_lines(self, name: str, lines: Iterable[bytes]) -> DataFrame:
        """Return lines of text as a DataFrame of one column, `value`."""
        return text_lines(self.spark, lines, self.folder / f"{name}.txt" if self.stage and self.folder else None)


@contextmanager
def _cut(run: _Run, encoded: _Encoded | None, *, needs_files: bool) -> Iterator[_Cut]:
    """Cut the rows into pieces; Spark runs here, unless the pieces stream. Folders go when the block ends.

    `needs_files`: an outbox comes back to the pieces, so they must not stream.
    """
    spark = run.df.sparkSession
    if encoded is None:
        yield _Cut(spark)
        return
    cutter, rows = cutter_for(encoded.encoding, run.options), encoded.rows
    if isinstance(rows, list):
        pieces: Iterable[StreamedPiece] = few_pieces(rows, cutter)
    elif stage := run.find_stage():
        with stage.run("out") as folder:
            yield _Cut(spark, stage_pieces(rows, cutter, folder), stage, folder)
        return
    else:
        pieces = stream_pieces(rows, cutter)
    if needs_files:
        with private_stage().run("out") as folder:
            yield _Cut(spark, spool(pieces, folder), None, folder)
    else:
        yield _Cut(spark, pieces, streams=not isinstance(rows, list))


def _rejected_rows(run: _Run, staging: Staging, stage: Stage | None) -> RejectedRows | None:
    """Return what keeps invalid rows; None where they raise."""
    if run.options.on_invalid != "reject":
        return None
    folder = staging.keep(stage.new_run("rejected")) if stage else None
    return RejectedRows(run.df.sparkSession, folder, run.run_id, run.options.rejected_table)


def _accepted(pieces: Iterable[Piece], rejected: RejectedRows | None) -> Iterator[Piece]:
    """Yield the pieces of tasks. Invalid rows go to `rejected`; without it they raise, after the last piece."""
    invalid = InvalidRows()
    for piece in task_pieces(pieces, invalid if rejected is None else rejected):
        if not invalid.pieces:
            yield piece
    invalid.check()


def _read_within_max_tasks(
    run: _Run, chunks: Iterable[Sequence[Piece]], *, streamed: bool
) -> Iterable[Sequence[Piece]]:
    """Read all pieces before a batch is opened, so that invalid rows raise here, and refuse more than `max_tasks`.

    Streamed pieces would fill the driver's memory, so they are read while they are uploaded, and Spark counts the rows.
    """
    most = run.options.max_tasks
    if not streamed:
        chunks = list(chunks)
        refuse_too_many(sum(piece.header.tasks for chunk in chunks for piece in chunk), most)
    elif most is not None:
        refuse_too_many(row_count(run.df.limit(most + 1)), most)
    return chunks


def _dry_run(run: _Run, encoding: Encoding, cut: _Cut, outbox: Outbox | NoOutbox) -> DryRun:
    options, invalid = run.options, InvalidRows()
    lookup = outbox.look_up_and_pack(task_pieces(cut.pieces, invalid), options, cut.text_lines)
    chunks = [
        (sum(piece.header.tasks for piece in chunk), sum(piece.header.bytes + 1 for piece in chunk) + 1)
        for chunk in lookup.chunks
    ]
    return DryRun(
        run.project_id,
        (),
        encoding.output_rules,
        time.monotonic() - run.begun,
        cut.stage is not None,
        outbox=lookup.report(),
        task_count=sum(tasks for tasks, _ in chunks),
        bytes=sum(size for _, size in chunks),
        batch_count=len(chunks),
        columns=encoding.columns,
        invalid_rows=invalid.count,
        invalid=invalid.described(),
        warnings=tiny_shapes(run.df, options.fields.not_sent),
    )
