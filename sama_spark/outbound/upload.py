"""On the driver: chunks to waiting batches, a few in flight; then all of them started."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sama_spark.api import batches
from sama_spark.api.errors import SamaError
from sama_spark.errors import BatchesNotStarted
from sama_spark.outbound.pieces import ChunkBuffer, Piece

if TYPE_CHECKING:
    from sama_spark.api.client import ApiClient


@dataclass(frozen=True)
class Batch:
    """A batch of this run: its id at Sama, its tasks and the bytes of its upload."""

    batch_id: int
    tasks: int
    bytes: int


@dataclass(frozen=True)
class Uploader:
    """Sends chunks of one run to one project. Holds at most `in_flight` + 1 chunks in memory."""

    api: ApiClient
    project_id: str | int
    notification_email: str | None
    tasks_file_name: str | None
    in_flight: int
    on_progress: Callable[[int], None] | None
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def upload(self, chunks: Iterable[Sequence[Piece]]) -> list[Batch]:
        """One waiting batch per chunk, its upload standing. If any fails, all of them are cancelled."""
        uploaded: list[Batch] = []
        pending: deque[Future[Batch]] = deque()

        def collect(limit: int) -> None:
            while len(pending) > limit:
                uploaded.append(pending.popleft().result())
                if self.on_progress:
                    self.on_progress(sum(b.tasks for b in uploaded))

        with ThreadPoolExecutor(self.in_flight, thread_name_prefix="sama-upload") as pool:
            try:
                for chunk in chunks:
                    collect(limit=self.in_flight - 1)
                    pending.append(pool.submit(self._upload, chunk))
                collect(limit=0)
            except BaseException:
                self._cancel(uploaded, pending)
                raise
        return uploaded

    def start(self, uploaded: Sequence[Batch], permit: Callable[[], float] | None = None) -> None:
        """Let the batches become tasks; `permit` as for `batches.start`.

        Raises:
            BatchesNotStarted: some were not started, or nobody can know; it names each batch and its outcome.
        """
        with ThreadPoolExecutor(self.in_flight, thread_name_prefix="sama-start") as pool:
            errors = list(pool.map(lambda batch: self._start(batch, permit), uploaded))
        failed = {batch.batch_id: error for batch, error in zip(uploaded, errors, strict=True) if error}
        if failed:
            started = [batch.batch_id for batch in uploaded if batch.batch_id not in failed]
            raise BatchesNotStarted.of(self.project_id, started, failed)

    def cancel(self, waiting: Sequence[Batch]) -> None:
        """Cancel batches on the way out of a failure, so far as the server can be reached."""
        for batch in waiting:
            self.api.discard_batch(self.project_id, batch.batch_id)

    def _upload(self, chunk: Sequence[Piece]) -> Batch:
        # One buffer for each thread: memory that comes and goes with every chunk costs more than the copying.
        self._local.buffer = buffer = getattr(self._local, "buffer", None) or ChunkBuffer()
        body = buffer.body(chunk)
        batch_id = batches.upload(
            self.api,
            self.project_id,
            body,
            notification_email=self.notification_email,
            tasks_file_name=self.tasks_file_name,
        )
        return Batch(batch_id, sum(piece.header.tasks for piece in chunk), len(body))

    def _start(self, batch: Batch, permit: Callable[[], float] | None) -> SamaError | None:
        try:
            batches.start(self.api, self.project_id, batch.batch_id, permit)
        except SamaError as error:
            return error
        return None

    def _cancel(self, uploaded: list[Batch], pending: deque[Future[Batch]]) -> None:
        for future in pending:
            future.cancel()
        opened = list(uploaded)
        for future in pending:
            if not future.cancelled():
                with contextlib.suppress(SamaError):  # the first error is the one to show
                    opened.append(future.result())
        self.cancel(opened)
