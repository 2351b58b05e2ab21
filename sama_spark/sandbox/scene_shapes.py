"""The structure of values: scalars, shapes of image workspaces, key frames of video and 3D."""

from __future__ import annotations

from typing import Any

import msgspec

Point = tuple[float, float]
POINTS = {  # how many points a shape has: (least, most)
    "rectangle": (4, 4),
    "slider_rectangle": (5, 5),
    "polygon": (3, None),
    "line": (2, None),
    "arrow": (2, 2),
    "point": (1, 1),
    "cuboid": (8, 8),
    "keypoint_shape": (1, None),
}


class Shape(msgspec.Struct):
    type: str
    points: list[Point]
    index: int | None = None
    tags: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_points("rectangle" if self.type == "rect" else self.type, len(self.points))


class Group(msgspec.Struct):
    shapes: list[Shape]
    group_type: str | None = None


class Raster(msgspec.Struct):
    mask_url: str


class Layers(msgspec.Struct):
    vector_tagging: list[Group] | None = None
    raster_coding: Raster | None = None

    def __post_init__(self) -> None:
        if self.vector_tagging is None and self.raster_coding is None:
            raise ValueError("layers needs vector_tagging or raster_coding")


class Image(msgspec.Struct):
    layers: Layers


class KeyLocation(msgspec.Struct):
    frame_number: int
    visibility: int | None = None
    points: list[list[float]] | None = None


class MovingShape(msgspec.Struct):
    type: str
    key_locations: list[KeyLocation] | KeyLocation
    index: int | None = None
    tags: dict[str, Any] | None = None


class MovingGroup(msgspec.Struct):
    shapes: list[MovingShape]
    group_type: str | None = None
    frame_count: int | None = None


def check_points(type_: str, count: int) -> None:
    """Raises ValueError for an unknown shape type or a number of points that it cannot have."""
    if type_ not in POINTS:
        raise ValueError(f"unknown shape type {type_!r}; known: {', '.join(POINTS)}")
    least, most = POINTS[type_]
    if count < least or (most is not None and count > most):
        raise ValueError(f"a {type_} has {least if most == least else f'at least {least}'} points, not {count}")
