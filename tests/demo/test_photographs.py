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


def test_every_coin_is_found_and_nothing_else(found: dict[str, list[Tile]]) -> None:
    [tile] = found["coins"]
    assert [d.label for d in tile.detections] == ["coin"] * 24  # four rows of six


def test_outlines_of_coins_are_round_and_fill_their_boxes(found: dict[str, list[Tile]]) -> None:
    for coin in found["coins"][0].detections:
        xs, ys = zip(*coin.polygon, strict=True)
        assert (min(xs), min(ys), max(xs), max(ys)) == coin.box
        corners = list(zip(coin.polygon, (*coin.polygon[1:], coin.polygon[0]), strict=True))
        area = abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in corners)) / 2
        left, top, right, bottom = coin.box
        assert 0.7 < area / ((right - left) * (bottom - top)) < 0.88, "a circle fills 0.785 of its square"


def test_coins_stand_in_rows_and_apart(found: dict[str, list[Tile]]) -> None:
    boxes = [d.box for d in found["coins"][0].detections]
    for row, (top, bottom) in enumerate([(10, 80), (90, 150), (150, 225), (225, 295)], 1):
        assert sum(top <= (box[1] + box[3]) / 2 < bottom for box in boxes) == 6, f"row {row}"
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_galaxies_shine(found: dict[str, list[Tile]]) -> None:
    """Two hundred galaxies, each brighter than its tile; the giants of the field are among them."""
    sky = found["deep field"]
    assert len(sky) == 16
    galaxies = [(tile, d) for tile in sky for d in tile.detections]
    assert 190 <= len(galaxies) <= 230
    for tile, galaxy in galaxies:
        left, top, right, bottom = galaxy.box
        assert tile.pixels[top:bottom, left:right].mean() > 2 * tile.pixels.mean()
    assert sum(right - left > 25 for _, d in galaxies for left, _, right, _ in [d.box]) >= 8


def test_old_galaxies_are_redder_than_young_ones(found: dict[str, list[Tile]]) -> None:
    redness: dict[str, list[float]] = {"old galaxy": [], "young galaxy": []}
    for tile in found["deep field"]:
        for galaxy in tile.detections:
            left, top, right, bottom = galaxy.box
            red, _, blue = tile.pixels[top:bottom, left:right].mean(axis=(0, 1))
            redness[galaxy.label].append(red / blue)
    assert min(map(len, redness.values())) > 50
    old, young = (float(np.median(redness[label])) for label in ("old galaxy", "young galaxy"))
    assert old > 1.1
    assert young < 0.95


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
    for tile in (found["coins"][0], found["deep field"][5]):
        assert np.array_equal(np.asarray(Image.open(BytesIO(tile.png()))), tile.pixels)
