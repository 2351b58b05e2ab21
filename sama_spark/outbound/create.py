"""A DataFrame becomes tasks: contract, encoding, pieces, chunks, waiting batches, start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from sama_spark.api.errors import InvalidInput, InvalidRowsError, NotFoundError
from sama_spark.errors import TooManyTasks
from sama_spark.outbound.chunk import PIECE_BYTES, PIECE_TASKS, InvalidRow, PieceCutter, PieceHeader
from sama_spark.outbound.contract import Contract, ContractMode, OutputFormat
from sama_spark.outbound.encode import EncodedRows, TaskFields, encode
from sama_spark.outbound.pieces import Piece, pack, stage_pieces, stream_pieces
from sama_spark.outbound.result import CreationResult, DryRun
from sama_spark.outbound.upload import Uploader

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.api.client import ApiClient
    from sama_spark.staging import Stage

CHUNK_ROWS = 5_000
CHUNK_BYTES = 8 << 20
IN_FLIGHT = 4


@dataclass(frozen=True)
class CreationOptions:
    """How one run cuts and sends. `max_tasks` refuses a larger DataFrame before a batch is opened."""

    fields: TaskFields = field(default_factory=TaskFields)
    contract: ContractMode = "strict"
    notification_email: str | None = None
    tasks_file_name: str | None = "databricks_connector"
    chunk_rows: int = CHUNK_ROWS
    chunk_bytes: int = CHUNK_BYTES
    in_flight: int = IN_FLIGHT
    max_tasks: int | None = None
    outputs: Mapping[str, OutputFormat] = field(default_factory=dict)
    on_progress: Callable[[int], None] | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.contract not in get_args(ContractMode):
            raise InvalidInput(
                f"contract={self.contract!r} is not understood", remedy=f"give one of {get_args(ContractMode)}"
            )
        for name in ("chunk_rows", "chunk_bytes", "in_flight"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}", remedy="give a number of 1 or more")
        if wrong := {name: how for name, how in self.outputs.items() if how not in ("json", "text")}:
            raise InvalidInput(f"outputs={wrong!r} is not understood", remedy='give "json" or "text" for each')


def create_tasks(
    api: ApiClient, df: DataFrame, project_id: str | int, options: CreationOptions, stage: Stage | None
) -> CreationResult:
    """Create a task for each row of `df`; the public face is `Client.create_task_batch_from_table`."""
    begun = time.monotonic()
    if df.isEmpty() and not options.dry_run:
        return CreationResult(str(project_id), (), {}, time.monotonic() - begun, stage is not None, api)
    contract = Contract() if options.contract == "off" else read_contract(api, project_id)
    encoded = encode(df, contract, options.outputs, options.fields, lenient=options.contract != "strict")
    if options.max_tasks is not None and stage is None and not options.dry_run:
        _refuse_too_many(df.limit(options.max_tasks + 1).count(), options.max_tasks)
    with _pieces(encoded.rows, _cutter(encoded, options), stage) as pieces:
        if options.dry_run:
            return _dry_run(pieces, project_id, encoded, options, begun, staged=stage is not None)
        uploader = Uploader(
            api,
            project_id,
            options.notification_email,
            options.tasks_file_name,
            options.in_flight,
            options.on_progress,
        )
        accepted = _checked(pieces) if stage is None else _checked_before(pieces, options.max_tasks)
        batches = uploader.upload(pack(accepted, options.chunk_rows, options.chunk_bytes))
        uploader.start(batches)
    return CreationResult(
        str(project_id), tuple(batches), encoded.output_rules, time.monotonic() - begun, stage is not None, api
    )


def read_contract(api: ApiClient, project_id: str | int) -> Contract:
    """The project's contract; an empty one where its creation schema cannot be reached (404)."""
    try:
        create = api.get_creation_task_schema(project_id)
    except NotFoundError:
        return Contract()
    contract = Contract.from_schemas(create)
    if contract.outputs:
        return contract
    try:
        return Contract.from_schemas(create, api.get_delivery_task_schema(project_id))
    except NotFoundError:
        return contract


def _cutter(encoded: EncodedRows, options: CreationOptions) -> PieceCutter:
    return PieceCutter(
        head=encoded.head,
        spliced=encoded.spliced,
        max_tasks=min(PIECE_TASKS, options.chunk_rows),
        max_bytes=min(PIECE_BYTES, options.chunk_bytes),
    )


@contextmanager
def _pieces(rows: DataFrame, cutter: PieceCutter, stage: Stage | None) -> Iterator[Iterable[Piece]]:
    if stage is None:
        yield stream_pieces(rows, cutter)
    else:
        with stage.run("out") as folder:
            yield stage_pieces(rows, cutter, folder)


def _dry_run(
    pieces: Iterable[Piece],
    project_id: str | int,
    encoded: EncodedRows,
    options: CreationOptions,
    begun: float,
    *,
    staged: bool,
) -> DryRun:
    invalid: list[PieceHeader] = []
    chunks = [
        (sum(piece.header.tasks for piece in chunk), sum(piece.header.bytes + 1 for piece in chunk) + 1)
        for chunk in pack(_valid(pieces, invalid), options.chunk_rows, options.chunk_bytes)
    ]
    return DryRun(
        str(project_id),
        (),
        encoded.output_rules,
        time.monotonic() - begun,
        staged,
        tasks=sum(tasks for tasks, _ in chunks),
        bytes=sum(size for _, size in chunks),
        batch_count=len(chunks),
        columns=encoded.columns,
        invalid_rows=sum(header.invalid_rows for header in invalid),
        invalid=tuple(row for header in invalid for row in header.invalid),
    )


def _checked_before(pieces: Iterable[Piece], max_tasks: int | None) -> list[Piece]:
    """All pieces, once it is clear that none of them will be refused: no batch has to be opened for that."""
    invalid: list[PieceHeader] = []
    accepted = list(_valid(pieces, invalid))
    _refuse_invalid(invalid)
    if max_tasks is not None:
        _refuse_too_many(sum(piece.header.tasks for piece in accepted), max_tasks)
    return accepted


def _checked(pieces: Iterable[Piece]) -> Iterator[Piece]:
    invalid: list[PieceHeader] = []
    for piece in _valid(pieces, invalid):
        if not invalid:
            yield piece
    _refuse_invalid(invalid)


def _valid(pieces: Iterable[Piece], invalid: list[PieceHeader]) -> Iterator[Piece]:
    """The pieces of tasks; the headers of the others go to `invalid`."""
    for piece in pieces:
        if piece.header.invalid_rows:
            invalid.append(piece.header)
        else:
            yield piece


def _refuse_invalid(headers: Sequence[PieceHeader]) -> None:
    if headers:
        raise invalid_rows(sum(h.invalid_rows for h in headers), [row for h in headers for row in h.invalid])


def invalid_rows(count: int, shown: list[InvalidRow]) -> InvalidRowsError:
    lines = [f"column {r.column!r} {r.reason}: {r.value} (row {r.row})" for r in shown[:5]]
    return InvalidRowsError(
        f"{count:,} rows cannot become tasks, nothing was created: " + "; ".join(lines),
        column=shown[0].column,
        rows=lines,
        remedy="mend or filter these rows; a null leaves an optional input or pre-annotation out",
    )


def _refuse_too_many(tasks: int, max_tasks: int) -> None:
    if tasks > max_tasks:
        raise TooManyTasks(
            f"the DataFrame has more rows than max_tasks = {max_tasks:,}: nothing was created",
            remedy="raise max_tasks if you mean to pay for them, or filter the DataFrame",
        )
