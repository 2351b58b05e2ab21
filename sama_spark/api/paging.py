"""Reads lists to the end although tasks move between pages: nothing lost, nothing twice.

Only an empty page ends a list, and a short page says nothing. A server that repeats the same tasks without end is an
error. A task without an id is known by its text. Every scan is bounded.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sama_spark.api.sama_errors import of_sama
from sama_spark.api.task_text import Page, TaskText, without_links
from sama_spark.http.call_errors import InvalidResponse

# Fetches a page by its number, from 1. Where the server moves a cursor, the number says nothing.
FetchPage = Callable[[int], Page]
# Fetches a page of the deliveries from a timestamp on, by its number.
FetchFrom = Callable[["str | None", int], Page]

MAX_PAGES = 1_000_000
MAX_PASSES = 50
# A page that comes twice, or holds nothing new, can mean that the list grew at its front meanwhile; more often the
# server is at fault. In a list that merely grew, pages with nothing new never outnumber the others.
_SAME_PAGES = 3
_KNOWN_PAGES = 8
_REMEMBERED = 100_000  # tasks
# After so many passes in a row without anything new the scan ends, though the list still shrinks.
_QUIET_PASSES = 3

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)")


class OrderUnproven(Exception):
    """The list cannot be read by time: not sorted by delivered_at, or the server treats `from` as exclusive."""


def _by_delivery(page: Page) -> list[int]:
    return [hash((_id_of(task), str(task.delivered_at))) for task in page]


def _by_id(page: Page) -> list[int]:
    return [hash(_id_of(task)) for task in page]


def _id_of(task: TaskText) -> str | int | bytes:
    """Return what a task is known by: its id, or its text if it has none."""
    return without_links(task) if task.id is None else task.id


def sort_key(timestamp: Any) -> str | None:
    """Return a text that sorts as the timestamp does; None for any value but RFC 3339 text in UTC, such as "...Z"."""
    match = _TIMESTAMP.fullmatch(timestamp) if isinstance(timestamp, str) else None
    return match[1] + (match[2] or "").ljust(9, "0") if match else None


class _Repeats:
    """Notices, within one pass, a server that gives the same tasks over and over."""

    def __init__(self) -> None:
        self._last: list[int] = []
        self._same = self._known = self._fresh = 0
        # The tasks seen lately, in two halves: memory does not grow with the list.
        self._seen: set[int] = set()
        self._seen_before: set[int] = set()

    def check(self, page: Page) -> None:
        # By id and time, since links are signed anew at every reading.
        identities = _by_delivery(page)
        self._same = self._same + 1 if identities == self._last else 1
        self._last = identities
        known = all(identity in self._seen or identity in self._seen_before for identity in identities)
        self._known = self._known + 1 if known else 0
        self._fresh += not known
        if self._same >= _SAME_PAGES or self._known >= max(_KNOWN_PAGES, self._fresh + 1):
            raise of_sama(InvalidResponse)(
                "the server gives the same tasks again and again, whatever page is asked for"
            )
        self._seen.update(identities)
        if len(self._seen) > _REMEMBERED:
            self._seen, self._seen_before = set(), self._seen


def number_pages(fetch: FetchPage, first: int = 1) -> Iterator[Page]:
    """Yield pages `first`, `first` + 1, ... until an empty one. Each page is yielded before the next call."""
    repeats = _Repeats()
    for number in range(first, first + MAX_PAGES):
        page = fetch(number)
        if not page:
            return
        repeats.check(page)
        yield page
    raise of_sama(InvalidResponse)(f"the list did not end after {MAX_PAGES:,} pages")


def scan_by_number(
    fetch: FetchPage,
    *,
    identify: Callable[[Page], list[int]] = _by_id,
    seen: set[int] | None = None,
) -> Iterator[Page]:
    """Yield each task of a list once, as it was first seen: read the list again until a pass misses nothing.

    When a task leaves the list, all tasks behind it move to earlier places, and one that moves from an unread page to a
    read page is missed. So the list is read until a pass finds nothing new and nothing gone, or until three passes in a
    row find nothing new. A list of one page is read once more.

    Args:
        fetch: fetches a page.
        identify: returns the identity of each task of a page. Equal identities are the same task.
        seen: the identities of tasks that were yielded before.

    Raises:
        InvalidResponse: the list does not come to rest, does not end or repeats itself.
    """
    seen = set() if seen is None else seen
    before = _Pass()
    quiet = 0
    for _ in range(MAX_PASSES):
        this = _Pass()
        for page in number_pages(fetch):
            identities = identify(page)
            fresh = []
            for task, identity in zip(page, identities, strict=True):
                if identity not in seen:
                    seen.add(identity)
                    fresh.append(task)
            this.add(identities, len(fresh))
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


def scan_delivered(fetch: FetchFrom, start: str | None) -> Iterator[Page]:
    """Yield each delivery (id and delivered_at) once: by time where the list is sorted by time, else by page number.

    Args:
        fetch: fetches a page of the deliveries from a timestamp on.
        start: the first timestamp, None for all deliveries.

    Raises:
        InvalidResponse: the list does not come to rest, does not end or repeats itself.
    """
    yielded = array("q")
    with suppress(OrderUnproven):
        yield from _scan_by_time(fetch, start, yielded)
        return
    yield from scan_by_number(lambda page: fetch(start, page), identify=_by_delivery, seen=set(yielded))


@dataclass(frozen=True)
class Bound:
    """The time up to which all deliveries were read.

    Attributes:
        timestamp: as the server wrote it, or the caller for the first window; None for the beginning of the list.
        key: the sort key of `timestamp`, None for the first window.
        seen: identities and sort keys of the deliveries of that time, or later, that were read.
    """

    timestamp: Any
    key: str | None = None
    seen: Mapping[int, str] = field(default_factory=dict)


def _scan_by_time(fetch: FetchFrom, start: str | None, yielded: array[int]) -> Iterator[Page]:
    """Yield deliveries in windows: from a bound, page by page, until a page has a later time, which is the next bound.

    When a window begins, every delivery before its bound was yielded. One exception: a task that was delivered again
    has left its place, and comes later in the list. `bound.seen` has the deliveries at the bound that were yielded.

    A window of one page is safe, whatever moves: page 1 begins at the bound, wherever that is in the list by now. Only
    where one time fills whole pages, the window needs more pages, which can shift between two calls; then it is read
    until two passes see the same. With pages of three, deliveries a1 and a2 at time a, and so on:

        list          a1 a2 b1 b2 b3 c1
        from start    [a1 a2 b1]             has a and b: the next bound is b, b1 was seen
        from b        [b1 b2 b3] [c1]        two pages, so once more: the same. The next bound is c, c1 was seen
        from c        [c1] []                has room for more and nothing later: the end

    A list in another order can look sorted for a while, so at the end its length is checked by page number. Append the
    identities of all deliveries to `yielded`.
    """
    bound, seen, page_rows = Bound(start), dict[int, str](), 1
    before, passes = _TimedPass(), 0
    for _ in range(MAX_PAGES):
        this = _TimedPass()
        for page in number_pages(partial(fetch, bound.timestamp)):
            page_rows = max(page_rows, len(page))
            fresh = this.take(page, bound, seen)
            yielded.extend(fresh)
            if fresh:
                yield list(fresh.values())
            if this.moves_on or (this.pages == 1 and this.same_as(before)):
                break
        if not this.pages and bound.seen:
            raise OrderUnproven
        # Such a window was answered by one reply, so nothing can have moved within it.
        is_one_moment = this.pages <= 1 and (this.moves_on or this.rows < page_rows)
        if not is_one_moment and not this.same_as(before):
            before, passes = this, passes + 1
            if passes == MAX_PASSES:
                raise OrderUnproven
        elif this.moves_on:
            bound = this.next_bound(seen)
            before, passes, seen = _TimedPass(), 0, dict(bound.seen)
        else:
            _check_length(fetch, start, len(yielded), page_rows, this.last_key)
            return
    raise of_sama(InvalidResponse)("the list of deliveries does not end")


def _check_length(fetch: FetchFrom, start: str | None, count: int, page_rows: int, last_key: str) -> None:
    """Raise OrderUnproven if the page that should be the last one has more deliveries than were read."""
    if count:
        keys = [sort_key(task.delivered_at) or "" for task in fetch(start, count // page_rows + 1)]
        if sum(key <= last_key for key in keys) > count % page_rows:
            raise OrderUnproven


class _Pass:
    """What one pass over a list has seen, to compare it with the next."""

    def __init__(self) -> None:
        self.pages = self.rows = self.new = 0
        self._total = 0

    def add(self, identities: list[int], new: int) -> None:
        """Count a page with `new` tasks that no pass has seen before."""
        self.pages += 1
        self.rows += len(identities)
        self.new += new
        self._total += sum(identities)

    def same_as(self, before: _Pass) -> bool:
        """Return True if this pass has seen exactly the tasks of `before`, so far."""
        return not self.new and (self.pages, self.rows, self._total) == (before.pages, before.rows, before._total)


class _TimedPass(_Pass):
    """A pass over a window, whose pages have to be sorted by time.

    Attributes:
        last, last_key: the latest time so far, as the server wrote it, and its sort key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: Any = None
        self.last_key = ""
        self._first_key = ""

    @property
    def moves_on(self) -> bool:
        """True once there is a later time than that of the first delivery."""
        return self.last_key > self._first_key

    def take(self, page: Page, bound: Bound, seen: dict[int, str]) -> dict[int, TaskText]:
        """Return the deliveries of a page that are not in `seen`, by their identities, and add them to `seen`.

        Raises:
            OrderUnproven: the page is not sorted by time, or does not go on where the page before ended.
        """
        keys = [sort_key(task.delivered_at) or "" for task in page]
        if "" in keys or keys != sorted(keys) or keys[0] < self.last_key:
            raise OrderUnproven
        if not self.pages:
            self._first_key = keys[0]
            # The delivery that set the bound has to come again, or `from` may leave out others of the same time.
            if bound.key not in (None, keys[0]):
                raise OrderUnproven
        self.last, self.last_key = page[-1].delivered_at, keys[-1]
        identities = _by_delivery(page)
        fresh: dict[int, TaskText] = {}
        for task, identity, key in zip(page, identities, keys, strict=True):
            if identity not in seen:
                seen[identity] = key
                fresh[identity] = task
        self.add(identities, len(fresh))
        return fresh

    def next_bound(self, seen: Mapping[int, str]) -> Bound:
        """Return the latest time as the next bound."""
        return Bound(self.last, self.last_key, {task: key for task, key in seen.items() if key >= self.last_key})
