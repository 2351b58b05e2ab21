"""The two halves of `df.write.format("sama")`: workers stage tasks, the driver's machine sends them.

Neither half has a session or dbutils. The key is a reference; only the half on the driver's machine resolves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4
from zlib import crc32

from msgspec import structs
from pyspark.sql.datasource import WriterCommitMessage

from sama_spark.api.api_client import ApiClient
from sama_spark.data_source.arrow_values import column_batches
from sama_spark.errors import StagingError
from sama_spark.keys import KeyReference
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.pieces import StagedPiece, cutter_for, pack, refuse_too_many
from sama_spark.outbound.rejected import InvalidRows
from sama_spark.outbound.upload import StartableBatches, Uploader, upload_claim_and_continue

if TYPE_CHECKING:
    import pyarrow as pa

    from sama_spark.outbound.encode_values import RowEncoder
    from sama_spark.staging import Stage


@dataclass(frozen=True)
class Target:
    """Where tasks go, and how. A target travels in Spark's plans, so it holds no secret and no connection.

    `stage`: the folder that driver and workers share.
    """

    project_id: str
    base_url: str
    key: KeyReference
    options: CreationOptions
    stage: Stage

    def connect(self) -> ApiClient:
        """Resolve the key and return a client, which the caller closes."""
        return ApiClient(self.key.resolve(), base_url=self.base_url)


@dataclass(frozen=True)
class Staged(WriterCommitMessage):
    """What one Spark task staged: a file, its size in bytes, and the pieces in it."""

    file: Path
    size: int
    pieces: tuple[StagedPiece, ...]


def stage_rows(batches: Iterable[pa.RecordBatch], rows: RowEncoder, options: CreationOptions, folder: Path) -> Staged:
    """Check and encode rows, and stage them as pieces, on a worker. Rows that cannot become tasks are staged too.

    Raises:
        StagingError: the folder cannot be written.
    """
    cut = cutter_for(rows, options).pieces(rows.encode(column_batches(batches)))
    file = folder / f"part-{uuid4().hex}"  # attempts of one task must not share a file
    first = next(cut, None)  # before the file is opened: rows that raise here leave no file behind
    if first is None:
        return Staged(file, 0, ())
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stream = file.open("wb")
    except OSError as error:
        raise StagingError(
            f"a worker cannot write to the stage {str(folder.parent)!r}: {error.strerror}",
            remedy="name a folder in option `staging` that workers may write, or use "
            "Client.create_task_batch_from_table, which needs none",
        ) from error
    pieces: list[StagedPiece] = []
    offset = 0
    with stream:
        for header, body in chain([first], cut):
            stream.write(body)
            pieces.append(StagedPiece(structs.replace(header, checksum=crc32(body)), file, offset, offset))
            offset += len(body)
    return Staged(file, offset, tuple(pieces))


def checked_pieces(staged: Sequence[Staged], options: CreationOptions) -> list[StagedPiece]:
    """Check all files and rows, then return the pieces. Runs on the driver's machine, calls nothing.

    Raises:
        StagingError: driver and workers do not share the stage.
        InvalidRowsError, TooManyTasks: as in `Client.create_task_batch_from_table`.
    """
    for part in staged:
        if not part.pieces:
            continue
        seen = part.file.stat().st_size if part.file.is_file() else None
        if seen != part.size:
            raise StagingError(
                f"workers staged {part.size:,} bytes in {str(part.file)!r}, and the driver sees "
                f"{'no such file' if seen is None else f'{seen:,} bytes'}: nothing was sent",
                remedy="name a folder that driver and workers share in option `staging`, such as "
                "/Volumes/catalog/schema/volume, or use Client.create_task_batch_from_table, which needs none",
            )
    pieces = [piece for part in staged for piece in part.pieces]
    InvalidRows([piece for piece in pieces if piece.header.invalid_rows]).check(
        "use Client.create_task_batch_from_table(on_invalid='reject')"
    )
    refuse_too_many(sum(piece.header.tasks for piece in pieces), options.max_tasks)
    return pieces


def send(api: ApiClient, target: Target, pieces: Sequence[StagedPiece]) -> None:
    """Upload all pieces, then start their batches.

    Raises:
        BatchesNotStarted: all uploads are complete, but not all batches were started; the error names them.
        ConnectorError: a call failed for good; batches opened by then were cancelled.
    """
    options = target.options
    uploader = Uploader(api, target.project_id, options)
    with uploader.naming_batches():
        upload_claim_and_continue(uploader, pack(pieces, options.chunk_rows, options.chunk_bytes), StartableBatches)
