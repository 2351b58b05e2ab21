"""Answers become annotation rows, whatever Sama's format and however odd the JSON."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from kit.annotation_rows import rows_of_task
from sama_spark import Client
from sama_spark.errors import InvalidInput
from sama_spark.vendors.sama.reader import SamaReader
from sama_spark.vendors.seam import Frames, Label

Json = Any
CORNERS = [[10, 20], [110, 20], [10, 80.5], [110, 80.5]]
BOX = {"points": CORNERS, "x_min": 10, "y_min": 20, "x_max": 110, "y_max": 80.5}


@pytest.mark.parametrize("label", [7, "", ["color"], {"shapes": 7}, {"shapes": ["color"]}])
def test_what_is_no_label_is_refused_before_anything_is_done(label: Any) -> None:
    with pytest.raises(InvalidInput, match="label"):
        SamaReader(label)
    with pytest.raises(InvalidInput, match="label"), Client("key") as client:
        client.sync(None, "4242", "labels", label=label)  # type: ignore[arg-type]


def rows_of(answers: Json, label: Label = None, frames: Frames = "key") -> list[SimpleNamespace]:
    text = answers if isinstance(answers, bytes) else json.dumps(answers).encode()
    return rows_of_task(text, SamaReader(label, frames))


def told(row: SimpleNamespace) -> dict[str, Any]:
    """The columns that hold something, but for those of the task, the output's name, the place and the text."""
    given = vars(row).copy()
    assert given.pop("response") == 0, "Sama has one answer for a task"
    known = ("vendor", "task_id", "output", "ordinal", "raw")
    return {name: value for name, value in given.items() if value is not None and name not in known}


def image(*shapes: Json, group_type: str | None = None) -> Json:
    return {"layers": {"vector_tagging": [{"shapes": list(shapes), "group_type": group_type}]}}


def drawn(type_: str, points: Json, index: int = 1, **tags: Json) -> Json:
    return {"type": type_, "index": index, "points": points, "tags": tags}


def shape_row(kind: str, type_: str, points: Json, box: list[float] | None = None, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": kind, "type": type_, "object_id": "1", "group_id": 0, "tags": {}, "points": points}
    return row | dict(zip(("x_min", "y_min", "x_max", "y_max"), box or (), strict=False)) | more


CUBE = [[x, y, z] for z in (0.0, 1.5) for y in (0.0, 2.0) for x in (0.0, 4.0)]
WHERE = {
    "position_center": [2.0, 1.0, 0.75],
    "dimensions": {"length": 4.0, "width": 2.0, "height": 1.5},
    "direction": {"roll": 0.0, "pitch": 0.0, "yaw": 0.5},
}
SPATIAL = {
    "position": dict(zip("xyz", WHERE["position_center"], strict=True)),
    "dimensions": WHERE["dimensions"],
    "direction": WHERE["direction"],
}
EIGHT = [[x, y] for x in (0, 5, 1, 6) for y in (0, 4)]

# What is drawn, and its row.
SHAPES: dict[str, tuple[Json, dict[str, Any]]] = {
    "rectangle": (drawn("rectangle", CORNERS), shape_row("box", "rectangle", CORNERS, [10, 20, 110, 80.5])),
    "corners in another order": (
        drawn("rectangle", CORNERS[::-1]),
        shape_row("box", "rectangle", CORNERS[::-1], [10, 20, 110, 80.5]),
    ),
    "slider_rectangle": (
        drawn("slider_rectangle", [*CORNERS, [60, 20]]),
        shape_row("box", "slider_rectangle", [*CORNERS, [60, 20]], [10, 20, 110, 80.5]),
    ),
    "polygon": (
        drawn("polygon", [[0, 0], [4, 0], [2, -3]]),
        shape_row("polygon", "polygon", [[0, 0], [4, 0], [2, -3]], [0, -3, 4, 0]),
    ),
    "line": (drawn("line", [[1, 2], [3, 4]]), shape_row("polyline", "line", [[1, 2], [3, 4]], [1, 2, 3, 4])),
    "arrow": (drawn("arrow", [[9, 2], [3, 4]]), shape_row("polyline", "arrow", [[9, 2], [3, 4]], [3, 2, 9, 4])),
    "point": (drawn("point", [[1, 2]]), shape_row("point", "point", [[1, 2]])),
    "cuboid": (
        drawn("cuboid", EIGHT) | {"key_points": [[0, 0]] * 5},
        shape_row("cuboid", "cuboid", EIGHT, [0, 0, 6, 4]),
    ),
    "keypoints": (
        drawn("keypoint_shape", [[1, 2], [0, 5]], keypoint_class="face"),
        shape_row("keypoints", "keypoint_shape", [[1, 2], [0, 5]], [0, 2, 1, 5], tags={"keypoint_class": ["face"]}),
    ),
    "a type of tomorrow": (drawn("ellipse", [[1, 2]]), shape_row("unknown", "ellipse", [[1, 2]])),
    "cuboid in space": (drawn("cuboid", CUBE) | WHERE, shape_row("cuboid_3d", "cuboid", CUBE, **SPATIAL)),
    "line in space": (
        drawn("line", [[1, 2, 3], [4, 5, 6]]) | {"is_orthographic": True},
        shape_row("polyline_3d", "line", [[1, 2, 3], [4, 5, 6]]),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_type_of_shape(name: str) -> None:
    shape, expected = SHAPES[name]
    assert [told(row) for row in rows_of({"objects": image(shape)})] == [expected]


ELSEWHERE: dict[str, Json] = {
    "layers": image(SHAPES["rectangle"][0]),
    "Sama Go, without layers": image(SHAPES["rectangle"][0])["layers"],
    "list of shapes": [SHAPES["rectangle"][0]],
    "list of groups": [{"shapes": [SHAPES["rectangle"][0]]}],
    "one group, no list": {"shapes": SHAPES["rectangle"][0]},
    "one shape, no list": SHAPES["rectangle"][0],
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_shapes_wherever_they_stand(name: str) -> None:
    assert [told(row) for row in rows_of({"_vector": ELSEWHERE[name]})] == [SHAPES["rectangle"][1]]


def test_old_shape_lists_say_rect() -> None:
    rows = rows_of({"objects": [drawn("rect", CORNERS), drawn("rect", CORNERS, 5)]})
    assert [(row.kind, row.type, row.object_id, row.group_id) for row in rows] == [
        ("box", "rect", "1", 0),
        ("box", "rect", "5", 1),
    ]


def test_groups_and_the_places_of_rows() -> None:
    groups = [
        {"shapes": [drawn("point", [[1, 1]], 1), drawn("point", [[1, 1]], 2)], "group_type": "pair"},
        {"shapes": []},
        {"shapes": [drawn("point", [[1, 1]], 9)], "group_type": None},
    ]
    rows = rows_of({"note": "a", "objects": {"layers": {"vector_tagging": groups}}, "other": "b"})
    assert [(r.output, r.ordinal, r.object_id, r.group_id, r.group_type) for r in rows] == [
        ("note", 0, None, None, None),
        ("objects", 1, "1", 0, "pair"),
        ("objects", 2, "2", 0, "pair"),
        ("objects", 3, "9", 2, None),
        ("other", 4, None, None, None),
    ]


# An answer, and value and values of its row.
ANSWERS: list[tuple[Json, str | None, list[str]]] = [
    ("sun", "sun", ["sun"]),
    ("", "", [""]),
    (" two\nlines ", " two\nlines ", [" two\nlines "]),
    ("vehicle | car|red ", "vehicle | car|red ", ["vehicle", "car", "red"]),
    ("2024-03-01", "2024-03-01", ["2024-03-01"]),
    ({"rain": "0", "sun": "1", "wind": "1"}, None, ["sun", "wind"]),
    ({"rain": "0"}, None, []),
    (True, "true", ["true"]),
    (7, "7", ["7"]),
]


@pytest.mark.parametrize(("answer", "value", "values"), ANSWERS)
def test_answers_of_the_scene(answer: Json, value: str | None, values: list[str]) -> None:
    [row] = rows_of({"weather": answer}, label="weather")
    assert (row.output, row.kind, row.value, row.values) == ("weather", "answer", value, values)
    assert json.loads(row.raw) == answer
    assert (row.type, row.label, row.tags) == (None, None, None)


def test_tags_and_the_label_among_them() -> None:
    tags = {"kind": "car", "side": {"left": "1", "right": "0", "top": "1"}, "class": "a | b", "none": None, "odd": [1]}
    answers = {"objects": image(drawn("rectangle", CORNERS, **tags)), "weather": "sun"}
    shape, answer = rows_of(answers, label="kind")
    read = {"kind": ["car"], "side": ["left", "top"], "class": ["a", "b"], "odd": ["[1]"]}
    assert (shape.tags, shape.label, answer.label) == (read, "car", None)
    labels: list[Label] = ["class", "side", "none", "missing", {"objects": "kind"}, {"weather": "kind"}, None]
    assert [rows_of(answers, label)[0].label for label in labels] == ["a|b", "left|top", None, None, "car", None, None]


def test_masks() -> None:
    raster = {"mask_url": "https://m.invalid/1.png"}
    [row] = rows_of({"floor": {"layers": {"raster_coding": raster}}})
    assert told(row) == {"kind": "mask", "type": "raster_coding", "mask_url": raster["mask_url"]}
    assert json.loads(row.raw) == raster
    both = rows_of({"floor": {"layers": {**image(drawn("point", [[1, 2]]))["layers"], "raster_coding": {}, "new": 1}}})
    assert [(row.kind, row.mask_url) for row in both] == [("point", None), ("mask", None), ("unknown", None)]


def key(frame: int, points: Json = CORNERS, visibility: int = 1, **more: Json) -> Json:
    return {"frame_number": frame, "visibility": visibility, "points": points, **more}


MOVED = [[x + 4, y] for x, y in CORNERS]
CAR = {
    "type": "rectangle",
    "index": 7,
    "tags": {"kind": "car"},
    "key_locations": [
        key(0, tags={"doors": {"left": "1", "right": "0"}}),
        key(2, MOVED, tags={"doors": {"left": "0", "right": "1"}, "light": "on"}),
        {"frame_number": 3, "visibility": 0},
    ],
    "locations": [
        {"visibility": 1, "points": CORNERS, "tags": {"doors": {"left": "1", "right": "0"}}},
        {"visibility": 1, "points": CORNERS, "tags": {"doors": {"left": "1", "right": "0"}}},
        {"visibility": 1, "points": MOVED, "tags": {"doors": {"left": "0", "right": "1"}, "light": "on"}},
        {"visibility": 0},
    ],
}
EARLY, LATE = {"kind": ["car"], "doors": ["left"]}, {"kind": ["car"], "doors": ["right"], "light": ["on"]}


def film(*shapes: Json) -> Json:
    return [{"shapes": list(shapes), "group_type": "traffic", "frame_count": 4}]


@pytest.mark.parametrize("shuffled", [False, True])
def test_videos_by_key_location(shuffled: bool) -> None:
    car = CAR | {"key_locations": CAR["key_locations"][::-1]} if shuffled else CAR  # type: ignore[index]
    rows = rows_of({"film": film(car)}, label="doors")
    same = {"kind": "box", "type": "rectangle", "object_id": "7", "group_id": 0, "group_type": "traffic"}
    moved = {"points": MOVED, "x_min": 14, "y_min": 20, "x_max": 114, "y_max": 80.5}
    assert [told(row) for row in rows] == [
        {**same, **BOX, "frame": 0, "key_frame": True, "visible": True, "tags": EARLY, "label": "left"},
        {**same, **moved, "frame": 2, "key_frame": True, "visible": True, "tags": LATE, "label": "right"},
        {**same, "frame": 3, "key_frame": True, "visible": False, "tags": LATE, "label": "right"},
    ]
    assert [json.loads(row.raw) for row in rows] == CAR["key_locations"]


def test_videos_by_frame() -> None:
    rows = rows_of({"film": film(CAR)}, frames="all")
    seen = [(row.frame, row.key_frame, row.visible, row.x_min, row.tags) for row in rows]
    assert seen == [
        (0, True, True, 10, EARLY),
        (1, False, True, 10, EARLY),
        (2, True, True, 14, LATE),
        (3, True, False, None, LATE),
    ]
    assert [json.loads(row.raw) for row in rows] == CAR["locations"]


@pytest.mark.parametrize("frames", ["key", "all"])
def test_videos_that_have_one_of_the_two(frames: Frames) -> None:
    keys = rows_of({"film": film({**CAR, "locations": []})}, frames=frames)
    assert [(row.frame, row.key_frame) for row in keys] == [(0, True), (2, True), (3, True)]
    every = rows_of({"film": film({**CAR, "key_locations": None})}, frames=frames)
    assert [(row.frame, row.key_frame) for row in every] == [(0, False), (1, False), (2, False), (3, False)]
    neither = rows_of({"film": film({**CAR, "key_locations": [], "locations": []})}, frames=frames)
    assert [(row.kind, row.object_id, row.frame, row.tags) for row in neither] == [
        ("box", "7", None, {"kind": ["car"]})
    ]


def test_one_location_in_place_of_an_array() -> None:
    rows = rows_of({"film": film({**CAR, "key_locations": key(5), "locations": key(5)})})
    assert [(row.frame, row.visible, row.x_max) for row in rows] == [(5, True, 110)]


def test_cuboids_and_lines_in_space() -> None:
    cuboid = {
        "type": "cuboid",
        "index": 1,
        "key_locations": [key(0, CUBE, **WHERE), {"frame_number": 4, "visibility": 0}],
    }
    line = {"type": "line", "index": 2, "key_locations": [key(0, [[1, 2, 3], [4, 5, 6]], is_orthographic=True)]}
    first, gone, drawn_line = rows_of({"scene": film(cuboid, line)})
    assert told(first) == shape_row(
        "cuboid_3d", "cuboid", CUBE, frame=0, key_frame=True, visible=True, group_type="traffic", **SPATIAL
    )
    assert (gone.kind, gone.points, gone.position, gone.visible) == ("cuboid_3d", None, None, False)
    assert (drawn_line.kind, drawn_line.points, drawn_line.x_min) == ("polyline_3d", [[1, 2, 3], [4, 5, 6]], None)


# A shape, and what cannot be read of it; the rest can.
ODD: list[tuple[str, set[str]]] = [
    ('{"type": "rectangle", "index": 1, "points": [[1, 2], [3]]}', {"points"}),
    ('{"type": "rectangle", "index": 1, "points": [[1, 1e400], [3, 4]]}', {"points"}),
    ('{"type": "rectangle", "index": 1, "points": [[1, 2], [3, null]]}', {"points"}),
    ('{"type": "rectangle", "index": 1, "points": [[1, 2, 3], [3, 4]]}', {"points"}),
    ('{"type": "rectangle", "index": 1, "points": []}', {"points"}),
    ('{"type": "rectangle", "index": 1, "points": "none"}', {"points"}),
    ('{"type": "rectangle", "index": 4294967296, "points": [[1, 2], [3, 4]]}', {"object_id"}),
    ('{"type": "rectangle", "index": "1", "points": [[1, 2], [3, 4]]}', {"object_id"}),
    ('{"type": ["rectangle"], "index": 1, "points": [[1, 2], [3, 4]]}', {"type"}),
    ('{"type": "rectangle", "index": 1, "points": [[1, 2], [3, 4]], "tags": 5}', set()),
    ('{"type": "rectangle", "index": 1, "points": [[1, 2], [3, 4]], "visibility": "yes"}', set()),
]


@pytest.mark.parametrize(("text", "lost"), ODD)
def test_what_is_odd_is_null_and_the_rest_is_there(text: str, lost: set[str]) -> None:
    [row] = rows_of(b'{"objects": [{"shapes": [%s]}]}' % text.encode())
    given = {"type": row.type, "object_id": row.object_id, "points": row.points}
    assert {name for name, value in given.items() if value is None} == lost
    assert row.raw == text.encode()
    assert (row.x_min is None) == ("points" in lost)


UNKNOWN: list[tuple[bytes, int]] = [
    (b'{"o": {"items": [{"__id": "x", "context": {}, "annotations": {"kind": 1}}]}}', 1),
    (b'{"o": {"layers": {"brush": []}}}', 1),
    (b'{"o": ["a", 1, null]}', 3),
    (b'{"o": [{"shapes": [5, "x"]}]}', 2),
    (b"[1]", 1),
    (b"no JSON", 1),
    (b'{"o": ' + b"[" * 5000 + b"]" * 5000 + b"}", 1),
    (b'{"o": "\xff"}', 0),
    (b'{"o": NaN}', 1),
]


@pytest.mark.parametrize(("answers", "count"), UNKNOWN)
def test_what_nobody_knows_is_kept_as_text(answers: bytes, count: int) -> None:
    rows = [row for row in rows_of(answers) if row.kind == "unknown"]
    assert len(rows) == count
    assert all(row.raw in answers and told(row).keys() <= {"kind", "group_id"} for row in rows)


@pytest.mark.parametrize("answers", [b"", b"null", b" null ", b"{}", b'{"a": null, "b": []}'])
def test_no_answer_is_no_row(answers: bytes) -> None:
    assert rows_of(answers) == []


# --- properties

words = st.sampled_from(
    ["layers", "vector_tagging", "raster_coding", "shapes", "type", "index", "points", "tags", "key_locations"]
) | st.sampled_from(
    ["locations", "frame_number", "visibility", "position_center", "dimensions", "direction", "yaw", "mask_url"]
)
leaves = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4)
    | st.sampled_from(["0", "1", "rectangle", "cuboid", "line", "a|b"])
)  # fmt: skip
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=3), inner, max_size=4),
    max_leaves=25,
)


@given(anything, st.sampled_from(["key", "all"]), st.sampled_from([None, 1]))
@example({"o": [{"shapes": [{"key_locations": {}, "locations": [5, None]}]}]}, "all", None)
def test_no_json_raises_and_every_raw_is_in_it(answers: Json, frames: Frames, indent: int | None) -> None:
    text = json.dumps(answers, ensure_ascii=False, indent=indent).encode()
    rows = rows_of(text, "left", frames)
    assert [row.ordinal for row in rows] == list(range(len(rows)))
    assert all(row.raw and row.raw in text for row in rows)
    if isinstance(answers, dict) and "NaN" not in text.decode() and "Infinity" not in text.decode():
        told_of = {name for name, answer in answers.items() if answer not in (None, [])}
        assert {row.output for row in rows} <= told_of


@given(st.binary(max_size=30))
def test_no_bytes_raise(answers: bytes) -> None:
    rows_of(answers)


numbers = st.sampled_from(["1", "1.10", "-0.0", "1e2", "33.333333333333336", "99999999999999999999", "0"])
places = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6)
tags = st.dictionaries(
    st.text(max_size=4),
    st.text(max_size=4) | st.dictionaries(st.text(max_size=3), st.sampled_from("01"), max_size=3),
    max_size=3,
)
shape_texts = st.builds(
    lambda points, tags, index, odd, space: (
        f'{{{space}"index": {index},{space} "points": [{", ".join(f"[{x}, {y}]" for x, y in points)}]'
        f', "type": "polygon", "tags": {json.dumps(tags)}{odd}}}'
    ),
    places, tags, st.integers(1, 99), st.sampled_from(["", ', "visibility": []', ', "new": {"a": 1.50}']),
    st.sampled_from(["", " ", "\n"]),
)  # fmt: skip


@given(st.lists(st.lists(shape_texts, max_size=4), max_size=4))
def test_each_shape_is_one_row_to_the_byte(groups: list[list[str]]) -> None:
    listed = ",".join(f'{{"shapes": [{", ".join(shapes)}]}}' for shapes in groups)
    rows = rows_of(f'{{"o": {{"layers": {{"vector_tagging": [{listed}]}}}}}}'.encode())
    assert [row.raw.decode() for row in rows] == [shape for shapes in groups for shape in shapes]
    for row in rows:
        shape = json.loads(row.raw, parse_int=float)
        xs, ys = zip(*shape["points"], strict=True)
        box = (min(xs), min(ys), max(xs), max(ys)) if len(xs) > 1 else (None,) * 4
        assert (row.x_min, row.y_min, row.x_max, row.y_max) == box
        assert (row.object_id, row.points) == (str(int(shape["index"])), shape["points"])
        assert row.tags is not None
        assert row.tags.keys() == shape["tags"].keys()


changes = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=2)


@given(changes, st.dictionaries(st.integers(0, 20), changes, min_size=1, max_size=6))
def test_tags_of_a_video_hold_until_they_change(static: dict[str, str], dynamic: dict[int, dict[str, str]]) -> None:
    keys = [key(frame, tags=tags) for frame, tags in dynamic.items()]
    rows = rows_of({"film": film({"type": "rectangle", "tags": static, "key_locations": keys})})
    assert [row.frame for row in rows] == sorted(dynamic)
    for row in rows:
        held = dict(static)
        for frame in sorted(dynamic):
            if frame <= (row.frame or 0):
                held.update(dynamic[frame])
        assert row.tags == {name: [value] for name, value in held.items()}
