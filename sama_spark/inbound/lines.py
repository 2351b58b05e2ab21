"""The lines of text in which tasks travel from the driver to Spark: how to write them and how to cut them.

A line has four parts:

| bytes | content |
| --- | --- |
| 40 | four numbers of ten digits: start and length of `data`, start and length of `answers`, in bytes of the text |
| 30 | three numbers of ten digits: the lengths of the three texts that follow |
| any | the task's id, its time of delivery and its problem, as the driver has read them |
| the rest | the task's own JSON text, to the byte |

Starts count from 1, as in SQL. A length of 0 means absent or null. Because the driver writes where each value lies,
nobody after it parses the JSON to find a value, and no two parsers can disagree about it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import pyarrow as pa
from pyspark.sql import functions as F

from sama_spark.driver_rows import local_texts, no_rows
from sama_spark.errors import StagingError
from sama_spark.staging import spark_uri

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from sama_spark.vendors.seam import DeliveryText, Page

P = TypeVar("P")

LINE_END = "\x1e"  # JSON text cannot hold this character, whereas pages may be pretty-printed over several lines
TABLE_BYTES = 64 << 20
_PART_BYTES = 8 << 20
_MOST_STREAMED_BYTES = 2 << 30
_LOOK_AGAIN = 0.2  # seconds

_DIGITS = 10
_PARTS = 4 * _DIGITS
_HEAD = _PARTS + 3 * _DIGITS
_TO_THE_END = 2**31 - 1
_NULL = msgspec.Raw(b"null")


class LineTexts(NamedTuple):
    """What a line holds, cut in Python; None where the task has no such value. `parts`: as in `LineColumns`."""

    id: str | None
    delivered_at: str | None
    problem: str | None
    parts: bytes
    data: bytes | None
    answers: bytes | None
    raw: bytes


class LineColumns(NamedTuple):
    """What a line holds, cut by Spark; null where the task has no such value.

    `parts` holds the first 40 bytes: `raw_parts` cuts `data` and `answers` out of `raw` with them later.
    """

    id: Column
    delivered_at: Column
    problem: Column
    parts: Column
    data: Column
    answers: Column
    raw: Column


def line_prefix(task: DeliveryText) -> bytes:
    """Return what stands before a task's text in its line."""
    begin = pa.py_buffer(task.text).address
    texts = [_text(value) for value in (task.id, task.delivered_at, task.problem)]
    numbers = (*_place(task.data, begin), *_place(task.answers, begin), *map(len, texts))
    return b"".join((b"%010d" * len(numbers) % numbers, *texts))


def cut_line(line: bytes) -> LineTexts:
    """Cut a line in Python."""
    data_start, data_length, answers_start, answers_length, *lengths = (
        int(line[at : at + _DIGITS]) for at in range(0, _HEAD, _DIGITS)
    )
    ends = [_HEAD]
    for length in lengths:
        ends.append(ends[-1] + length)
    task_id, delivered_at, problem = (line[begin:end].decode() or None for begin, end in pairwise(ends))
    raw = line[ends[-1] :]
    data = raw[data_start - 1 : data_start - 1 + data_length] if data_length else None
    answers = raw[answers_start - 1 : answers_start - 1 + answers_length] if answers_length else None
    return LineTexts(task_id, delivered_at, problem, line[:_PARTS], data, answers, raw)


def line_columns() -> LineColumns:
    """Cut the lines of column `value` in Spark."""
    line = F.col("value").cast("binary")  # Spark counts the characters of a text from its start, and bytes at once
    lengths = [_number(line, _PARTS + 1 + _DIGITS * n) for n in range(3)]
    starts = [F.lit(_HEAD + 1)]
    for length in lengths:
        starts.append(starts[-1] + length)
    *texts, begin = starts
    task_id, delivered_at, problem = (_cut(line, start, length) for start, length in zip(texts, lengths, strict=True))
    data, answers = _values(line, line, begin - 1)
    parts = _cut(line, F.lit(1), F.lit(_PARTS))
    return LineColumns(task_id, delivered_at, problem, parts, data, answers, _cut(line, begin, F.lit(_TO_THE_END)))


def raw_parts(parts: str, raw: str) -> tuple[Column, Column]:
    """Cut `data` and `answers` out of a task's text.

    Args:
        parts: column with the first 40 bytes of the task's line.
        raw: column with the task's text.
    """
    return _values(F.col(parts), F.col(raw).cast("binary"), F.lit(0))


def stage_lines(pages: Iterable[Page], folder: Path) -> int:
    """Write each page as a file of lines into `folder`, closed before the next page is requested.

    Returns:
        The number of tasks.

    Raises:
        StagingError: the folder cannot be written.
    """
    tasks = 0
    end = LINE_END.encode()
    for number, page in enumerate(pages):
        # One join copies each text once.
        lines = b"".join([part for task in page for part in (line_prefix(task), task.text, end)])
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
    """Yield the lines as Arrow tables of one column `value`, of about `table_bytes` each."""
    lines: list[bytes] = []
    size = 0
    for page in pages:
        lines += [line_prefix(task) + task.text for task in page]
        size += sum(len(task.text) for task in page)
        if size >= table_bytes:
            yield _line_table(lines)
            lines, size = [], 0
    if lines:
        yield _line_table(lines)


def ahead(pages: Iterator[P]) -> Generator[P]:
    """Yield the same pages, while a thread fetches the next one. The thread begins at once, and ends when this ends."""
    fetched: Queue[tuple[P | None, BaseException | None]] = Queue(maxsize=1)
    reader = _Reader()

    def hand_on(page: P | None, error: BaseException | None = None) -> None:
        while reader.is_there:
            with suppress(Full):
                fetched.put((page, error), timeout=_LOOK_AGAIN)
                return

    def fetch() -> None:
        try:
            for page in pages:
                hand_on(page)
                if not reader.is_there:
                    return
        except BaseException as error:  # handed to the caller's thread
            hand_on(None, error)
        else:
            hand_on(None)

    Thread(target=fetch, name="sama-pages", daemon=True).start()
    received = _received(fetched, reader)
    next(received)
    return received


class _Reader:
    """Whether somebody takes what `ahead` fetches. A plain value: a Ctrl-C can leave Python's locks locked for ever."""

    is_there = True


def _received(fetched: Queue[tuple[P | None, BaseException | None]], reader: _Reader) -> Generator[Any]:
    """Yield None, so that the reader is gone whenever this ends, and then what the thread has fetched."""
    try:
        yield None
        while (page := fetched.get())[0] is not None:
            yield page[0]
        if page[1] is not None:
            raise page[1]
    finally:
        reader.is_there = False


def staged_lines(spark: SparkSession, folder: Path) -> DataFrame:
    """Return the lines of a run's folder in the stage."""
    return spark.read.text(spark_uri(folder), lineSep=LINE_END)


def streamed_lines(spark: SparkSession, tables: Iterable[pa.Table]) -> DataFrame:
    """Hand the lines to Spark table by table, and return all of them.

    Raises:
        StagingError: there are more than 2 GB.
    """
    lines = no_rows(spark, "value string")
    size = 0
    for table in tables:
        size += table.nbytes
        if size > _MOST_STREAMED_BYTES:
            raise StagingError(
                "more than 2 GB of tasks cannot pass through the driver's memory",
                remedy="name a folder that driver and workers share, such as a Unity Catalog volume, in `staging=`",
            )
        lines = lines.unionAll(local_texts(spark, table))
    return lines


def _place(part: msgspec.Raw, begin: int) -> tuple[int, int]:
    """Return start and length of `part` in the text that begins at address `begin`."""
    if part == _NULL:
        return 0, 0
    buffer = pa.py_buffer(part)
    return buffer.address - begin + 1, buffer.size


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
    """Return the lines as a table in parts of some `_PART_BYTES`: Spark refuses to send a task more than 128 MB."""
    parts: list[list[bytes]] = []
    room = 0
    for line in lines:
        if not parts or len(line) > room:
            parts.append([])
            room = _PART_BYTES
        parts[-1].append(line)
        room -= len(line)
    return pa.table({"value": pa.chunked_array([pa.array(part, pa.binary()).cast(pa.string()) for part in parts])})


def _values(parts: Column, text: Column, before: Column) -> tuple[Column, Column]:
    """Cut `data` and `answers` out of `text`, in which `before` bytes precede the task's own text."""
    data, answers = (
        _cut(text, _number(parts, at) + before, _number(parts, at + _DIGITS)) for at in (1, 1 + 2 * _DIGITS)
    )
    return data, answers


def _number(line: Column, position: int) -> Column:
    """Return the number whose ten digits begin at `position`, counted from 1."""
    return F.substring(line, position, _DIGITS).cast("string").cast("int")


def _cut(line: Column, start: Column, length: Column) -> Column:
    """Return the text of `length` bytes of a binary column; null where `length` is 0."""
    return F.when(length > 0, line.substr(start, length).cast("string"))
