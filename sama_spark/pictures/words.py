"""Makes texts safe for matplotlib: only characters that its fonts have, and no formulas."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, get_font

_BOX = "□"
_LONGEST_NAME = 24


def drawable(text: str) -> str:
    """Return the text with a stand-in for each character that no font has: `[automobile]` for an emoji, else a box."""
    known = _characters(tuple(FontProperties().get_family()))
    return "".join(c if c == "\n" or (ord(c) in known and c.isprintable()) else _stand_in(c) for c in text)


def escaped(text: str) -> str:
    """Return the text with `$` escaped, so that matplotlib reads no formula."""
    return text.replace("$", r"\$")


def shown(text: str) -> str:
    """Return the text ready to be drawn: `drawable` and `escaped`."""
    return escaped(drawable(text))


def _stand_in(character: str) -> str:
    kind, name = unicodedata.category(character), unicodedata.name(character, "").lower()
    if kind in ("Cf", "Mn", "Me", "Sk"):  # marks that change the character before them
        return ""
    if character.isspace():
        return " "
    return f"[{name}]" if kind == "So" and 0 < len(name) <= _LONGEST_NAME else _BOX


@lru_cache
def _characters(families: tuple[str, ...]) -> frozenset[int]:
    """Return the characters of the fonts of these families, or of DejaVu Sans if none of them is installed."""
    found = frozenset[int]().union(*map(_of_family, families))
    return found or _of_family("DejaVu Sans")


def _of_family(name: str) -> frozenset[int]:
    try:
        font = findfont(FontProperties(family=[name]), fallback_to_default=False)
    except ValueError:  # not installed; matplotlib skips it too
        return frozenset()
    return frozenset(get_font(font).get_charmap())
