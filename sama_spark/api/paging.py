"""How a list that moves while it is read is read to its end: nothing lost, nothing twice.

Rules: a short page says nothing, only an empty page ends a list; tasks that come again and again are an error; a task
without an id is known by its text; every scan is bounded.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from sama_spark.api.sama_errors import of_sama
from sama_spark.api.task_text import Page, TaskText, without_links
from sama_spark.http.call_errors import InvalidResponse

FetchPage = Callable[[int], Page]
"""Fetches a page by its number, from 1."""
FetchFrom = Callable[["str | None", int], Page]
"""Fetches a page of what was delivered from a timestamp on, by its number."""

MAX_PAGES = 1_000_000
MAX_PASSES = 50
# The same page twice, or pages of what was seen, can be a list that grew at its front meanwhile; more often it is a
# server's fault. A list that grew gives no more pages of what was seen than it gave with something new.
_SAME_PAGES = 3
_KNOWN_PAGES = 8
_REMEMBERED = 100_000  # tasks
# So many passes in a row without anything new are taken for the whole, though the list still shrinks.
_QUIET_PASSES = 3

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)")


class OrderUnproven(Exception):
    """The list is not seen to ascend by delivered_at, or `from` is not seen to include its bound."""


def _marks_by_delivery(page: Page) -> list[int]:
    return [hash((_id_of(task), str(task.delivered_at))) for task in page]


def _marks_by_id(page: Page) -> list[int]:
    return [hash(_id_of(task)) for task in page]


def _id_of(task: TaskText) -> str | int | bytes:
    """What a task is known by, also one without an id."""
    return without_links(task) if task.id is None else task.id


def sort_key(timestamp: Any) -> str | None:
    """A text that sorts as the UTC timestamp does; None where that is not plain to see."""
    match = _TIMESTAMP.fullmatch(timestamp) if isinstance(timestamp, str) else None
    return match[1] + (match[2] or "").ljust(9, "0") if match else None


class _Repeats:
    """Notices a server that gives what it has given in this pass, over and over."""

    def __init__(self) -> None:
        self._last: list[int] = []
        self._same = self._known = self._fresh = 0
        # Two halves of what was seen lately: memory does not grow with the list.
        self._seen: set[int] = set()
        self._seen_before: set[int] = set()

    def check(self, page: Page) -> None:
        # By id and time, since links are signed anew at every reading.
        marks = _marks_by_delivery(page)
        self._same = self._same + 1 if marks == self._last else 1
        self._last = marks
        known = all(mark in self._seen or mark in self._seen_before for mark in marks)
        self._known = self._known + 1 if known else 0
        self._fresh += not known
        if self._same >= _SAME_PAGES or self._known >= max(_KNOWN_PAGES, self._fresh + 1):
            raise of_sama(InvalidResponse)(
                "the server gives the same tasks again and again, whatever page is asked for"
            )
        self._seen.update(marks)
        if len(self._seen) > _REMEMBERED:
            self._seen, self._seen_before = set(), self._seen


def number_pages(fetch: FetchPage, first: int = 1) -> Iterator[Page]:
    """Pages `first`, `first` + 1, ... until an empty one."""
    repeats = _Repeats()
    for number in range(first, first + MAX_PAGES):
        page = fetch(number)
        if not page:
            return
        repeats.check(page)
        yield page
    raise of_sama(InvalidResponse)(f"the list did not end after {MAX_PAGES:,} pages")


def cursor_pages(fetch: Callable[[], Page]) -> Iterator[Page]:
    """Pages of a cursor that the server moves, until an empty one; each is yielded before the next call."""
    return number_pages(lambda _: fetch())


def scan_by_number(
    fetch: FetchPage,
    *,
    marks: Callable[[Page], list[int]] = _marks_by_id,
    seen: set[int] | None = None,
) -> Iterator[Page]:
    """Read a list by page number, again and again until a pass shows that nothing slipped through.

    What leaves the list shifts all that is behind it to earlier places, so a row can be passed by unseen.
    So it is read until a pass finds nothing new and nothing gone, or three passes in a row find nothing new.
    For a list of one page, page 1 once more is enough.
    """
    seen = set() if seen is None else seen
    before = _Pass()
    quiet = 0
    for _ in range(MAX_PASSES):
        this = _Pass()
        for page in number_pages(fetch):
            found = marks(page)
            this.add(found)
            fresh = []
            for task, mark in zip(page, found, strict=True):
                if mark not in seen:
                    seen.add(mark)
                    fresh.append(task)
            this.new += len(fresh)
            if fresh:
                yield fresh
            if this.pages == 1 and this.same_as(before):
                return
        quiet = 0 if this.new else quiet + 1
        if not this.pages or this.same_as(before) or quiet >= _QUIET_PASSES:
            return
        before = this
    raise of_sama(InvalidResponse)(
        f"the list still changed after {MAX_PASSES} passes", remedy="Narrow the filters, or read it later."
    )


def scan_status(fetch: FetchPage) -> Iterator[Page]:
    """Each task of the status list once, as it was first seen."""
    return scan_by_number(fetch)


def scan_delivered(fetch: FetchFrom, start: str | None) -> Iterator[Page]:
    """Each delivery (id and delivered_at) once.

    While pages ascend by delivered_at, always page 1 from the last timestamp on, which no shift can upset. A
    list in another order can look like that for a while, so at the end its length is checked by page number.
    Where the order does not prove, the list is read by page number, in passes.
    """
    yielded = array("q")
    with suppress(OrderUnproven):
        yield from _scan_ascending(fetch, start, yielded)
        return
    yield from scan_by_number(lambda page: fetch(start, page), marks=_marks_by_delivery, seen=set(yielded))


def _scan_ascending(fetch: FetchFrom, start: str | None, yielded: array[int]) -> Iterator[Page]:
    """Windows: from a timestamp on, page by page until a later timestamp shows up, which starts the next."""
    window = _Window(start)
    for _ in range(MAX_PAGES):
        yield from _scan_window(fetch, window, yielded)
        if not window.moves_on:
            break
        window = window.next()
    else:
        raise of_sama(InvalidResponse)("the list of deliveries does not end")
    if yielded:
        # The page that holds the list's last rows, if it holds no more than those that were seen.
        page = fetch(start, len(yielded) // window.page_rows + 1)
        keys = [sort_key(task.delivered_at) or "" for task in page]
        if sum(key <= window.last_key for key in keys) > len(yielded) % window.page_rows:
            raise OrderUnproven


def _scan_window(fetch: FetchFrom, window: _Window, yielded: array[int]) -> Iterator[Page]:
    before = _Pass()
    for _ in range(MAX_PASSES):
        this = window.new_pass()
        for page in number_pages(lambda number: fetch(window.bound, number)):
            fresh, marks = window.take(page)
            yielded.extend(marks)
            if fresh:
                yield fresh
            if window.moves_on or (this.pages == 1 and this.same_as(before)):
                break
        if not this.pages and window.at_bound:
            raise OrderUnproven
        # One page that moves on is a snapshot in itself, and so is one with room for more.
        snapshot = this.pages <= 1 and (window.moves_on or this.rows < window.page_rows)
        if snapshot or this.same_as(before):
            return
        before = this
    raise OrderUnproven


class _Pass:
    """What one pass over a list saw, to compare it with the next."""

    def __init__(self) -> None:
        self.pages = self.rows = self.new = 0
        self._total = 0

    def add(self, marks: list[int]) -> None:
        self.pages += 1
        self.rows += len(marks)
        self._total += sum(marks)

    def same_as(self, before: _Pass) -> bool:
        """True if nothing is new and nothing gone; of a first page, if it was the whole list before."""
        return not self.new and (self.pages, self.rows, self._total) == (
            before.pages,
            before.rows,
            before._total,
        )


class _Window:
    """The deliveries from one timestamp on, up to a page that goes beyond it.

    Attributes:
        bound: the timestamp as the server wrote it.
        at_bound: marks and sort keys of the rows from this timestamp on that were read before.
        last, last_key: the timestamp of the window to come.
        page_rows: the most rows that a page has had.
    """

    def __init__(
        self,
        bound: str | None,
        bound_key: str | None = None,
        at_bound: dict[int, str] | None = None,
        page_rows: int = 1,
    ) -> None:
        self.bound = bound
        self._bound_key = bound_key
        self.at_bound = at_bound or {}
        self.page_rows = page_rows
        self._seen = dict(self.at_bound)
        self.new_pass()

    def new_pass(self) -> _Pass:
        self._first_key: str | None = None
        self.last: Any = None
        self.last_key = ""
        self._pass = _Pass()
        return self._pass

    def next(self) -> _Window:
        at_bound = {mark: key for mark, key in self._seen.items() if key >= self.last_key}
        return _Window(self.last, self.last_key, at_bound, self.page_rows)

    @property
    def moves_on(self) -> bool:
        return self._first_key is not None and self.last_key > self._first_key

    def take(self, page: Page) -> tuple[Page, list[int]]:
        """The page's rows that are new, and their marks, once it is clear that the page is in order."""
        self.page_rows = max(self.page_rows, len(page))
        keys = [sort_key(task.delivered_at) for task in page]
        if None in keys or keys != sorted(keys) or keys[0] < self.last_key:  # type: ignore[type-var, operator]
            raise OrderUnproven
        if self._first_key is None:
            self._first_key = keys[0]
            # The row that set the bound has to come again, or `from` may leave out its equals.
            if self._bound_key not in (None, keys[0]):
                raise OrderUnproven
        marks = _marks_by_delivery(page)
        fresh, fresh_marks = [], []
        for task, key, mark in zip(page, keys, marks, strict=True):
            if key != self.last_key:
                self.last, self.last_key = task.delivered_at, key or ""
            if mark not in self._seen:
                self._seen[mark] = self.last_key
                fresh_marks.append(mark)
                fresh.append(task)
        self._pass.add(marks)
        self._pass.new += len(fresh)
        return fresh, fresh_marks
