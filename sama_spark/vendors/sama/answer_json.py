"""The JSON of answers, read as far as it can be read: whatever is odd is left out, and nothing raises."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Raw

from sama_spark.api import broken_json

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
TagValue = str | dict[str, Literal["0", "1"]] | None
Tags = dict[str, list[str]]

NONE = Raw()  # what an absent member is
_ODD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Dimensions(msgspec.Struct):
    length: float | None = None
    width: float | None = None
    height: float | None = None


class Direction(msgspec.Struct):
    roll: float | None = None
    pitch: float | None = None
    yaw: float | None = None


class Place(msgspec.Struct):
    """Where an object is: an image shape itself, or one location of a video or 3D shape."""

    points: list[list[float]] | None = None
    tags: Raw = NONE
    frame_number: Int32 | None = None
    visibility: int | bool | None = None
    position_center: tuple[float, float, float] | None = None
    dimensions: Dimensions | None = None
    direction: Direction | None = None


class Shape(Place):
    type: str | None = None
    index: Int32 | None = None
    key_locations: Raw = NONE
    locations: Raw = NONE


class Group(msgspec.Struct):
    shapes: list[Raw]
    group_type: str | None = None


P = TypeVar("P", bound=Place)
_raw = msgspec.json.Decoder(Raw).decode
_list = msgspec.json.Decoder(list[Raw]).decode
_object = msgspec.json.Decoder(dict[str, Raw]).decode
_string = msgspec.json.Decoder(str).decode
_groups = msgspec.json.Decoder(list[Group]).decode
_tag = msgspec.json.Decoder(TagValue).decode
_tags = msgspec.json.Decoder(dict[str, TagValue]).decode
_whole: dict[type[Place], Any] = {kind: msgspec.json.Decoder(kind).decode for kind in (Shape, Place)}
_by_field = {field.name: msgspec.json.Decoder(field.type).decode for field in msgspec.structs.fields(Shape)}


def first(raw: Raw) -> bytes:
    """The first byte, which tells what kind of value it is."""
    return bytes(memoryview(raw)[:1])


def members(raw: Raw | bytes) -> dict[str, Raw] | None:
    """The members of an object; None where it is none."""
    try:
        return _object(raw)
    except _ODD:
        text = bytes(raw)
    if not text.lstrip().startswith(b"{"):
        return None
    return {name: Raw(text[begin:end]) for name, (begin, end) in broken_json.members(text).items()} or None


def elements(raw: Raw) -> list[Raw]:
    """The elements of an array; none of null; anything else is one element by itself."""
    if raw is NONE:
        return []
    try:
        return _list(raw)
    except _ODD:
        text = bytes(raw)
    found = broken_json.elements(text) if text.startswith(b"[") else None
    if found is not None:
        return [Raw(text[begin:end]) for begin, end in found]
    return [] if first(raw) in (b"", b"n") else [raw]


def string(raw: Raw) -> str | None:
    """The text of a string; None where it is none."""
    try:
        return _string(raw)
    except _ODD:
        found = broken_json.lenient(bytes(raw)) if first(raw) == b'"' else None
    return broken_json.plain(found) if isinstance(found, str) else None


def is_value(raw: Raw) -> bool:
    """Whether it is a text or other JSON."""
    try:
        _raw(raw)
    except _ODD:
        return string(raw) is not None
    return True


def text(raw: Raw) -> str:
    """The text of a string, the JSON text of anything else."""
    found = string(raw)
    return bytes(raw).decode(errors="replace") if found is None else found


def levels(menu: str) -> list[str]:
    """The levels of a menu, trimmed; a text without a pipe is left as it is."""
    return [level.strip() for level in menu.split("|")] if "|" in menu else [menu]


def chosen(checkbox: Raw) -> list[str] | None:
    """The chosen options; None where it is no checkbox."""
    with suppress(*_ODD):
        options = _tag(checkbox)
        if isinstance(options, dict):
            return [option for option, state in options.items() if state == "1"]
    return None


def tag_values(raw: Raw) -> Tags:
    """What is chosen or written in each tag; tags that are null are left out. Equal tags share one dict."""
    return _tag_values(bytes(raw))


@lru_cache(maxsize=4096)  # the same few tags stand on thousands of shapes
def _tag_values(raw: bytes) -> Tags:
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


def groups(raw: Raw) -> list[Group]:
    """The groups of shapes; a shape that stands among them (older lists, or odd ones) is a group of its own."""
    try:
        return _groups(raw)
    except _ODD:
        return [_group(element) for element in elements(raw)]


def _group(element: Raw) -> Group:
    found = members(element) or {}
    if "shapes" not in found:
        return Group([element])
    return Group(elements(found["shapes"]), string(found.get("group_type", NONE)))


def read(raw: Raw, kind: type[P]) -> P | None:
    """A shape or place, field by field where it is odd; None where it is no object."""
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
    """Tags among which some have values that no tag has: these as JSON text."""
    tags: dict[str, TagValue] = {}
    for name, value in (members(raw) or {}).items():
        tags[name] = text(value)
        with suppress(*_ODD):
            tags[name] = _tag(value)
    return tags
