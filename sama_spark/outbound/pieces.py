"""Pieces of encoded tasks on their way from Spark to the driver: through files, or streamed; then packed into chunks.

A piece is up to 1,000 tasks or `PIECE_BYTES` of one partition, a chunk the body of one batch. The size of a chunk is
an option (`chunk_rows` and `chunk_bytes` in `creation_options`).
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from zlib import crc32

import msgspec
from msgspec import structs

from sama_spark.errors import StagingError, TooManyTasks
from sama_spark.outbound.cut import (
    BODY,
    FEW_INVALID,
    HEADER,
    PIECE_BYTES,
    PIECE_TASKS,
    ROWS_AT_A_TIME,
    InvalidRow,
    KeyedHeader,
    PieceCutter,
    PieceHeader,
)
from sama_spark.outbound.encoded_batch import EncodedBatch
from sama_spark.staging import driver_path, spark_uri

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.outbound.creation_options import CreationOptions
    from sama_spark.outbound.encoded_batch import Encoding

HEADER_END, PIECE_END = "\x1f", "\x1e"  # JSON text cannot hold them
_PIECE_COLUMNS = f"{HEADER} string, {BODY} binary"
_MOST_HEADER_BYTES = 1 << 26
_ARROW_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"

_decode_invalid = msgspec.json.Decoder(list[InvalidRow]).decode
_decode_header = msgspec.json.Decoder(PieceHeader).decode
decode_keyed = msgspec.json.Decoder(KeyedHeader).decode
_encode = msgspec.json.Encoder().encode


def cutter_for(encoding: Encoding, options: CreationOptions) -> PieceCutter:
    """Return the `PieceCutter` of a run."""
    return PieceCutter(
        task_start=encoding.task_start,
        spliced=encoding.spliced,
        max_tasks=min(PIECE_TASKS, options.chunk_rows),
        max_bytes=min(PIECE_BYTES, options.chunk_bytes),
        most_invalid=sys.maxsize if options.on_invalid == "reject" and not options.dry_run else FEW_INVALID,
        keyed=options.outbox is not None,
    )


def refuse_too_many(tasks: int, max_tasks: int | None) -> None:
    """Refuse more tasks than the user allows.

    Raises:
        TooManyTasks: `tasks` is more than `max_tasks`.
    """
    if max_tasks is not None and tasks > max_tasks:
        raise TooManyTasks(
            f"more than max_tasks = {max_tasks:,} rows would be sent: nothing was created",
            remedy="raise max_tasks if you mean to pay for them, or filter the DataFrame",
        )


@dataclass(frozen=True)
class StagedPiece:
    """A piece that waits in `file`. Its header's text begins at byte `offset`, its body at byte `body`."""

    header: PieceHeader
    file: Path
    offset: int
    body: int

    def read_into(self, target: memoryview) -> None:
        """Copy the body into `target`.

        Raises:
            StagingError: the body is not what was written.
        """
        with self.file.open("rb", buffering=0) as stream:
            stream.seek(self.body)
            read = 0
            while count := stream.readinto(target[read:]):
                read += count
        if crc32(target) != self.header.checksum:
            raise StagingError(f"{self.file} changed while it was being read", remedy="run again")

    def header_text(self) -> bytes:
        """Return the whole header, with the rows that `header` leaves out."""
        with self.file.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.body - self.offset - len(HEADER_END))

    def rows(self) -> KeyedHeader:
        """Return which rows the piece holds. They stay in the file, because a run may have millions."""
        return decode_keyed(self.header_text())


@dataclass(frozen=True)
class PiecePart:
    """The tasks at some `positions` of a piece. `number`: the place of the piece `whole` among those of its run."""

    whole: StagedPiece
    number: int
    positions: Sequence[int]
    header: PieceHeader

    @classmethod
    def without(cls, whole: StagedPiece, number: int, left_out: Collection[int]) -> PiecePart | None:
        """Return the piece without the rows at the positions `left_out`; None where no row is left."""
        if not left_out:
            return cls(whole, number, range(whole.header.tasks), whole.header)
        positions = [i for i in range(whole.header.tasks) if i not in left_out]
        sizes = whole.rows().sizes
        size = sum(sizes[i] + 1 for i in positions) - 1
        return cls(whole, number, positions, PieceHeader(tasks=len(positions), bytes=size)) if positions else None

    def read_into(self, target: memoryview) -> None:
        """Copy the tasks into `target`, joined by commas."""
        if self.header is self.whole.header:
            self.whole.read_into(target)
            return
        body = memoryview(bytearray(self.whole.header.bytes))
        self.whole.read_into(body)
        sizes = self.whole.rows().sizes
        starts = list(accumulate((size + 1 for size in sizes), initial=0))
        end = 0
        for i in self.positions:
            if end:
                target[end] = ord(",")
                end += 1
            target[end : end + sizes[i]] = body[starts[i] : starts[i] + sizes[i]]
            end += sizes[i]


@dataclass(frozen=True)
class StreamedPiece:
    """A piece in the driver's memory."""

    header: PieceHeader
    body: bytes

    def read_into(self, target: memoryview) -> None:
        """Copy the body into `target`."""
        target[:] = self.body


Piece = StagedPiece | PiecePart | StreamedPiece
P = TypeVar("P", bound=Piece)


def stage_pieces(rows: DataFrame, cutter: PieceCutter, folder: Path) -> list[StagedPiece]:
    """Cut rows on the workers, write the pieces with Spark's own writer, then list what it committed. Read no body."""
    from pyspark.sql import functions as F

    target = spark_uri(folder / "pieces")
    pieces = rows.mapInArrow(cutter.cut, _PIECE_COLUMNS)
    pieces.select(F.concat(HEADER, F.lit(HEADER_END), F.col(BODY).cast("string"))).write.text(target, lineSep=PIECE_END)
    # Spark's own listing: a folder also shows what failed attempts left behind.
    files = rows.sparkSession.read.text(target).inputFiles()
    return [piece for file in sorted(map(driver_path, files)) for piece in _listed(file)]


def write_pieces(pieces: Iterable[StreamedPiece], file: Path) -> None:
    """Write pieces as Spark's writer does for `stage_pieces`."""
    with file.open("xb") as stream:
        for piece in pieces:
            header = _encode(structs.replace(piece.header, checksum=crc32(piece.body)))
            stream.writelines((header, HEADER_END.encode(), piece.body, PIECE_END.encode()))


def spool(pieces: Iterable[StreamedPiece], folder: Path) -> list[StagedPiece]:
    """Write pieces to a file in a folder of the driver, so that they need not stay in memory."""
    file = folder / "pieces.txt"
    write_pieces(pieces, file)
    return list(_listed(file))


def stream_pieces(rows: DataFrame, cutter: PieceCutter) -> Iterator[StreamedPiece]:
    """Yield the pieces as they reach the driver; only a few are in its memory."""
    if type(rows).__module__.startswith("pyspark.sql.connect"):
        # Connect sends pieces of a whole partition at once, rows by the batch.
        for header, body in cutter.pieces(_column_batches(rows)):
            yield StreamedPiece(header, body)
    else:
        for text, body in rows.mapInArrow(cutter.cut, _PIECE_COLUMNS).toLocalIterator(prefetchPartitions=True):
            yield StreamedPiece(decode_keyed(text), bytes(body))


def _column_batches(rows: DataFrame) -> Iterator[EncodedBatch]:
    encoded = rows.toLocalIterator(prefetchPartitions=True)
    with _small_batches(rows.sparkSession):
        batch = list(islice(encoded, ROWS_AT_A_TIME))
    while batch:
        yield EncodedBatch.of(list(zip(*batch, strict=True)))
        batch = list(islice(encoded, ROWS_AT_A_TIME))


@contextmanager
def _small_batches(spark: SparkSession) -> Iterator[None]:
    """Make Arrow batches small while a query starts.

    Connect's client holds several copies of a batch, which has 10,000 rows by default.
    """
    try:
        usual = str(spark.conf.get(_ARROW_ROWS))
        spark.conf.set(_ARROW_ROWS, str(ROWS_AT_A_TIME))
    except Exception:  # serverless compute does not let everything be set, and says so in several ways
        yield
        return
    try:
        yield
    finally:
        spark.conf.set(_ARROW_ROWS, usual)


def pack(pieces: Iterable[P], max_tasks: int, max_bytes: int) -> Iterator[list[P]]:
    """Yield chunks of consecutive pieces: at most `max_tasks` tasks and `max_bytes` each (one piece may be larger)."""
    chunk: list[P] = []
    tasks = size = 0
    for piece in pieces:
        held = piece.header
        if chunk and (tasks + held.tasks > max_tasks or size + held.bytes + 2 > max_bytes):
            yield chunk
            chunk, tasks, size = [], 0, 0
        chunk.append(piece)
        tasks += held.tasks
        size += held.bytes + 1
    if chunk:
        yield chunk


def invalid_rows_in(piece: Piece) -> list[InvalidRow]:
    """Return the rows that a piece of invalid rows describes."""
    return _decode_invalid(ChunkBuffer().body([piece]) if piece.header.bytes else b"[]")


class ChunkBuffer:
    """Memory for one chunk after another; not from the heap, which keeps a share for each thread that used it."""

    def __init__(self) -> None:
        self._memory = mmap(-1, 1)

    def body(self, chunk: Sequence[Piece]) -> memoryview:
        """Return the JSON array of a chunk's tasks. The next call overwrites it."""
        size = sum(piece.header.bytes + 1 for piece in chunk) + 1
        if len(self._memory) < size:
            self._memory = mmap(-1, size + size // 4)
        body = memoryview(self._memory)[:size]
        end = 1
        for piece in chunk:
            start, end = end, end + piece.header.bytes + 1
            piece.read_into(body[start : end - 1])
            body[end - 1] = ord(",")
        body[0], body[-1] = ord("["), ord("]")
        return body


def _listed(file: Path) -> Iterator[StagedPiece]:
    with file.open("rb") as stream:
        offset = 0
        while header := _header_at(stream, offset):
            body = offset + len(header) + len(HEADER_END)
            piece = StagedPiece(_decode_header(header), file, offset, body)
            yield piece
            offset = body + piece.header.bytes + len(PIECE_END)


def _header_at(stream: BinaryIO, offset: int) -> bytes:
    stream.seek(offset)
    header = b""
    while HEADER_END.encode() not in header:
        block = stream.read(1 << 16 if header else 256)
        if not block and not header:
            return b""
        if not block or len(header) > _MOST_HEADER_BYTES:
            raise StagingError(f"{stream.name} does not end where its last piece ends", remedy="run again")
        header += block
    return header.partition(HEADER_END.encode())[0]
