"""Check the texts, splice them into the tasks, cut the tasks into pieces. Made for workers: no network, no key.

A piece is some hundred tasks joined by commas, small enough to stream and to pack: the driver joins pieces of
all partitions into chunks, so that many small partitions do not become many small batches.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
from msgspec import structs

from sama_spark.api.marked_values import is_marked, problem_in
from sama_spark.http.secrets import redact_urls
from sama_spark.outbound import output_shapes as shapes

if TYPE_CHECKING:
    import pyarrow as pa

HEADER, BODY = "header", "body"
PIECE_TASKS, PIECE_BYTES = 1000, 1 << 18
FEW_INVALID = 5
ROWS_AT_A_TIME = 500  # they stay in the processor's cache: twice as fast as Spark's 10,000
_SHOWN_BYTES = 200
_BRACE = ord("{")
_TASK_END = b"}}"

Texts = Sequence[bytes | None]
"""A column of JSON texts."""
_Row = tuple[bytes, bytes | None, bytes | None]  # task, key, content


class InvalidRow(msgspec.Struct, frozen=True):
    """A row that cannot become a task: its column, why, the offending value and the row (both shortened).

    `row_key`: JSON of the row's key columns, where they are named.
    """

    column: str
    reason: str
    value: str
    row: str
    row_key: str | None = None

    def __str__(self) -> str:
        # Signed URLs among the values are secrets: this text stands in errors and logs, the fields in tables.
        return redact_urls(f"column {self.column!r} {self.reason}: {self.value} (row {self.row_key or self.row})")

    def __repr__(self) -> str:
        return f"<{self}>"


class PieceHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a piece holds: tasks, or invalid rows of which the body may have some. Only what waits has a checksum."""

    tasks: int = 0
    bytes: int = 0
    checksum: int = 0
    invalid_rows: int = 0


class PieceRows(msgspec.Struct, frozen=True):
    """What an outbox keeps of a piece's tasks, in their order: key, hash of the content, and bytes in the body."""

    keys: list[str]
    contents: list[int]
    sizes: list[int]


class KeyedHeader(PieceHeader, frozen=True, omit_defaults=True):
    """A header with the `PieceRows` beside it."""

    keys: Sequence[str] = ()
    contents: Sequence[int] = ()
    sizes: Sequence[int] = ()


_encode = msgspec.json.Encoder().encode
_is_json = msgspec.json.Decoder(msgspec.Raw).decode
_decode_problem = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True)
class PieceCutter:
    """Checks, splices and cuts, on a worker (`mapInArrow(cutter.cut, ...)`) or wherever the encoded rows are.

    `head`: what stands before `data` in each task. `spliced`: name and mode ("json", "auto" or JSON Schema) of each
    text column. `most_invalid`: how many of a partition's invalid rows are described; the others are counted.
    `keyed`: whether headers say which rows the piece holds.
    """

    head: bytes
    spliced: tuple[tuple[str, str], ...]
    max_tasks: int = PIECE_TASKS
    max_bytes: int = PIECE_BYTES
    most_invalid: int = FEW_INVALID
    keyed: bool = False

    def cut(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Encoded rows in, pieces out: a header (JSON text) and a body each."""
        import pyarrow as pa

        slices = (
            batch.slice(start, ROWS_AT_A_TIME)
            for batch in batches
            for start in range(0, batch.num_rows, ROWS_AT_A_TIME)
        )
        for header, body in self.pieces([column.to_pylist() for column in rows.columns] for rows in slices):
            described = _encode(structs.replace(header, checksum=crc32(body)))
            ends = pa.py_buffer(struct.pack("=ii", 0, len(body)))
            uncopied = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(body)])
            yield pa.RecordBatch.from_arrays([pa.array([described.decode()]), uncopied], [HEADER, BODY])

    def pieces(self, batches: Iterable[Sequence[Texts]]) -> Iterator[tuple[PieceHeader, bytes]]:
        """Header and body of each piece. A batch has the columns of the encoded rows."""
        rejected = _Rejected(self.most_invalid)
        tasks: list[bytes] = []
        rows: list[tuple[bytes | None, bytes | None]] = []
        size = 0
        between = len(self.head) + len(_TASK_END) + 1
        modes = [mode for _, mode in self.spliced]
        for flat, problems, keys, contents, *texts in batches:
            marked = any(map(_any_marked, (flat, *texts)))
            if not any(problems) and not marked and all(map(_all_fit, texts, modes)):
                valid: Iterable[_Row] = zip(self._tasks(flat, texts), keys, contents, strict=True)
            else:
                valid = self._valid_rows(zip(flat, problems, keys, contents, *texts, strict=True), rejected)
            for task, key, content in valid:
                if tasks and (len(tasks) == self.max_tasks or size + len(task) + between > self.max_bytes):
                    yield self._piece(tasks, rows)
                    tasks, rows, size = [], [], 0
                tasks.append(task)
                rows.append((key, content))
                size += len(task) + between
            if len(rejected.described) >= PIECE_TASKS:
                yield rejected.piece()
        if tasks:
            yield self._piece(tasks, rows)
        if rejected.count:
            yield rejected.piece()

    def _tasks(self, flat: Texts, texts: Sequence[Texts]) -> list[bytes]:
        """What is each task's own: neither the head, which is the same for all, nor the end."""
        # Whole columns at a time: half the cost of going row by row.
        tasks = [data[:-1] for data in flat if data]
        for (name, _), column in zip(self.spliced, texts, strict=True):
            first = b'"' + _escaped(name) + b'":'
            key = b"," + first
            tasks = [
                task if text is None else b"%b%b%b" % (task, first if task[-1] == _BRACE else key, text)
                for task, text in zip(tasks, column, strict=True)
            ]
        return tasks

    def _piece(self, tasks: list[bytes], rows: list[tuple[bytes | None, bytes | None]]) -> tuple[PieceHeader, bytes]:
        around = len(self.head) + len(_TASK_END)
        sizes = [len(task) + around for task in tasks] if self.keyed else []
        tasks[0] = self.head + tasks[0]
        tasks[-1] += _TASK_END
        body = (_TASK_END + b"," + self.head).join(tasks)
        if not self.keyed:
            return PieceHeader(tasks=len(tasks), bytes=len(body)), body
        keys = [(key or b"").decode() for key, _ in rows]
        contents = [int(content or 0) for _, content in rows]
        return KeyedHeader(len(tasks), len(body), keys=keys, contents=contents, sizes=sizes), body

    def _valid_rows(self, rows: Iterable[tuple[bytes | None, ...]], rejected: _Rejected) -> Iterator[_Row]:
        """Row by row, for a batch in which something is no JSON or not valid."""
        for data, problem, key, content, *texts in rows:
            if problem is not None:
                rejected.add(data, key, **_decode_problem(problem))
                continue
            if marked := _marked(data, dict(zip((name for name, _ in self.spliced), texts, strict=True))):
                rejected.add(data, key, *marked)
                continue
            values: list[bytes | None] = []
            for (name, mode), text in zip(self.spliced, texts, strict=True):
                value, reason = (None, "") if text is None else _spliced(text, mode)
                if reason:
                    rejected.add(data, key, name, reason, (text or b"")[:_SHOWN_BYTES].decode(errors="replace"))
                    break
                values.append(value)
            else:
                [task] = self._tasks([data], [[value] for value in values])
                yield task, key, content


@dataclass
class _Rejected:
    most: int
    count: int = 0
    described: list[bytes] = field(default_factory=list)
    _before: int = 0

    def add(self, flat: bytes | None, key: bytes | None, column: str, reason: str, value: str = "null") -> None:
        self.count += 1
        if self._before + len(self.described) < self.most:
            data = (flat or b"").partition(b'"data":')[2]
            row = data[:_SHOWN_BYTES].decode(errors="replace")
            row_key = None if key is None else key.decode()
            self.described.append(_encode(InvalidRow(column, reason, value, row, row_key)))

    def piece(self) -> tuple[PieceHeader, bytes]:
        body = b",".join(self.described)
        header = PieceHeader(bytes=len(body), invalid_rows=self.count)
        self._before += len(self.described)
        self.count, self.described = 0, []
        return header, body


def _all_fit(texts: Texts, mode: str) -> bool:
    """Whether each is null or an object or array, right from its first byte, and as `mode` wants it."""
    fits = _check(mode)
    try:
        for text in texts:
            if text is not None:
                if text[:1] not in (b"{", b"["):
                    return False
                fits(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _check(mode: str) -> Callable[[bytes], Any]:
    return _is_json if mode in ("json", "auto") else shapes.check(mode)


def _any_marked(texts: Texts) -> bool:
    return any(text is not None and is_marked(text) for text in texts)


def _marked(flat: bytes | None, texts: Mapping[str, bytes | None]) -> tuple[str, str, str] | None:
    """Column, reason and value of the first value that could not be made; see `marked_values`."""
    if not _any_marked((flat, *texts.values())):
        return None
    values: dict[str, object] = msgspec.json.decode(b"{%b}" % (flat or b'"data":{}'))["data"]
    values |= {name: text.decode(errors="replace") for name, text in texts.items() if text is not None}
    found = ((name, problem_in(value)) for name, value in values.items())
    return next(((name, *problem) for name, problem in found if problem), None)


def _spliced(text: bytes, mode: str) -> tuple[bytes, str]:
    """The JSON to put into the task, or the reason why there is none."""
    structured = text.lstrip(b" \t\r\n")[:1] in (b"{", b"[")
    if structured:
        try:
            _is_json(text)
            _check(mode)(text)
            return text, ""
        except msgspec.ValidationError as error:
            if shapes.is_too_large(error):
                return text, ""
            return b"", f"is not what the project's schema says of it ({error})"
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if mode != "auto":
                return b"", f"is not JSON ({error})"
    elif mode != "auto":
        return b"", "is not a JSON object or array, and the output is structured"
    return _quoted(text), ""


def _quoted(text: bytes) -> bytes:
    return msgspec.json.encode(text.decode())


def _escaped(name: str) -> bytes:
    return msgspec.json.encode(name)[1:-1]
