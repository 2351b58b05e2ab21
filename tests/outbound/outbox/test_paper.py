"""The outbox on paper, which thousands of runs are tried on, tells what the real one tells."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kit.paper import PaperLedger, PaperSpark
from sama_spark import OutboxError
from sama_spark.outbound.outbox.ledger import Ledger
from sama_spark.outbound.outbox.ledger_rows import BatchEvent, Claim, KnownInPiece, LedgerState
from sama_spark.outbound.row_keys import OutboxKeys

pytestmark = pytest.mark.one_kind

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEYS = [f'{{"url":"{n}"}}' for n in range(12)]
STATES = ["started", "unsure", "void", "failed", "done"]


def seen(state: LedgerState, found: list[KnownInPiece]) -> tuple[Any, ...]:
    """What both must agree on; positions have no order."""
    batches = [replace(batch, message=None) for batch in state.batches]
    rows = [(f.piece, f.batch_id, f.same, sorted(f.positions)) for f in found]
    return state.seq, batches, state.has_freed, sorted(rows)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_both_tell_the_same_after_every_step(spark: SparkSession, outbox: str, seed: int) -> None:
    chance = random.Random(seed)
    by_url = OutboxKeys(("url",))
    real, paper = Ledger.open(spark, outbox, "7", by_url), PaperLedger.open(PaperSpark(), "box", "7", by_url)
    claimed: dict[int, list[str]] = {}
    for step in range(7):
        seq = real.state().seq + 1
        if step == 4:
            seq -= 1  # a claim that is too late
        if step % 3 != 2:
            mine = {batch_id: chance.sample(KEYS, 3) for batch_id in (10 * step + 1, 10 * step + 2)}
            claims = [
                msgspec.json.encode(Claim(batch_id, f"run {step}", 3, keys, [chance.randrange(2) for _ in range(3)]))
                for batch_id, keys in mine.items()
            ]
            frame = spark.createDataFrame([(line.decode(),) for line in claims], "value string")
            token = f"token {step}"
            won = real.bind(frame, seq, token, 100.0 + step, 1.0)
            assert won == paper.bind(claims, seq, token, 100.0 + step, 1.0) == (step != 4)
            claimed |= mine if won else {}
        else:
            events = []
            for batch_id in chance.sample(sorted(claimed), 3):
                new: Any = chance.choice(STATES)
                freed = chance.sample(claimed[batch_id], 1) if new == "done" else None
                events.append(BatchEvent(new, batch_id, "run", 3, freed, failed=len(freed or ())))
            real.record(events, 1.0)
            paper.record(events, 1.0)
        own = [(0, i, key, 0) for i, key in enumerate(KEYS)]
        frame = spark.createDataFrame(own, "piece bigint, position int, key string, content bigint")
        now = real.state()
        after = chance.choice([0, 0, max(now.seq - 1, 0)])
        here = seen(now, real.find(frame, len(own), now, after))
        assert here == seen(paper.state(), paper.find(own, len(own), paper.state(), after))
    assert {n: list(k) for n, k in real.keys_of(list(claimed)).items()} == paper.keys_of(list(claimed))


def test_a_number_that_nobody_wrote_is_an_error_on_both(spark: SparkSession, outbox: str) -> None:
    keys = OutboxKeys(("url",))
    real, paper = Ledger.open(spark, outbox, "7", keys), PaperLedger.open(PaperSpark(), "box", "7", keys)
    line = msgspec.json.encode(Claim(1, "run", 1, KEYS[:1], [0]))
    frame = spark.createDataFrame([(line.decode(),)], "value string")
    assert real.bind(frame, 5, "first", 1.0, 1.0)
    assert paper.bind([line], 5, "first", 1.0, 1.0)
    with pytest.raises(OutboxError):
        real.bind(frame, 4, "second", 1.0, 1.0)
    with pytest.raises(OutboxError):
        paper.bind([line], 4, "second", 1.0, 1.0)
