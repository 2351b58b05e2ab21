"""What a stream has sent: a file for each micro-batch, in the stage, written before its batches are started.

`<staging>/sama-spark/streams/<query>/<micro-batch>.json` names the batches. A micro-batch that Spark runs again
finds it there: its batches are settled by asking Sama, and nothing is uploaded anew.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from sama_spark.api import batches as lifecycle
from sama_spark.api.interrupted import tell_batches
from sama_spark.api.sama_errors import BatchesNotStarted, BatchStateError, BatchUnsure
from sama_spark.errors import ConnectorError, StagingError
from sama_spark.outbound.upload import UploadedBatch

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient

KEPT = 100  # as many as Spark keeps of its own


class Sent(msgspec.Struct, frozen=True):
    """The batches of one micro-batch. `query_id`: Spark's own id of the stream, which its checkpoint holds."""

    project_id: str
    query_id: str
    batches: tuple[UploadedBatch, ...]


_decode = msgspec.json.Decoder(Sent).decode


@dataclass(frozen=True)
class StreamRecord:
    """The record of one query."""

    folder: Path

    def read(self, micro_batch: int) -> Sent | None:
        """What is recorded of it, None where nothing is.

        Raises:
            StagingError: the record cannot be read.
        """
        try:
            return _decode(self.file(micro_batch).read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise StagingError(
                f"the record {str(self.file(micro_batch))!r} is damaged: {error}",
                remedy="look for the batches of this micro-batch with get_batch_job before you remove the file: "
                "without it the micro-batch is sent",
            ) from None

    def check(self, micro_batch: int, project_id: str, query_id: str) -> None:
        """Refuse what the record of another project or another checkpoint would make send twice, or not at all.

        Raises:
            StagingError: the newest record does not belong to this stream, or is newer than the micro-batch.
        """
        newest = max(self._recorded(), default=None)
        sent = None if newest is None else self.read(newest)
        if newest is None or sent is None:
            return
        if (sent.project_id, sent.query_id) != (project_id, query_id):
            whose = f"project {sent.project_id}" if sent.project_id != project_id else "another checkpoint"
            raise StagingError(
                f"the query {self.folder.name!r} has a record that belongs to {whose}: nothing was sent",
                remedy="give each stream a name of its own in option `query`; after a new checkpoint under a new "
                "name, everything that the source still has is sent",
            )
        if micro_batch < newest and self.read(micro_batch) is None:
            raise StagingError(
                f"micro-batch {micro_batch} of query {self.folder.name!r} has no record, and micro-batch {newest} "
                "was sent already: nothing was sent",
                remedy="the checkpoint was set back further than the record reaches: look at what was sent, and go "
                "on with another checkpoint under another name in option `query`",
            )

    def claim(self, micro_batch: int, sent: Sent) -> bool:
        """Record it for good, unless somebody else has. True if the record is this one."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file, draft = self.file(micro_batch), self.folder / f".{uuid4().hex}"
        try:
            with draft.open("wb") as stream:
                stream.write(msgspec.json.encode(sent))
                stream.flush()
                os.fsync(stream.fileno())
            if not _publish(draft, file):
                return False
        finally:
            draft.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # volumes have no folders to sync
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        for old in self._recorded():
            if old <= micro_batch - KEPT:
                self.file(old).unlink(missing_ok=True)
        return True

    def file(self, micro_batch: int) -> Path:
        return self.folder / f"{micro_batch}.json"

    def _recorded(self) -> list[int]:
        return [int(file.stem) for file in self.folder.glob("*.json") if file.stem.isdigit()]


def settle(api: ApiClient, sent: Sent) -> None:
    """See that recorded batches are started: those that wait are, those that are under way are left alone.

    Raises:
        BatchesNotStarted: some have failed or were cancelled, or nobody can know.
    """
    errors: dict[int, ConnectorError | None] = {}
    ids = [batch.batch_id for batch in sent.batches]
    try:
        for batch_id in ids:
            errors[batch_id] = _settled(api, sent.project_id, batch_id)
    except BaseException as error:
        tell_batches(
            error,
            sent.project_id,
            started=[batch_id for batch_id in errors if not errors[batch_id]],
            unsure=[batch_id for batch_id in ids if batch_id not in errors or errors[batch_id]],
            waiting=(),
            next_step="restart the query: it asks Sama for the state of these batches again, and sends nothing twice",
        )
        raise
    if failed := {batch_id: error for batch_id, error in errors.items() if error}:
        started = [batch_id for batch_id, error in errors.items() if not error]
        raise BatchesNotStarted.of(sent.project_id, started, failed)


def _settled(api: ApiClient, project_id: str, batch_id: int) -> ConnectorError | None:
    try:
        state = api.get_batch_job(project_id, batch_id).state.lower()
        if state == "waiting":
            lifecycle.start(api, project_id, batch_id)
        elif state not in lifecycle.STARTED:
            kind = BatchStateError if state in lifecycle.ENDED_BADLY else BatchUnsure
            return kind(f"the batch is {state}", project_id=project_id, batch_id=batch_id, state=state)
    except ConnectorError as error:
        return error
    return None


def _publish(draft: Path, file: Path) -> bool:
    """Give the draft its name in one step. False where another holds it."""
    try:
        os.link(draft, file)
    except FileExistsError:
        return False
    except OSError:  # no links there, as on volumes: a step that cannot tell two drivers of the same instant apart
        if file.exists():
            return False
        draft.replace(file)
    return True
