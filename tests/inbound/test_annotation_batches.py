"""Rows of few columns and rows of all columns become one table: the same, whichever way a shape was read."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("pyspark")

import pyarrow as pa

from kit.annotation_rows import batches_of
from kit.examples import many
from sama_spark.inbound.annotation_columns import arrow_schema
from sama_spark.vendors.sama import reader
from sama_spark.vendors.sama.reader import SamaReader
from sama_spark.vendors.seam import Annotation, AnnotationReader, ImageAnnotation, Label

Texts = st.SearchStrategy[str]

# --- answers as JSON text, since no Python value has a name twice, half a surrogate pair or 1e400


def one_of(*texts: str) -> Texts:
    return st.sampled_from(texts)


def mostly(usual: Texts, odd: Texts) -> Texts:
    return st.integers(0, 9).flatmap(lambda chance: odd if chance == 5 else usual)


def listed(items: Texts, max_size: int = 3, min_size: int = 0) -> Texts:
    return st.lists(items, min_size=min_size, max_size=max_size).map(lambda found: f"[{', '.join(found)}]")


def braced(members: st.SearchStrategy[list[tuple[str, str]]]) -> Texts:
    return members.map(lambda found: "{" + ",".join(f'"{name}": {value}' for name, value in found) + "}")


def members(names: Texts, values: Texts) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(names, values), max_size=2)


odd = one_of(
    *("null", "true", "7", "-0.0", "1e400", "NaN", "9" * 25, "9007199254740993", '"x"', '"\\ud800"', '"a | b"', '"ü"'),
    *("[]", "{}", "[null]", "[[]]", "[[1]]", "[[1, 2], [3]]", "[[1, 2, 3], [4, 5, 6]]", '{"a": "1"}', "[{}]", "", "{"),
)  # fmt: skip
numbers = mostly(one_of("0", "-0.0", "0.0", "3", "12.5", "1e2", "9007199254740993", "33.333333333333336"), odd)
points = listed(mostly(st.tuples(numbers, numbers).map(lambda pair: f"[{pair[0]}, {pair[1]}]"), odd), 5)
tag = one_of('"car"', '"a | b"', '""', "null", '{"left": "1", "right": "0"}', "{}", '{"left": 1}', "[1]", '"\\ud800"')
tags = braced(members(one_of("kind", "side", "ü"), tag))
types = one_of('"rectangle"', '"polygon"', '"point"', '"cuboid"', '"x"', "null")
indices = one_of("1", "0", "-5", "2147483647", "2147483648", "null")
usual = st.tuples(types, indices, points, tags).map(
    lambda values: [*zip(("type", "index", "points", "tags"), values, strict=True)]
)
names = one_of(
    *("type", "index", "points", "p\\u006fints", "tags", "key_locations", "locations", "frame_number", "visibility"),
    *("position_center", "dimensions", "direction", "key_points", "output", "raw", "label"),
)
keys = braced(st.tuples(points, one_of("0", "4", "null")).map(lambda at: [("points", at[0]), ("frame_number", at[1])]))
# What makes a shape one of a video or of space.
elsewhere = st.lists(
    st.one_of(
        st.tuples(one_of("key_locations", "locations"), listed(keys)),
        st.tuples(st.just("visibility"), one_of("0", "1", "true")),
        st.tuples(st.just("position_center"), st.just("[1, 2, 3]")),
        st.tuples(st.just("dimensions"), st.just('{"length": 4}')),
    ),
    max_size=2,
)
more = st.just([]) | elsewhere | members(names, odd)
shapes = mostly(braced(st.builds(lambda a, b: [*a, *b], usual, more)), odd)
groups = mostly(
    braced(
        st.builds(
            lambda shapes, type_, more: [("shapes", shapes), *([("group_type", type_)] if type_ else []), *more],
            mostly(listed(shapes, min_size=1), odd),
            one_of("", "null", '"vehicle"', "7", '"\\ud800"'),
            st.just([]) | members(one_of("shapes", "group_type", "frame_count"), odd),
        )
    ),
    odd | shapes,
)
layer_names = one_of("vector_tagging", "vector_tagging", "raster_coding", "new", "v\\u0065ctor_tagging")
alone = listed(groups).map(lambda found: f'{{"vector_tagging": {found}}}')
layers = alone | alone | braced(members(layer_names, listed(groups) | odd))
images = mostly(
    layers.map(lambda found: f'{{"layers": {found}}}'),
    listed(groups) | layers | braced(members(one_of("layers", "more"), layers | odd)),
)
answers = mostly(braced(st.lists(st.tuples(one_of("objects", "more", "ü"), mostly(images, odd)), max_size=3)), odd)
labels: st.SearchStrategy[Label] = st.sampled_from([None, "kind", {"objects": "kind", "more": "side"}])


def table(texts: list[str], of: AnnotationReader) -> pa.Table:
    return pa.Table.from_batches(batches_of(texts, of), arrow_schema())


SHAPE = '"type": "point", "points": [[1, 2]]'
SOME = '{"objects": {"layers": {"vector_tagging": [{"shapes": [%s]}]}}, "weather": "sun"}'


@given(st.lists(answers, max_size=4), labels, st.sampled_from(["key", "all"]))
@example([SOME % f'{{{SHAPE}, "visibility": 1}}', SOME % f"{{{SHAPE}}}"], None, "key")
@example([SOME % f'{{{SHAPE}, "index": 2147483648}}', SOME % '{"points": [[1, 2, 3], [4, 5, 6]]}'], None, "key")
@example([SOME % f'{{{SHAPE}, "position_center": [1, 2, 3]}}'], None, "key")
@example([SOME % f'{{{SHAPE}, "key_locations": [{{{SHAPE}, "frame_number": 3}}]}}'], "kind", "key")
@example([SOME % f'{{{SHAPE}, "locations": [{{{SHAPE}}}]}}'], "kind", "all")
@example(['{"objects": {"layers": {"vector_tagging": [], "new": 1}}}'], None, "key")
@example(['{"objects": {"layers": {"raster_coding": null, "vector_tagging": [{"shapes": [{}]}]}}}'], None, "key")
def test_a_shape_of_an_image_has_the_row_that_it_has_otherwise(texts: list[str], label: Label, frames: str) -> None:
    of_few_columns = table(texts, SamaReader(label, frames))  # type: ignore[arg-type]
    with patch.object(reader, "image_shape", lambda _: None), patch.object(reader, "layers_of", lambda _: None):
        one_by_one = table(texts, SamaReader(label, frames))  # type: ignore[arg-type]
    of_few_columns.validate(full=True)
    assert of_few_columns.equals(one_by_one)


def test_many_of_these_shapes_are_read_the_quick_way() -> None:
    """Else the test above compares a way with itself."""
    rows = [row for text in many(answers, 150) for row in SamaReader().rows(text.encode())]
    quick = [row for row in rows if not isinstance(row, Annotation)]
    assert 20 < len(quick) < len(rows) - 20


coordinates = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0])
drawn = st.none() | st.lists(st.lists(coordinates, max_size=3), max_size=3) | st.integers(1, 3).flatmap(
    lambda axes: st.lists(st.lists(coordinates, min_size=axes, max_size=axes), max_size=5)
)  # fmt: skip


class Drawer:
    """The reader of a vendor whose answers are lists of points, every second one with all columns."""

    def rows(self, answers: bytes) -> Iterator[ImageAnnotation]:
        for number, points in enumerate(json.loads(answers)):
            if number % 2:
                yield Annotation("o", "event", b"%d" % number, points=points, frame=number, response=number)
            else:
                yield ImageAnnotation("o", "box", b"%d" % number, points=points)


@given(st.lists(st.lists(drawn, max_size=5), max_size=3))
def test_boxes_are_around_all_points_in_the_plane(tasks: list[list[list[list[float]] | None]]) -> None:
    rows = [row for batch in batches_of([json.dumps(task) for task in tasks], Drawer()) for row in batch.to_pylist()]
    expected = [(str(task), *item) for task, items in enumerate(tasks) for item in enumerate(items)]
    assert [(row["task_id"], row["ordinal"], row["points"]) for row in rows] == expected
    for row in rows:
        number = row["ordinal"]
        assert (row["frame"], row["response"]) == ((number, number) if number % 2 else (None, 0))
        assert (row["raw"], row["kind"]) == (str(number), "event" if number % 2 else "box")
        found = [row[name] for name in ("x_min", "y_min", "x_max", "y_max")]
        if len(row["points"] or ()) < 2 or {*map(len, row["points"])} != {2}:
            assert found == [None] * 4
        else:
            xs, ys = zip(*row["points"], strict=True)
            assert found == [min(xs), min(ys), max(xs), max(ys)]
            assert "-0.0" not in map(str, found), "one of two equal numbers, whatever the order of the points"


def test_a_number_that_lacks_is_no_edge() -> None:
    [batch] = batches_of(["[[[1, null], [3, 4]], [[5, 6], [7, 8]], [null, [1, 2]]]"], Drawer())
    found = [tuple(row[name] for name in ("x_min", "y_min", "x_max", "y_max")) for row in batch.to_pylist()]
    assert found == [(1, None, 3, None), (5, 6, 7, 8), (None,) * 4]


@pytest.mark.parametrize("more", ["", ', "visibility": 1'])
def test_large_tasks_become_several_batches(more: str) -> None:
    shape = f'{{"type": "rectangle", "points": [[1, 2], [3, 4]]{more}}}'
    counts = [4500, 0, 1]
    batches = batches_of([SOME % ",".join([shape] * count) for count in counts])
    assert [batch.num_rows for batch in batches] == [2000, 2000, 504]
    found = [row for batch in batches for row in batch.select(["task_id", "ordinal"]).to_pylist()]
    assert [(row["task_id"], row["ordinal"]) for row in found] == [
        (str(task), ordinal) for task, count in enumerate(counts) for ordinal in range(count + 1)
    ]
    assert gc.isenabled()
