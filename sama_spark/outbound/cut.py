"""On workers: check JSON texts, splice them into the tasks, and cut the tasks into pieces. No network, no key.

A piece is up to 1,000 tasks or `PIECE_BYTES`, joined by commas. It is small enough to stream. The driver joins pieces
of all partitions into chunks, so that many small partitions do not become many small batches. The size of a chunk is
an option (`creation_options`).
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
from sama_spark.outbound import output_schemas
from sama_spark.outbound.encoded_batch import EncodedBatch, EncodedRow, Texts

if TYPE_CHECKING:
    import pyarrow as pa

HEADER, BODY = "header", "body"
PIECE_TASKS, PIECE_BYTES = 1000, 1 << 18
FEW_INVALID = 5
ROWS_AT_A_TIME = 500  # so few stay in the processor's cache: twice as fast as Spark's 10,000
_SHOWN_BYTES = 200
_BRACE = ord("{")
_TASK_END = b"}}"

_Task = tuple[bytes, bytes | None, bytes | None]
"""A task's own JSON (without what all tasks begin and end with), its key and its content. A plain tuple, since there is
one for each row."""


class InvalidRow(msgspec.Struct, frozen=True):
    """A row that cannot become a task.

    Attributes:
        column: the first column with a problem.
        reason: the problem.
        value: the start of the column's value.
        row: the start of the row, as JSON.
        row_key: JSON of the row's key columns; None if the user named none.
    """

    column: str
    reason: str
    value: str
    row: str
    row_key: str | None = None

    def __str__(self) -> str:
        # This text goes to errors and logs, where signed URLs count as secrets. The fields go to tables.
        return redact_urls(f"column {self.column!r} {self.reason}: {self.value} (row {self.row_key or self.row})")

    def __repr__(self) -> str:
        return f"<{self}>"


class PieceHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a piece holds: tasks, or invalid rows, of which the body may describe only some.

    Attributes:
        tasks: how many tasks.
        bytes: length of the body.
        checksum: CRC-32 of the body, where the piece waits in a file.
        invalid_rows: how many invalid rows.
    """

    tasks: int = 0
    bytes: int = 0
    checksum: int = 0
    invalid_rows: int = 0


class KeyedHeader(PieceHeader, frozen=True, omit_defaults=True):
    """The header where a run has an outbox: also key, hash of content and size in the body of each task, in order."""

    keys: Sequence[str] = ()
    contents: Sequence[int] = ()
    sizes: Sequence[int] = ()


_encode = msgspec.json.Encoder().encode
_is_json = msgspec.json.Decoder(msgspec.Raw).decode
_decode_problem = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True)
class PieceCutter:
    """Cuts encoded rows into pieces, on a worker (`mapInArrow(cutter.cut, ...)`) or wherever the encoded rows are.

    Attributes:
        task_start: the JSON that all tasks begin with, before `data`.
        spliced: name and `outputs.TextCheck` of each column of JSON text that goes into `data` unparsed.
        max_tasks, max_bytes: of one piece. A single larger task is a piece of its own.
        most_invalid: how many of a partition's invalid rows are described; the others are only counted.
        keyed: whether headers tell which rows a piece holds, for an outbox.
    """

    task_start: bytes
    spliced: tuple[tuple[str, str], ...]
    max_tasks: int = PIECE_TASKS
    max_bytes: int = PIECE_BYTES
    most_invalid: int = FEW_INVALID
    keyed: bool = False

    def cut(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the pieces of encoded rows, each a header (JSON text) and a body."""
        import pyarrow as pa

        slices = (
            batch.slice(start, ROWS_AT_A_TIME)
            for batch in batches
            for start in range(0, batch.num_rows, ROWS_AT_A_TIME)
        )
        encoded = (EncodedBatch.of([column.to_pylist() for column in rows.columns]) for rows in slices)
        for header, body in self.pieces(encoded):
            described = _encode(structs.replace(header, checksum=crc32(body)))
            ends = pa.py_buffer(struct.pack("=ii", 0, len(body)))
            uncopied = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(body)])
            yield pa.RecordBatch.from_arrays([pa.array([described.decode()]), uncopied], [HEADER, BODY])

    def pieces(self, batches: Iterable[EncodedBatch]) -> Iterator[tuple[PieceHeader, bytes]]:
        """Yield header and body of each piece."""
        rejected = _Rejected(self.most_invalid)
        tasks: list[_Task] = []
        size = 0
        between = len(self.task_start) + len(_TASK_END) + 1
        for batch in batches:
            for task in self._valid_tasks(batch, rejected):
                more = len(task[0]) + between
                if tasks and (len(tasks) == self.max_tasks or size + more > self.max_bytes):
                    yield self._piece(tasks)
                    tasks, size = [], 0
                tasks.append(task)
                size += more
            if len(rejected.described) >= PIECE_TASKS:
                yield rejected.piece()
        if tasks:
            yield self._piece(tasks)
        if rejected.count:
            yield rejected.piece()

    def _valid_tasks(self, batch: EncodedBatch, rejected: _Rejected) -> Iterator[_Task]:
        """Return the tasks of the valid rows; the others go to `rejected`."""
        marked = any(map(_any_marked, (batch.tasks, *batch.spliced)))
        checks = [text_check for _, text_check in self.spliced]
        if any(batch.problems) or marked or not all(map(_all_fit, batch.spliced, checks)):
            return self._row_by_row(batch.rows(), rejected)
        return zip(self._tasks(batch.tasks, batch.spliced), batch.keys, batch.contents, strict=True)

    def _tasks(self, own: Texts, texts: Sequence[Texts]) -> list[bytes]:
        """Return the JSON of each task without the beginning and the end, which are the same for all."""
        # Whole columns at a time cost half of what single rows cost.
        tasks = [json[:-1] for json in own if json]
        for (name, _), column in zip(self.spliced, texts, strict=True):
            first = b'"' + _escaped(name) + b'":'
            key = b"," + first
            tasks = [
                task if text is None else b"%b%b%b" % (task, first if task[-1] == _BRACE else key, text)
                for task, text in zip(tasks, column, strict=True)
            ]
        return tasks

    def _piece(self, tasks: list[_Task]) -> tuple[PieceHeader, bytes]:
        body = self.task_start + (_TASK_END + b"," + self.task_start).join([json for json, _, _ in tasks]) + _TASK_END
        if not self.keyed:
            return PieceHeader(tasks=len(tasks), bytes=len(body)), body
        around = len(self.task_start) + len(_TASK_END)
        header = KeyedHeader(
            tasks=len(tasks),
            bytes=len(body),
            keys=[(key or b"").decode() for _, key, _ in tasks],
            contents=[int(content or 0) for _, _, content in tasks],
            sizes=[len(json) + around for json, _, _ in tasks],
        )
        return header, body

    def _row_by_row(self, rows: Iterable[EncodedRow], rejected: _Rejected) -> Iterator[_Task]:
        """Yield the valid tasks of a batch in which some row may be invalid."""
        names = [name for name, _ in self.spliced]
        for row in rows:
            if row.problem is not None:
                rejected.add(row, **_decode_problem(row.problem))
            elif marked := _marked(row.task, dict(zip(names, row.spliced, strict=True))):
                rejected.add(row, *marked)
            elif (texts := self._checked(row, rejected)) is not None:
                [task] = self._tasks([row.task], [[text] for text in texts])
                yield task, row.key, row.content

    def _checked(self, row: EncodedRow, rejected: _Rejected) -> list[bytes | None] | None:
        """Return the JSON of a row's texts. None if one is invalid, which `rejected` then has."""
        checked: list[bytes | None] = []
        for (name, text_check), text in zip(self.spliced, row.spliced, strict=True):
            json, reason = (None, "") if text is None else _json_of(text, text_check)
            if reason:
                rejected.add(row, name, reason, (text or b"")[:_SHOWN_BYTES].decode(errors="replace"))
                return None
            checked.append(json)
        return checked


@dataclass
class _Rejected:
    """Invalid rows of a partition that no piece holds yet: all are counted, the first `most` are described."""

    most: int
    count: int = 0
    described: list[bytes] = field(default_factory=list)
    _before: int = 0

    def add(self, row: EncodedRow, column: str, reason: str, value: str = "null") -> None:
        self.count += 1
        if self._before + len(self.described) < self.most:
            data = (row.task or b"").partition(b'"data":')[2]
            shown = data[:_SHOWN_BYTES].decode(errors="replace")
            row_key = None if row.key is None else row.key.decode()
            self.described.append(_encode(InvalidRow(column, reason, value, shown, row_key)))

    def piece(self) -> tuple[PieceHeader, bytes]:
        body = b",".join(self.described)
        header = PieceHeader(bytes=len(body), invalid_rows=self.count)
        self._before += len(self.described)
        self.count, self.described = 0, []
        return header, body


def _all_fit(texts: Texts, text_check: str) -> bool:
    """Return whether every text can go into its task as it is: null, or an object or array that passes the check.

    False also where a text must be looked at closer, such as one with blanks before the bracket.
    """
    fits = _decoder(text_check)
    try:
        for text in texts:
            if text is not None:
                if text[:1] not in (b"{", b"["):
                    return False
                fits(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _decoder(text_check: str) -> Callable[[bytes], Any]:
    return _is_json if text_check in ("json", "auto") else output_schemas.check(text_check)


def _any_marked(texts: Texts) -> bool:
    return any(text is not None and is_marked(text) for text in texts)


def _marked(task: bytes | None, texts: Mapping[str, bytes | None]) -> tuple[str, str, str] | None:
    """Return column, reason and value of the first value that could not be made; see `marked_values`."""
    if not _any_marked((task, *texts.values())):
        return None
    values: dict[str, object] = msgspec.json.decode(b"{%b}" % (task or b'"data":{}'))["data"]
    values |= {name: text.decode(errors="replace") for name, text in texts.items() if text is not None}
    found = ((name, problem_in(value)) for name, value in values.items())
    return next(((name, *problem) for name, problem in found if problem), None)


def _json_of(text: bytes, text_check: str) -> tuple[bytes, str]:
    """Return the JSON to put into the task, or the reason why there is none."""
    if text.lstrip(b" \t\r\n")[:1] not in (b"{", b"["):
        if text_check == "auto":
            return _quoted(text), ""
        return b"", "is not a JSON object or array, and the output is structured"
    try:
        try:
            _decoder(text_check)(text)
        except msgspec.ValidationError as error:
            _is_json(text)  # the check may have stopped before the place where the text is no JSON
            if not output_schemas.is_too_large(error):
                return b"", f"is not what the project's schema says of it ({error})"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return (_quoted(text), "") if text_check == "auto" else (b"", f"is not JSON ({error})")
    return text, ""


def _quoted(text: bytes) -> bytes:
    return msgspec.json.encode(text.decode())


def _escaped(name: str) -> bytes:
    return msgspec.json.encode(name)[1:-1]
