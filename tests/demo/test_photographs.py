"""The detectors find what a person sees in the photographs."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sama_spark.demo.photographs import PHOTOGRAPHS, Tile, tiles


@pytest.fixture(scope="module")
def found() -> dict[str, list[Tile]]:
    return {name: list(tiles(name)) for name in PHOTOGRAPHS}


@pytest.mark.parametrize(
    ("name", "label", "objects"),
    [
        ("coins", "coin", 24),  # four rows of six
        ("astronaut", "face", 1),
        ("page", "word", 46),  # whole words, the prompt `>>>` and the call in the last line
    ],
)
def test_everything_is_found_and_nothing_else(
    found: dict[str, list[Tile]], name: str, label: str, objects: int
) -> None:
    [tile] = found[name]
    assert [d.label for d in tile.detections] == [label] * objects


def test_coins_stand_in_rows_and_apart(found: dict[str, list[Tile]]) -> None:
    boxes = [d.box for d in found["coins"][0].detections]
    for row, (top, bottom) in enumerate([(10, 80), (90, 150), (150, 225), (225, 295)], 1):
        assert sum(top <= (box[1] + box[3]) / 2 < bottom for box in boxes) == 6, f"row {row}"
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_the_face_is_where_it_is(found: dict[str, list[Tile]]) -> None:
    [face] = found["astronaut"][0].detections
    left, top, right, bottom = face.box
    eyes_and_mouth = [(203, 99), (247, 103), (223, 145)]
    assert all(left < x < right and top < y < bottom for x, y in eyes_and_mouth)
    assert right - left < 130


def test_galaxies_shine(found: dict[str, list[Tile]]) -> None:
    """Two hundred galaxies, each brighter than its tile; the giants of the field are among them."""
    sky = found["deep field"]
    assert len(sky) == 64
    galaxies = [(tile, d) for tile in sky for d in tile.detections]
    assert 190 <= len(galaxies) <= 230
    for tile, galaxy in galaxies:
        left, top, right, bottom = map(int, galaxy.box)
        assert tile.pixels[top:bottom, left:right].mean() > 2 * tile.pixels.mean()
        assert galaxy.contrast > 0.05
    assert sum(right - left > 25 for _, d in galaxies for left, _, right, _ in [d.box]) >= 8


def test_tiles_make_up_the_photograph_and_boxes_lie_inside(found: dict[str, list[Tile]]) -> None:
    for name, pieces in found.items():
        photo = PHOTOGRAPHS[name].load()
        assert sum(tile.pixels.shape[0] * tile.pixels.shape[1] for tile in pieces) == photo.shape[0] * photo.shape[1]
        assert len({tile.name for tile in pieces}) == len(pieces)
        for tile in pieces:
            height, width = tile.pixels.shape[:2]
            for d in tile.detections:
                left, top, right, bottom = d.box
                assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_png_holds_the_pixels(found: dict[str, list[Tile]]) -> None:
    for tile in (found["coins"][0], found["deep field"][9]):
        assert np.array_equal(np.asarray(Image.open(BytesIO(tile.png()))), tile.pixels)
