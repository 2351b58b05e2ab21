"""The structure of answers: shapes of image workspaces, key frames of video."""

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


class SentShape(msgspec.Struct):
    """A shape of an image output."""

    type: str
    points: list[Point]
    index: int | None = None
    tags: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        name = "rectangle" if self.type == "rect" else self.type
        if name not in POINTS:
            raise ValueError(f"unknown shape type {name!r}; known: {', '.join(POINTS)}")
        count, (least, most) = len(self.points), POINTS[name]
        if count < least or (most is not None and count > most):
            raise ValueError(f"a {name} has {least if most == least else f'at least {least}'} points, not {count}")


class SentGroup(msgspec.Struct):
    """Shapes that belong together."""

    shapes: list[SentShape]
    group_type: str | None = None


class Raster(msgspec.Struct):
    """A painted mask."""

    mask_url: str


class Layers(msgspec.Struct):
    """The vector layer and the raster layer, at least one of them."""

    vector_tagging: list[SentGroup] | None = None
    raster_coding: Raster | None = None

    def __post_init__(self) -> None:
        if self.vector_tagging is None and self.raster_coding is None:
            raise ValueError("layers needs vector_tagging or raster_coding")


class Image(msgspec.Struct):
    """The value of an image or raster output."""

    layers: Layers


class KeyLocation(msgspec.Struct):
    """Where a shape of a video is in one frame."""

    frame_number: int
    visibility: int | None = None
    points: list[list[float]] | None = None


class MovingShape(msgspec.Struct):
    """A shape of a video."""

    type: str
    key_locations: list[KeyLocation] | KeyLocation
    index: int | None = None
    tags: dict[str, Any] | None = None


class MovingGroup(msgspec.Struct):
    """Shapes of a video that belong together."""

    shapes: list[MovingShape]
    group_type: str | None = None
    frame_count: int | None = None
