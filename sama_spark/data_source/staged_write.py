"""What a writer of `format("sama")` does: workers stage, and beside the driver what they staged is sent.

There is no session and no dbutils on either side. The key is a reference, resolved beside the driver alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4
from zlib import crc32

from msgspec import structs
from pyspark.sql.datasource import WriterCommitMessage

from sama_spark.api.api_client import ApiClient
from sama_spark.errors import StagingError
from sama_spark.keys import KeyReference
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.pieces import StagedPiece, cutter_for, pack, refuse_too_many
from sama_spark.outbound.rejected import InvalidRows
from sama_spark.outbound.upload import StartableBatches, UploadedBatch, Uploader, send_chunks

if TYPE_CHECKING:
    import pyarrow as pa

    from sama_spark.data_source.write_rows import RowEncoder


RESTART = (
    "restart the query: it asks Sama for the state of these batches, starts those that wait and sends nothing twice"
)


@dataclass(frozen=True)
class Target:
    """Where tasks go, and how. Holds no secret and no connection: it travels in Spark's plans."""

    project_id: str
    base_url: str
    key: KeyReference = field(default_factory=KeyReference)
    options: CreationOptions = field(default_factory=CreationOptions)

    def connect(self) -> ApiClient:
        return ApiClient(self.key.resolve(), base_url=self.base_url)


@dataclass(frozen=True)
class Staged(WriterCommitMessage):
    """What one task staged: a file and the pieces in it. `query_id`: Spark's name of a stream's checkpoint."""

    file: Path
    size: int
    pieces: tuple[StagedPiece, ...]
    query_id: str = ""


def stage_rows(
    batches: Iterable[pa.RecordBatch], rows: RowEncoder, options: CreationOptions, folder: Path, query_id: str = ""
) -> Staged:
    """On a worker: check and encode rows and stage them, those that cannot become tasks too.

    Raises:
        StagingError: the folder cannot be written.
    """
    cut = cutter_for(rows.head, rows.spliced, options).pieces(rows.encode(batches))
    file = folder / f"part-{uuid4().hex}"  # attempts of one task do not meet
    first = next(cut, None)  # until then rows may fail, and leave no file behind
    if first is None:
        return Staged(file, 0, (), query_id)
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
    return Staged(file, offset, tuple(pieces), query_id)


def tasks_in(staged: Sequence[Staged], options: CreationOptions) -> list[StagedPiece]:
    """Beside the driver: the staged tasks, once all rows and all files were looked at. Makes no call.

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
        "use Client.create_task_batch_from_table(on_invalid='reject'), in a stream from foreachBatch"
    )
    refuse_too_many(sum(piece.header.tasks for piece in pieces), options.max_tasks)
    return pieces


def send(
    api: ApiClient,
    target: Target,
    pieces: Sequence[StagedPiece],
    claim: Callable[[list[UploadedBatch]], bool] | None = None,
) -> Sequence[UploadedBatch]:
    """Upload all pieces, claim the batches, start them. Those that `claim` loses are cancelled, and none is left.

    Raises:
        BatchesNotStarted: uploads stand, but not all batches were started; it tells which.
        ConnectorError: a call failed for good; batches opened by then were cancelled.
    """
    options = target.options
    uploader = Uploader(
        api, target.project_id, options.notification_email, options.tasks_file_name, options.in_flight, None
    )

    def claimed(batches: list[UploadedBatch]) -> StartableBatches:
        if claim is None or claim(batches):
            return StartableBatches(batches)
        uploader.cancel_all()
        return StartableBatches(())

    with uploader.naming_batches(RESTART if claim else None):
        return send_chunks(uploader, pack(pieces, options.chunk_rows, options.chunk_bytes), claimed).batches


def clear(folder: Path) -> None:
    """Remove a run's folder, with what attempts left there that lost."""
    shutil.rmtree(folder, ignore_errors=True)
