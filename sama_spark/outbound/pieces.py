"""Pieces of encoded tasks on their way from Spark to the driver: through the stage, or streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from zlib import crc32

import msgspec

from sama_spark.errors import StagingError
from sama_spark.outbound.chunk import BODY, HEADER, ROWS_AT_A_TIME, InvalidRow, PieceCutter, PieceHeader
from sama_spark.staging import driver_path, spark_uri

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HEADER_END, PIECE_END = "\x1f", "\x1e"  # JSON text cannot hold them
_PIECE_COLUMNS = f"{HEADER} string, {BODY} binary"
_ARROW_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"

_decode_invalid = msgspec.json.Decoder(list[InvalidRow]).decode
_decode_header = msgspec.json.Decoder(PieceHeader).decode


@dataclass(frozen=True)
class StagedPiece:
    """A piece that waits in a file."""

    header: PieceHeader
    file: Path
    offset: int

    def read_into(self, target: memoryview) -> None:
        with self.file.open("rb", buffering=0) as stream:
            stream.seek(self.offset)
            read = 0
            while count := stream.readinto(target[read:]):
                read += count
        if crc32(target) != self.header.checksum:
            raise StagingError(f"{self.file} changed while it was being read", remedy="run again")


@dataclass(frozen=True)
class StreamedPiece:
    """A piece in the driver's memory."""

    header: PieceHeader
    body: bytes

    def read_into(self, target: memoryview) -> None:
        target[:] = self.body


Piece = StagedPiece | StreamedPiece


def stage_pieces(rows: DataFrame, cutter: PieceCutter, folder: Path) -> list[StagedPiece]:
    """Cut on the workers, write with Spark's own writer, then list what it committed. Reads no body."""
    from pyspark.sql import functions as F

    target = spark_uri(folder / "pieces")
    pieces = rows.mapInArrow(cutter.cut, _PIECE_COLUMNS)
    pieces.select(F.concat(HEADER, F.lit(HEADER_END), F.col(BODY).cast("string"))).write.text(target, lineSep=PIECE_END)
    # Spark's own listing: a folder also shows what failed attempts left behind.
    files = rows.sparkSession.read.text(target).inputFiles()
    return [piece for file in sorted(map(driver_path, files)) for piece in _listed(file)]


def stream_pieces(rows: DataFrame, cutter: PieceCutter) -> Iterator[StreamedPiece]:
    """The pieces through the driver, a few at a time."""
    if type(rows).__module__.startswith("pyspark.sql.connect"):
        # Connect sends pieces of a whole partition at once, rows by the batch.
        for header, body in cutter.pieces(_column_batches(rows)):
            yield StreamedPiece(header, body)
    else:
        for text, body in rows.mapInArrow(cutter.cut, _PIECE_COLUMNS).toLocalIterator(prefetchPartitions=True):
            yield StreamedPiece(_decode_header(text), bytes(body))


def _column_batches(rows: DataFrame) -> Iterator[list[tuple[bytes | None, ...]]]:
    encoded = rows.toLocalIterator(prefetchPartitions=True)
    with _small_batches(rows.sparkSession):
        batch = list(islice(encoded, ROWS_AT_A_TIME))
    while batch:
        yield list(zip(*batch, strict=True))
        batch = list(islice(encoded, ROWS_AT_A_TIME))


@contextmanager
def _small_batches(spark: SparkSession) -> Iterator[None]:
    """While a query starts: Connect's client holds several copies of a batch, which has 10,000 rows by default."""
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


def pack(pieces: Iterable[Piece], max_tasks: int, max_bytes: int) -> Iterator[Sequence[Piece]]:
    """Consecutive pieces as chunks of at most `max_tasks` tasks and `max_bytes` (a single piece may be larger)."""
    chunk: list[Piece] = []
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
    """What a piece of invalid rows describes."""
    return _decode_invalid(ChunkBuffer().body([piece]) if piece.header.bytes else b"[]")


class ChunkBuffer:
    """Memory for one chunk after another. Not of the heap, which keeps a share for every thread that used it."""

    def __init__(self) -> None:
        self._memory = mmap(-1, 1)

    def body(self, chunk: Sequence[Piece]) -> memoryview:
        """The JSON array of a chunk's tasks, good until the next call."""
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
            piece = StagedPiece(_decode_header(header), file, body)
            yield piece
            offset = body + piece.header.bytes + len(PIECE_END)


def _header_at(stream: BinaryIO, offset: int) -> bytes:
    stream.seek(offset)
    header = b""
    while HEADER_END.encode() not in header:
        block = stream.read(1 << 16 if header else 256)
        if not block and not header:
            return b""
        if not block or len(header) > 1 << 22:
            raise StagingError(f"{stream.name} does not end where its last piece ends", remedy="run again")
        header += block
    return header.partition(HEADER_END.encode())[0]
