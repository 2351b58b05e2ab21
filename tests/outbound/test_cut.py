"""Cutting and packing, for every input: nothing lost, nothing bent, no bound exceeded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sama_spark.errors import StagingError
from sama_spark.outbound.cut import PieceCutter, PieceHeader
from sama_spark.outbound.encoded_batch import EncodedBatch
from sama_spark.outbound.pieces import (
    HEADER_END,
    PIECE_END,
    ChunkBuffer,
    PiecePart,
    StagedPiece,
    StreamedPiece,
    invalid_rows_in,
    pack,
    write_pieces,
)
from sama_spark.outbound.pieces import _listed as listed

if TYPE_CHECKING:
    from pathlib import Path

TASK_START = b'{"priority":0,"submit":false,'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
structured_texts = (st.lists(json_values, max_size=3) | st.dictionaries(st.text(), json_values, max_size=3)).flatmap(
    lambda value: st.sampled_from([json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False)])
)
rows = st.lists(
    st.tuples(st.dictionaries(st.text(), json_values, max_size=3), st.none() | structured_texts), max_size=30
)


def pieces_of(cutter: PieceCutter, encoded: list[tuple[bytes | None, ...]]) -> list[StreamedPiece]:
    # Two batches, so that a bad row is seen beside good ones and without them.
    parts = [part for part in (encoded[:2], encoded[2:]) if part]
    batches = [EncodedBatch.of([list(column) for column in zip(*part, strict=True)]) for part in parts]
    return [StreamedPiece(header, body) for header, body in cutter.pieces(batches)]


def encoded_rows(tasks: list[tuple[dict[str, object], str | None]]) -> list[tuple[bytes | None, ...]]:
    # As Spark writes it: no control character stands unescaped.
    return [
        (
            b'"data":' + json.dumps(flat).encode(),
            None,
            b'{"n":"%d"}' % n,
            b"%d" % -n,
            None if text is None else text.encode("utf-8", "surrogatepass"),
        )
        for n, (flat, text) in enumerate(tasks)
    ]


@given(rows, st.integers(1, 5), st.integers(1, 400), st.integers(1, 7), st.integers(1, 900))
def test_every_task_arrives_once_in_order_and_within_bounds(
    tasks: list[tuple[dict[str, object], str | None]],
    piece_tasks: int,
    piece_bytes: int,
    chunk_tasks: int,
    chunk_bytes: int,
) -> None:
    cutter = PieceCutter(TASK_START, (("output_shapes", "json"),), piece_tasks, piece_bytes)
    pieces = pieces_of(cutter, encoded_rows(tasks))
    chunks = list(pack(pieces, chunk_tasks, chunk_bytes))
    sent = [task for chunk in chunks for task in json.loads(bytes(ChunkBuffer().body(chunk)))]

    expected = [flat | ({} if text is None else {"output_shapes": json.loads(text)}) for flat, text in tasks]
    assert [task["data"] for task in sent] == expected
    assert all((task["priority"], task["submit"]) == (0, False) for task in sent)
    for piece in pieces:
        assert piece.header.tasks == 1 or (piece.header.tasks <= piece_tasks and piece.header.bytes <= piece_bytes)
    for chunk in chunks:
        assert len(chunk) == 1 or len(bytes(ChunkBuffer().body(chunk))) <= chunk_bytes
        assert len(chunk) == 1 or sum(piece.header.tasks for piece in chunk) <= chunk_tasks


@given(rows, st.integers(1, 5), st.data())
def test_any_part_of_a_piece_has_its_own_tasks_and_keys(
    tmp_path_factory: pytest.TempPathFactory,
    tasks: list[tuple[dict[str, object], str | None]],
    piece_tasks: int,
    data: st.DataObject,
) -> None:
    cutter = PieceCutter(TASK_START, (("output_shapes", "json"),), piece_tasks, keyed=True)
    file = tmp_path_factory.mktemp("spool") / "pieces"
    write_pieces(pieces_of(cutter, encoded_rows(tasks)), file)
    sent, rows_sent, kept = [], [], []
    for number, piece in enumerate(listed(file)):
        left_out = data.draw(st.sets(st.integers(0, piece.header.tasks - 1)))
        first = len(kept) and kept[-1][0] + 1
        kept += [(first + i, i not in left_out) for i in range(piece.header.tasks)]
        part = PiecePart.without(piece, number, left_out)
        assert (part is None) == (len(left_out) == piece.header.tasks)
        if part is not None:
            sent += json.loads(bytes(ChunkBuffer().body([part])))
            in_piece = piece.rows()
            rows_sent += [(in_piece.keys[i], in_piece.contents[i]) for i in part.positions]
            assert part.header.tasks == len(part.positions)
    expected = [n for n, is_kept in kept if is_kept]
    assert [task["data"] for task in sent] == [
        tasks[n][0] | ({} if tasks[n][1] is None else {"output_shapes": json.loads(tasks[n][1] or "")})
        for n in expected
    ]
    assert rows_sent == [(f'{{"n":"{n}"}}', -n) for n in expected]


@given(structured_texts)
def test_output_text_is_spliced_to_the_byte(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    [piece] = pieces_of(PieceCutter(TASK_START, (("output_o", "json"),)), [(b'"data":{}', None, None, None, raw)])
    assert piece.body == TASK_START + b'"data":{"output_o":' + raw + b"}}"


@given(st.text())
def test_auto_mode_never_refuses_a_text(text: str) -> None:
    raw = text.encode()
    [piece] = pieces_of(PieceCutter(TASK_START, (("output_o", "auto"),)), [(b'"data":{"a":1}', None, None, None, raw)])
    sent = json.loads(piece.body)["data"]["output_o"]
    if sent != text:
        assert isinstance(sent, (dict, list))
        assert sent == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":}',
        "[1,]",
        '{"a":1} x',
        "[NaN]",
        "{'a': 1}",
        '["\\ud800"]',
        "[01]",
        "",
        "bare",
        '["\t"]',
        "1",
        "null",
        '"s"',
    ],
)
def test_a_text_that_is_no_structure_rejects_its_row_alone(text: str) -> None:
    cutter = PieceCutter(TASK_START, (("output_o", "json"),))
    good = (b'"data":{"url":"good.jpg"}', None, None, None, b"[1]")
    pieces = pieces_of(cutter, [good, (b'"data":{"url":"bad.jpg"}', None, None, None, text.encode()), good])
    assert [p.header.tasks for p in pieces] == [2, 0]
    [row] = invalid_rows_in(pieces[1])
    assert (row.column, row.value, row.row) == ("output_o", text, '{"url":"bad.jpg"}')


@given(bodies=st.lists(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), max_size=4))
def test_the_stage_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[list[bytes]]
) -> None:
    forbidden = bytes([0x1E, 0x1F])
    files = []
    folder = tmp_path_factory.mktemp("stage")
    written = []
    for i, tasks in enumerate(bodies):
        tasks = [bytes(b for b in task if b not in forbidden) for task in tasks]  # noqa: PLW2901
        written += tasks
        lines = []
        for task in tasks:
            header = msgspec.json.encode(PieceHeader(tasks=1, bytes=len(task), checksum=crc32(task)))
            lines.append(header + HEADER_END.encode() + task + PIECE_END.encode())
        file = folder / f"part-{i}"
        file.write_bytes(b"".join(lines))
        files.append(file)
    found = [bytes(ChunkBuffer().body([piece]))[1:-1] for file in files for piece in listed(file)]
    assert found == written


def test_a_damaged_stage_is_an_error(tmp_path: Path) -> None:
    body = b'{"data":{}}'
    header = msgspec.json.encode(PieceHeader(tasks=1, bytes=len(body), checksum=crc32(body)))
    file = tmp_path / "part-0"
    file.write_bytes(header + HEADER_END.encode() + body + PIECE_END.encode() + b"left over")
    with pytest.raises(StagingError, match="does not end"):
        list(listed(file))
    file.write_bytes(header + HEADER_END.encode() + body.replace(b"data", b"dada"))
    piece = next(iter(listed(file)))
    assert isinstance(piece, StagedPiece)
    with pytest.raises(StagingError, match="changed"):
        ChunkBuffer().body([piece])
