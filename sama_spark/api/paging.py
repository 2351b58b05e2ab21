"""Reads lists to the end although tasks move between pages: nothing lost, nothing twice.

Only an empty page ends a list, and a short page says nothing. A server that repeats the same tasks without end is an
error. A task without an id is known by its text. Every scan is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sama_spark.api.sama_errors import of_sama
from sama_spark.api.task_text import Page, TaskText, without_links
from sama_spark.http.call_errors import InvalidResponse

# Fetches a page by its number, from 1. Where the server moves a cursor, the number says nothing.
FetchPage = Callable[[int], Page]

MAX_PAGES = 1_000_000
MAX_PASSES = 50
# A page that comes twice, or holds nothing new, can mean that the list grew at its front meanwhile; more often the
# server is at fault. In a list that merely grew, pages with nothing new never outnumber the others.
_SAME_PAGES = 3
_KNOWN_PAGES = 8
_REMEMBERED = 100_000  # tasks
# After so many passes in a row without anything new the scan ends, though the list still shrinks.
_QUIET_PASSES = 3


def by_delivery(page: Page) -> list[int]:
    """Return what each delivery of a page is known by: its task's id and its time."""
    return [hash((_id_of(task), str(task.delivered_at))) for task in page]


def _by_id(page: Page) -> list[int]:
    return [hash(_id_of(task)) for task in page]


def _id_of(task: TaskText) -> str | int | bytes:
    """Return what a task is known by: its id, or its text if it has none."""
    return without_links(task) if task.id is None else task.id


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
        identities = by_delivery(page)
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
    before = Pass()
    quiet = 0
    for _ in range(MAX_PASSES):
        this = Pass()
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


class Pass:
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

    def same_as(self, before: Pass) -> bool:
        """Return True if this pass has seen exactly the tasks of `before`, so far."""
        return not self.new and (self.pages, self.rows, self._total) == (before.pages, before.rows, before._total)
