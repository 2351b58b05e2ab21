"""Lines of the stage: the raw forms are cut out to the byte."""

from __future__ import annotations

import json
import resource
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sama_spark.api.task_text import task_text
from sama_spark.errors import StagingError
from sama_spark.inbound import lines
from sama_spark.inbound.lines import LINE_END, ahead, cut_line, line_prefix, stage_lines

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
tasks = st.dictionaries(st.sampled_from(["id", "data", "answers", "dat", "state"]), json_values)


@given(st.lists(tasks, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_a_line_holds_each_value_to_the_byte(page: list[dict[str, Any]], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps({"tasks": page}, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        decoded = msgspec.json.decode(text, type=dict[str, list[msgspec.Raw]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # lone surrogates, which no JSON parser has to take
    for task, raw in zip(page, decoded["tasks"], strict=True):
        line = line_prefix(task_text(raw)) + bytes(raw)
        assert LINE_END.encode() not in line
        cut = cut_line(line)
        assert cut.raw == bytes(raw)
        for name, part in (("data", cut.data), ("answers", cut.answers)):
            assert (None if part is None else json.loads(part)) == task.get(name)
            assert part is None or part in cut.raw
        assert (cut.id is None) == (cut.problem is not None)


def test_a_stage_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with pytest.raises(StagingError, match=r"gone'.*No such file"):
        stage_lines([[task_text(msgspec.Raw(b'{"id": 1}'))]], folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # as a full disk, which a test has not at hand
    try:
        with pytest.raises(StagingError, match=r"cannot write to the stage .*File too large.*Make room"):
            stage_lines([[task_text(msgspec.Raw(b'{"id": "%b"}' % (b"x" * 100_000)))]], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_reading_ahead_keeps_order_and_hands_errors_on() -> None:
    def pages() -> Any:
        yield from (["a"], ["b"], ["c"])
        raise ValueError("page 4")

    reading = ahead(pages())
    assert [next(reading) for _ in range(3)] == [["a"], ["b"], ["c"]]
    with pytest.raises(ValueError, match="page 4"):
        next(reading)


def test_reading_ahead_ends_its_thread_when_the_reader_stops() -> None:
    reading = ahead(iter([[number] for number in range(100)]))
    assert next(reading) == [0]
    [thread] = [t for t in threading.enumerate() if t.name == "sama-pages"]
    reading.close()
    thread.join(timeout=5)
    assert not thread.is_alive()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20), st.integers(1, 60))
def test_a_table_has_parts_of_bounded_size(texts: list[bytes], most: int) -> None:
    """Each part is a task of Spark, which refuses those of more than 128 MB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_PART_BYTES", most)
        column = lines._line_table([text.hex().encode() for text in texts])["value"]
    assert column.to_pylist() == [text.hex() for text in texts]
    for part in column.chunks:
        assert len(part) == 1 or sum(map(len, part.to_pylist())) <= most
