"""On the driver: chunks to waiting batches, a few in flight; then all of them started."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sama_spark.api import batches
from sama_spark.api.interrupted import tell_batches
from sama_spark.api.sama_errors import BatchesNotStarted
from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import InvalidResponse
from sama_spark.outbound.pieces import ChunkBuffer, Piece

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient

_log = logging.getLogger("sama_spark")

_MOST_THREADS = 64
NEVER_AGAIN = (
    "do not send these rows again, that would pay for the started ones twice. Look at each unsure batch with "
    "client.get_batch_job(project_id, batch_id), and start those that wait with client.continue_batch(project_id, "
    "batch_id)"
)
State = Literal["waiting", "cancelled", "starting", "started"]
"""Of a batch: waiting at Sama, cancelled, its `continue` under way, or started."""


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
    _states: dict[int, State] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def upload(self, chunks: Iterable[Sequence[Piece]]) -> list[Batch]:
        """One waiting batch per chunk, its upload standing. If any fails, all of them are cancelled.

        Raises:
            InvalidResponse: Sama gave the id of a batch that this run has already.
            ConnectorError: a call failed for good.
        """
        uploaded: list[Batch] = []
        pending: deque[Future[Batch]] = deque()

        def collect(limit: int) -> None:
            while len(pending) > limit:
                uploaded.append(pending[0].result())
                pending.popleft()
                if self.on_progress:
                    self.on_progress(sum(b.tasks for b in uploaded))

        try:
            with _threads(self.in_flight, "sama-upload") as pool:
                for chunk in chunks:
                    collect(limit=self.in_flight - 1)
                    pending.append(pool.submit(self._upload, chunk))
                collect(limit=0)
        except BaseException:
            self.cancel_all()
            raise
        return uploaded

    def start(self, uploaded: Sequence[Batch], permit: Callable[[], float] | None = None) -> None:
        """Let the batches become tasks; `permit` as for `batches.start`.

        Raises:
            BatchesNotStarted: some were not started, or nobody can know; it names each batch and its outcome.
        """
        with _threads(self.in_flight, "sama-start") as pool:
            errors = [future.result() for future in [pool.submit(self._start, batch, permit) for batch in uploaded]]
        failed = {batch.batch_id: error for batch, error in zip(uploaded, errors, strict=True) if error}
        if failed:
            started = [batch.batch_id for batch in uploaded if batch.batch_id not in failed]
            raise BatchesNotStarted.of(self.project_id, started, failed)

    def cancel(self, batches: Iterable[Batch]) -> None:
        """Cancel waiting batches, so far as the server can be reached."""
        self._discard(batch.batch_id for batch in batches)

    def cancel_all(self) -> None:
        """Cancel all batches of this run that wait, on the way out of a failure."""
        self._discard(self._in("waiting"))

    @contextmanager
    def told(self, next_step: str | None = None) -> Iterator[None]:
        """Make the log and the exception tell which batches were started, whatever ends the run early.

        `next_step`: what to do where some were. A `ConnectorError` before any start has its own words.
        """
        try:
            yield
        except BatchesNotStarted:
            raise
        except BaseException as error:
            started, unsure = self._in("started"), self._in("starting")
            if self._states and (started or unsure or not isinstance(error, ConnectorError)):
                tell_batches(
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

    def _in(self, wanted: State) -> list[int]:
        return [batch_id for batch_id, state in list(self._states.items()) if state == wanted]

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
        with self._lock:
            known, self._states[batch_id] = batch_id in self._states, "waiting"
        if known:
            raise InvalidResponse(
                f"Sama opened batch {batch_id} twice, so one upload replaced another: nothing was started",
                call="open batch",
                project_id=self.project_id,
                batch_id=batch_id,
            )
        return Batch(batch_id, sum(piece.header.tasks for piece in chunk), len(body))

    def _start(self, batch: Batch, permit: Callable[[], float] | None) -> ConnectorError | None:
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
    """Threads whose work is over at the end. After an interrupt what has not begun is dropped, and what has is waited
    for; another interrupt leaves it to itself."""
    count = min(count, _MOST_THREADS)
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    ready = threading.Barrier(count + 1)
    try:
        # All threads at once: one that an interrupt meets while it is being made is not waited for.
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
