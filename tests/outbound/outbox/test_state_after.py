"""What a run makes of the outbox's state after settling is what the outbox itself would tell."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kit.paper import PaperLedger, PaperSpark
from sama_spark.outbound.outbox.ledger_rows import OPEN, STATES, BatchEvent, Claim, State
from sama_spark.outbound.outbox.report import SettledBatch
from sama_spark.outbound.outbox.settle import Settler
from sama_spark.outbound.row_keys import OutboxKeys

NO_CALLS: Any = None
LEARNT = st.sampled_from(STATES[1:])
# What happened to a batch: what an earlier run learnt of it, and what this one does; None: nothing.
HISTORIES = st.lists(st.tuples(st.none() | LEARNT, st.none() | LEARNT, st.integers(0, 2)), min_size=1, max_size=6)


@given(HISTORIES)
def test_it_is_as_if_read_again(histories: list[tuple[State | None, State | None, int]]) -> None:
    ledger: Any = PaperLedger.open(PaperSpark(), "box", "7", OutboxKeys(("url",)))
    claims = [msgspec.json.encode(Claim(n, "run", 2, [f"{n}"], [0])) for n in range(len(histories))]
    ledger.bind(claims, 1, "token", 100.0, 1.0)
    ledger.record([BatchEvent(now, n, "run", 2, message="before") for n, (now, *_) in enumerate(histories) if now], 1.0)
    before = ledger.state()
    rank = STATES.index
    events = [
        BatchEvent(now, n, "run", 2, ["x"] if failed else None, failed=failed, message=f"now {now}")
        for n, (earlier, now, failed) in enumerate(histories)
        # As `Settler.settle` does: an unsettled batch becomes another thing, and an unsure one is not asked for.
        if now and (earlier or "bound") in OPEN and earlier != "unsure" and rank(now) > rank(earlier or "bound")
    ]
    ledger.record(events, 1.0)
    by_id = {batch.batch_id: batch for batch in before.batches}
    settled = [SettledBatch.of(by_id[event.batch_id], event) for event in events]
    assert Settler(NO_CALLS, ledger).state_after(before, settled) == ledger.state()
