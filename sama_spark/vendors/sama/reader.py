"""One task's `answers` become annotation rows: one for each shape, place in a video, mask and scene-level answer.

| in `answers` | rows |
| --- | --- |
| groups of shapes, in `layers` and `vector_tagging` or without; a list of groups, or of shapes | one for each shape |
| a shape with `key_locations` or `locations` (video, 3D) | one for each of them |
| `raster_coding` | one |
| text, number, date; options with "1" or "0" | one |
| null, an empty list | none |
| anything else | one of kind `unknown` |

Nothing raises: what does not fit its column is null there, and `raw` has its JSON text. A text with a pipe is read as
the levels of a menu, trimmed, since nothing in an answer tells a menu from text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from sama_spark.arguments import check_one_of, check_texts
from sama_spark.vendors.sama.answer_json import (
    NONE,
    Place,
    Shape,
    Tags,
    chosen,
    elements,
    first,
    groups,
    is_value,
    levels,
    members,
    read,
    string,
    tag_values,
    text,
)

Frames = Literal["key", "all"]
Label = str | Mapping[str, str] | None
Triple = tuple[float | None, ...]

_KINDS = {
    "rectangle": "box",
    "rect": "box",
    "slider_rectangle": "box",
    "polygon": "polygon",
    "line": "polyline",
    "arrow": "polyline",
    "point": "point",
    "cuboid": "cuboid",
    "keypoint_shape": "keypoints",
}
_LAYERS = {"vector_tagging", "raster_coding"}
_OF_SHAPES = {"shapes", "points", "key_locations", "locations"}
_IN_SPACE = {"cuboid": "cuboid_3d", "polyline": "polyline_3d"}


class Annotation(msgspec.Struct, gc=False):
    """One row; `annotations.ANNOTATIONS` says what each column holds. `raw` is JSON text in UTF-8."""

    output: str | None
    kind: str
    raw: bytes
    ordinal: int = 0
    type: str | None = None
    object_id: int | None = None
    group_id: int | None = None
    group_type: str | None = None
    frame: int | None = None
    key_frame: bool | None = None
    visible: bool | None = None
    label: str | None = None
    tags: Tags | None = None
    value: str | None = None
    values: list[str] | None = None
    points: list[list[float]] | None = None
    x_min: float | None = None
    y_min: float | None = None
    x_max: float | None = None
    y_max: float | None = None
    position: Triple | None = None
    dimensions: Triple | None = None
    direction: Triple | None = None
    mask_url: str | None = None
    mask_path: str | None = None  # what `sync` copies


@dataclass(frozen=True)
class Flattener:
    """Makes the rows of a task.

    Args:
        label: name of the tag that is the class of a shape, for all outputs or by output.
        frames: of videos and 3D the key locations, or every entry of `locations`; where a shape has only the
            other of the two, that.

    Raises:
        InvalidInput: `label` is no name, or `frames` is another word.
    """

    label: Label = None
    frames: Frames = "key"

    def __post_init__(self) -> None:
        check_one_of("frames", self.frames, get_args(Frames))
        if isinstance(self.label, Mapping):
            check_texts(**{f"label[{output!r}]": tag for output, tag in self.label.items()})
        else:
            check_texts(label=self.label)

    def rows(self, answers: bytes) -> Iterator[Annotation]:
        """The rows of a task's `answers` (JSON text), in its order."""
        outputs = members(answers)
        if outputs is None:
            if answers.strip() not in (b"", b"null"):
                yield Annotation(None, "unknown", answers)
            return
        ordinal = 0
        for name, raw in outputs.items():
            for row in self._output(name, raw):
                row.ordinal = ordinal
                ordinal += 1
                yield row

    def _output(self, output: str, raw: Raw) -> Iterator[Annotation]:
        start = first(raw)
        if start == b"[":
            return self._shapes(output, raw)
        if start == b"{":
            return self._structure(output, raw)
        if start == b"n":
            return iter(())
        if not is_value(raw):
            return iter([Annotation(output, "unknown", bytes(raw))])
        value = text(raw)
        return iter([Annotation(output, "answer", bytes(raw), value=value, values=levels(value))])

    def _structure(self, output: str, raw: Raw) -> Iterator[Annotation]:
        found = members(raw) or {}
        layers = members(found.get("layers", NONE)) or found  # Sama Go leaves that level out
        if layers.keys() & _LAYERS:
            for name, layer in layers.items():
                if name == "vector_tagging":
                    yield from self._shapes(output, layer)
                elif name == "raster_coding":
                    yield _mask(output, layer)
                else:
                    yield Annotation(output, "unknown", bytes(layer))
        elif (options := chosen(raw)) is not None:
            yield Annotation(output, "answer", bytes(raw), values=options)
        elif found.keys() & _OF_SHAPES:  # one that should stand in a list
            yield from self._shapes(output, raw)
        else:
            yield Annotation(output, "unknown", bytes(raw))

    def _shapes(self, output: str, raw: Raw) -> Iterator[Annotation]:
        label = self.label if self.label is None or isinstance(self.label, str) else self.label.get(output)
        for group_id, group in enumerate(groups(raw)):
            for shape in group.shapes:
                for row in self._shape(output, shape):
                    row.group_id, row.group_type = group_id, group.group_type
                    if label is not None and row.tags is not None:
                        row.label = "|".join(row.tags.get(label, ())) or None
                    yield row

    def _shape(self, output: str, raw: Raw) -> list[Annotation]:
        shape = read(raw, Shape)
        if shape is None:
            return [Annotation(output, "unknown", bytes(raw))]
        tags = tag_values(shape.tags)
        if shape.key_locations is NONE and shape.locations is NONE:
            return [_row(output, shape, shape, tags, raw)]
        places, key_frames = self._places(shape)
        if not places:
            return [_row(output, shape, shape, tags, raw)]
        in_space = any(_is_in_space(place) for place, _ in places)
        rows = []
        for place, place_raw in places:
            if place.tags is not NONE:  # written where they change
                tags = {**tags, **tag_values(place.tags)}
            row = _row(output, shape, place, tags, place_raw, in_space=in_space)
            row.frame, row.key_frame = place.frame_number, place.frame_number in key_frames
            rows.append(row)
        return rows

    def _places(self, shape: Shape) -> tuple[list[tuple[Place, Raw]], set[int | None]]:
        """The places that become rows, in the order of frames, and the frames that are key frames."""
        keys, every = (
            [(read(raw, Place) or Place(), raw) for raw in elements(part)]
            for part in (shape.key_locations, shape.locations)
        )
        key_frames = {key.frame_number for key, _ in keys}
        if every and (self.frames == "all" or not keys):
            for frame, (place, _) in enumerate(every):
                if place.frame_number is None:
                    place.frame_number = frame
            keys = every
        keys.sort(key=lambda place: -1 if place[0].frame_number is None else place[0].frame_number)
        return keys, key_frames


def _row(output: str, shape: Shape, place: Place, tags: Tags, raw: Raw, *, in_space: bool = False) -> Annotation:
    kind = _KINDS.get(shape.type or "", "unknown")
    row = Annotation(output, kind, bytes(raw), type=shape.type, object_id=shape.index, tags=tags)
    points = place.points
    if points:
        axes = _axes(points)
        if axes:
            row.points = points
        if len(axes) == 2 and len(points) > 1:
            xs, ys = axes
            row.x_min, row.y_min, row.x_max, row.y_max = min(xs), min(ys), max(xs), max(ys)
    if in_space or _is_in_space(place):
        row.kind = _IN_SPACE.get(kind, kind)
        row.position = place.position_center
        row.dimensions = None if place.dimensions is None else astuple(place.dimensions)
        row.direction = None if place.direction is None else astuple(place.direction)
    if place.visibility is not None:
        row.visible = bool(place.visibility)
    return row


def _axes(points: list[list[float]]) -> list[tuple[float, ...]]:
    """All x, all y and perhaps all z; nothing where they are not of one kind."""
    try:
        axes = list(zip(*points, strict=True))
    except ValueError:
        return []
    return axes if len(axes) in (2, 3) else []


def _is_in_space(place: Place) -> bool:
    return place.position_center is not None or bool(place.points and len(place.points[0]) == 3)


def _mask(output: str, raw: Raw) -> Annotation:
    url = (members(raw) or {}).get("mask_url", NONE)
    return Annotation(output, "mask", bytes(raw), type="raster_coding", mask_url=string(url))
