"""Encoded rows on their way from `encode` or `encode_values` to `cut`: the columns and what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import NamedTuple

Texts = Sequence[bytes | None]
"""A column of JSON texts."""


class EncodedBatch(NamedTuple):
    """Some encoded rows, column by column, as `encode` selects them.

    Attributes:
        tasks: the JSON of each task from where tasks differ up to the end of `data`, without the spliced texts.
        problems: for a row that cannot become a task, JSON of its column, reason and value; else None.
        keys: the row's key as text, None where no row key is named.
        contents: digits of the hash of the row's content, None without an outbox.
        spliced: the columns of JSON texts that go into `data` unparsed.
    """

    tasks: Texts
    problems: Texts
    keys: Texts
    contents: Texts
    spliced: Sequence[Texts]

    @classmethod
    def of(cls, columns: Sequence[Texts]) -> EncodedBatch:
        """Name the columns of encoded rows, which come in this order."""
        tasks, problems, keys, contents, *spliced = columns
        return cls(tasks, problems, keys, contents, spliced)

    def rows(self) -> Iterator[EncodedRow]:
        """Yield row by row."""
        spliced = zip(*self.spliced, strict=True) if self.spliced else [()] * len(self.tasks)
        return starmap(EncodedRow, zip(self.tasks, self.problems, self.keys, self.contents, spliced, strict=True))


class EncodedRow(NamedTuple):
    """One row of an `EncodedBatch`."""

    task: bytes | None
    problem: bytes | None
    key: bytes | None
    content: bytes | None
    spliced: Sequence[bytes | None]
