"""Turns the `answers` of one task into rows of the table `annotations`.

| in `answers` | rows |
| --- | --- |
| groups of shapes, in `layers` and `vector_tagging` or without; a list of groups, or of shapes | one for each shape |
| a shape with `key_locations` or `locations` (video, 3D) | one for each entry of the list |
| `raster_coding` | one |
| text, number, date; options with "1" or "0" | one |
| null, an empty list | none |
| anything else | one of kind `unknown` |

Answers of another form raise no error: a value that does not fit its column is null there, and `raw` has the JSON text.
Nothing in an answer tells a menu from a text, so any text with a pipe is split into the levels of a menu, without
blanks around.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from msgspec import Raw
from msgspec.structs import astuple

from sama_spark.arguments import check_one_of, check_texts
from sama_spark.vendors.sama.answer_json import (
    NONE,
    AnswerLayers,
    AnswerShape,
    ImageShape,
    Location,
    ShapeGroup,
    chosen,
    elements,
    first_byte,
    groups,
    image_shape,
    is_value,
    layers_of,
    levels,
    members,
    read,
    string,
    tag_values,
    text,
)
from sama_spark.vendors.seam import Annotation, Frames, ImageAnnotation, Label, Tags

_KINDS: dict[str | None, str] = {
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


@dataclass(frozen=True)
class SamaReader:
    """The `AnnotationReader` of Sama.

    Args:
        label: name of the tag that is the class of a shape, for all outputs or by output; None leaves `label` null.
        frames: "key", the key locations of videos and 3D, or "all", every entry of `locations`. A shape that has only
            one of the two lists gives the rows of that list.

    Raises:
        InvalidInput: `label` is no name, or `frames` is neither "key" nor "all".
    """

    label: Label = None
    frames: Frames = "key"

    def __post_init__(self) -> None:
        check_one_of(self.frames, "frames", get_args(Frames))
        if isinstance(self.label, Mapping):
            check_texts(**{f"label[{output!r}]": tag for output, tag in self.label.items()})
        else:
            check_texts(label=self.label)

    def rows(self, answers: bytes) -> Iterator[ImageAnnotation]:
        """Yield the rows of a task's `answers` (JSON text), in the order of the text."""
        outputs = members(answers)
        if outputs is None:
            if answers.strip() not in (b"", b"null"):
                yield Annotation(None, "unknown", answers)
            return
        for name, raw in outputs.items():
            yield from self._output(name, raw)

    def _output(self, output: str, raw: Raw) -> Iterator[ImageAnnotation]:
        start = first_byte(raw)
        if start == b"[":
            return self._shapes(output, groups(raw))
        if start == b"{":
            return self._layers(output, raw)
        if start == b"n":
            return iter(())
        if not is_value(raw):
            return iter([Annotation(output, "unknown", bytes(raw))])
        value = text(raw)
        return iter([Annotation(output, "answer", bytes(raw), value=value, values=levels(value))])

    def _layers(self, output: str, raw: Raw) -> Iterator[ImageAnnotation]:
        """Read the usual answers, which have one known layer, in one pass; `_structure` reads the others."""
        layers = layers_of(raw) or AnswerLayers()
        shapes, mask = layers.vector_tagging, layers.raster_coding
        if shapes is not None and mask is NONE:
            return self._shapes(output, shapes)
        if shapes is None and mask is not NONE:
            return iter([_mask(output, mask)])
        return self._structure(output, raw)

    def _structure(self, output: str, raw: Raw) -> Iterator[ImageAnnotation]:
        found = members(raw) or {}
        layers = members(found.get("layers", NONE)) or found  # Sama Go has no level `layers`
        if layers.keys() & _LAYERS:
            for name, layer in layers.items():
                if name == "vector_tagging":
                    yield from self._shapes(output, groups(layer))
                elif name == "raster_coding":
                    yield _mask(output, layer)
                else:
                    yield Annotation(output, "unknown", bytes(layer))
        elif (options := chosen(raw)) is not None:
            yield Annotation(output, "answer", bytes(raw), values=options)
        elif found.keys() & _OF_SHAPES:  # a shape or group that should be in a list
            yield from self._shapes(output, groups(raw))
        else:
            yield Annotation(output, "unknown", bytes(raw))

    def _shapes(self, output: str, drawn: list[ShapeGroup]) -> Iterator[ImageAnnotation]:
        label = self.label if self.label is None or isinstance(self.label, str) else self.label.get(output)
        for group_id, group in enumerate(drawn):
            for raw in group.shapes:
                shape = image_shape(raw)
                if shape is not None:
                    yield _image_row(output, shape, raw, group_id, group.group_type, label)
                    continue
                for row in self._shape(output, raw):
                    row.group_id, row.group_type = group_id, group.group_type
                    row.label = _class_of(row.tags, label)
                    yield row

    def _shape(self, output: str, raw: Raw) -> list[Annotation]:
        shape = read(raw, AnswerShape)
        if shape is None:
            return [Annotation(output, "unknown", bytes(raw))]
        tags = tag_values(bytes(shape.tags))
        if shape.key_locations is NONE and shape.locations is NONE:
            return [_row(output, shape, shape, tags, raw)]
        places, key_frames = self._places(shape)
        if not places:
            return [_row(output, shape, shape, tags, raw)]
        in_space = any(_is_in_space(place) for place, _ in places)
        rows = []
        for place, place_raw in places:
            if place.tags is not NONE:  # Sama writes only the tags that change
                tags = {**tags, **tag_values(bytes(place.tags))}
            row = _row(output, shape, place, tags, place_raw, in_space=in_space)
            row.frame, row.key_frame = place.frame_number, place.frame_number in key_frames
            rows.append(row)
        return rows

    def _places(self, shape: AnswerShape) -> tuple[list[tuple[Location, Raw]], set[int | None]]:
        """Return the places that become rows, sorted by frame, and the numbers of the key frames."""
        keys, every = (
            [(read(raw, Location) or Location(), raw) for raw in elements(part)]
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


def _image_row(
    output: str, shape: ImageShape, raw: Raw, group_id: int, group_type: str | None, label: str | None
) -> ImageAnnotation:
    object_id = None if shape.index is None else str(shape.index)
    tags = tag_values(bytes(shape.tags))
    return ImageAnnotation(
        output,
        _KINDS.get(shape.type, "unknown"),
        bytes(raw),
        shape.type,
        object_id,
        group_id,
        group_type,
        label=_class_of(tags, label),
        tags=tags,
        points=shape.points or None,
    )


def _row(
    output: str, shape: AnswerShape, place: Location, tags: Tags, raw: Raw, *, in_space: bool = False
) -> Annotation:
    kind = _KINDS.get(shape.type, "unknown")
    object_id = None if shape.index is None else str(shape.index)
    row = Annotation(output, kind, bytes(raw), type=shape.type, object_id=object_id, tags=tags)
    if _are_points(place.points):
        row.points = place.points
    if in_space or _is_in_space(place):
        row.kind = _IN_SPACE.get(kind, kind)
        row.position = place.position_center
        row.dimensions = None if place.dimensions is None else astuple(place.dimensions)
        row.direction = None if place.direction is None else astuple(place.direction)
    if place.visibility is not None:
        row.visible = bool(place.visibility)
    return row


def _class_of(tags: Tags | None, label: str | None) -> str | None:
    """Return the value of the tag named `label`, with | between levels or options; None where there is none."""
    return "|".join(tags.get(label, ())) or None if tags and label is not None else None


def _are_points(points: list[list[float]] | None) -> bool:
    """Return whether there are points, all of them in the plane or all in space."""
    return set(map(len, points or ())) in ({2}, {3})


def _is_in_space(place: Location) -> bool:
    return place.position_center is not None or bool(place.points and len(place.points[0]) == 3)


def _mask(output: str, raw: Raw) -> Annotation:
    url = (members(raw) or {}).get("mask_url", NONE)
    return Annotation(output, "mask", bytes(raw), type="raster_coding", mask_url=string(url))
