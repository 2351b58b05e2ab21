"""The rows of one run as an outbox looks them up: keys, and where they lie in the run's pieces."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from sama_spark.errors import RepeatedKeys
from sama_spark.http.secrets import redact_urls
from sama_spark.outbound.pieces import PiecePart, StagedPiece, decode_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_OWN = "piece bigint, keys array<string>, contents array<bigint>"
_SHOWN = 5
_NUMBER_MARK = "#"


class RunRows:
    """`pieces` of a run; `frame` has `piece`, `position`, `key` and `own_content` of each row.

    `by_content`: equal rows may stand more than once, and their keys carry a number.
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
        self.frame = _own_rows(to_frame(self._lines(hashes)), numbered=by_content)
        self._numbers: dict[int, dict[int, int]] | None = {} if by_content else None
        if by_content:
            repeated = self.frame.where("own_number > 1").select("piece", "position", "own_number")
            for row in repeated.toLocalIterator():
                self._numbers_of(row["piece"])[row["position"]] = row["own_number"]
        elif _may_repeat(hashes):
            self._refuse_repeated()

    def keys(self, number: int) -> list[str]:
        """The keys of a piece's rows, as the ledger has them."""
        return self._in_ledger(number, self.pieces[number].rows().keys)

    def of(self, part: PiecePart) -> tuple[list[str], list[int]]:
        """Key and content of each row in `part`."""
        rows = part.whole.rows()
        keys = self._in_ledger(part.number, rows.keys)
        return [keys[i] for i in part.positions], [rows.contents[i] for i in part.positions]

    def _in_ledger(self, number: int, keys: list[str]) -> list[str]:
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
            hashes.extend(map(hash, decode_rows(text).keys))
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


def _may_repeat(hashes: array[int]) -> bool:
    """Whether two are equal: hardly ever by chance, so that Spark need not look for repeated keys in every run."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])
    return bool(pc.count_distinct(values).as_py() < len(hashes))


def _own_rows(lines: DataFrame, *, numbered: bool) -> DataFrame:
    """`piece`, `position`, `key` and `own_content` of each row.

    `lines`: a piece's number and its rows.
    `numbered`: equal keys are one row's and another's, so each gets its number among them (`own_number`, from 1).
    """
    pieces = lines.select(F.from_json("value", _OWN).alias("own"))
    rows = pieces.select("own.piece", F.posexplode(F.arrays_zip("own.keys", "own.contents")).alias("position", "row"))
    rows = rows.select("piece", "position", F.col("row.keys").alias("key"), F.col("row.contents").alias("own_content"))
    if not numbered:
        return rows
    number = F.row_number().over(Window.partitionBy("key").orderBy("piece", "position"))
    numbers = rows.withColumn("own_number", number)
    return numbers.withColumn("key", F.concat("key", F.lit(_NUMBER_MARK), F.col("own_number").cast("string")))
