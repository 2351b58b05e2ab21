"""The rows of an outbox's ledger, and what is read from them. No Spark here.

Each claimed batch has rows with its row keys; each thing learnt of a batch later is a row more.

| state | commit | meaning |
| --- | --- | --- |
| bound | conditional | these rows belong to this batch; its owner may continue it while the lease lasts |
| started | plain | Sama accepted `continue`, or the batch was seen in work |
| unsure | plain | nobody can tell what became of the batch: every run shows it until a person settles it |
| void, failed | plain | no task was made of the batch and none will be: its rows can be sent again |
| done | plain | its tasks exist; `keys` are the rows that failed alone and can be sent again |

A batch can have several states in the ledger; the one that comes last in this table holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

State = Literal["bound", "started", "unsure", "void", "failed", "done"]
STATES: tuple[State, ...] = get_args(State)
OPEN: tuple[State, ...] = ("bound", "started", "unsure")
FREED: tuple[State, ...] = ("void", "failed")  # the rows of such a batch can be sent again

SCHEMA = """
    state STRING COMMENT 'bound, started, unsure, void, failed or done',
    batch_id BIGINT COMMENT 'of Sama',
    run_id STRING,
    tasks BIGINT,
    keys ARRAY<STRING> COMMENT 'row keys as JSON text: of a bound batch all, of a done one those that failed',
    contents ARRAY<BIGINT> COMMENT 'hash of what was sent, key by key',
    created BIGINT, failed BIGINT, cancelled BIGINT,
    message STRING,
    seq BIGINT COMMENT 'number of the conditional commit',
    token STRING COMMENT 'owner of the lease',
    lease_until TIMESTAMP_LTZ,
    recorded_at TIMESTAMP_LTZ
"""
CLAIM_SCHEMA = "batch_id bigint, run_id string, tasks bigint, keys array<string>, contents array<bigint>"
EVENT_SCHEMA = (
    "state string, batch_id bigint, run_id string, tasks bigint, keys array<string>, "
    "created bigint, failed bigint, cancelled bigint, message string"
)
# Readers of Parquet hold thousands of rows at a time: with all keys of a batch in one row they run out of memory.
KEYS_IN_ROW = 200


class Claim(msgspec.Struct, frozen=True):
    """A batch of `tasks` tasks that a run claims, and some of its rows: their keys, and hashes of their contents."""

    batch_id: int
    run_id: str
    tasks: int
    keys: Sequence[str] = ()
    contents: Sequence[int] = ()


class BatchEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was learnt of a batch after its claim."""

    state: State
    batch_id: int
    run_id: str
    tasks: int
    keys: Sequence[str] | None = None
    created: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    message: str | None = None


@dataclass(frozen=True)
class UnsettledBatch:
    """A batch that is bound, started or unsure. `lease_until`: seconds since the epoch."""

    batch_id: int
    state: State
    tasks: int
    run_id: str
    token: str
    lease_until: float
    message: str | None = None


@dataclass(frozen=True)
class LedgerState:
    """The ledger at one moment.

    `seq`: number of the last conditional commit. `batches`: those that are unsettled. `has_freed`: whether any rows
    can be sent again.
    """

    seq: int
    batches: tuple[UnsettledBatch, ...]
    has_freed: bool

    @property
    def unsure(self) -> tuple[UnsettledBatch, ...]:
        """The batches that a person has to settle."""
        return tuple(batch for batch in self.batches if batch.state == "unsure")


class KnownInPiece(msgspec.Struct, frozen=True):
    """The rows of one piece that one batch was bound with, by position; `same`: with the same content."""

    piece: int
    batch_id: int
    same: bool
    positions: list[int]
