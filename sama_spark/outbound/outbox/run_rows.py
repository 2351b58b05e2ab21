"""The rows of one run, for its outbox: their keys, where they lie in the run's pieces, and which are known."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from sama_spark.errors import RepeatedKeys
from sama_spark.http.secrets import redact_urls
from sama_spark.outbound.pieces import PiecePart, StagedPiece, decode_keyed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.outbound.outbox.ledger_rows import KnownInPiece

_PIECE_ROWS = "piece bigint, keys array<string>, contents array<bigint>"
_SHOWN = 5
_NUMBER_MARK = "#"


class RunRows:
    """The rows in `pieces`. `frame` has `piece`, `position`, `key` and `content` of each row.

    Args:
        pieces: all pieces of the run.
        to_frame: makes a DataFrame of lines of text.
        by_content: without key columns equal rows are different tasks, so equal keys are numbered 1, 2, 3.

    Raises:
        RepeatedKeys: two rows have one key.
    """

    def __init__(
        self,
        pieces: Sequence[StagedPiece],
        to_frame: Callable[[Iterable[bytes]], DataFrame],
        *,
        by_content: bool,
    ) -> None:
        self.pieces = pieces
        self.count = sum(piece.header.tasks for piece in pieces)
        hashes = array("q")
        self.frame = _run_rows(to_frame(self._lines(hashes)), numbered=by_content)
        self._numbers: dict[int, dict[int, int]] | None = {} if by_content else None
        if by_content:
            repeated = self.frame.where("repeat_number > 1").select("piece", "position", "repeat_number")
            for row in repeated.toLocalIterator():
                self._numbers_of(row["piece"])[row["position"]] = row["repeat_number"]
        elif _may_repeat(hashes):
            self._refuse_repeated()

    def keys(self, number: int) -> Sequence[str]:
        """Return the keys of a piece's rows, as the ledger has them. `number`: the piece's place in `pieces`."""
        return self._in_ledger(number, self.pieces[number].rows().keys)

    def of(self, part: PiecePart) -> tuple[list[str], list[int]]:
        """Return the keys of the rows in `part`, and the hashes of their contents."""
        rows = part.whole.rows()
        keys = self._in_ledger(part.number, rows.keys)
        return [keys[i] for i in part.positions], [rows.contents[i] for i in part.positions]

    def _in_ledger(self, number: int, keys: Sequence[str]) -> Sequence[str]:
        if self._numbers is None:
            return keys
        numbers = self._numbers_of(number)
        return [f"{key}{_NUMBER_MARK}{numbers.get(i, 1)}" for i, key in enumerate(keys)]

    def _numbers_of(self, number: int) -> dict[int, int]:
        assert self._numbers is not None  # noqa: S101 - for the type checker
        return self._numbers.setdefault(number, {})

    def _lines(self, hashes: array[int]) -> Iterator[bytes]:
        for number, piece in enumerate(self.pieces):
            text = piece.header_text()
            hashes.extend(map(hash, decode_keyed(text).keys))
            yield b'{"piece":%d,' % number + text[1:]

    def _refuse_repeated(self) -> None:
        repeated = self.frame.groupBy("key").count().where("count > 1")
        if shown := repeated.limit(_SHOWN).collect():
            lines = [redact_urls(f"{row['key']} stands {row['count']} times") for row in shown]
            raise RepeatedKeys(
                f"{repeated.count():,} row keys stand more than once, nothing was created: {'; '.join(lines)}",
                rows=lines,
                remedy="name columns in row_key that tell all rows apart, or drop duplicates",
            )


_Places = defaultdict[int, set[int]]
"""Positions by piece."""


def _places() -> _Places:
    return defaultdict(set)


@dataclass
class KnownRows:
    """The rows of a run that its outbox has, by piece and position.

    `resend_changed`: rows that were sent with other content do not count as known. `batch_ids`: the batches that the
    rows were bound with.
    """

    resend_changed: bool = False
    batch_ids: set[int] = field(default_factory=set)
    _sent_same: _Places = field(default_factory=_places)
    _sent_changed: _Places = field(default_factory=_places)
    _unsure: _Places = field(default_factory=_places)

    def add(self, found: KnownInPiece, *, unsure: bool) -> None:
        """Add what a look-up has found; `unsure`: the batch is unsure."""
        (self._sent_same if found.same else self._sent_changed)[found.piece].update(found.positions)
        if unsure:
            self._unsure[found.piece].update(found.positions)
        self.batch_ids.add(found.batch_id)

    def within(self, piece: int) -> set[int]:
        """Return the positions in a piece that are not to be sent again."""
        return self._sent_same[piece] if self.resend_changed else self._sent_same[piece] | self._sent_changed[piece]

    def changed(self) -> Iterator[tuple[int, int]]:
        """Yield piece and position of each row that was sent with other content only, in order."""
        for piece, places in sorted(self._sent_changed.items()):
            yield from ((piece, place) for place in sorted(places - self._sent_same[piece]))

    @property
    def count(self) -> int:
        """How many rows are not to be sent again."""
        return sum(len(self.within(piece)) for piece in {*self._sent_same, *self._sent_changed})

    @property
    def changed_count(self) -> int:
        """How many rows were sent with other content only."""
        return sum(1 for _ in self.changed())

    @property
    def unsure_count(self) -> int:
        """How many rows lie in unsure batches."""
        return sum(map(len, self._unsure.values()))


def _may_repeat(hashes: array[int]) -> bool:
    """Return whether two hashes are equal.

    By chance they hardly ever are, so Spark need not look for repeated keys in every run.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])
    return bool(pc.count_distinct(values).as_py() < len(hashes))


def _run_rows(lines: DataFrame, *, numbered: bool) -> DataFrame:
    """Return `piece`, `position`, `key` and `content` of each row.

    `lines`: a piece's number and its rows, as JSON. `numbered`: rows of equal keys are numbered from 1
    (`repeat_number`), and the number becomes part of the key.
    """
    pieces = lines.select(F.from_json("value", _PIECE_ROWS).alias("rows"))
    rows = pieces.select(
        "rows.piece", F.posexplode(F.arrays_zip("rows.keys", "rows.contents")).alias("position", "row")
    )
    rows = rows.select("piece", "position", F.col("row.keys").alias("key"), F.col("row.contents").alias("content"))
    if not numbered:
        return rows
    number = F.row_number().over(Window.partitionBy("key").orderBy("piece", "position"))
    numbers = rows.withColumn("repeat_number", number)
    return numbers.withColumn("key", F.concat("key", F.lit(_NUMBER_MARK), F.col("repeat_number").cast("string")))
