"""A colour for each label, the same in every picture. Colour-blind people can tell these colours apart."""

from __future__ import annotations

from zlib import crc32

# The colours of Okabe and Ito, then those of Tol that differ from them.
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
    """Return the label's colour, which follows from its name; the next free one if another label has that already.

    Labels keep their colour as long as the process lives. When all colours are taken, labels share them.
    """
    if label not in _given:
        start = crc32(label.encode()) % _FIRST
        wanted = PALETTE[start:_FIRST] + PALETTE[:start] + PALETTE[_FIRST:]
        free = [colour for colour in wanted if colour not in _given.values()]
        if not free:
            return PALETTE[crc32(label.encode()) % len(PALETTE)]
        _given[label] = free[0]
    return _given[label]


def is_light(colour: str) -> bool:
    """Return whether black text is easier to read on this colour than white text."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140
