"""What became of the batches in an outbox: asked of Sama, continued where a dead run left them waiting, recorded."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from sama_spark.api import batches
from sama_spark.api.batches import ENDED_BADLY, STARTED
from sama_spark.api.interrupted import tell_batches
from sama_spark.api.sama_errors import BatchStateError, LeaseOver, TasksUnaccounted
from sama_spark.arguments import check_mapping, check_seconds, check_text, shown
from sama_spark.errors import ConnectorError, InvalidInput
from sama_spark.http.call_errors import NotFoundError
from sama_spark.ids import number_of
from sama_spark.outbound.outbox.ledger import Claim, Fact, Head, Ledger, OpenBatch, State
from sama_spark.outbound.outbox.report import OutboxReport, SettledBatch
from sama_spark.outbound.row_keys import key_in
from sama_spark.outbound.upload import Batch
from sama_spark.outbound.wait import BatchOutcome, FailedItem, count_tasks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.api.api_client import ApiClient

log = logging.getLogger("sama_spark")

# Seconds. A `continue` takes no longer than CONTINUE and is not begun when less of the lease is left; GRACE is for
# one that was sent at the last moment and is still under way, and for clocks that differ.
LEASE, LEASE_PER_BATCH, CONTINUE, GRACE = 120.0, 2.0, 30.0, 90.0
_AT_A_TIME = 4
_PAUSES = (0.5, 1.0, 2.0, 5.0)

Word = Literal["created", "void"]


@dataclass
class Settler:
    """Settles what is open in one outbox. `tokens`: the owner's names in claims of this run."""

    api: ApiClient
    ledger: Ledger
    tokens: set[str] = field(default_factory=set)

    @property
    def project_id(self) -> str:
        return self.ledger.project_id

    def new_token(self) -> str:
        """The owner's name in one claim. Each has its own: a claim that was skipped must not take an earlier one,
        under the same number, for itself."""
        token = uuid.uuid4().hex
        self.tokens.add(token)
        return token

    def settle(self, head: Head, only: Collection[int] | None = None) -> list[SettledBatch]:
        """Ask for each open batch, continue what waits and belongs to nobody any more, record what was learnt.

        A batch under another's lease is left alone, unless `only` names it: then its state is asked for, and only
        `continue` is left to the other. On the wire: GET batches/{batch_id}.json with page_size=0 for each, more
        where not all tasks were created; POST continue.json where it waits.
        """
        facts: dict[int, Fact] = {}
        outcomes: dict[int, BatchOutcome] = {}
        abandoned: list[OpenBatch] = []
        asked = [batch for batch in head.batches if batch.state != "unsure" and self._is_due(batch, only)]
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="sama-settle") as pool:
            learnt = list(pool.map(self._learn, asked))
        for batch, (state, fact, outcome) in zip(asked, learnt, strict=True):
            if fact is not None:
                facts[batch.batch_id] = fact
                if outcome is not None:
                    outcomes[batch.batch_id] = outcome
            elif state == "waiting" and self._is_abandoned(batch):
                abandoned.append(batch)
        for fact in self._continue_all(abandoned and self._take_over(abandoned, head.seq)):
            facts[fact.batch_id] = fact
        self.record(facts.values(), outcomes)
        return [
            SettledBatch(
                batch.batch_id,
                batch.run_id,
                batch.tasks,
                batch.state,
                fact.state,
                fact.created,
                fact.failed,
                fact.cancelled,
                fact.message,
                outcomes[batch.batch_id].failed_items if batch.batch_id in outcomes else (),
            )
            for batch in asked
            if (fact := facts.get(batch.batch_id))
        ]

    def settle_patiently(self, batch_ids: Collection[int], timeout: float) -> list[SettledBatch]:
        """Settle these batches, waiting for leases of others to end; what is still bound after `timeout` seconds stays.

        A batch that is started is settled, whatever becomes of it.
        """
        clock = self.api.clock
        deadline = clock.monotonic() + timeout
        settled: dict[int, SettledBatch] = {}
        pauses = iter(_PAUSES)
        while True:
            head = self.ledger.head()
            bound = {b.batch_id for b in head.batches if b.state == "bound" and b.batch_id in batch_ids}
            if bound:
                settled |= {batch.batch_id: batch for batch in self.settle(head, bound)}
                bound -= set(settled)
            left = deadline - clock.monotonic()
            if not bound or left <= 0:
                return list(settled.values())
            log.info("%d batches are another run's; they are looked at again until its lease ends", len(bound))
            clock.sleep(min(next(pauses, _PAUSES[-1]), left))

    def take_word(self, words: Mapping[int, Word]) -> list[SettledBatch]:
        """Record what a person found out about batches that are unsure.

        Raises:
            InvalidInput: a batch is not unsure, or a word is neither "created" nor "void".
        """
        unsure = {batch.batch_id: batch for batch in self.ledger.head().unsure}
        for batch_id, word in words.items():
            if batch_id not in unsure:
                raise InvalidInput(
                    f"unsure={{{batch_id}: {word!r}}} cannot be taken: this batch is not unsure",
                    remedy=f'say "created" or "void" for one of the batches that are unsure: {sorted(unsure)}',
                )
        states: dict[int, State] = {i: "done" if word == "created" else "void" for i, word in words.items()}
        facts = [
            Fact(state, batch_id, unsure[batch_id].run_id, unsure[batch_id].tasks, message="settled by a person")
            for batch_id, state in states.items()
        ]
        self.record(facts)
        return [SettledBatch(f.batch_id, f.run_id, f.tasks, "unsure", f.state, message=f.message) for f in facts]

    def record(self, facts: Iterable[Fact], outcomes: Mapping[int, BatchOutcome] | None = None) -> None:
        """Append facts; rows that failed one by one are freed where Sama's reply tells which they were."""
        items = {
            batch_id: outcome.failed_items
            for batch_id, outcome in (outcomes or {}).items()
            if outcome.failed_items and outcome.created
        }
        freed = self._keys_of(items) if items else {}
        known = [
            msgspec.structs.replace(fact, keys=freed[fact.batch_id]) if fact.batch_id in freed else fact
            for fact in facts
        ]
        self.ledger.record(known, self.api.clock.time())

    def record_outcomes(self, outcomes: Iterable[BatchOutcome], sent: Mapping[int, Batch], run_id: str) -> None:
        """Record how batches of a run have ended."""
        by_id = {outcome.batch_id: outcome for outcome in outcomes}
        self.record([fact_of(o, sent[o.batch_id].tasks, run_id) for o in by_id.values()], by_id)

    def _is_due(self, batch: OpenBatch, only: Collection[int] | None) -> bool:
        if only is not None:
            return batch.batch_id in only
        return batch.state == "started" or self._is_abandoned(batch)

    def _is_abandoned(self, batch: OpenBatch) -> bool:
        return batch.state == "bound" and self.api.clock.time() > batch.lease_until + GRACE

    def _learn(self, batch: OpenBatch) -> tuple[str, Fact | None, BatchOutcome | None]:
        """The batch's state in Sama's word, and what follows from it, if anything is new."""
        try:
            job = self.api.get_batch_job(self.project_id, batch.batch_id)
        except NotFoundError:
            return "not found", _unsure(batch, "Sama does not show this batch to this key (404)"), None
        state = job.state.lower()
        if state == "completed" or state in ENDED_BADLY:
            try:
                outcome = count_tasks(self.api, self.project_id, Batch(batch.batch_id, batch.tasks, 0), job)
            except TasksUnaccounted as error:
                return state, _unsure(batch, error.message), None
            return state, fact_of(outcome, batch.tasks, batch.run_id), outcome
        if state in STARTED:
            started = Fact("started", batch.batch_id, batch.run_id, batch.tasks)
            return state, started if batch.state == "bound" else None, None
        if state == "waiting":
            return state, None, None
        return state, _unsure(batch, f"its state is {job.state!r}, a word that is not known"), None

    def _take_over(self, abandoned: Sequence[OpenBatch], seq: int) -> Sequence[OpenBatch]:
        """These batches as one's own, or none of them where somebody else was faster."""
        now = self.api.clock.time()
        lease_until = now + lease_for(len(abandoned))
        lines = [(msgspec.json.encode(Claim(b.batch_id, b.run_id, b.tasks)).decode(),) for b in abandoned]
        frame = self.ledger.table.spark.createDataFrame(lines, "value string")
        token = self.new_token()
        if not self.ledger.bind(frame, seq + 1, token, lease_until, now):
            return ()
        return [OpenBatch(b.batch_id, b.state, b.tasks, b.run_id, token, lease_until) for b in abandoned]

    def _continue_all(self, taken: Sequence[OpenBatch]) -> list[Fact]:
        """What became of batches that were taken over; an interrupt tells it too."""
        facts: dict[int, Fact | None] = {}
        try:
            for batch in taken:
                facts[batch.batch_id] = self._continue(batch)
        except BaseException as error:
            left = [batch.batch_id for batch in taken if batch.batch_id not in facts]
            tell_batches(
                error,
                self.project_id,
                started=[batch_id for batch_id, fact in facts.items() if fact and fact.state == "started"],
                unsure=[batch_id for batch_id, fact in facts.items() if not fact] + left[:1],
                waiting=left[1:],
                next_step=f"call client.resume(spark, outbox={self.ledger.table.name!r}) again: nothing is sent twice",
            )
            raise
        return [fact for fact in facts.values() if fact]

    def _continue(self, batch: OpenBatch) -> Fact | None:
        try:
            batches.start(self.api, self.project_id, batch.batch_id, lambda: permit(self.api, batch.lease_until))
        except BatchStateError:
            return self._learn(batch)[1]
        except ConnectorError as error:
            log.warning("batch %s of run %s could not be continued: %s", batch.batch_id, batch.run_id, error)
            return None
        return Fact("started", batch.batch_id, batch.run_id, batch.tasks)

    def _keys_of(self, items: Mapping[int, Sequence[FailedItem]]) -> Mapping[int, Sequence[str]]:
        """The row keys of failed items, by batch: those that stand in the batch's claim."""
        claimed = self.ledger.keys_of(list(items))
        found = {
            batch_id: {text for item in failed if (text := key_in(item.data, self.ledger.keys.names))}
            for batch_id, failed in items.items()
        }
        return {batch_id: sorted(keys & set(claimed.get(batch_id, ()))) for batch_id, keys in found.items()}


def lease_for(batch_count: int) -> float:
    """Seconds for which a claim of so many batches is held."""
    return LEASE + LEASE_PER_BATCH * batch_count


def permit(api: ApiClient, lease_until: float) -> float:
    """The seconds that a `continue` may take now.

    Raises:
        LeaseOver: too little of the lease is left to begin one.
    """
    if api.clock.time() + CONTINUE > lease_until:
        raise LeaseOver(
            "the lease on this batch is over before it was continued",
            remedy="run the same call again, or client.resume(): the outbox knows the batch",
        )
    return CONTINUE


def fact_of(outcome: BatchOutcome, tasks: int, run_id: str) -> Fact:
    """How a batch has ended, as the ledger has it."""
    state: State
    message = "; ".join(outcome.messages) or None
    if outcome.state == "completed":
        state = "done" if outcome.created else "failed"
    elif outcome.created:
        state, message = "unsure", f"{outcome.state} with {outcome.created} of {tasks} tasks created"
    else:
        state = "failed" if outcome.state == "failed" else "void"
    return Fact(
        state,
        outcome.batch_id,
        run_id,
        tasks,
        created=outcome.created,
        failed=outcome.failed,
        cancelled=outcome.cancelled,
        message=message,
    )


def _unsure(batch: OpenBatch, why: str) -> Fact:
    return Fact("unsure", batch.batch_id, batch.run_id, batch.tasks, message=why)


def resume(api: ApiClient, spark: SparkSession, table: str, words: Mapping[int, Word], timeout: float) -> OutboxReport:
    """Settle all that is open in an outbox; the public face is `Client.resume`."""
    check_text("outbox", table)
    check_seconds("timeout", timeout)
    check_mapping("unsure", words)
    for batch_id, word in words.items():
        if word not in get_args(Word):
            raise InvalidInput(
                f"unsure has a word that cannot be taken for batch {batch_id}: {shown(word)}",
                remedy=f"say one of {get_args(Word)}",
            )
    words = {number_of(batch_id, "unsure"): word for batch_id, word in words.items()}
    settler = Settler(api, Ledger.open(spark, table))
    head = settler.ledger.head()
    recovered = settler.settle(head)
    if bound := {batch.batch_id for batch in head.batches if batch.state == "bound"}:
        recovered += settler.settle_patiently(bound, timeout)
    if words:
        recovered += settler.take_word(words)
    left = settler.ledger.head()
    return OutboxReport(
        table,
        recovered=tuple(recovered),
        unsure=left.unsure,
        still_open=tuple(batch for batch in left.batches if batch.state != "unsure"),
    )
