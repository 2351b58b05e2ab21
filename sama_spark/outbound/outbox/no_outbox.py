"""Stand-ins for the classes of `outbox`, for a run that has none. They have the same methods and keep nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sama_spark.errors import InvalidInput
from sama_spark.outbound.pieces import Piece, pack
from sama_spark.outbound.upload import StartableBatches, UploadedBatch, Uploader

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.outbound.creation_options import CreationOptions
    from sama_spark.outbound.wait import Outcome


class NoOutbox:
    """Stands in for `Outbox` where a run has none; keeps nothing."""

    keys = None

    def look_up_and_pack(self, pieces: Iterable[Piece], options: CreationOptions, _to_frame: object) -> NoLookup:
        """Cut all pieces into chunks, as they come."""
        return NoLookup(pack(pieces, options.chunk_rows, options.chunk_bytes))

    def record_outcome(self, _outcome: Outcome, _batches: Iterable[UploadedBatch]) -> None:
        """Record nothing."""

    def keys_of(self, _batch_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        """Return no keys: none were kept."""
        return {}

    def tasks(self, _batches: Sequence[UploadedBatch], _match_on: str, _not_sent: Sequence[str]) -> DataFrame:
        """Refuse.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput(
            "without an outbox the keys of the rows were not kept",
            remedy="create the tasks with outbox= and row_key=",
        )


@dataclass(frozen=True)
class NoLookup:
    """Stands in for `Lookup` where a run has no outbox. `chunks` can be read once where the pieces stream."""

    chunks: Iterable[Sequence[Piece]]

    def claim(self, batches: Sequence[UploadedBatch], _uploader: Uploader) -> UnclaimedBatches:
        """Return the batches as they are."""
        return UnclaimedBatches(batches)

    def report(self) -> None:
        """Return None: there is nothing to report."""


class UnclaimedBatches(StartableBatches):
    """Stands in for `ClaimedBatches` where a run has no outbox."""

    def settle_other_runs(self) -> None:
        """Return None: there is nothing to settle or report."""
