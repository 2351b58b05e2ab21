"""On the driver: pages of tasks become lines of text, in the stage or in pieces for Spark.

A line begins with numbers of ten digits. Four are start and length in bytes of the task's `data` and of its `answers`;
the start counts from 1, as if the task's text followed these four at once; a length of 0 means absent or null. Three
are the lengths of what comes next: the task's id, its time of delivery and its problem, as the driver has read them.
Then the task's own JSON text, to the byte. So the JVM cuts the raw forms out without parsing, nothing is written twice,
and nothing is read by two parsers that may differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pyarrow as pa

from sama_spark.errors import StagingError

if TYPE_CHECKING:
    from sama_spark.api.task_text import Page, TaskText

P = TypeVar("P")

LINE_END = "\x1e"  # JSON text cannot hold it, while pages may be pretty-printed
SPANS = 40
HEAD = SPANS + 30
_NULL = msgspec.Raw(b"null")


def spans(task: TaskText) -> bytes:
    """The numbers that stand before a task's text in its line."""
    line = pa.py_buffer(task.text).address - SPANS - 1
    return b"%010d%010d%010d%010d" % (*_span(task.data, line), *_span(task.answers, line))


def head(task: TaskText) -> bytes:
    """What stands before a task's text in its line."""
    task_id, at, problem = _text(task.id), _text(task.delivered_at), _text(task.problem)
    lengths = b"%010d%010d%010d" % (len(task_id), len(at), len(problem))
    return b"".join((spans(task), lengths, task_id, at, problem))


def stage_lines(pages: Iterable[Page], folder: Path) -> int:
    """Write each page as a file of lines into `folder`, closed before the next page is asked for.

    Returns the number of tasks.

    Raises:
        StagingError: the folder cannot be written.
    """
    tasks = 0
    end = LINE_END.encode()
    for number, page in enumerate(pages):
        # Joined once, so that the texts are copied once.
        lines = b"".join([part for task in page for part in (head(task), task.text, end)])
        try:
            with (folder / f"page-{number:06}.txt").open("xb") as file:
                file.write(lines)
        except OSError as error:
            raise StagingError(
                f"the driver cannot write to the stage {str(folder)!r}: {error.strerror}",
                remedy="make room there, or name another folder in `staging`, and run it again: nothing is lost",
            ) from error
        tasks += len(page)
    return tasks


def line_tables(pages: Iterable[Page], table_bytes: int) -> Iterator[pa.Table]:
    """The lines as Arrow tables of one column `value`, of about `table_bytes` each."""
    lines: list[bytes] = []
    size = 0
    for page in pages:
        lines += [head(task) + task.text for task in page]
        size += sum(len(task.text) for task in page)
        if size >= table_bytes:
            yield _line_table(lines)
            lines, size = [], 0
    if lines:
        yield _line_table(lines)


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


def _span(part: msgspec.Raw, line: int) -> tuple[int, int]:
    if part == _NULL:
        return 0, 0
    buffer = pa.py_buffer(part)
    return buffer.address - line, buffer.size


def _text(value: object) -> bytes:
    if value is None:
        return b""
    text = value.encode(errors="replace") if isinstance(value, str) else _json(value)
    return text.replace(LINE_END.encode(), b" ")


def _json(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (OverflowError, RecursionError, UnicodeEncodeError):  # a number of more than 64 bits, for one
        return str(value).encode(errors="replace")


def _line_table(lines: list[bytes]) -> pa.Table:
    return pa.table({"value": pa.array(lines, pa.binary()).cast(pa.string())})
