"""A colour for each label, the same in every picture: told apart also by those who do not see all colours."""

from __future__ import annotations

from zlib import crc32

# Okabe and Ito's, then such of Tol's as differ from them.
PALETTE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#332288",
    "#882255",
    "#999933",
    "#44AA99",
    "#DDCC77",
)
_FIRST = 7
GREY = "#8A8F98"

_given: dict[str, str] = {}


def colour_of(label: str) -> str:
    """The label's colour: by its name, or the next one where another label of this process has that already."""
    if label not in _given:
        start = crc32(label.encode()) % _FIRST
        wanted = PALETTE[start:_FIRST] + PALETTE[:start] + PALETTE[_FIRST:]
        free = [colour for colour in wanted if colour not in _given.values()]
        if not free:
            return PALETTE[crc32(label.encode()) % len(PALETTE)]
        _given[label] = free[0]
    return _given[label]


def is_light(colour: str) -> bool:
    """Whether black is read better on it than white."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140
