"""One run and its outbox, step by step: each step returns what can be done next.

Outbox(...)                           open the ledger, settle what earlier runs left
Outbox.look_up_and_pack(pieces, ...)  -> Lookup: which rows are known, and the chunks of the others
Lookup.claim(batches, ...)            -> ClaimedBatches: uploaded batches are bound to this run
ClaimedBatches.permit()               before each `continue`
ClaimedBatches.settle_other_runs()    -> OutboxReport: settle other runs' batches that hold rows of this run
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from sama_spark.errors import ChangedRows, OutboxError
from sama_spark.http.secrets import redact_urls
from sama_spark.outbound.outbox.lease import lease_for, permit
from sama_spark.outbound.outbox.ledger import Ledger
from sama_spark.outbound.outbox.ledger_rows import KEYS_IN_ROW, Claim, LedgerState
from sama_spark.outbound.outbox.report import OutboxReport, SettledBatch
from sama_spark.outbound.outbox.run_rows import KnownRows, RunRows
from sama_spark.outbound.outbox.settle import Settler
from sama_spark.outbound.outbox.task_ids import map_tasks
from sama_spark.outbound.pieces import Piece, PiecePart, StagedPiece, pack
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.outbound.upload import StartableBatches, UploadedBatch, Uploader

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.api.api_client import ApiClient
    from sama_spark.outbound.creation_options import CreationOptions
    from sama_spark.outbound.outbox.outbox_options import OutboxOptions
    from sama_spark.outbound.wait import Outcome

    TextLines = Callable[[str, Iterable[bytes]], DataFrame]

_log = logging.getLogger("sama_spark")

_Sent = list[tuple[UploadedBatch, Sequence[PiecePart]]]
_SHOWN = 5
_MOST_CLAIMS = 20


class Outbox:
    """An outbox that one run has opened.

    Opening it creates the table when absent, and settles batches that earlier runs left unsettled.

    Args:
        api: the client that asks Sama.
        spark: the session to use.
        project_id: Sama's project.
        options: the table, and how it knows rows again.
        run_id: names this run in the ledger.
        look_only: settle nothing and write nothing; the table has to be there.
    """

    def __init__(
        self,
        api: ApiClient,
        spark: SparkSession,
        project_id: str,
        options: OutboxOptions,
        run_id: str,
        *,
        look_only: bool = False,
    ) -> None:
        self.api, self.options, self.run_id = api, options, run_id
        self.ledger = Ledger.open(spark, options.table, project_id, options.keys)
        self.settler = Settler(api, self.ledger)
        self.state = LedgerState(0, (), False) if self.ledger.is_new else self.ledger.state()
        self.recovered: list[SettledBatch] = [] if look_only else self.settler.settle(self.state)
        if self.recovered:
            _log.info("outbox %s: %d batches of earlier runs were settled", options.table, len(self.recovered))
        self.state = self.settler.state_after(self.state, self.recovered)

    @property
    def keys(self) -> OutboxKeys:
        """How the outbox knows rows again."""
        return self.ledger.keys

    def look_up_and_pack(self, pieces: Iterable[Piece], options: CreationOptions, to_frame: TextLines) -> Lookup:
        """Look up the rows of staged pieces in the ledger, and pack those that are not known into chunks.

        `to_frame`: makes a DataFrame of lines of text that have a name.

        Raises:
            RepeatedKeys: two rows have one key.
            ChangedRows: rows have changed, and `on_changed` is "error".
        """
        staged = [piece for piece in pieces if isinstance(piece, StagedPiece)]
        rows = RunRows(staged, partial(to_frame, "rows"), by_content=not self.options.keys.names)
        return Lookup(self, rows, options, to_frame)

    def record_outcome(self, outcome: Outcome, batches: Iterable[UploadedBatch]) -> None:
        """Record how this run's batches have ended."""
        self.settler.record_outcomes(outcome.batches, batches, self.run_id)

    def keys_of(self, batch_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        """Return the row keys of these batches, by batch id."""
        return self.ledger.keys_of(batch_ids)

    def tasks(self, batches: Sequence[UploadedBatch], match_on: str, not_sent: Sequence[str]) -> DataFrame:
        """Return the task of each row of these batches; see `map_tasks`."""
        return map_tasks(self.api, self.ledger, batches, match_on, not_sent)


class Lookup:
    """What the outbox knows of a run's rows. `chunks`: the others, cut for upload."""

    def __init__(self, outbox: Outbox, rows: RunRows, options: CreationOptions, to_frame: TextLines) -> None:
        self.outbox, self._rows, self._to_frame = outbox, rows, to_frame
        self.state = outbox.state
        self.known = KnownRows(resend_changed=outbox.options.on_changed == "resend")
        self._look_up(after=0)
        self.chunks = list(pack(self._left(range(len(rows.pieces))), options.chunk_rows, options.chunk_bytes))

    def claim(self, batches: Sequence[UploadedBatch], uploader: Uploader) -> ClaimedBatches:
        """Bind the uploaded batches, one for each of `chunks`, to this run: from here on their rows are its own.

        Where another run bound some of the rows first, batches with such rows are cancelled, and their other rows are
        uploaded again.

        Raises:
            OutboxError: the claim was not written. The batches still wait: the caller cancels them.
        """
        sent: _Sent = list(zip(batches, self.chunks, strict=True))
        for _ in range(_MOST_CLAIMS):
            now = self.outbox.api.clock.time()
            lease_until = now + lease_for(len(sent))
            if not sent or self._bind(sent, lease_until, now):
                may_continue = partial(permit, self.outbox.api, lease_until)
                return ClaimedBatches([batch for batch, _ in sent], may_continue, lookup=self)
            sent = self._cut_again(sent, uploader)
        raise OutboxError(
            f"{_MOST_CLAIMS} claims on outbox {self.outbox.options.table!r} were lost to other runs",
            project_id=self.outbox.ledger.project_id,
            remedy="run again: nothing was created by this run",
        )

    def report(self) -> OutboxReport:
        """Return what was found so far."""
        box, known = self.outbox, self.known
        others = [b for b in self.state.batches if b.state != "unsure" and b.token not in box.settler.tokens]
        return OutboxReport(
            box.options.table,
            known.count,
            0 if known.resend_changed else known.changed_count,
            known.unsure_count,
            tuple(box.recovered),
            self.state.unsure,
            tuple(others),
        )

    def _bind(self, sent: _Sent, lease_until: float, now: float) -> bool:
        box, seq = self.outbox, self.state.seq + 1
        claims = self._to_frame(f"claim-{seq}", map(msgspec.json.encode, self._claims(sent)))
        return box.ledger.bind(claims, seq, box.settler.new_token(seq), lease_until, now)

    def _claims(self, sent: _Sent) -> Iterator[Claim]:
        for batch, chunk in sent:
            for part in chunk:
                keys, contents = self._rows.of(part)
                for some in (slice(i, i + KEYS_IN_ROW) for i in range(0, len(keys), KEYS_IN_ROW)):
                    yield Claim(batch.batch_id, self.outbox.run_id, batch.tasks, keys[some], contents[some])

    def _cut_again(self, sent: _Sent, uploader: Uploader) -> _Sent:
        """Return, after a lost claim, the batches that can be claimed as they are, and new ones for the other rows."""
        before = self.state.seq
        self.state = self.outbox.ledger.state()
        self._look_up(after=before)
        touched = [one for one in sent if any(self.known.within(part.number) & {*part.positions} for part in one[1])]
        uploader.cancel([batch for batch, _ in touched])
        _log.info("outbox %s: another run was first with rows of %d batches", self.outbox.options.table, len(touched))
        chunks = [chunk for _, parts in touched if (chunk := list(self._left(part.number for part in parts)))]
        kept = [one for one in sent if one not in touched]
        return kept + list(zip(uploader.upload(chunks), chunks, strict=True))

    def _left(self, numbers: Iterable[int]) -> Iterator[PiecePart]:
        """Yield what is not known of these pieces."""
        for number in numbers:
            part = PiecePart.without(self._rows.pieces[number], number, self.known.within(number))
            if part is not None:
                yield part

    def _look_up(self, after: int) -> None:
        """Add to `known` what claims numbered above `after` say of the run's rows."""
        unsure = {batch.batch_id for batch in self.state.unsure}
        if not self._rows.count:
            return
        for found in self.outbox.ledger.find(self._rows.frame, self._rows.count, self.state, after):
            self.known.add(found, unsure=found.batch_id in unsure)
        if self.outbox.options.on_changed == "error" and (count := self.known.changed_count):
            keys = [redact_urls(self._rows.keys(piece)[place]) for piece, place in islice(self.known.changed(), _SHOWN)]
            raise ChangedRows(
                f"{count:,} rows have changed since they were sent, nothing was created: {'; '.join(keys)}",
                rows=keys,
                remedy="say on_changed='resend' to pay for them again, 'skip' to leave them, or name columns that "
                "may change in ignore_changes",
            )


@dataclass(frozen=True)
class ClaimedBatches(StartableBatches):
    """Batches that are bound to this run; `permit` returns how long a `continue` may take, or raises LeaseOver."""

    lookup: Lookup = field(kw_only=True)

    def settle_other_runs(self) -> OutboxReport:
        """Settle other runs' batches that hold rows of this run, and return what this run found.

        Wait until their owners have continued these batches. Continue a batch here once its owner's lease is over.
        """
        lookup, box = self.lookup, self.lookup.outbox
        others = {batch.batch_id for batch in lookup.state.batches if batch.state == "bound"} & lookup.known.batch_ids
        if others:
            timeout = 2 * lease_for(len(others))
            settled, lookup.state = box.settler.settle_patiently(others, timeout, lookup.state)
            box.recovered += settled
        return lookup.report()
