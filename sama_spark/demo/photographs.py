"""Photographs that come with scikit-image, and the objects that classical detectors find in them.

Nothing is downloaded: the pictures lie in the installed package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import color, data, feature, filters, measure, morphology, segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

Box = tuple[int, int, int, int]
LABELS = ("coin", "face", "galaxy", "nucleus", "word")


@dataclass(frozen=True)
class Found:
    """An object: its label, its box (left, top, right, bottom in pixels) and its contrast.

    `contrast`: how far its mean grey level is from that of its surroundings, from 0 to 1.
    """

    label: str
    box: Box
    contrast: float


@dataclass(frozen=True)
class Tile:
    """A rectangular piece of a photograph, which becomes one task, with what was found in it.

    `x`, `y`: its left and top in the photograph, in pixels.
    """

    photo: str
    x: int
    y: int
    pixels: Pixels
    found: tuple[Found, ...]

    @property
    def name(self) -> str:
        return f"{self.photo}-{self.x}-{self.y}.png"

    def png(self) -> bytes:
        stream = BytesIO()
        Image.fromarray(self.pixels).save(stream, "PNG")
        return stream.getvalue()


def coins(photo: Pixels) -> Iterator[Box]:
    """Greek coins: bright against a background that gets darker downwards, so it is levelled before Otsu."""
    background = filters.gaussian(photo, 50, preserve_range=True)
    level = filters.gaussian(photo - background, 1.5, preserve_range=True)
    yield from _boxes(ndimage.binary_fill_holes(level > filters.threshold_otsu(level)), least=700, opening=6)
