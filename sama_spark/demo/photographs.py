"""Photographs that come with scikit-image, and the objects that classical detectors find in them.

Nothing is downloaded: the pictures lie in the installed package.
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
from skimage import color, data, feature, filters, measure, morphology, segmentation, util

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[Any]

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """An object: its box (left, top, right, bottom in pixels), its label and its contrast.

    `contrast`: how far its mean grey level is from that of its surroundings, from 0 to 1; these detectors have no
    other score.
    """

    box: Box
    label: str
    contrast: float = 0.0

    @property
    def centre(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class Tile:
    """A piece of a photograph, which becomes one task, with what was found in it."""

    photograph: str
    name: str
    pixels: Pixels
    detections: tuple[Detection, ...]

    def png(self) -> bytes:
        stream = BytesIO()
        Image.fromarray(self.pixels).save(stream, "PNG")
        return stream.getvalue()


def coins(photo: Pixels) -> list[Box]:
    """Coins between what is surely dark ground and surely bright metal, told apart where the edges are."""
    seeds = np.zeros(photo.shape, int)
    seeds[photo < 30] = 1
    seeds[photo > 150] = 2
    metal = ndimage.binary_fill_holes(segmentation.watershed(filters.sobel(photo), seeds) == 2)
    return _boxes(measure.label(ndimage.binary_opening(metal, morphology.disk(3))), least_area=300)


def faces(photo: Pixels) -> list[Box]:
    """Faces seen from the front, by the cascade of local binary patterns that scikit-image brings along."""
    cascade = feature.Cascade(data.lbp_frontal_face_cascade_filename())
    hits = cascade.detect_multi_scale(photo, scale_factor=1.2, step_ratio=1, min_size=(60, 60), max_size=(200, 200))
    return [(hit["c"], hit["r"], hit["c"] + hit["width"], hit["r"] + hit["height"]) for hit in hits]


def galaxies(photo: Pixels) -> list[Box]:
    """Lights on a black sky, one for each peak of brightness. The few stars among them are left to the annotators."""
    grey = color.rgb2gray(photo)
    smooth = filters.gaussian(grey, 2)
    lit = filters.gaussian(grey, 1) > 0.22
    peaks = feature.peak_local_max(smooth, min_distance=4, labels=measure.label(lit), exclude_border=False)
    seeds = np.zeros(grey.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return _boxes(segmentation.watershed(-smooth, seeds, mask=lit), least_area=40)


def words(photo: Pixels) -> list[Box]:
    """Ink darker than the paper around it; letters that nearly touch make a word. Words cut off are left out."""
    ink = photo < filters.threshold_sauvola(photo, window_size=25, k=0.3)
    joined = segmentation.clear_border(ndimage.binary_dilation(ink, np.ones((3, 5))))
    boxes = _boxes(measure.label(joined) * ink, least_area=20)
    return [box for box in boxes if box[3] - box[1] >= 6]  # a ruled line is flatter


@dataclass(frozen=True)
class _Photograph:
    """Its pixels, into how many columns and rows of tiles it is cut, and what is looked for in them."""

    load: Callable[[], Pixels]
    columns: int
    rows: int
    label: str
    detect: Callable[[Pixels], list[Box]]


PHOTOGRAPHS = {
    "coins": _Photograph(data.coins, 1, 1, "coin", coins),
    "astronaut": _Photograph(data.astronaut, 1, 1, "face", faces),
    "page": _Photograph(data.page, 1, 1, "word", words),
    "deep field": _Photograph(data.hubble_deep_field, 8, 8, "galaxy", galaxies),
}
LABELS = [photo.label for photo in PHOTOGRAPHS.values()]


def tiles(name: str) -> Iterator[Tile]:
    """The tiles of one photograph, row by row, each with what its detector finds."""
    photo = PHOTOGRAPHS[name]
    pixels = photo.load()
    height, width = pixels.shape[:2]
    for (top, bottom), (left, right) in product(_cuts(height, photo.rows), _cuts(width, photo.columns)):
        piece = pixels[top:bottom, left:right]
        found = (Detection(box, photo.label, _contrast(piece, box)) for box in photo.detect(piece))
        yield Tile(name, f"{name.replace(' ', '-')}-{left}-{top}", piece, tuple(found))


def _cuts(length: int, parts: int) -> list[tuple[int, int]]:
    return list(pairwise(length * i // parts for i in range(parts + 1)))


def _boxes(regions: Pixels, least_area: int) -> list[Box]:
    corners = [region.bbox for region in measure.regionprops(regions) if region.area >= least_area]
    return [(left, top, right, bottom) for top, left, bottom, right in corners]


def _contrast(pixels: Pixels, box: Box) -> float:
    grey = util.img_as_float(pixels) if pixels.ndim == 2 else color.rgb2gray(pixels)
    left, top, right, bottom = map(int, box)
    across, down = (right - left) // 2 + 1, (bottom - top) // 2 + 1
    inside, around = np.zeros(grey.shape, bool), np.zeros(grey.shape, bool)
    inside[top:bottom, left:right] = True
    around[max(top - down, 0) : bottom + down, max(left - across, 0) : right + across] = True
    return round(abs(float(grey[inside].mean() - grey[around & ~inside].mean())), 2)
