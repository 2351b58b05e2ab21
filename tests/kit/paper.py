"""Runs on paper: all of a run, with an outbox or without, but for Spark and Delta, whose place some lines take.

Spark takes seconds for a run and this takes milliseconds, so that thousands of runs with faults and deaths can be
tried. `test_paper.py` compares the stand-in with the real ledger.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
from pyspark.sql.types import StructType

from kit.mortal import watch_ledger
from sama_spark.errors import OutboxError, RepeatedKeys
from sama_spark.outbound import create
from sama_spark.outbound.encoded_batch import EncodedBatch, Encoding
from sama_spark.outbound.outbox import outbox, settle
from sama_spark.outbound.outbox.ledger_rows import (
    FREED,
    OPEN,
    STATES,
    BatchEvent,
    Claim,
    KnownInPiece,
    LedgerState,
    UnsettledBatch,
)
from sama_spark.outbound.outbox.run_rows import RunRows
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.staging import Staging

if TYPE_CHECKING:
    import pytest

Lines = list[bytes]


@dataclass
class PaperTable:
    """Lines of a table. As Delta does, it takes a transaction's number once, and skips it else."""

    spark: Any
    name: str
    project_id: str
    lines: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, rows: list[dict[str, Any]], *, transaction: tuple[str, int] | None = None) -> None:
        with self.lock:
            if transaction is None or transaction[1] > self.number:
                self.number = transaction[1] if transaction else self.number
                self.lines += rows


class PaperSpark:
    """As much of a session as a run asks for; it holds the tables."""

    def __init__(self) -> None:
        self.tables: dict[str, PaperTable] = {}

    def createDataFrame(self) -> None:  # noqa: N802
        """A session is known by it."""


@dataclass
class PaperFrame:
    """Rows of one input, `url`, and what else they send."""

    sparkSession: PaperSpark  # noqa: N815
    urls: Sequence[str]
    note: str | None = None
    columns: Sequence[str] = ("url",)
    schema: StructType = field(default_factory=lambda: StructType().add("url", "string"))

    def mapInArrow(self) -> None:  # noqa: N802
        """A DataFrame is known by it."""


@dataclass
class PaperLedger:
    """The ledger's promises, over lines in memory."""

    table: Any
    project_id: str
    keys: OutboxKeys
    is_new: bool = False

    @classmethod
    def open(
        cls, spark: PaperSpark, name: str, project_id: str | None = None, keys: OutboxKeys | None = None
    ) -> PaperLedger:
        made = PaperTable(spark, name, project_id or "")
        table = spark.tables.setdefault(name, made)
        return cls(table, table.project_id, keys or OutboxKeys(("url",)), table is made)

    def state(self) -> LedgerState:
        lines = list(self.table.lines)
        by_batch: dict[int, list[dict[str, Any]]] = {}
        for line in lines:
            by_batch.setdefault(line["batch_id"], []).append(line)
        batches = []
        for batch_id, own in sorted(by_batch.items()):
            last = max(own, key=lambda line: STATES.index(line["state"]))
            claims = sorted((line for line in own if line["seq"]), key=lambda line: line["seq"])
            if last["state"] in OPEN:
                lease, run_id = claims[-1]["lease_until"], claims[0]["run_id"]
                tasks = max(line["tasks"] for line in own)
                token, message = claims[-1]["token"], last.get("message")
                batches.append(UnsettledBatch(batch_id, last["state"], tasks, run_id, token, lease, message))
        freed = any(line["state"] in FREED or line.get("failed") for line in lines)
        return LedgerState(max((line["seq"] or 0 for line in lines), default=0), tuple(batches), freed)

    def bind(self, claims: Lines, seq: int, token: str, lease_until: float, _: float) -> bool:
        rows = [
            {**msgspec.structs.asdict(msgspec.json.decode(line, type=Claim)), "state": "bound", "seq": seq,
             "token": token, "lease_until": lease_until}
            for line in claims
        ]  # fmt: skip
        failure: Exception | None = None
        try:
            self.table.append(rows, transaction=("paper", seq))
        except Exception as error:  # as the real one
            failure = error
        tokens = {line["token"] for line in self.table.lines if line["seq"] == seq}
        if not tokens:
            raise OutboxError("the claim was not written", remedy="run again") from failure
        return tokens == {token}

    def record(self, events: Iterable[BatchEvent], _: float) -> None:
        if rows := [{**msgspec.structs.asdict(event), "seq": None} for event in events]:
            self.table.append(rows)

    def find(self, own: list[tuple[int, int, str, int]], _: int, state: LedgerState, after: int) -> list[KnownInPiece]:
        if state.seq <= after:
            return []
        lines = list(self.table.lines)
        freed = {line["batch_id"] for line in lines if line["state"] in FREED}
        failed = {(line["batch_id"], key) for line in lines if line["state"] == "done" for key in line["keys"] or ()}
        sent: dict[str, list[tuple[int, int]]] = {}
        for line in lines:
            if (line["seq"] or 0) > after and line["batch_id"] not in freed:
                for key, content in zip(line["keys"], line["contents"], strict=True):
                    if (line["batch_id"], key) not in failed:
                        sent.setdefault(key, []).append((line["batch_id"], content))
        found: dict[tuple[int, int, bool], list[int]] = {}
        for piece, position, key, content in own:
            for batch_id, sent_content in sent.get(key, ()):
                found.setdefault((piece, batch_id, content == sent_content), []).append(position)
        return [KnownInPiece(*group, positions) for group, positions in found.items()]

    def keys_of(self, batch_ids: Sequence[int]) -> dict[int, Sequence[str]]:
        claims = [line for line in self.table.lines if line["seq"] and line["keys"]]
        return {line["batch_id"]: line["keys"] for line in claims if line["batch_id"] in batch_ids}


class PaperRows(RunRows):
    def __init__(self, pieces: Any, *_: Any, **__: Any) -> None:
        self.pieces = pieces
        self.count = sum(piece.header.tasks for piece in pieces)
        self.frame: Any = [
            (number, position, key, content)
            for number, piece in enumerate(pieces)
            for position, (key, content) in enumerate(zip(piece.rows().keys, piece.rows().contents, strict=True))
        ]
        self._numbers = None
        if len({key for _, _, key, _ in self.frame}) < len(self.frame):
            raise RepeatedKeys("row keys stand more than once", remedy="drop duplicates")


def _encode(run: Any, _: Any) -> Any:
    """The columns of the rows as they come encoded."""
    df: PaperFrame = run.df
    if not df.urls:
        return None
    flat = [b'"data":' + msgspec.json.encode({"url": url} | ({"note": df.note} if df.note else {})) for url in df.urls]
    keys = [msgspec.json.encode({"url": url}) for url in df.urls]
    contents = [b"%d" % crc32((df.note or "").encode()) for _ in df.urls]
    nothing: list[None] = [None] * len(df.urls)
    encoding = Encoding(b'{"priority":0,', (), {}, {})
    return create._Encoded(encoding, [EncodedBatch.of([flat, nothing, keys, contents])])


def on_paper(patch: pytest.MonkeyPatch) -> None:
    """Runs and `resume` take a `PaperFrame` or `PaperSpark` from here on."""
    patch.setattr(create, "_encode", _encode)
    patch.setattr(Staging, "stage", lambda *_: None)
    patch.setattr(outbox, "Ledger", PaperLedger)
    patch.setattr(settle, "Ledger", PaperLedger)
    patch.setattr(settle, "_AT_A_TIME", 1)  # steps in the same order every time, one sleeper at a time
    patch.setattr(outbox, "RunRows", PaperRows)
    for module in (create, settle):
        patch.setattr(module, "text_lines", lambda _, lines, *__: list(lines))
    watch_ledger(patch, PaperLedger, PaperTable)
