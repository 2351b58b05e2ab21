"""On the driver: pages of tasks become lines of text, in the stage or in pieces for Spark.

A line is four numbers of ten digits, then one task's own JSON text to the byte. The numbers are start (from 1,
counted from the line's first byte) and length in bytes of the task's `data` and of its `answers`; a length of
0 means absent or null. So the JVM cuts the raw forms out without parsing, and nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

    from sama_spark.api.task_text import Page

P = TypeVar("P")

LINE_END = "\x1e"  # JSON text cannot hold it, while pages may be pretty-printed
SPANS = 40
_FILE_BYTES = 16 << 20
_NULL, _ABSENT = msgspec.Raw(b"null"), b"0" * 20


def to_lines(page: Page) -> list[bytes]:
    """The lines of a page's tasks, without their ends."""
    import pyarrow as pa

    lines = []
    for task in page:
        start = pa.py_buffer(task.text).address - SPANS - 1
        lines.append(b"%b%b%b" % (_span(task.data, start, pa), _span(task.answers, start, pa), task.text))
    return lines


def stage_lines(pages: Iterable[Page], folder: Path, *, file_per_page: bool) -> int:
    """Write all pages as lines into files in `folder`; returns the number of tasks.

    `file_per_page`: each page is closed on disk before the next is asked for.
    """
    tasks = 0
    for number, batch in zip(count(), _grouped(pages, 0 if file_per_page else _FILE_BYTES), strict=False):
        end = LINE_END.encode()
        with (folder / f"tasks-{number:05}.txt").open("xb") as file:
            for page_lines in batch:
                file.write(end.join(page_lines) + end)
                tasks += len(page_lines)
    return tasks


def line_tables(pages: Iterable[Page], table_bytes: int) -> Iterator[pa.Table]:
    """The lines as Arrow tables of one column `value`, of about `table_bytes` each."""
    import pyarrow as pa

    for batch in _grouped(pages, table_bytes):
        lines = [line for page_lines in batch for line in page_lines]
        yield pa.table({"value": pa.array(lines, pa.binary()).cast(pa.string())})


def ahead(pages: Iterator[P]) -> Iterator[P]:
    """The same pages, the next one being fetched while this one is used."""
    fetched: Queue[tuple[P | None, BaseException | None]] = Queue(maxsize=1)
    stopped = False

    def fetch() -> None:
        try:
            for page in pages:
                fetched.put((page, None))
                if stopped:
                    return
        except BaseException as error:  # handed to the caller's thread
            fetched.put((None, error))
        else:
            fetched.put((None, None))

    Thread(target=fetch, name="sama-pages", daemon=True).start()
    try:
        while (received := fetched.get())[0] is not None:
            yield received[0]
        if received[1] is not None:
            raise received[1]
    finally:
        stopped = True
        with suppress(Empty):  # else the thread waits for ever to hand on a page that nobody wants
            fetched.get_nowait()


def _span(part: msgspec.Raw, start: int, arrow: Any) -> bytes:
    if part == _NULL:
        return _ABSENT
    buffer = arrow.py_buffer(part)
    return b"%010d%010d" % (buffer.address - start, buffer.size)


def _grouped(pages: Iterable[Page], group_bytes: int) -> Iterator[Iterable[list[bytes]]]:
    group: list[list[bytes]] = []
    size = 0
    for page in pages:
        lines = to_lines(page)
        group.append(lines)
        size += sum(map(len, lines))
        if size >= group_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group
