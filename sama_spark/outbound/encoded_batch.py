"""Encoded rows on their way from `encode` or `encode_values` to `cut`: what they share, and their columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sama_spark.outbound.outputs import TextCheck

Texts = Sequence[bytes | None]
"""A column of JSON texts."""


@dataclass(frozen=True)
class Encoding:
    """What the encoded rows of a DataFrame share.

    Attributes:
        task_start: the JSON that all tasks begin with, up to the first part that differs from row to row.
        spliced: name and `TextCheck` of each column of JSON text that goes into `data` unparsed, in column order.
        output_rules: for each output, how its values travel and why.
        columns: for each column, what becomes of it.
    """

    task_start: bytes
    spliced: tuple[tuple[str, TextCheck], ...]
    output_rules: Mapping[str, str]
    columns: Mapping[str, str]


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
