"""Chunks to batches, on the driver: upload all of them, a few at a time, then claim and start the batches."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from sama_spark.api import batches
from sama_spark.api.interruption_notes import note_batches
from sama_spark.api.sama_errors import NEVER_AGAIN, BatchesNotStarted
from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import InvalidResponse
from sama_spark.outbound.pieces import ChunkBuffer, Piece

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient
    from sama_spark.outbound.creation_options import CreationOptions

_log = logging.getLogger("sama_spark")

_MOST_THREADS = 64
_State = Literal["waiting", "cancelled", "starting", "started"]
"""Of a batch: it waits at Sama, was cancelled, its `continue` is under way, or it was started."""


@dataclass(frozen=True)
class UploadedBatch:
    """A batch of this run that has its tasks, and waits for `continue`.

    Attributes:
        batch_id: Sama's id.
        tasks: how many tasks were uploaded.
        bytes: size of the upload.
    """

    batch_id: int
    tasks: int
    bytes: int


@dataclass(frozen=True)
class StartableBatches:
    """Uploaded batches that this run may start. `permit`: as for `api.batches.start`."""

    batches: Sequence[UploadedBatch]
    permit: Callable[[], float] | None = None


B = TypeVar("B", bound=StartableBatches)


def upload_claim_and_continue(
    uploader: Uploader, chunks: Iterable[Sequence[Piece]], claim: Callable[[list[UploadedBatch]], B]
) -> B:
    """Upload all chunks, claim their batches, then continue the claimed ones. Return what `claim` returned.

    Nothing is paid for before the last step. If an upload or the claim fails, all batches are cancelled, so far as
    Sama can be reached.

    Args:
        uploader: sends to one project.
        chunks: each becomes a batch.
        claim: gets the batches in the order of the chunks, and returns those that may be started. It cancels the
            others itself. Where nothing has to be claimed, pass the class `StartableBatches` itself.

    Raises:
        BatchesNotStarted: all uploads are complete, but not all batches were started; the error says which.
        ConnectorError: a call failed for good; nothing was started.
    """
    uploaded = uploader.upload(chunks)
    try:
        claimed = claim(uploaded)
    except BaseException:
        uploader.cancel_waiting()
        raise
    uploader.start(claimed.batches, claimed.permit)
    return claimed


@dataclass(frozen=True)
class Uploader:
    """Sends the chunks of one run to one project. Holds at most `options.in_flight` + 1 chunks in memory."""

    api: ApiClient
    project_id: str | int
    options: CreationOptions
    _states: dict[int, _State] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def upload(self, chunks: Iterable[Sequence[Piece]]) -> list[UploadedBatch]:
        """Upload each chunk into a batch of its own, which then waits. If one fails, all of them are cancelled.

        Raises:
            InvalidResponse: Sama gave one id to two batches of this run.
            ConnectorError: a call failed for good.
        """
        uploaded: list[UploadedBatch] = []
        pending: deque[Future[UploadedBatch]] = deque()

        def collect(limit: int) -> None:
            while len(pending) > limit:
                uploaded.append(pending[0].result())
                pending.popleft()
                if self.options.on_progress:
                    self.options.on_progress(sum(b.tasks for b in uploaded))

        try:
            with _threads(self.options.in_flight, "sama-upload") as pool:
                for chunk in chunks:
                    collect(limit=self.options.in_flight - 1)
                    pending.append(pool.submit(self._upload, chunk))
                collect(limit=0)
        except BaseException:
            self.cancel_waiting()
            raise
        return uploaded

    def start(self, uploaded: Sequence[UploadedBatch], permit: Callable[[], float] | None) -> None:
        """Continue the batches: Sama creates their tasks from here on. `permit`: as for `api.batches.start`.

        Raises:
            BatchesNotStarted: some were not started, or nobody can tell; the error names each batch and its outcome.
        """
        with _threads(self.options.in_flight, "sama-start") as pool:
            errors = [future.result() for future in [pool.submit(self._start, batch, permit) for batch in uploaded]]
        failed = {batch.batch_id: error for batch, error in zip(uploaded, errors, strict=True) if error}
        if failed:
            started = [batch.batch_id for batch in uploaded if batch.batch_id not in failed]
            raise BatchesNotStarted.of(self.project_id, started, failed)

    def cancel(self, batches: Iterable[UploadedBatch]) -> None:
        """Cancel waiting batches, so far as Sama can be reached."""
        self._discard(batch.batch_id for batch in batches)

    def cancel_waiting(self) -> None:
        """Cancel all batches of this run that wait, so far as Sama can be reached."""
        self._discard(self._in("waiting"))

    @contextmanager
    def naming_batches(self, next_step: str | None = None) -> Iterator[None]:
        """Name the batches of this run in the log and on the exception, whatever ends the block early.

        `next_step`: what to do where batches were started. A `ConnectorError` before any start keeps its own remedy,
        since nothing was paid for.
        """
        try:
            yield
        except BatchesNotStarted as error:
            error.remedy = next_step or error.remedy
            raise
        except BaseException as error:
            started, unsure = self._in("started"), self._in("starting")
            if self._states and (started or unsure or not isinstance(error, ConnectorError)):
                note_batches(
                    error,
                    self.project_id,
                    started=started,
                    unsure=unsure,
                    waiting=self._in("waiting"),
                    cancelled=self._in("cancelled"),
                    next_step=(next_step or NEVER_AGAIN) if started or unsure else "run the same call again",
                )
            raise

    def _discard(self, batch_ids: Iterable[int]) -> None:
        for batch_id in batch_ids:
            if self.api.discard_batch(self.project_id, batch_id):
                self._states[batch_id] = "cancelled"

    def _in(self, wanted: _State) -> list[int]:
        return [batch_id for batch_id, state in list(self._states.items()) if state == wanted]

    def _upload(self, chunk: Sequence[Piece]) -> UploadedBatch:
        # One buffer for each thread: memory that comes and goes with every chunk costs more than the copying.
        self._local.buffer = buffer = getattr(self._local, "buffer", None) or ChunkBuffer()
        body = buffer.body(chunk)
        batch_id = batches.upload(
            self.api,
            self.project_id,
            body,
            notification_email=self.options.notification_email,
            tasks_file_name=self.options.tasks_file_name,
        )
        with self._lock:
            known, self._states[batch_id] = batch_id in self._states, "waiting"
        if known:
            raise InvalidResponse(
                f"Sama opened batch {batch_id} twice, so one upload replaced another: nothing was started",
                call="open batch",
                project_id=self.project_id,
                batch_id=batch_id,
            )
        return UploadedBatch(batch_id, sum(piece.header.tasks for piece in chunk), len(body))

    def _start(self, batch: UploadedBatch, permit: Callable[[], float] | None) -> ConnectorError | None:
        self._states[batch.batch_id] = "starting"
        try:
            batches.start(self.api, self.project_id, batch.batch_id, permit)
        except ConnectorError as error:
            if not error.maybe_done:
                self._states[batch.batch_id] = "waiting"
            return error
        self._states[batch.batch_id] = "started"
        return None


@contextmanager
def _threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Give threads that have ended their work when the block ends.

    An interrupt drops calls that have not begun, and waits for those under way. Another interrupt ends the waiting.
    """
    count = min(count, _MOST_THREADS)
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    ready = threading.Barrier(count + 1)
    try:
        # Start all threads first: `shutdown` would not wait for one interrupted while starting.
        for _ in range(count):
            pool.submit(ready.wait)
        ready.wait()
        yield pool
        pool.shutdown()
    except BaseException as error:
        ready.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        if not isinstance(error, Exception):
            _log.warning("interrupted: calls that are under way end first; another interrupt leaves them to themselves")
        pool.shutdown()
        raise
