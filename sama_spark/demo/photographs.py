"""Photographs that come with scikit-image, and the objects that classical detectors find in them.

Nothing is downloaded: the pictures are files of the installed package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color, data, feature, filters, measure, morphology, segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LABELS = ["coin", "old galaxy", "young galaxy"]

_TOLERANCE = 0.5  # pixels by which an outline may differ from the edge of the object


@dataclass(frozen=True)
class Detection:
    """An object with its label. Coordinates are pixels from the upper left corner of the tile.

    Attributes:
        box: left, top, right, bottom.
        polygon: the outline as [x, y]; empty where the detector gives only a box.
    """

    label: str
    box: tuple[int, int, int, int]
    polygon: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Tile:
    """A part of a photograph, which becomes one task, with the objects that its detector found."""

    name: str
    pixels: Array
    detections: tuple[Detection, ...]

    def png(self) -> bytes:
        stream = BytesIO()
        Image.fromarray(self.pixels).save(stream, "PNG")
        return stream.getvalue()


def coins(photo: Array) -> list[Detection]:
    """Find coins with their outlines: a watershed from surely dark ground and surely bright metal to the edges."""
    seeds = np.zeros(photo.shape, int)
    seeds[photo < 30] = 1
    seeds[photo > 150] = 2
    metal = ndimage.binary_fill_holes(segmentation.watershed(filters.sobel(photo), seeds) == 2)
    regions = _regions(measure.label(ndimage.binary_opening(metal, morphology.disk(3))), least_area=300)
    return [Detection("coin", _box(region), _outline(region)) for region in regions]


def galaxies(photo: Array) -> list[Detection]:
    """Find lights on a black sky, one for each peak of brightness. Young stars shine blue, old ones red.

    The few stars among the galaxies are left to the annotators.
    """
    grey = color.rgb2gray(photo)
    smooth = filters.gaussian(grey, 2)
    lit = filters.gaussian(grey, 1) > 0.22
    peaks = feature.peak_local_max(smooth, min_distance=4, labels=measure.label(lit), exclude_border=False)
    seeds = np.zeros(grey.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    found = []
    for region in _regions(segmentation.watershed(-smooth, seeds, mask=lit), least_area=40):
        red, _, blue = photo[tuple(region.coords.T)].mean(axis=0)
        found.append(Detection("young galaxy" if blue > red else "old galaxy", _box(region)))
    return found


@dataclass(frozen=True)
class _Photograph:
    """A photograph: loads its pixels, is cut into `columns` times `rows` tiles, and finds objects in a tile."""

    load: Callable[[], Array]
    columns: int
    rows: int
    detect: Callable[[Array], list[Detection]]


PHOTOGRAPHS = {
    "coins": _Photograph(data.coins, 1, 1, coins),
    "deep field": _Photograph(data.hubble_deep_field, 4, 4, galaxies),
}


def tiles(name: str) -> Iterator[Tile]:
    """Yield the tiles of one photograph, row by row, each with the objects that its detector finds."""
    photo = PHOTOGRAPHS[name]
    pixels = photo.load()
    height, width = pixels.shape[:2]
    rows, columns = _cuts(height, photo.rows), _cuts(width, photo.columns)
    for (row, (top, bottom)), (column, (left, right)) in product(enumerate(rows, 1), enumerate(columns, 1)):
        part = pixels[top:bottom, left:right]
        position = f" {row}-{column}" if len(rows) * len(columns) > 1 else ""
        yield Tile(f"{name}{position}", part, tuple(photo.detect(part)))


def _cuts(length: int, parts: int) -> list[tuple[int, int]]:
    return list(pairwise(length * i // parts for i in range(parts + 1)))


def _regions(labelled: Array, least_area: int) -> list[Any]:
    return [region for region in measure.regionprops(labelled) if region.area >= least_area]


def _box(region: Any) -> tuple[int, int, int, int]:
    top, left, bottom, right = region.bbox
    return left, top, right, bottom


def _outline(region: Any) -> tuple[tuple[float, float], ...]:
    top, left = region.bbox[:2]
    contour = max(measure.find_contours(np.pad(region.image_filled, 1).astype(float), 0.5), key=len)
    corners = measure.approximate_polygon(contour, _TOLERANCE)[:-1]
    # One pixel of padding less, and half a pixel more, since a pixel's centre is not its corner.
    return tuple((float(x) + left - 0.5, float(y) + top - 0.5) for y, x in corners)
