"""Draws annotation rows as lines and areas on matplotlib's axes, in pixels of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import atan2
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke

from sama_spark.pictures.colours import colour_of, is_light
from sama_spark.pictures.words import drawable, escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from sama_spark.pictures.images import Pixels, Region

Row = Mapping[str, Any]  # of `ANNOTATIONS`
Point = Sequence[float]

_FILL, _TINT = 0.18, 0.5
_LINE, _THIN_LINE, _MANY_SHAPES = 2.0, 1.2, 60
_LONGEST_LABEL = 24
_CORNERS = 4


def is_drawn(row: Row) -> bool:
    """Return whether the row has points in an image and a kind that can be drawn."""
    points = row["points"]
    return row["kind"] in _DRAW and bool(points) and all(len(point) == 2 for point in points)


def class_of(row: Row) -> str:
    """Return the name that the colour stands for: the label, or else the output."""
    return str(row["label"] or row["output"] or row["kind"])


def region_of(rows: Sequence[Row]) -> Region | None:
    """Return the smallest region with all these shapes in it; None where there is no shape."""
    points = [point for row in rows if is_drawn(row) for point in row["points"]]
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def draw_shapes(axes: Axes, rows: Sequence[Row]) -> list[Text]:
    """Draw these rows, and return the texts of their labels, some of which may overlap."""
    width = _LINE if len(rows) < _MANY_SHAPES else _THIN_LINE
    texts = []
    for row in rows:
        colour = colour_of(class_of(row))
        _DRAW[row["kind"]](_Pen(axes, colour, width), row)
        if row["label"]:
            texts.append(_write(axes, row, colour))
    return texts


def draw_image(axes: Axes, image: Pixels) -> None:
    left, top, right, bottom = image.region
    axes.imshow(image.values, extent=(left, right, bottom, top), interpolation="antialiased", zorder=0)


def draw_mask(axes: Axes, mask: Pixels, output: str, onto: Region) -> list[str]:
    """Tint the pixels of a mask, stretched over the region `onto`; return the names of its classes.

    A class is named `output` and its index, and that name decides its colour. A mask that is coded by colours keeps
    them, and its classes have no names.
    """
    values = mask.values
    if values.ndim == 3:
        tint = np.dstack([values / 255, values.any(axis=2) * _TINT])
        names: list[str] = []
    else:
        indexes = [int(index) for index in np.unique(values) if index]
        names = [f"{output} {index}" for index in indexes]
        tint = np.zeros((*values.shape, 4))
        for index, name in zip(indexes, names, strict=True):
            tint[values == index] = (*to_rgb(colour_of(name)), _TINT)
    left, top, right, bottom = onto
    axes.imshow(tint, extent=(left, right, bottom, top), interpolation="nearest", zorder=1)
    return names


class _Pen:
    """Draws in one colour, with a rim around each line that separates it from the image below."""

    def __init__(self, axes: Axes, colour: str, width: float) -> None:
        self.axes, self.colour, self.width = axes, colour, width
        rim = "black" if is_light(colour) else "white"
        self.effects = [withStroke(linewidth=width + 1.6, foreground=rim, alpha=0.75)]

    def line(self, points: Sequence[Point]) -> None:
        xs, ys = zip(*points, strict=True)
        self.axes.plot(xs, ys, color=self.colour, linewidth=self.width, path_effects=self.effects, scalex=False)

    def outline(self, points: Sequence[Point], fill: float = 0.0) -> None:
        if fill:
            self.axes.add_patch(Polygon(np.asarray(points), facecolor=self.colour, alpha=fill, linewidth=0))
        self.axes.add_patch(
            Polygon(
                np.asarray(points),
                fill=False,
                edgecolor=self.colour,
                linewidth=self.width,
                path_effects=self.effects,
                joinstyle="miter",
            )
        )

    def dots(self, points: Sequence[Point], size: float) -> None:
        xs, ys = zip(*points, strict=True)
        rim = "black" if is_light(self.colour) else "white"
        self.axes.scatter(xs, ys, s=size, color=self.colour, edgecolors=rim, linewidths=1, zorder=3)

    def arrow(self, start: Point, end: Point) -> None:
        head = {"arrowstyle": "-|>", "color": self.colour, "linewidth": self.width, "shrinkA": 0, "shrinkB": 0}
        self.axes.annotate(
            "",
            (end[0], end[1]),
            (start[0], start[1]),
            arrowprops=head | {"mutation_scale": 14, "path_effects": self.effects},
        )


def _box(pen: _Pen, row: Row) -> None:
    points = row["points"]
    corners = _around(points[:_CORNERS])
    pen.outline(corners)
    for x, y in points[_CORNERS : _CORNERS + 1]:  # the upper end of a slider's line, which crosses the box
        pen.line([(x, y), (x, max(corner[1] for corner in corners))])


def _cuboid(pen: _Pen, row: Row) -> None:
    near, far = (_around(row["points"][i : i + _CORNERS]) for i in (0, _CORNERS))
    pen.outline(near, _FILL)
    if far:
        pen.outline(far)
    for pair in zip(near, far, strict=False):
        pen.line(pair)


def _polyline(pen: _Pen, row: Row) -> None:
    if row["type"] == "arrow" and len(row["points"]) == 2:
        pen.arrow(*row["points"])
    else:
        pen.line(row["points"])


def _around(corners: Sequence[Point]) -> list[Point]:
    """Return the corners in the order of a walk around the shape, whatever their order is."""
    if not corners:
        return []
    x, y = np.mean(np.asarray(corners, float), axis=0)
    return sorted(corners, key=lambda corner: atan2(corner[1] - y, corner[0] - x))


_DRAW = {
    "box": _box,
    "polygon": lambda pen, row: pen.outline(row["points"], _FILL),
    "polyline": _polyline,
    "point": lambda pen, row: pen.dots(row["points"], 60),
    "keypoints": lambda pen, row: pen.dots(row["points"], 28),
    "cuboid": _cuboid,
}


def _write(axes: Axes, row: Row, colour: str) -> Text:
    """Write the label above the point nearest to the upper left corner; below that point at the image's upper edge."""
    label = drawable(row["label"])
    text = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
    x, y = min(row["points"], key=sum)
    bottom, top = axes.get_ylim()
    left, right = axes.get_xlim()
    is_high = y - top < 0.06 * (bottom - top)
    return axes.annotate(
        escaped(text),
        (max(x, left), max(y, top)),
        xytext=(2, -2 if is_high else 3),
        textcoords="offset points",
        va="top" if is_high else "bottom",
        fontsize=8,
        color="black" if is_light(colour) else "white",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
        zorder=4,
        visible=x < right and y < bottom,
    )


def outside(rows: Sequence[Row], region: Region) -> int:
    """Count the shapes that lie completely outside of the region."""
    left, top, right, bottom = region
    count = 0
    for row in rows:
        xs, ys = zip(*row["points"], strict=True)
        count += max(xs) < left or min(xs) > right or max(ys) < top or min(ys) > bottom
    return count
