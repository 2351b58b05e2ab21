"""Replies with broken JSON, split into the tasks that they hold, so that one broken task does not cost the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set

import msgspec

from sama_spark.api.broken_json import (
    NAME,
    NEXT,
    SEPARATOR,
    SPACE,
    behind,
    extent,
    lenient,
    member_start,
    members,
    value_end,
)

_ANY_NAME = re.compile(rb'("[^"\\]*")\s*:')
_LIST_END = re.compile(rb'\]\s*(?:\}|,\s*["}])')
# What may follow a whole reply without harm, such as a NUL: text without a value.
_TAIL = re.compile(rb'[^{}\[\]"]*')
_FOLLOWED = re.compile(rb"\s*[,{]")
_BETWEEN = re.compile(rb"[\s,}\]]*")
_STRAY = re.compile(rb"[\s}\]]*")
# A task has an id and some of these; a shape may have an id, too, but none of these.
_OF_TASKS = {"project_id", "batch_id", "state", "delivered_at", "created_at", "data", "answers", "priority"}
_READ_AGAIN = 10  # times the length of a page, at the most
_GLANCE = 1024  # bytes at the beginning of a task, which mostly tell that it is one
_BYTES_A_GLANCE = 4  # so many bytes of a page allow for one glance
_LAST = 100  # brackets that are tried
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT, _LIST = b"{["


class NoExtents(Exception):
    """The text ends too early, or its parts cannot be found."""


def split_list(body: bytes, name: str) -> tuple[bytes, list[bytes]]:
    """Return `body`, an object, without the elements of its list `name`, and these elements.

    An element that is JSON is returned to the byte. An element with broken strings or brackets reaches to the beginning
    of the next task.

    Raises:
        NoExtents: there is no such list, it has no end, or there are two of that name.
    """
    start = member_start(body, name)
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
    """Return `body`, an object, with null in place of the value of its member `name`, and that value.

    Raises:
        NoExtents: there is no such member, or it has no end.
    """
    start = member_start(body, name)
    closing = body.rstrip()[-1:]
    if start is None or closing != b"}":
        raise NoExtents(f"no member `{name}`")
    end = value_end(body, start)
    if end is None or not SEPARATOR.match(body, end):
        end = len(body.rstrip()) - 1
    return body[:start] + b"null" + body[end:], body[start:end].rstrip()


class _Splitter:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._left = _READ_AGAIN * len(body)
        self._glances = len(body) // _BYTES_A_GLANCE
        self.list_end = len(body)

    def elements(self, at: int) -> Iterator[tuple[int, int]]:
        """Yield the begin and end of each element. Set `list_end`, the place of the list's closing bracket."""
        while True:
            begin = behind(_BETWEEN, self._body, at)
            closing = self._body.find(b"]", at, begin)
            if closing >= 0 and self._ends_at(closing):
                self.list_end = closing
                return
            if begin == len(self._body):
                raise NoExtents("the list has no end")
            at = self._end(begin)
            yield begin, at

    def _ends_at(self, bracket: int) -> bool:
        """Return True if the rest behind this bracket can follow the list."""
        if not _LIST_END.match(self._body, bracket):
            return False
        rest = b"{" + self._body[bracket + 1 :]
        end = extent(rest, 0)
        return end is not None and _TAIL.fullmatch(rest, end) is not None

    def _end(self, start: int) -> int:
        """Return where the element ends that begins at `start`."""
        body = self._body
        end = self._walked(start)
        fields = None if end is None else _fields(body[start:end])
        if fields is None:
            self._left -= (end or len(body)) - start
        if end is not None:
            is_last = self._ends_at(behind(SPACE, body, end))
            name = None if is_last else NAME.match(body, behind(_STRAY, body, end))
            # More members follow. If the task lacks the first of them, a surplus bracket closed the task too early.
            if fields is not None and (name is None or fields & self._names(name)):
                return end
            if fields is None and name is None and (is_last or _FOLLOWED.match(body, end)):
                return self._cut(start, self._next(self._suspects(start, end)) or end)
        return self._cut(start, self._next_behind(start) or self._last_bracket(start))

    def _walked(self, start: int) -> int | None:
        """Return where the value ends. After much work on broken tasks, look no further than the next task."""
        if self._left > 0:
            return value_end(self._body, start)
        end = value_end(self._body[start : self._next_behind(start)], 0)
        return None if end is None else start + end

    def _names(self, first: re.Match[bytes]) -> set[str]:
        """Return the names of members that have no bracket before them, up to the next task."""
        found = self._next_behind(first.end() - 1)
        rest = self._body[first.start(1) : found]
        anywhere = {str(lenient(name)) for name in _ANY_NAME.findall(rest)} & _OF_TASKS
        return {str(lenient(first[1])), *members(b"{" + rest), *anywhere}

    def _suspects(self, start: int, end: int) -> Iterable[int]:
        """Return where tasks may begin in an element that is no task and seems to end at `end`."""
        if self._body[start] == _LIST:
            return (match.end() for match in NEXT.finditer(self._body, start, end))
        suspects: list[int] = []
        if self._body[start] == _OBJECT:
            extent(self._body, start, suspects)
        return suspects

    def _last_bracket(self, start: int) -> int:
        """Return the bracket that ends the list, searched from the end; members behind the list may have some, too."""
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
        """Return the end of an element, before the comma that follows."""
        return start + len(self._body[start:end].rstrip().removesuffix(b",").rstrip())

    def _next_behind(self, start: int) -> int | None:
        return self._next(match.end() for match in NEXT.finditer(self._body, start + 1))

    def _next(self, suspects: Iterable[int]) -> int | None:
        """Return the first of these places at which a task begins, by its first members or else by all of them."""
        for at in suspects:
            self._glances -= 1
            if self._glances < 0:
                return None
            if _is_task(members(self._body[at : at + _GLANCE]).keys()):
                return at
            if self._left <= 0:
                continue
            end = extent(self._body, at)
            self._left -= (end or len(self._body)) - at
            # A task that is broken itself begins where its members begin.
            task = self._body[at:end]
            if _is_task(_fields(task) or members(task).keys()):
                return at
        return None


def _is_task(fields: Set[str]) -> bool:
    return "id" in fields and not _OF_TASKS.isdisjoint(fields)


def _fields(text: bytes) -> set[str] | None:
    """Return the names of an object's members; None for a text that is no valid object."""
    try:
        return set(_object.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
