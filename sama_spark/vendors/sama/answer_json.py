"""Parses the parts of answers. What it cannot read is left out; no function here raises an error."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Raw

from sama_spark.api import broken_json
from sama_spark.vendors.seam import Tags

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
TagValue = str | dict[str, Literal["0", "1"]] | None

NONE = Raw()  # in place of a member that is absent
_ODD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Dimensions(msgspec.Struct):
    length: float | None = None
    width: float | None = None
    height: float | None = None


class Direction(msgspec.Struct):
    roll: float | None = None
    pitch: float | None = None
    yaw: float | None = None


class Location(msgspec.Struct):
    """The position of an object: of an image shape, or at one frame of a video or 3D shape."""

    points: list[list[float]] | None = None
    tags: Raw = NONE
    frame_number: Int32 | None = None
    visibility: int | bool | None = None
    position_center: tuple[float, float, float] | None = None
    dimensions: Dimensions | None = None
    direction: Direction | None = None


class AnswerShape(Location):
    type: str | None = None
    index: Int32 | None = None
    key_locations: Raw = NONE
    locations: Raw = NONE


class ImageShape(msgspec.Struct, gc=False):
    """A shape of an image: members that belong to videos and to space are absent or null."""

    type: str | None = None
    index: Int32 | None = None
    points: list[tuple[float, float]] | None = None
    tags: Raw = NONE
    key_locations: None = None
    locations: None = None
    visibility: None = None
    position_center: None = None


class ShapeGroup(msgspec.Struct, gc=False):
    shapes: list[Raw]
    group_type: str | None = None


class AnswerLayers(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    vector_tagging: list[ShapeGroup] | None = None
    raster_coding: Raw = NONE


class LayeredAnswer(msgspec.Struct, gc=False):
    layers: AnswerLayers | None = None


P = TypeVar("P", bound=Location)
_raw = msgspec.json.Decoder(Raw).decode
_list = msgspec.json.Decoder(list[Raw]).decode
_object = msgspec.json.Decoder(dict[str, Raw]).decode
_string = msgspec.json.Decoder(str).decode
_groups = msgspec.json.Decoder(list[ShapeGroup]).decode
_image_shape = msgspec.json.Decoder(ImageShape).decode
_layered = msgspec.json.Decoder(LayeredAnswer).decode
_tag = msgspec.json.Decoder(TagValue).decode
_tags = msgspec.json.Decoder(dict[str, TagValue]).decode
_whole: dict[type[Location], Any] = {kind: msgspec.json.Decoder(kind).decode for kind in (AnswerShape, Location)}
_by_field = {field.name: msgspec.json.Decoder(field.type).decode for field in msgspec.structs.fields(AnswerShape)}


def first_byte(raw: Raw) -> bytes:
    """Return the first byte, which tells the type of the value: `{`, `[`, a quote, ..."""
    return bytes(memoryview(raw)[:1])


def members(raw: Raw | bytes) -> dict[str, Raw] | None:
    """Return the members of an object; None for other values."""
    try:
        return _object(raw)
    except _ODD:
        text = bytes(raw)
    if not text.lstrip().startswith(b"{"):
        return None
    return {name: Raw(text[begin:end]) for name, (begin, end) in broken_json.members(text).items()} or None


def elements(raw: Raw) -> list[Raw]:
    """Return the elements of an array, nothing for null, and any other value as the only element."""
    if raw is NONE:
        return []
    try:
        return _list(raw)
    except _ODD:
        text = bytes(raw)
    found = broken_json.elements(text) if text.startswith(b"[") else None
    if found is not None:
        return [Raw(text[begin:end]) for begin, end in found]
    return [] if first_byte(raw) in (b"", b"n") else [raw]


def string(raw: Raw) -> str | None:
    """Return the text of a JSON string; None for other values."""
    try:
        return _string(raw)
    except _ODD:
        found = broken_json.lenient(bytes(raw)) if first_byte(raw) == b'"' else None
    return broken_json.without_surrogates(found) if isinstance(found, str) else None


def is_value(raw: Raw) -> bool:
    """Return whether this is JSON, or a string whose only fault is characters that JSON does not allow."""
    try:
        _raw(raw)
    except _ODD:
        return string(raw) is not None
    return True


def text(raw: Raw) -> str:
    """Return the text of a string, and the JSON text of any other value."""
    found = string(raw)
    return bytes(raw).decode(errors="replace") if found is None else found


def levels(menu: str) -> list[str]:
    """Split the levels of a menu and strip the blanks around them; return a text without a pipe unchanged."""
    return [level.strip() for level in menu.split("|")] if "|" in menu else [menu]


def chosen(checkbox: Raw) -> list[str] | None:
    """Return the chosen options of a checkbox; None for other values."""
    with suppress(*_ODD):
        options = _tag(checkbox)
        if isinstance(options, dict):
            return [option for option, state in options.items() if state == "1"]
    return None


@lru_cache(maxsize=4096)  # thousands of shapes have the same few tags
def tag_values(raw: bytes) -> Tags:
    """Return the values of each tag; leave out tags that are null. Equal tags share one dict."""
    try:
        tags = _tags(raw)
    except _ODD:
        tags = _odd_tags(raw)
    read: Tags = {}
    for name, value in tags.items():
        if isinstance(value, str):
            read[name] = levels(value)
        elif value is not None:
            read[name] = [option for option, state in value.items() if state == "1"]
    return read


def layers_of(raw: Raw) -> AnswerLayers | None:
    """Return the layers of an answer that has none but `vector_tagging` and `raster_coding`; None for other values."""
    try:
        return _layered(raw).layers
    except _ODD:
        return None


def groups(raw: Raw) -> list[ShapeGroup]:
    """Return the groups of shapes. A shape in place of a group, as in older lists, becomes a group of its own."""
    try:
        return _groups(raw)
    except _ODD:
        return [_group(element) for element in elements(raw)]


def _group(element: Raw) -> ShapeGroup:
    found = members(element) or {}
    if "shapes" not in found:
        return ShapeGroup([element])
    return ShapeGroup(elements(found["shapes"]), string(found.get("group_type", NONE)))


def image_shape(raw: Raw) -> ImageShape | None:
    """Return a shape of an image, as most are; None for other shapes and where a member has another form."""
    try:
        return _image_shape(raw)
    except _ODD:
        return None


def read(raw: Raw, kind: type[P]) -> P | None:
    """Return a shape or place, without the fields of another form; None where `raw` is no object."""
    try:
        found: P = _whole[kind](raw)
        return found
    except _ODD:
        pass
    fields = members(raw)
    if fields is None:
        return None
    place = kind()
    for name in fields.keys() & kind.__struct_fields__:
        with suppress(*_ODD):
            setattr(place, name, _by_field[name](fields[name]))
    return place


def _odd_tags(raw: bytes) -> dict[str, TagValue]:
    """Return tags some of which have values of a wrong type: these as JSON text."""
    tags: dict[str, TagValue] = {}
    for name, value in (members(raw) or {}).items():
        tags[name] = text(value)
        with suppress(*_ODD):
            tags[name] = _tag(value)
    return tags
