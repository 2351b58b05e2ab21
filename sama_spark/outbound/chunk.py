"""On the workers: check the texts, splice them into the tasks, cut the tasks into pieces. No network, no key.

A piece is some hundred tasks joined by commas, small enough to stream and to pack: the driver joins pieces of
all partitions into chunks, so that many small partitions do not become many small batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

PIECE = "piece"
PIECE_TASKS, PIECE_BYTES = 1000, 1 << 20
HEADER_END = b"\x1f"  # JSON text cannot hold it, nor the separator of pieces in the stage
PIECE_END = "\x1e"
_SHOWN_BYTES = 200
_REPORTED_PER_PARTITION = 5


class InvalidRow(msgspec.Struct, frozen=True):
    """A row that cannot become a task: its column, why, the offending value and the row (both shortened)."""

    column: str
    reason: str
    value: str
    row: str


class PieceHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a piece holds. A piece of invalid rows has no body."""

    tasks: int = 0
    bytes: int = 0
    checksum: int = 0
    invalid_rows: int = 0
    invalid: list[InvalidRow] = []


_encode_header = msgspec.json.Encoder().encode
_is_json = msgspec.json.Decoder(msgspec.Raw).decode
_decode_problem = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True)
class PieceCutter:
    """Holds what `mapInArrow` needs on a worker.

    `head`: what stands before `data` in each task. `spliced`: name and mode of each text column.
    """

    head: bytes
    spliced: tuple[tuple[str, str], ...]
    max_tasks: int = PIECE_TASKS
    max_bytes: int = PIECE_BYTES

    def cut(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Encoded rows in, a column of pieces out."""
        import pyarrow as pa

        for piece in self.pieces(row for batch in batches for row in _rows(batch)):
            yield pa.RecordBatch.from_arrays([pa.array([piece], pa.binary())], [PIECE])

    def pieces(self, rows: Iterator[tuple[bytes | None, ...]]) -> Iterator[bytes]:
        """Header and body of each piece. A row: `data` without the texts, its problem or None, the texts."""
        splices = [(b',"' + _escaped(name) + b'":', name, mode) for name, mode in self.spliced]
        tasks: list[bytes] = []
        size = 0
        rejected = _Rejected()
        for flat, problem, *texts in rows:
            assert flat is not None  # noqa: S101
            if problem is not None:
                rejected.add(flat, **_decode_problem(problem))
                continue
            task = self.head + flat[:-1]
            for (key, name, mode), text in zip(splices, texts, strict=True):
                if text is None:
                    continue
                value, reason = _spliced(text, mode)
                if reason:
                    rejected.add(flat, name, reason, text[:_SHOWN_BYTES].decode(errors="replace"))
                    break
                task += (key if task[-1:] != b"{" else key[1:]) + value
            else:
                task += b"}}"
                if tasks and (len(tasks) == self.max_tasks or size + len(task) > self.max_bytes):
                    yield _piece(tasks)
                    tasks, size = [], 0
                tasks.append(task)
                size += len(task) + 1
        if tasks:
            yield _piece(tasks)
        if rejected.count:
            header = PieceHeader(invalid_rows=rejected.count, invalid=rejected.shown)
            yield _encode_header(header) + HEADER_END


@dataclass
class _Rejected:
    count: int = 0
    shown: list[InvalidRow] = field(default_factory=list)

    def add(self, flat: bytes, column: str, reason: str, value: str = "null") -> None:
        self.count += 1
        if len(self.shown) < _REPORTED_PER_PARTITION:
            row = flat[:_SHOWN_BYTES].decode(errors="replace")
            self.shown.append(InvalidRow(column=column, reason=reason, value=value, row=row))


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[bytes | None, ...]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _spliced(text: bytes, mode: str) -> tuple[bytes, str]:
    """The JSON to put into the task, or the reason why there is none."""
    structured = text.lstrip(b" \t\r\n")[:1] in (b"{", b"[")
    if structured:
        try:
            _is_json(text)
            return text, ""
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if mode == "json":
                return b"", f"is not JSON ({error})"
    elif mode == "json":
        return b"", "is not a JSON object or array, and the output is structured"
    return _quoted(text), ""


def _quoted(text: bytes) -> bytes:
    return msgspec.json.encode(text.decode())


def _escaped(name: str) -> bytes:
    return msgspec.json.encode(name)[1:-1]


def _piece(tasks: list[bytes]) -> bytes:
    body = b",".join(tasks)
    header = PieceHeader(tasks=len(tasks), bytes=len(body), checksum=crc32(body))
    return _encode_header(header) + HEADER_END + body
