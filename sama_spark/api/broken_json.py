"""Broken JSON, taken apart by its strings and brackets alone.

The functions walk through bytes without recursion, so that neither depth nor rubbish stops them. They are slower than
the strict parser, and get only what that parser rejects.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_QUOTE_OR_BRACKET = re.compile(rb'["\[\]{}]')
# A list or an object of plain values, or a string without escapes, is one step.
_PLAIN = rb'[^\[\]{}"\\]*(?:"[^\[\]{}"\\]*"[^\[\]{}"\\]*)*'
_STEP = re.compile(rb'\[%b\]|\{%b\}|"[^"\\]*"|["\[\]{}]' % (_PLAIN, _PLAIN))
_SCALAR = re.compile(rb'[^\s,:\[\]{}"]+')
_COLON = re.compile(rb"\s*:\s*")
NAME = re.compile(rb',\s*("[^"\\]*")\s*:')
# What follows the end of a task. JSON does not allow `{` there, but it shows where the next task begins.
SEPARATOR = re.compile(rb"\s*[,{}\]]")
_BLANK = re.compile(rb"[\s,]*")
SPACE = re.compile(rb"\s*")
# Before an object, where JSON allows none: there the next task may begin.
NEXT = re.compile(rb'[^:\[\s]\s*(?=\{\s*")')
_OPENED = {ord("}"): ord("{"), ord("]"): ord("[")}
_QUOTE, _OBJECT = b'"{'

_anything = msgspec.json.Decoder()


def members(text: bytes) -> dict[str, tuple[int, int]]:
    """Return where the values of an object's members are, as far as they can be found. The last of a name counts."""
    found: dict[str, tuple[int, int]] = {}
    at = text.find(b"{") + 1
    while at and text[(quote := behind(_BLANK, text, at)) : quote + 1] == b'"':
        name_end = _string_end(text, quote + 1)
        colon = _COLON.match(text, name_end) if name_end else None
        end = value_end(text, colon.end()) if colon else None
        if colon is None or end is None:
            break
        found[without_surrogates(str(lenient(text[quote:name_end])))] = (colon.end(), end)
        at = behind(SPACE, text, end)
        if text[at : at + 1] == b"}":
            break
        if text[at : at + 1] != b",":  # what was read is no value, as in 0x1F or "a"b"
            following = NAME.search(text, end)
            at = following.start() if following else 0
    return found


def elements(text: bytes) -> list[tuple[int, int]] | None:
    """Return where the elements of an array are; None for an array whose elements cannot be found."""
    found = []
    at = behind(_BLANK, text, text.find(b"[") + 1)
    while text[at : at + 1] != b"]":
        end = value_end(text, at)
        if end is None or not SEPARATOR.match(text, end):
            return None
        found.append((at, end))
        at = behind(_BLANK, text, end)
    return found


def without_surrogates(text: str) -> str:
    """Return the text with U+FFFD in place of half a surrogate pair, which UTF-8 cannot hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def lenient(text: bytes) -> Any:
    """Return the value of a JSON text, also with NaN, half a surrogate pair or control characters; else the text."""
    try:
        return _anything.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        shown = text.decode(errors="replace")
    try:
        return json.loads(shown, strict=False)
    except (ValueError, RecursionError):
        return shown


def member_start(body: bytes, name: str) -> int | None:
    """Return where the value of this member of the outermost object begins."""
    named = b'"%b"' % name.encode()
    depth = at = 0
    while match := _QUOTE_OR_BRACKET.search(body, at):
        at = match.end()
        if body[at - 1] == _QUOTE:
            begin, at = at - 1, _string_end(body, at) or len(body)
            colon = _COLON.match(body, at) if depth == 1 and body[begin:at] == named else None
            if colon is not None:
                return colon.end()
        else:
            depth += 1 if body[at - 1] in _OPENED.values() else -1
    return None


def value_end(text: bytes, start: int) -> int | None:
    """Return where a value ends that begins at `start`; None for a value without an end."""
    first = text[start : start + 1]
    if first in (b"{", b"["):
        return extent(text, start)
    if first == b'"':
        return _string_end(text, start + 1)
    scalar = _SCALAR.match(text, start)
    return scalar.end() if scalar else None


def extent(text: bytes, start: int, suspects: list[int] | None = None) -> int | None:
    """Return where an object or list ends; None where its brackets do not match, or there is no end.

    Append to `suspects` the places of what looks like an object where no object can be.
    """
    stack = bytearray()
    at = start
    while match := _STEP.search(text, at):
        begin, at = match.span()
        first = text[begin]
        if first == _QUOTE:
            end = at if at > begin + 1 else _string_end(text, at)
            if end is None:
                return None
            if suspects is not None:
                suspects += [found.end() for found in NEXT.finditer(text, begin, end)]
            at = end
        elif first in _OPENED:
            if stack.pop() != _OPENED[first]:
                return None
        else:
            if suspects is not None and stack and stack[-1] == first == _OBJECT and not _is_value(text, begin):
                suspects.append(begin)
            if at == begin + 1:
                stack.append(first)
        if not stack:
            return at
    return None


def _is_value(text: bytes, at: int) -> bool:
    """Return True if a colon precedes this place."""
    while text[at - 1 : at].isspace():
        at -= 1
    return text[at - 1 : at] == b":"


def _string_end(text: bytes, start: int) -> int | None:
    """Return the place behind the closing quote of a string whose first byte is at `start`."""
    while (quote := text.find(b'"', start)) >= 0:
        first = quote
        while text[first - 1] == ord("\\"):
            first -= 1
        if (quote - first) % 2 == 0:
            return quote + 1
        start = quote + 1
    return None


def behind(what: re.Pattern[bytes], text: bytes, at: int) -> int:
    """Return the place behind a match at `at`, or `at` without a match."""
    found = what.match(text, at)
    return found.end() if found else at
