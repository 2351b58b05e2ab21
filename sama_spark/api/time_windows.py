"""Reads deliveries in windows of time: what moves in the list meanwhile is neither lost nor read twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from sama_spark.api.paging import MAX_PAGES, MAX_PASSES, Pass, by_delivery, number_pages
from sama_spark.api.sama_errors import of_sama
from sama_spark.api.task_text import Page, TaskText
from sama_spark.http.call_errors import InvalidResponse

# Fetches a page of the deliveries from a timestamp on, by its number.
FetchFrom = Callable[["str | None", int], Page]

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)")


class OrderUnproven(Exception):
    """The list cannot be read by time: not sorted by delivered_at, or the server treats `from` as exclusive."""


class TimedTask(NamedTuple):
    """A delivery: the sort key of its time, what it is known by, and its task."""

    key: str
    identity: int
    task: TaskText


class Found(NamedTuple):
    """Deliveries that no window before has had, perhaps none.

    Attributes:
        deliveries: the deliveries, by time.
        until: sort key before which every delivery was yielded; `END` at the end of the list.
        ends_window: whether the next item begins a window, and so asks the server anew.
    """

    deliveries: list[TimedTask]
    until: str
    ends_window: bool


END = "~"  # later than any sort key


def sort_key(timestamp: Any) -> str | None:
    """Return a text that sorts as the timestamp does; None for any value but RFC 3339 text in UTC, such as "...Z"."""
    match = _TIMESTAMP.fullmatch(timestamp) if isinstance(timestamp, str) else None
    return match[1] + (match[2] or "").ljust(9, "0") if match else None


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


def window_of(page: Page) -> tuple[list[TimedTask], Bound]:
    """Return the deliveries of a page from the middle of the list, and the bound of the window that follows.

    Raises:
        OrderUnproven: the page is not sorted by time.
    """
    this, seen = _TimedPass(), dict[int, str]()
    return this.take(page, Bound(None), seen), this.next_bound(seen)


def windows(fetch: FetchFrom, bound: Bound, page_rows: int = 1) -> Generator[Found]:
    """Yield deliveries in windows: from a bound, page by page, until a page has a later time, which is the next bound.

    When a window begins, every delivery from the first bound to its own was yielded. One exception: a task that was
    delivered again has left its place, and comes later in the list. `bound.seen` has the deliveries at the bound that
    were yielded.

    A window of one page is safe, whatever moves: page 1 begins at the bound, wherever that is in the list by now. Only
    where one time fills whole pages, the window needs more pages, which can shift between two calls; then it is read
    until two passes see the same. With pages of three, deliveries a1 and a2 at time a, and so on:

        list          a1 a2 b1 b2 b3 c1
        from start    [a1 a2 b1]             has a and b: the next bound is b, b1 was seen
        from b        [b1 b2 b3] [c1]        two pages, so once more: the same. The next bound is c, c1 was seen
        from c        [c1] []                has room for more and nothing later: the end

    After the item that says `END`, the next item reads the last window again.

    Args:
        fetch: fetches a page of the deliveries from a timestamp on.
        bound: where to begin.
        page_rows: how many deliveries a page has had before.

    Raises:
        OrderUnproven: the list cannot be read by time.
        InvalidResponse: the list does not end or repeats itself.
    """
    seen = dict(bound.seen)
    before, passes = _TimedPass(), 0
    for _ in range(MAX_PAGES):
        this, fresh = _TimedPass(), list[TimedTask]()
        for page in number_pages(partial(fetch, bound.timestamp)):
            page_rows = max(page_rows, len(page))
            fresh = this.take(page, bound, seen)
            if this.moves_on or (this.pages == 1 and this.same_as(before)):
                break
            yield Found(fresh, bound.key or "", ends_window=False)
            fresh = []
        if not this.pages and bound.seen:
            raise OrderUnproven
        # Such a window was answered by one reply, so nothing can have moved within it.
        is_one_moment = this.pages <= 1 and (this.moves_on or this.rows < page_rows)
        if not is_one_moment and not this.same_as(before):
            before, passes = this, passes + 1
            if passes == MAX_PASSES:
                raise OrderUnproven
            yield Found(fresh, bound.key or "", ends_window=False)
            continue
        before, passes = _TimedPass(), 0
        if this.moves_on:
            bound = this.next_bound(seen)
            seen = dict(bound.seen)
        yield Found(fresh, this.last_key if this.moves_on else END, ends_window=True)
    raise of_sama(InvalidResponse)("the list of deliveries does not end")


class _TimedPass(Pass):
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

    def take(self, page: Page, bound: Bound, seen: dict[int, str]) -> list[TimedTask]:
        """Return the deliveries of a page that are not in `seen`, and add them to `seen`.

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
        identities = by_delivery(page)
        fresh = []
        for found in map(TimedTask, keys, identities, page):
            if found.identity not in seen:
                seen[found.identity] = found.key
                fresh.append(found)
        self.add(identities, len(fresh))
        return fresh

    def next_bound(self, seen: Mapping[int, str]) -> Bound:
        """Return the latest time as the next bound."""
        return Bound(self.last, self.last_key, {task: key for task, key in seen.items() if key >= self.last_key})
