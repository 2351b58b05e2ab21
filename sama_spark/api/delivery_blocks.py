"""Reads a list of deliveries in blocks, several at once: nothing lost, nothing twice.

The list is cut at every fourth page. The first time on such a page is a border, which belongs to the block before. One
thread reads a block: first its page by number, then windows of time from the last time of that page on, until a window
begins behind the next border. Why that is safe:

1. The list is sorted by time, and a new delivery comes at its end, with no earlier time than any before.
2. Page numbers choose the borders, and nothing else. If pages shift meanwhile, blocks become longer or shorter.
3. A block gives what was delivered after its own border and not after the next one. So each delivery has one block.
4. One reply shows the list at one moment. So the page by number has all deliveries between its first and its last time.
5. From the last time of that page on, `windows` loses nothing.
6. When a block has ended, a time behind the next border was seen. So no new delivery belongs to this block.
7. A task that is delivered again leaves its place, perhaps before its block has read it. By its new time it belongs to
   a block that still reads, and there it is found.
8. The last block ends with a window that began when all blocks before it had ended. So that window has what left any
   of them.
9. A block that meets the end of the list before the next border becomes the last one, and later blocks are dropped.
10. Blocks are yielded one after another. So whoever stops half-way can go on from the last time, less an overlap.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress

from sama_spark.api.task_text import Page
from sama_spark.api.time_windows import END, Bound, Found, OrderUnproven, TimedTask, window_of, windows

# Fetches a page of the deliveries from a timestamp on, by its number and the size of pages.
FetchPageFrom = Callable[["str | None", int, int], Page]

PAGES_IN_BLOCK = 4
# The first page of a block is a little smaller than a full one. So four calls reach behind the next border, although
# each window repeats the deliveries at its bound: with pages of some hundred deliveries or more.
_FIRST_PAGE = 0.98
MOST_WAITING = 256 << 20
"""Bytes that wait to be yielded before blocks pause: all but the one that is being yielded, and the next one's first
page."""
_BESIDE_TEXT = 700  # bytes that a delivery takes beside its text


class _Stopped(Exception):
    """Nobody takes what the blocks read."""


class _Block:
    """A stretch of the list.

    Attributes:
        number: its place among the blocks, from 0.
        border: sort key of the first delivery on its first page; None until that page has come.
        found: what was read and not yet yielded, each with its bytes of text.
        has_ended: True once the block reads no more.
        error: why the block ended early; None for a block that was read.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.border: str | None = None
        self.found: deque[tuple[list[TimedTask], int]] = deque()
        self.has_ended = False
        self.error: BaseException | None = None


class DeliveryBlocks:
    """The deliveries of a list from a timestamp on, to be read once, in blocks.

    Args:
        fetch: fetches a page; called by several threads if `at_once` is above 1. It bounds its own calls.
        start: the first timestamp, None for all deliveries.
        page_size: deliveries of a full page. A list whose first page is smaller, or has one time alone, is read window
            by window.
        at_once: how many blocks are read at once. 1 reads window by window, without threads.

    Attributes:
        page_rows: deliveries of the largest page so far.
    """

    def __init__(self, fetch: FetchPageFrom, start: str | None, page_size: int, at_once: int) -> None:
        self.page_rows = 1
        self._server, self._start, self._page_size, self._at_once = fetch, start, page_size, at_once
        self._changed = threading.Condition()  # guards all that follows
        self._blocks: list[_Block] = []
        self._without_border = 0  # blocks whose first page has not come
        self._last: int | None = None  # number of the last block; None while it is unknown
        self._yielding = 0  # number of the block that is being yielded
        self._waiting = 0  # bytes of text that were read and not yet yielded
        self._is_stopped = False

    def deliveries(self) -> Generator[list[TimedTask]]:
        """Yield the deliveries, block by block, at least one at a time. The first page comes before the second call.

        Raises:
            OrderUnproven: the list cannot be read by time.
            InvalidResponse: the list does not end or repeats itself.
        """
        found = windows(self._fetch, Bound(self._start))
        for deliveries, until, ends_window in found:
            if deliveries:
                yield deliveries
            if until == END:
                return
            if self._at_once > 1 and ends_window and len(deliveries) >= self._page_size:
                break
        begun = found, deliveries[-1].key
        del deliveries  # a page can be large
        try:
            # One thread more than calls: a block may have to wait for the border that follows.
            for _ in range(self._at_once + 1):
                threading.Thread(target=self._read_blocks, args=begun, name="sama-block", daemon=True).start()
            while self._last is None or self._yielding <= self._last:
                yield from self._found_in_next_block()
        finally:
            with self._changed:
                self._is_stopped = True
                self._changed.notify_all()

    def _found_in_next_block(self) -> Iterator[list[TimedTask]]:
        """Yield what one block finds, and raise the error that ended it early."""
        number = self._yielding
        self._wait(lambda: number < len(self._blocks))
        block = self._blocks[number]
        while True:
            self._wait(lambda: bool(block.found) or block.has_ended)
            if not block.found:
                break
            with self._changed:
                found, size = block.found.popleft()
                self._waiting -= size
                self._changed.notify_all()
            yield found
            del found
        if block.error is not None:
            raise block.error
        with self._changed:
            self._yielding += 1
            self._changed.notify_all()

    def _read_blocks(self, begun: Generator[Found], reached: str) -> None:
        """Read blocks, one after another, in a thread; `begun` and `reached` are for block 0: see `_read_on`."""
        with suppress(_Stopped):
            while (block := self._new_block()) is not None:
                try:
                    if block.number == 0:
                        self._read_on(block, begun, reached)
                    else:
                        self._read(block)
                except BaseException as error:  # handed to whoever takes what the block has found
                    block.error = error
                with self._changed:
                    block.has_ended = True
                    self._changed.notify_all()

    def _new_block(self) -> _Block | None:
        """Return the next block to read, None once the last one is known.

        No more first pages are asked for at once than were found, so that a short list costs few calls.
        """
        with self._changed:
            self._wait(lambda: self._last is not None or 2 * self._without_border < max(len(self._blocks), 1))
            if self._last is not None:
                return None
            block = _Block(len(self._blocks))
            self._blocks.append(block)
            if block.number == 0:
                block.border = ""
            else:
                self._without_border += 1
            return block

    def _read(self, block: _Block) -> None:
        """Read a block from its first page on. An empty page means that the block before is the last one."""
        self._wait(lambda: self._has_room(block))
        size = max(1, int(_FIRST_PAGE * self._page_size))
        page = self._server(self._start, 1 + PAGES_IN_BLOCK * block.number, size)
        if not page:
            self._end_with(block.number - 1)
            return
        first, bound = window_of(page)
        with self._changed:
            self._without_border -= 1
            block.border = first[0].key
            self._changed.notify_all()
        self._hand_on(block, first, END)
        reached = first[-1].key
        del first, page
        if block.border == reached == self._next_border(block):
            return  # all blocks of one time but the last: nothing is theirs, and each would read all of that time
        self._read_on(block, windows(self._fetch, bound, self.page_rows), reached)

    def _read_on(self, block: _Block, found: Generator[Found], reached: str) -> None:
        """Read a block to its end.

        Args:
            block: the block.
            found: its deliveries after the first page, and those behind.
            reached: sort key of the last delivery on the first page, all of which was handed on.

        Raises:
            OrderUnproven: the next block begins within the first page.
        """
        with closing(found):
            others_had_ended, ends_window = False, True
            while True:
                self._wait(lambda: self._has_room(block))
                if ends_window:
                    others_had_ended = self._others_have_ended(block)
                deliveries, until, ends_window = next(found)
                if until == END:
                    self._end_with(block.number)
                border = self._next_border(block)
                if border < reached:
                    raise OrderUnproven
                self._hand_on(block, deliveries, border)
                if until > border or (until == END and others_had_ended):
                    return
                if until == END:
                    self._wait(lambda: self._others_have_ended(block))

    def _end_with(self, number: int) -> None:
        """Make this block the last one, unless an earlier one is."""
        with self._changed:
            self._last = number if self._last is None else min(self._last, number)
            self._changed.notify_all()

    def _next_border(self, block: _Block) -> str:
        """Wait for the border of the next block. Return `END` for the last block."""
        self._wait(lambda: self._last == block.number or self._has_begun(block.number + 1))
        if self._last == block.number:
            return END
        follower = self._blocks[block.number + 1]
        if follower.error is not None:
            raise follower.error
        return follower.border or ""

    def _has_begun(self, number: int) -> bool:
        if number >= len(self._blocks):
            return False
        return self._blocks[number].border is not None or self._blocks[number].has_ended

    def _hand_on(self, block: _Block, deliveries: list[TimedTask], border: str) -> None:
        """Let the block's deliveries up to the next border wait to be yielded."""
        own = [d for d in deliveries if (block.border or "") < d.key <= border]
        if own:
            with self._changed:
                size = sum(_BESIDE_TEXT + len(delivery.task.text) for delivery in own)
                block.found.append((own, size))
                self._waiting += size
                self._changed.notify_all()

    def _has_room(self, block: _Block) -> bool:
        # Without its own or the next block, the block that is being yielded could not go on.
        is_needed = block.number <= self._yielding + 1 and not block.found
        return is_needed or self._waiting < MOST_WAITING

    def _others_have_ended(self, block: _Block) -> bool:
        return all(other.has_ended for other in self._blocks[self._yielding : block.number])

    def _fetch(self, start: str | None, number: int) -> Page:
        page = self._server(start, number, self._page_size)
        self.page_rows = max(self.page_rows, len(page))
        return page

    def _wait(self, until: Callable[[], bool]) -> None:
        """Wait until a condition holds.

        Raises:
            _Stopped: nobody takes what the blocks read.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or until())
            if self._is_stopped:
                raise _Stopped
