"""Settles the batches of an outbox: asks Sama, continues what a dead run left waiting, records the answer."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from sama_spark.api import batches
from sama_spark.api.interruption_notes import note_batches
from sama_spark.api.sama_errors import BatchStateError
from sama_spark.arguments import check_mapping, check_seconds, check_text, shown
from sama_spark.driver_rows import text_lines
from sama_spark.errors import ConnectorError, InvalidInput
from sama_spark.ids import number_of
from sama_spark.outbound.outbox.ask_sama import ask_sama, event_of
from sama_spark.outbound.outbox.lease import GRACE, lease_for, permit
from sama_spark.outbound.outbox.ledger import Ledger
from sama_spark.outbound.outbox.ledger_rows import FREED, OPEN, BatchEvent, Claim, LedgerState, UnsettledBatch
from sama_spark.outbound.outbox.report import OutboxReport, SettledBatch
from sama_spark.outbound.row_keys import key_in

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.api.api_client import ApiClient
    from sama_spark.outbound.upload import UploadedBatch
    from sama_spark.outbound.wait import BatchOutcome, FailedItem

_log = logging.getLogger("sama_spark")

_AT_A_TIME = 4
_PAUSES = (0.5, 1.0, 2.0, 5.0)  # seconds

Verdict = Literal["created", "void"]
"""A person's finding about an unsure batch: its tasks exist, or none exists and none will."""


@dataclass
class Settler:
    """Settles batches of one outbox.

    Attributes:
        api: the client that asks Sama.
        ledger: the outbox.
        tokens: the tokens of this run's own claims, won or lost.
        last_claim: the number of the last of them.
    """

    api: ApiClient
    ledger: Ledger
    tokens: set[str] = field(default_factory=set)
    last_claim: int = 0

    @property
    def project_id(self) -> str:
        """Sama's project, as the outbox has it."""
        return self.ledger.project_id

    def new_token(self, seq: int) -> str:
        """Return a fresh token: a random text that names one claim of this run, of this number, in the ledger.

        Delta silently skips a commit whose number is already there. So `Ledger.bind` reads the token back: it finds
        this claim's token only if this claim was written. One token for all claims could not show that.
        """
        token = uuid.uuid4().hex
        self.tokens.add(token)
        self.last_claim = seq
        return token

    def settle(self, state: LedgerState, only: Collection[int] | None = None) -> list[SettledBatch]:
        """Ask Sama for each unsettled batch, continue those that wait after their lease, record what was learnt.

        A batch under another run's lease is left alone. With `only`, these batches are asked for, leased ones too, but
        a leased one is never continued. On the wire: GET batches/{batch_id}.json with page_size=0 for each batch,
        more where not all tasks were created; POST continue.json where it waits.
        """
        asked = [batch for batch in state.batches if batch.state != "unsure" and self._is_due(batch, only)]
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="sama-settle") as pool:
            looks = list(pool.map(lambda batch: ask_sama(self.api, self.project_id, batch), asked))
        events = [look.event for look in looks if look.event]
        waiting = [batch for batch, look in zip(asked, looks, strict=True) if look.waits]
        events += self._continue_all([batch for batch in waiting if _is_over(self.api, batch)], state)
        outcomes = {look.outcome.batch_id: look.outcome for look in looks if look.outcome}
        self.record(events, outcomes)
        by_id = {event.batch_id: event for event in events}
        return [
            SettledBatch.of(batch, by_id[batch.batch_id], outcomes.get(batch.batch_id))
            for batch in asked
            if batch.batch_id in by_id
        ]

    def settle_patiently(
        self, batch_ids: Collection[int], timeout: float, state: LedgerState
    ) -> tuple[list[SettledBatch], LedgerState]:
        """Settle these batches, and wait up to `timeout` seconds for other runs' leases on them to end.

        A batch that was started counts as settled, whatever becomes of it. One that is still bound at the end stays
        as it is.

        Args:
            batch_ids: the batches.
            timeout: in seconds.
            state: of this moment or earlier.

        Returns:
            What was settled, and the state after that.
        """
        clock = self.api.clock
        deadline = clock.monotonic() + timeout
        settled: dict[int, SettledBatch] = {}
        pauses = iter(_PAUSES)
        while True:
            bound = [b for b in state.batches if b.state == "bound" and b.batch_id in batch_ids]
            # Until a lease ends, Sama alone can tell news of a batch; then other runs may claim and settle it.
            if any(_is_over(self.api, batch) for batch in bound):
                state = self.ledger.state()
                bound = [b for b in state.batches if b.state == "bound" and b.batch_id in batch_ids]
            if bound:
                newly = self.settle(state, {batch.batch_id for batch in bound})
                settled |= {batch.batch_id: batch for batch in newly}
                state = self.state_after(state, newly)
            left_bound = sum(batch.batch_id not in settled for batch in bound)
            left = deadline - clock.monotonic()
            if not left_bound or left <= 0:
                return list(settled.values()), state
            _log.info("%d batches are another run's; they are looked at again until its lease ends", left_bound)
            clock.sleep(min(next(pauses, _PAUSES[-1]), left))

    def state_after(self, state: LedgerState, settled: Iterable[SettledBatch]) -> LedgerState:
        """Return the state with what was recorded of these batches; claims of other runs since then are not in it."""
        if self.last_claim > state.seq:  # a claim of this run, won or lost, has moved the sequence number
            return self.ledger.state()
        by_id = {batch.batch_id: batch for batch in settled}
        left = [
            replace(batch, state=by_id[batch.batch_id].now, message=by_id[batch.batch_id].message)
            if batch.batch_id in by_id
            else batch
            for batch in state.batches
        ]
        freed = any(batch.now in FREED or batch.failed for batch in by_id.values())
        return LedgerState(state.seq, tuple(b for b in left if b.state in OPEN), state.has_freed or freed)

    def take_verdicts(self, verdicts: Mapping[int, Verdict]) -> list[SettledBatch]:
        """Record what a person found out about unsure batches.

        Raises:
            InvalidInput: a batch is not unsure.
        """
        unsure = {batch.batch_id: batch for batch in self.ledger.state().unsure}
        for batch_id, verdict in verdicts.items():
            if batch_id not in unsure:
                raise InvalidInput(
                    f"unsure={{{batch_id}: {verdict!r}}} cannot be taken: this batch is not unsure",
                    remedy=f'say "created" or "void" for one of the batches that are unsure: {sorted(unsure)}',
                )
        events = [
            BatchEvent(
                "done" if verdict == "created" else "void",
                batch_id,
                unsure[batch_id].run_id,
                unsure[batch_id].tasks,
                message="settled by a person",
            )
            for batch_id, verdict in verdicts.items()
        ]
        self.record(events)
        return [SettledBatch.of(unsure[event.batch_id], event) for event in events]

    def record(self, events: Iterable[BatchEvent], outcomes: Mapping[int, BatchOutcome] | None = None) -> None:
        """Append events. A row that failed alone can be sent again if Sama's reply identifies it."""
        items = {
            batch_id: outcome.failed_items
            for batch_id, outcome in (outcomes or {}).items()
            if outcome.failed_items and outcome.created
        }
        freed = self._keys_of(items) if items else {}
        known = [
            msgspec.structs.replace(event, keys=freed[event.batch_id]) if event.batch_id in freed else event
            for event in events
        ]
        self.ledger.record(known, self.api.clock.time())

    def record_outcomes(self, outcomes: Iterable[BatchOutcome], sent: Iterable[UploadedBatch], run_id: str) -> None:
        """Record how batches of a run have ended."""
        tasks = {batch.batch_id: batch.tasks for batch in sent}
        by_id = {outcome.batch_id: outcome for outcome in outcomes}
        self.record([event_of(outcome, tasks[batch_id], run_id) for batch_id, outcome in by_id.items()], by_id)

    def _is_due(self, batch: UnsettledBatch, only: Collection[int] | None) -> bool:
        if only is not None:
            return batch.batch_id in only
        return batch.state == "started" or _is_over(self.api, batch)

    def _continue_all(self, waiting: Sequence[UnsettledBatch], state: LedgerState) -> list[BatchEvent]:
        """Claim batches that wait, and continue them; an interrupt names them in its note."""
        taken = self._claim_for_this_run(waiting, state.seq) if waiting else ()
        events: dict[int, BatchEvent | None] = {}
        try:
            for batch in taken:
                events[batch.batch_id] = self._continue(batch)
        except BaseException as error:
            left = [batch.batch_id for batch in taken if batch.batch_id not in events]  # the first was under way
            note_batches(
                error,
                self.project_id,
                started=[batch_id for batch_id, event in events.items() if event and event.state == "started"],
                unsure=[batch_id for batch_id, event in events.items() if not event] + left[:1],
                waiting=left[1:],
                next_step=f"call client.resume(spark, outbox={self.ledger.table.name!r}) again: nothing is sent twice",
            )
            raise
        return [event for event in events.values() if event]

    def _claim_for_this_run(self, waiting: Sequence[UnsettledBatch], seq: int) -> Sequence[UnsettledBatch]:
        """Claim these batches for this run; return none of them where another run claimed first."""
        now = self.api.clock.time()
        lease_until = now + lease_for(len(waiting))
        lines = [msgspec.json.encode(Claim(b.batch_id, b.run_id, b.tasks)) for b in waiting]
        frame = text_lines(self.ledger.table.spark, lines, None)
        token = self.new_token(seq + 1)
        if not self.ledger.bind(frame, seq + 1, token, lease_until, now):
            return ()
        return [UnsettledBatch(b.batch_id, b.state, b.tasks, b.run_id, token, lease_until) for b in waiting]

    def _continue(self, batch: UnsettledBatch) -> BatchEvent | None:
        try:
            batches.start(self.api, self.project_id, batch.batch_id, lambda: permit(self.api, batch.lease_until))
        except BatchStateError:
            return ask_sama(self.api, self.project_id, batch).event
        except ConnectorError as error:
            _log.warning("batch %s of run %s could not be continued: %s", batch.batch_id, batch.run_id, error)
            return None
        return BatchEvent("started", batch.batch_id, batch.run_id, batch.tasks)

    def _keys_of(self, items: Mapping[int, Sequence[FailedItem]]) -> Mapping[int, Sequence[str]]:
        """Return the row keys of failed items, by batch: only keys that the batch's claim has."""
        claimed = self.ledger.keys_of(list(items))
        found = {
            batch_id: {text for item in failed if (text := key_in(item.data, self.ledger.keys.names))}
            for batch_id, failed in items.items()
        }
        return {batch_id: sorted(keys & set(claimed.get(batch_id, ()))) for batch_id, keys in found.items()}


def _is_over(api: ApiClient, batch: UnsettledBatch) -> bool:
    """Return whether any run may claim a bound batch: its lease, and the grace after it (see `lease`), are over."""
    return batch.state == "bound" and api.clock.time() > batch.lease_until + GRACE


def resume(
    api: ApiClient, spark: SparkSession, table: str, verdicts: Mapping[int, Verdict], timeout: float
) -> OutboxReport:
    """Settle all unsettled batches of an outbox; the public face is `Client.resume`."""
    check_text(table, "outbox")
    check_seconds(timeout, "timeout")
    check_mapping(verdicts, "unsure")
    for batch_id, verdict in verdicts.items():
        if verdict not in get_args(Verdict):
            raise InvalidInput(
                f"unsure has a word that cannot be taken for batch {batch_id}: {shown(verdict)}",
                remedy=f"say one of {get_args(Verdict)}",
            )
    verdicts = {number_of(batch_id, "unsure"): verdict for batch_id, verdict in verdicts.items()}
    settler = Settler(api, Ledger.open(spark, table))
    state = settler.ledger.state()
    recovered = settler.settle(state)
    if bound := {batch.batch_id for batch in state.batches if batch.state == "bound"}:
        recovered += settler.settle_patiently(bound, timeout, settler.state_after(state, recovered))[0]
    if verdicts:
        recovered += settler.take_verdicts(verdicts)
    left = settler.ledger.state()
    return OutboxReport(
        table,
        recovered=tuple(recovered),
        unsure=left.unsure,
        still_open=tuple(batch for batch in left.batches if batch.state != "unsure"),
    )
