"""Takes JSON apart that a strict parser refuses: where its values begin and end, by strings and brackets alone.

All of it walks through bytes without recursion, so that neither depth nor rubbish stops it. It is slower than the
strict parser, and only what that one refuses comes here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Set
from typing import Any

import msgspec

_MARK = re.compile(rb'["\[\]{}]')
# A list or an object of plain values, or a string without escapes, is one step.
_PLAIN = rb'[^\[\]{}"\\]*(?:"[^\[\]{}"\\]*"[^\[\]{}"\\]*)*'
_STEP = re.compile(rb'\[%b\]|\{%b\}|"[^"\\]*"|["\[\]{}]' % (_PLAIN, _PLAIN))
_SCALAR = re.compile(rb'[^\s,:\[\]{}"]+')
_COLON = re.compile(rb"\s*:\s*")
_NAME = re.compile(rb',\s*("[^"\\]*")\s*:')
_ANY_NAME = re.compile(rb'("[^"\\]*")\s*:')
# What may stand behind a task in a list; also what should not, but tells where the next one begins.
_SEPARATOR = re.compile(rb"\s*[,{}\]]")
_LIST_END = re.compile(rb'\]\s*(?:\}|,\s*["}])')
# What may follow a whole reply without harm, such as a NUL: it holds no value.
_TAIL = re.compile(rb'[^{}\[\]"]*')
_FOLLOWED = re.compile(rb"\s*[,{]")
_BETWEEN = re.compile(rb"[\s,}\]]*")
_STRAY = re.compile(rb"[\s}\]]*")
_BLANK = re.compile(rb"[\s,]*")
_SPACE = re.compile(rb"\s*")
_NEXT = re.compile(rb'[^:\[\s]\s*(?=\{\s*")')
_OPENED = {ord("}"): ord("{"), ord("]"): ord("[")}
_QUOTE, _OBJECT, _LIST = b'"{['
# Some of these stand beside the id of each task; with them it is told from a shape that has an id.
_OF_TASKS = {"project_id", "batch_id", "state", "delivered_at", "created_at", "data", "answers", "priority"}
_READ_AGAIN = 10  # times the length of a page, at the most
_GLANCE = 1024  # bytes at the beginning of a task, which mostly tell that it is one
_BYTES_A_GLANCE = 4  # so many bytes of a page allow for one glance
_LAST = 100  # brackets that are tried

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything = msgspec.json.Decoder()


class NoExtents(Exception):
    """It is broken off, or nothing in it can be told apart."""


def split_list(body: bytes, name: str) -> tuple[bytes, list[bytes]]:
    """The elements of the list that is the member `name` of the object `body`, and `body` without them.

    An element that is JSON comes to the byte. One in which strings or brackets are broken reaches to where the next
    task begins.

    Raises:
        NoExtents: there is no such list, no end of it, or another of that name.
    """
    start = _member(body, name)
    if start is None or body[start : start + 1] != b"[":
        raise NoExtents(f"no list `{name}`")
    start += 1
    splitter = _Splitter(body)
    found = [body[begin:end] for begin, end in splitter.elements(start)]
    around = body[:start] + body[splitter.list_end :]
    first, last = members(around).get(name, (start - 1, start + 1))
    if around[first:last] != b"[]":
        raise NoExtents(f"`{name}` comes twice")
    return around, found


def split_member(body: bytes, name: str) -> tuple[bytes, bytes]:
    """The value of the member `name` of the object `body`, and `body` with null in its place.

    Raises:
        NoExtents: there is no such member, or no end of it.
    """
    start = _member(body, name)
    closing = body.rstrip()[-1:]
    if start is None or closing != b"}":
        raise NoExtents(f"no member `{name}`")
    end = _value_end(body, start)
    if end is None or not _SEPARATOR.match(body, end):
        end = len(body.rstrip()) - 1
    return body[:start] + b"null" + body[end:], body[start:end].rstrip()


def members(text: bytes) -> dict[str, tuple[int, int]]:
    """Where the values of an object's members stand, as far as they can be told apart. The last of a name counts."""
    found: dict[str, tuple[int, int]] = {}
    at = text.find(b"{") + 1
    while at and text[(quote := _behind(_BLANK, text, at)) : quote + 1] == b'"':
        name_end = _string_end(text, quote + 1)
        colon = _COLON.match(text, name_end) if name_end else None
        end = _value_end(text, colon.end()) if colon else None
        if colon is None or end is None:
            break
        found[plain(str(lenient(text[quote:name_end])))] = (colon.end(), end)
        at = _behind(_SPACE, text, end)
        if text[at : at + 1] == b"}":
            break
        if text[at : at + 1] != b",":  # it makes the value none, as in 0x1F or "a"b"
            following = _NAME.search(text, end)
            at = following.start() if following else 0
    return found


def elements(text: bytes) -> list[tuple[int, int]] | None:
    """Where the elements of an array stand; None where they cannot be told apart."""
    found = []
    at = _behind(_BLANK, text, text.find(b"[") + 1)
    while text[at : at + 1] != b"]":
        end = _value_end(text, at)
        if end is None or not _SEPARATOR.match(text, end):
            return None
        found.append((at, end))
        at = _behind(_BLANK, text, end)
    return found


def plain(text: str) -> str:
    """The text with U+FFFD in place of half a surrogate pair, which UTF-8 cannot hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def lenient(text: bytes) -> Any:
    """The value of a JSON text, also of one with NaN, half a surrogate pair or control characters; else the text."""
    try:
        return _anything.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        shown = text.decode(errors="replace")
    try:
        return json.loads(shown, strict=False)
    except (ValueError, RecursionError):
        return shown


class _Splitter:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._left = _READ_AGAIN * len(body)
        self._glances = len(body) // _BYTES_A_GLANCE
        self.list_end = len(body)

    def elements(self, at: int) -> Iterator[tuple[int, int]]:
        """From and to where each element reaches. Sets `list_end`, the place of the list's closing bracket."""
        while True:
            begin = _behind(_BETWEEN, self._body, at)
            closing = self._body.find(b"]", at, begin)
            if closing >= 0 and self._ends_at(closing):
                self.list_end = closing
                return
            if begin == len(self._body):
                raise NoExtents("the list has no end")
            at = self._end(begin)
            yield begin, at

    def _ends_at(self, bracket: int) -> bool:
        """Whether the rest is what may follow the list."""
        if not _LIST_END.match(self._body, bracket):
            return False
        rest = b"{" + self._body[bracket + 1 :]
        end = _extent(rest, 0)
        return end is not None and _TAIL.fullmatch(rest, end) is not None

    def _end(self, start: int) -> int:
        """Where the element that begins there ends."""
        body = self._body
        end = self._walked(start)
        fields = None if end is None else _fields(body[start:end])
        if fields is None:
            self._left -= (end or len(body)) - start
        if end is not None:
            is_last = self._ends_at(_behind(_SPACE, body, end))
            name = None if is_last else _NAME.match(body, _behind(_STRAY, body, end))
            # Members behind a task: a bracket too many has closed it too early, unless it has one of them already.
            if fields is not None and (name is None or fields & self._names(name)):
                return end
            if fields is None and name is None and (is_last or _FOLLOWED.match(body, end)):
                return self._cut(start, self._next(self._suspects(start, end)) or end)
        return self._cut(start, self._next_behind(start) or self._last_bracket(start))

    def _walked(self, start: int) -> int | None:
        """Return where the value ends. Once broken ones have cost much, look no further than the next task."""
        if self._left > 0:
            return _value_end(self._body, start)
        end = _value_end(self._body[start : self._next_behind(start)], 0)
        return None if end is None else start + end

    def _names(self, first: re.Match[bytes]) -> set[str]:
        """The names of members that stand there without a bracket before them, up to the next task."""
        found = self._next_behind(first.end() - 1)
        rest = self._body[first.start(1) : found]
        anywhere = {str(lenient(name)) for name in _ANY_NAME.findall(rest)} & _OF_TASKS
        return {str(lenient(first[1])), *members(b"{" + rest), *anywhere}

    def _suspects(self, start: int, end: int) -> Iterable[int]:
        """Where tasks may begin in an element that is none and seems to end there."""
        if self._body[start] == _LIST:
            return (match.end() for match in _NEXT.finditer(self._body, start, end))
        suspects: list[int] = []
        if self._body[start] == _OBJECT:
            _extent(self._body, start, suspects)
        return suspects

    def _last_bracket(self, start: int) -> int:
        """The bracket that ends the list, seen from behind; some may stand in members that follow it."""
        found, bracket = None, len(self._body)
        for _ in range(_LAST):
            bracket = self._body.rfind(b"]", start, bracket)
            if bracket >= 0 and self._ends_at(bracket):
                found = bracket
            elif bracket < 0 or found is not None:
                break
        if found is None:
            raise NoExtents("the list has no end")
        return found

    def _cut(self, start: int, end: int) -> int:
        """Before what separates two elements."""
        return start + len(self._body[start:end].rstrip().removesuffix(b",").rstrip())

    def _next_behind(self, start: int) -> int | None:
        return self._next(match.end() for match in _NEXT.finditer(self._body, start + 1))

    def _next(self, suspects: Iterable[int]) -> int | None:
        """Return the first place at which a task begins. Its first members tell, or else all of them."""
        for at in suspects:
            self._glances -= 1
            if self._glances < 0:
                return None
            if _is_task(members(self._body[at : at + _GLANCE]).keys()):
                return at
            if self._left <= 0:
                continue
            end = _extent(self._body, at)
            self._left -= (end or len(self._body)) - at
            # One that is broken itself begins all the same where its members do.
            task = self._body[at:end]
            if _is_task(_fields(task) or members(task).keys()):
                return at
        return None


def _is_task(fields: Set[str]) -> bool:
    return "id" in fields and not _OF_TASKS.isdisjoint(fields)


def _fields(text: bytes) -> set[str] | None:
    """The names in an object; None where it is no object, or not valid."""
    try:
        return set(_object.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _member(body: bytes, name: str) -> int | None:
    """Where the value of this member of the outermost object begins."""
    named = b'"%b"' % name.encode()
    depth = at = 0
    while match := _MARK.search(body, at):
        at = match.end()
        if body[at - 1] == _QUOTE:
            begin, at = at - 1, _string_end(body, at) or len(body)
            colon = _COLON.match(body, at) if depth == 1 and body[begin:at] == named else None
            if colon is not None:
                return colon.end()
        else:
            depth += 1 if body[at - 1] in _OPENED.values() else -1
    return None


def _value_end(text: bytes, start: int) -> int | None:
    """Where a value ends that begins there; None where it does not end."""
    first = text[start : start + 1]
    if first in (b"{", b"["):
        return _extent(text, start)
    if first == b'"':
        return _string_end(text, start + 1)
    scalar = _SCALAR.match(text, start)
    return scalar.end() if scalar else None


def _extent(text: bytes, start: int, suspects: list[int] | None = None) -> int | None:
    """Where an object or list ends; None where its brackets do not match, or it does not end.

    `suspects` takes the places of what looks like an object where none can stand.
    """
    stack = bytearray()
    at = start
    while match := _STEP.search(text, at):
        begin, at = match.span()
        mark = text[begin]
        if mark == _QUOTE:
            end = at if at > begin + 1 else _string_end(text, at)
            if end is None:
                return None
            if suspects is not None:
                suspects += [found.end() for found in _NEXT.finditer(text, begin, end)]
            at = end
        elif mark in _OPENED:
            if stack.pop() != _OPENED[mark]:
                return None
        else:
            if suspects is not None and stack and stack[-1] == mark == _OBJECT and not _is_value(text, begin):
                suspects.append(begin)
            if at == begin + 1:
                stack.append(mark)
        if not stack:
            return at
    return None


def _is_value(text: bytes, at: int) -> bool:
    """Whether a colon stands before it."""
    while text[at - 1 : at].isspace():
        at -= 1
    return text[at - 1 : at] == b":"


def _string_end(text: bytes, start: int) -> int | None:
    """Behind the closing quote of a string whose first byte is there."""
    while (quote := text.find(b'"', start)) >= 0:
        first = quote
        while text[first - 1] == ord("\\"):
            first -= 1
        if (quote - first) % 2 == 0:
            return quote + 1
        start = quote + 1
    return None


def _behind(what: re.Pattern[bytes], text: bytes, at: int) -> int:
    """Behind what stands there, which may be nothing."""
    found = what.match(text, at)
    return found.end() if found else at
