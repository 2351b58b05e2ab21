"""A DataFrame becomes tasks: contract, encoding, pieces, chunks, waiting batches, start."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sama_spark.api.sama_errors import BatchesNotStarted
from sama_spark.delta import DeltaTable, row_count
from sama_spark.errors import InvalidRowsError, TooManyTasks
from sama_spark.http.call_errors import NotFoundError
from sama_spark.outbound.chunk import FEW_INVALID, PIECE_BYTES, PIECE_TASKS, InvalidRow, PieceCutter
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.creation_result import CreationResult, DryRun
from sama_spark.outbound.creation_schema import CreationSchema
from sama_spark.outbound.encode import EncodedRows, encode
from sama_spark.outbound.looks import tiny_shapes
from sama_spark.outbound.outbox.outbox import Outbox
from sama_spark.outbound.outputs import SpliceMode
from sama_spark.outbound.pieces import (
    Piece,
    PiecePart,
    StagedPiece,
    invalid_rows_in,
    pack,
    spool_pieces,
    stage_pieces,
    stream_pieces,
)
from sama_spark.outbound.rejected import RejectedRows
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.outbound.tables import RunTables
from sama_spark.outbound.upload import Batch, Uploader
from sama_spark.staging import private_stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.api.api_client import ApiClient
    from sama_spark.staging import Stage, Staging


def create_tasks(
    api: ApiClient,
    df: DataFrame,
    project_id: str | int,
    options: CreationOptions,
    staging: Staging,
    stage: Stage | None,
) -> CreationResult:
    """Create a task for each row of `df`; the public face is `Client.create_task_batch_from_table`."""
    begun = time.monotonic()
    run_id = uuid.uuid4().hex
    reject = options.on_invalid == "reject" and not options.dry_run
    rejected = RejectedRows(
        df.sparkSession, staging.keep(stage.new_run("rejected")) if reject and stage else None, run_id
    )
    batches: list[Batch] = []
    rules: Mapping[str, str] = {}
    uploader = Uploader(
        api, project_id, options.notification_email, options.tasks_file_name, options.in_flight, options.on_progress
    )
    with uploader.told(_again(options)), _folder(stage, spooled=options.outbox is not None) as folder:
        outbox = None
        if options.outbox is not None:
            # Before the table is made, which is bound to these columns for good.
            options.fields.inputs(df.columns)
            options.outbox.keys.check(df.schema)
            if not options.dry_run or DeltaTable(df.sparkSession, options.outbox.table).exists():
                outbox = Outbox(
                    api,
                    df.sparkSession,
                    str(project_id),
                    options.outbox,
                    run_id,
                    folder,
                    shared=stage is not None,
                    look_only=options.dry_run,
                )
        # Without its columns: Connect fetches a row, and on Spark 3.5 knows no month intervals.
        if options.dry_run or not df.selectExpr("1").isEmpty():
            contract = CreationSchema() if options.contract == "off" else read_contract(api, project_id)
            encoded = _encode(df, contract, options, outbox.keys if outbox else None)
            rules = encoded.output_rules
            if options.max_tasks is not None and stage is None and not options.dry_run and outbox is None:
                refuse_too_many(row_count(df.limit(options.max_tasks + 1)), options.max_tasks)
            pieces = _pieces(
                encoded.rows,
                cutter_for(encoded.head, encoded.spliced, options),
                stage,
                folder,
                spooled=outbox is not None,
            )
            if options.dry_run:
                return _dry_run(df, pieces, project_id, encoded, options, begun, outbox, staged=stage is not None)
            to_send: Iterable[Piece] = _accepted(pieces, rejected if reject else None)
            if outbox is not None:
                to_send = outbox.unknown([piece for piece in to_send if isinstance(piece, StagedPiece)])
            if stage is not None or outbox is not None:  # all is known before a batch is opened
                to_send = list(to_send)
                refuse_too_many(sum(piece.header.tasks for piece in to_send), options.max_tasks)
            batches = _send(uploader, to_send, options, rejected, outbox)
        if outbox is not None:
            outbox.settle_others()
        return CreationResult(
            str(project_id),
            tuple(batches),
            rules,
            time.monotonic() - begun,
            stage is not None,
            run_id=run_id,
            rejected_rows=rejected.count,
            rejected=rejected.frame() if reject else None,
            outbox=outbox.report() if outbox else None,
            api=api,
            tables=RunTables(batches, options.fields, rejected, options.rejected_table, outbox),
        )


def read_contract(api: ApiClient, project_id: str | int) -> CreationSchema:
    """The project's contract; an empty one where its creation schema cannot be reached (404)."""
    try:
        create = api.get_creation_task_schema(project_id)
    except NotFoundError:
        return CreationSchema()
    contract = CreationSchema.from_schemas(create)
    if contract.outputs:
        return contract
    try:
        return CreationSchema.from_schemas(create, api.get_delivery_task_schema(project_id))
    except NotFoundError:
        return contract


def cutter_for(head: bytes, spliced: tuple[tuple[str, SpliceMode], ...], options: CreationOptions) -> PieceCutter:
    """What cuts the encoded rows of a run; `head` and `spliced` as in `EncodedRows`."""
    return PieceCutter(
        head=head,
        spliced=spliced,
        max_tasks=min(PIECE_TASKS, options.chunk_rows),
        max_bytes=min(PIECE_BYTES, options.chunk_bytes),
        most_invalid=sys.maxsize if options.on_invalid == "reject" and not options.dry_run else FEW_INVALID,
        keyed=options.outbox is not None,
    )


def _encode(df: DataFrame, contract: CreationSchema, options: CreationOptions, keys: OutboxKeys | None) -> EncodedRows:
    return encode(
        df,
        contract,
        options.outputs,
        options.fields,
        lenient=options.contract != "strict",
        outbox_keys=keys,
    )


@contextmanager
def _folder(stage: Stage | None, *, spooled: bool) -> Iterator[Path]:
    """A folder for one run: of the stage, or the driver's alone where its pieces have to wait."""
    if stage is not None:
        with stage.run("out") as folder:
            yield folder
    elif not spooled:
        yield Path()
    else:
        with private_stage().run("out") as folder:
            yield folder


def _pieces(
    rows: DataFrame, cutter: PieceCutter, stage: Stage | None, folder: Path, *, spooled: bool
) -> Iterable[Piece]:
    if stage is not None:
        return stage_pieces(rows, cutter, folder)
    return spool_pieces(rows, cutter, folder) if spooled else stream_pieces(rows, cutter)


def _dry_run(
    df: DataFrame,
    pieces: Iterable[Piece],
    project_id: str | int,
    encoded: EncodedRows,
    options: CreationOptions,
    begun: float,
    outbox: Outbox | None,
    *,
    staged: bool,
) -> DryRun:
    invalid: list[Piece] = []
    valid: Iterable[Piece] = _valid(pieces, invalid)
    if outbox is not None:
        valid = outbox.unknown([piece for piece in valid if isinstance(piece, StagedPiece)])
    chunks = [
        (sum(piece.header.tasks for piece in chunk), sum(piece.header.bytes + 1 for piece in chunk) + 1)
        for chunk in pack(valid, options.chunk_rows, options.chunk_bytes)
    ]
    return DryRun(
        str(project_id),
        (),
        encoded.output_rules,
        time.monotonic() - begun,
        staged,
        outbox=outbox.report() if outbox else None,
        task_count=sum(tasks for tasks, _ in chunks),
        bytes=sum(size for _, size in chunks),
        batch_count=len(chunks),
        columns=encoded.columns,
        invalid_rows=sum(piece.header.invalid_rows for piece in invalid),
        invalid=tuple(row for piece in invalid for row in invalid_rows_in(piece)),
        warnings=tiny_shapes(df, options.fields.not_sent),
    )


def _again(options: CreationOptions) -> str | None:
    """What to do after a run with an outbox that was not finished."""
    if options.outbox is None:
        return None
    return f"run the same call again, or client.resume(spark, outbox={options.outbox.table!r}): nothing is sent twice"


def _send(
    uploader: Uploader,
    pieces: Iterable[Piece],
    options: CreationOptions,
    rejected: RejectedRows,
    outbox: Outbox | None,
) -> list[Batch]:
    chunks: Iterable[Sequence[Piece]] = pack(pieces, options.chunk_rows, options.chunk_bytes)
    if outbox is not None:
        chunks = list(chunks)  # the bodies wait in files
    batches = uploader.upload(chunks)
    if options.rejected_table is not None:
        # Before anything is paid for: a row is a task or stands in the table.
        try:
            rejected.append_to(options.rejected_table)
        except BaseException:
            uploader.cancel_all()
            raise
    if outbox is not None:
        batches = outbox.claim(list(zip(batches, cast("list[list[PiecePart]]", chunks), strict=True)), uploader)
    try:
        uploader.start(batches, outbox.permit if outbox else None)
    except BatchesNotStarted as error:
        error.remedy = _again(options) or error.remedy
        raise
    return batches


def _accepted(pieces: Iterable[Piece], rejected: RejectedRows | None) -> Iterator[Piece]:
    """The pieces of tasks. Invalid rows go to `rejected`; without it they raise, after a look at all pieces."""
    invalid: list[Piece] = []
    for piece in _valid(pieces, invalid):
        if rejected is not None:
            _keep(invalid, rejected)
        if not invalid:
            yield piece
    if rejected is not None:
        _keep(invalid, rejected)
    elif invalid:
        shown = [row for piece in invalid[:FEW_INVALID] for row in invalid_rows_in(piece)]
        raise invalid_rows(sum(piece.header.invalid_rows for piece in invalid), shown)


def _keep(invalid: list[Piece], rejected: RejectedRows) -> None:
    while invalid:
        rejected.add(invalid_rows_in(invalid.pop()))


def _valid(pieces: Iterable[Piece], invalid: list[Piece]) -> Iterator[Piece]:
    """The pieces of tasks; the others go to `invalid`."""
    for piece in pieces:
        if piece.header.invalid_rows:
            invalid.append(piece)
        else:
            yield piece


def invalid_rows(count: int, shown: list[InvalidRow]) -> InvalidRowsError:
    lines = [str(row) for row in shown[:FEW_INVALID]]
    return InvalidRowsError(
        f"{count:,} rows cannot become tasks, nothing was created: " + "; ".join(lines),
        column=shown[0].column,
        rows=lines,
        remedy="mend or filter these rows, or say on_invalid='reject'; a null leaves an optional input or "
        "pre-annotation out",
    )


def refuse_too_many(tasks: int, max_tasks: int | None) -> None:
    if max_tasks is not None and tasks > max_tasks:
        raise TooManyTasks(
            f"the DataFrame has more rows than max_tasks = {max_tasks:,}: nothing was created",
            remedy="raise max_tasks if you mean to pay for them, or filter the DataFrame",
        )
