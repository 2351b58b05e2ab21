"""Which rows of a run an outbox knows already, by piece and position."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sama_spark.outbound.outbox.ledger import Found

_Places = defaultdict[int, set[int]]
"""Positions by piece."""


def _places() -> _Places:
    return defaultdict(set)


@dataclass
class KnownRows:
    """Rows that stand in the outbox. `resend_changed`: those with other content do not count."""

    resend_changed: bool = False
    batch_ids: set[int] = field(default_factory=set)
    _same: _Places = field(default_factory=_places)
    _other: _Places = field(default_factory=_places)
    _unsure: _Places = field(default_factory=_places)

    def add(self, found: Found, *, unsure: bool) -> None:
        """Take in what a look-up has found; `unsure`: that nobody can tell what became of the batch."""
        (self._same if found.same else self._other)[found.piece].update(found.positions)
        if unsure:
            self._unsure[found.piece].update(found.positions)
        self.batch_ids.add(found.batch_id)

    def within(self, piece: int) -> set[int]:
        """The positions in a piece that are not to be sent again."""
        return self._same[piece] if self.resend_changed else self._same[piece] | self._other[piece]

    def changed(self) -> Iterator[tuple[int, int]]:
        """Piece and position of each row that was sent with other content only, in order."""
        for piece, places in sorted(self._other.items()):
            yield from ((piece, place) for place in sorted(places - self._same[piece]))

    @property
    def count(self) -> int:
        return sum(len(self.within(piece)) for piece in {*self._same, *self._other})

    @property
    def changed_count(self) -> int:
        return sum(1 for _ in self.changed())

    @property
    def unsure_count(self) -> int:
        return sum(map(len, self._unsure.values()))
