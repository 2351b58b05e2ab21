"""Pictures, by their pixels: what is drawn where, in which colour, and what is said of the rest."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from PIL import Image

from kit.annotation_rows import rows_of_task
from sama_spark.pictures.charts import _draw_label_counts, _draw_progress
from sama_spark.pictures.colours import PALETTE, colour_of, is_light
from sama_spark.pictures.images import UnreadableImage, read_image, read_mask
from sama_spark.pictures.sheet import Scene, around, draw_sheet
from sama_spark.pictures.words import shown
from sama_spark.sandbox.png_masks import png
from sama_spark.vendors.sama.reader import SamaReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from sama_spark.sandbox import Sandbox

GREY = (128, 128, 128)
SIZE = (400, 300)
NONE: Any = None  # no Spark is needed for bytes, files and links


def rows(*shapes: dict[str, Any], **answers: Any) -> list[dict[str, Any]]:
    if shapes:
        answers["things"] = {"layers": {"vector_tagging": [{"shapes": list(shapes)}]}}
    return [vars(row) for row in rows_of_task(json.dumps(answers).encode(), SamaReader("kind"))]


def shape(kind: str, points: Sequence[Sequence[float]], label: str | None = None) -> dict[str, Any]:
    return {"type": kind, "points": points, "tags": {} if label is None else {"kind": label}}


def box(left: int, top: int, right: int, bottom: int, label: str) -> dict[str, Any]:
    return shape("rectangle", [[left, top], [right, top], [left, bottom], [right, bottom]], label)


def image(size: tuple[int, int] = SIZE, format_: str = "PNG", **more: Any) -> bytes:
    content = BytesIO()
    Image.new("RGB", size, GREY).save(content, format_, **more)
    return content.getvalue()


def scene(found: list[dict[str, Any]], content: bytes | None = None, **more: Any) -> Scene:
    return Scene("a task", found, read_image(NONE, image() if content is None else content), **more)


class Drawn:
    """A figure's pixels, by the coordinates of one of its panels."""

    def __init__(self, figure: Figure, panel: int = 0) -> None:
        content = BytesIO()
        figure.savefig(content, format="png", dpi=100)
        self.pixels = np.asarray(Image.open(content).convert("RGB")).astype(int)
        self.axes = figure.axes[panel]

    def near(self, x: float, y: float, reach: int = 2) -> np.ndarray:
        """The pixels within `reach` of the place."""
        across, up = self.axes.transData.transform((x, y))
        column, row = round(across), round(self.pixels.shape[0] - up)
        return self.pixels[row - reach : row + reach + 1, column - reach : column + reach + 1].reshape(-1, 3)

    def has(self, colour: str, x: float, y: float, reach: int = 2) -> bool:
        return bool((abs(self.near(x, y, reach) - rgb(colour)).max(axis=1) < 30).any())


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def words(figure: Figure) -> str:
    """All that can be read in it."""
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


SHAPES: list[tuple[dict[str, Any], list[tuple[float, float]], tuple[float, float]]] = [
    (box(50, 60, 150, 160, "a"), [(50, 120), (150, 120), (100, 160)], (100, 110)),
    (
        shape("slider_rectangle", [[50, 60], [150, 60], [50, 160], [150, 160], [90, 60]], "a"),
        [(50, 120), (90, 120), (150, 120), (100, 160)],
        (120, 110),
    ),
    # Corners in another order, and turned.
    (shape("rectangle", [[100, 50], [100, 200], [25, 125], [175, 125]], "a"), [(62, 88), (138, 163)], (100, 125)),
    (shape("line", [[20, 250], [120, 150], [300, 250]], "a"), [(70, 200), (210, 200)], (120, 240)),
    (shape("arrow", [[20, 250], [120, 150]], "a"), [(70, 200)], (120, 240)),
    (shape("point", [[200, 100]], "a"), [(200, 100)], (220, 120)),
    (shape("keypoint_shape", [[200, 100], [220, 180]], "a"), [(200, 100), (220, 180)], (210, 140)),
    (
        shape("cuboid", [[100, 100], [200, 100], [100, 200], [200, 200], [150, 60], [250, 60], [150, 160], [250, 160]]),
        [(100, 150), (250, 110), (225, 180), (125, 80)],
        (300, 150),
    ),
]


@pytest.mark.parametrize(("drawn", "on", "off"), SHAPES, ids=[str(one[0]["type"]) for one in SHAPES])
def test_a_shape_has_its_colour_where_it_lies(
    drawn: dict[str, Any], on: list[tuple[float, float]], off: tuple[float, float]
) -> None:
    found = rows(drawn)
    colour = colour_of("a" if drawn["tags"] else "things")
    picture = Drawn(draw_sheet([scene(found)]))
    for place in on:
        assert picture.has(colour, *place), place
    assert (picture.near(*off) == GREY).all()


def test_a_polygon_is_filled_lightly() -> None:
    picture = Drawn(draw_sheet([scene(rows(shape("polygon", [[50, 60], [250, 60], [150, 200]], "a")))]))
    assert picture.has(colour_of("a"), 150, 200)
    inside = picture.near(150, 120).mean(axis=0)
    assert (abs(inside - (0.82 * np.array(GREY) + 0.18 * rgb(colour_of("a")))) < 3).all()


def test_a_label_is_read_on_its_own_colour() -> None:
    figure = draw_sheet([scene(rows(box(50, 60, 150, 160, "lorry"), box(50, 62, 150, 160, "lorry")))])
    labels = [text for text in figure.axes[0].texts if text.get_text() == "lorry"]
    assert [label.get_visible() for label in labels] == [True, False], "the other would lie over it"
    patch: Any = labels[0].get_bbox_patch()
    assert (abs(np.array(patch.get_facecolor()[:3]) * 255 - rgb(colour_of("lorry"))) < 1).all()
    assert labels[0].get_color() == ("black" if is_light(colour_of("lorry")) else "white")
    assert "lorry (2)" in words(figure)


def test_a_label_has_its_colour_in_every_call_and_no_other_has_it() -> None:
    names = ["car", "bus", "van", "tram", "bike", "sign"]
    before = {name: colour_of(name) for name in names}
    draw_sheet([scene(rows(*(box(9, 9, 50, 50, name) for name in ["tree", *reversed(names)])))])
    assert {name: colour_of(name) for name in names} == before
    # In a fresh process, where there are colours left for all.
    code = f"from sama_spark.pictures.colours import colour_of; print(len({{colour_of(n) for n in {names}}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "6\n"
    for n in range(40):
        assert colour_of(f"label {n}") in PALETTE


def test_a_mask_tints_its_pixels_and_no_others() -> None:
    found = rows(floor={"layers": {"raster_coding": {"mask_url": "https://assets.invalid/m.png"}}})
    mask = read_mask(NONE, png([(100, 80, 300, 240)]))
    picture = draw_sheet([scene(found, image((640, 480)), masks=[(found[0], mask)])])
    drawn = Drawn(picture)
    tinted = (np.array(GREY) + rgb(colour_of("floor 1"))) / 2
    for place in ((104, 84), (296, 236), (200, 160)):
        assert (abs(drawn.near(*place, reach=1).mean(axis=0) - tinted) < 3).all(), place
    for place in ((95, 80), (305, 240), (200, 245)):
        assert (drawn.near(*place, reach=1) == GREY).all(), place
    assert "floor 1" in words(picture)


def test_a_mask_in_colours_keeps_them() -> None:
    content = BytesIO()
    coded = Image.new("RGB", SIZE)
    coded.paste((255, 0, 0), (100, 80, 300, 240))
    coded.save(content, "PNG")
    found = rows(floor={"layers": {"raster_coding": {"mask_url": "https://assets.invalid/m.png"}}})
    drawn = Drawn(draw_sheet([scene(found, masks=[(found[0], read_mask(NONE, content.getvalue()))])]))
    assert (abs(drawn.near(200, 160).mean(axis=0) - (191.5, 64, 64)) < 3).all()
    assert (drawn.near(50, 50) == GREY).all()


def test_what_is_not_to_be_seen_is_said() -> None:
    found = rows(
        box(600, 400, 700, 450, "far"),
        shape("cuboid", [[1, 2, 3]] * 8),
        shape("blob", [[1, 2]]),
        weather="sun",
        sides={"left": "1", "rear": "1", "top": "0"},
    )
    figure = draw_sheet([scene(found)])
    caption = figure.axes[0].get_xlabel()
    assert caption == (
        "weather: sun · sides: left, rear\n(outside of the image: 1)\n(not drawn: 1 cuboid_3d, 1 unknown)"
    )
    moving = {"type": "rectangle", "key_locations": [{"frame_number": 0, "visibility": 0}]}
    [frame] = rows(moving)
    assert "(not in sight in this frame: 1)" in words(draw_sheet([scene([frame])]))


def test_without_an_image_shapes_lie_on_a_canvas_and_the_reason_is_said() -> None:
    found = rows(box(1000, 2000, 1400, 2200, "a"))
    figure = draw_sheet([Scene("a task", found, missing="its link answers 404")])
    assert "(no image: its link answers 404; drawn on a blank canvas)" in words(figure)
    picture = Drawn(figure)
    assert picture.has(colour_of("a"), 1000, 2150)
    left, right = figure.axes[0].get_xlim()
    assert 900 < left < 1000
    assert 1400 < right < 1500
    assert "no image" not in words(draw_sheet([Scene("a task", found)])), "none was asked for"


def test_each_scene_has_its_panel_above_the_legend() -> None:
    scenes = [scene(rows(box(50, 60, 150, 160, "a"), box(200, 60, 250, 100, "b"))) for _ in range(5)]
    figure = draw_sheet(scenes)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 5
    figure.draw_without_rendering()
    [legend] = figure.legends
    edges = [axes.get_tightbbox() for axes in panels]
    assert legend.get_window_extent().y1 <= min(edge.y0 for edge in edges if edge)
    for one in edges:
        assert one is not None
        assert sum(one.overlaps(other) for other in edges if other) == 1, "with itself"


def test_zoom_shows_the_part_with_the_shapes() -> None:
    found = rows(box(200, 100, 220, 115, "a"))
    zoomed = Scene("a task", found, read_image(NONE, image(), around(found)))
    figure = draw_sheet([zoomed])
    assert figure.axes[0].get_xlim() == (193, 227)
    picture = Drawn(figure)
    assert picture.has(colour_of("a"), 200, 108)
    assert not picture.has(colour_of("a"), 210, 108)


def test_images_are_seen_as_their_viewers_see_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert read_image(NONE, image(SIZE, "JPEG", exif=exif)).size == (300, 400)
    path = tmp_path / "a b.png"
    path.write_bytes(image())
    assert read_image(NONE, str(path)).size == SIZE
    assert read_image(NONE, path.as_uri()).size == SIZE
    content = BytesIO()
    Image.fromarray(np.arange(12000, dtype=np.uint16).reshape(100, 120) * 5).save(content, "PNG")
    thermal = read_image(NONE, content.getvalue())
    greys = thermal.values[:, :, 0].ravel().astype(int)
    assert (greys[0], greys[-1]) == (0, 255)
    assert (np.diff(greys) >= 0).all(), "from the darkest to the brightest"
    large = read_image(NONE, image((5000, 1000)))
    assert large.values.shape == (400, 2000, 3)
    assert large.region == (0, 0, 5000, 1000)


def test_an_image_that_cannot_be_had_says_why_without_its_address(sandbox: Sandbox, tmp_path: Path) -> None:
    url = sandbox.add_asset(image(), "i.png", "image/png")
    assert read_image(NONE, url).size == SIZE
    unsigned = url.partition("?")[0] + "?signature=s3cret"
    reasons = {
        None: "none is given",
        b"no image": "it is no image, or a broken one",
        image()[:200]: "it is no image, or a broken one",
        str(tmp_path / "s3cret.png"): "no such file or directory",
        unsigned: "its link answers 403, and may have expired",
        "s3cret\0": "no file has such a name",
        "http://[::1/s3cret": "its address cannot be read",
        "http://127.0.0.1:1/s3cret": "its host cannot be reached (NewConnectionError)",
    }
    for place, reason in reasons.items():
        with pytest.raises(UnreadableImage) as caught:
            read_image(NONE, place)
        assert str(caught.value) == reason
        assert "s3cret" not in repr(caught.value)


LABELS = [
    ("car 🚗", "car [automobile]"),
    ("😀", "😀"),  # DejaVu Sans has some
    ("👩‍👧", "[woman][girl]"),
    ("👍🏽", "[thumbs up sign]"),
    ("歩行者", "□□□"),
    ("🇩🇪", "□□"),
    ("\U0010ffff", "□"),
    ("a\tb", "a b"),
    ("a\x07b", "a□b"),
    ("a\u200bb", "ab"),
    ("straße é ü ж β →", "straße é ü ж β →"),
    ("_hidden", "_hidden"),
    ("$x^{y$", r"\$x^{y\$"),
    ("", ""),
]


@pytest.mark.parametrize(("label", "drawn"), LABELS)
def test_letters_that_no_font_has_get_a_stand_in(label: str, drawn: str) -> None:
    assert shown(label) == drawn


def test_any_label_is_drawn_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    found = [box(10 + 30 * n, 60, 30 + 30 * n, 100, label) for n, (label, _) in enumerate(LABELS)]
    odd = "🌧 $a$ 歩\t$"
    answers = rows(*found, **{odd: odd})
    sheets = [Scene(odd, answers, missing=odd), Scene(odd, answers, read_image(NONE, image()), lost=[odd])]
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        figures = [
            draw_sheet(sheets, odd),
            _draw_label_counts({odd: [(label, n + 1) for n, (label, _) in enumerate(LABELS)] + [(odd * 20, 1)]}),
            _draw_progress([date(2026, 1, 1), date(2026, 1, 2)], [odd], [[1, 2]], ["#000000"]),
        ]
        for figure in figures:
            assert figure._repr_png_()
    assert [record for record in caplog.records if record.name.startswith("matplotlib")] == []
    assert "car [automobile]" in words(figures[0])
    assert "_hidden (2)" in words(figures[0])


@pytest.mark.parametrize("font", ["DejaVu Sans", "no such font"])
def test_a_font_of_the_process_is_taken(font: str) -> None:
    with matplotlib.rc_context({"font.family": [font, "DejaVu Sans"]}):
        assert shown("car 🚗") == "car [automobile]"
    with matplotlib.rc_context({"font.family": font}):
        assert shown("ж") == "ж"


def test_links_are_read_with_the_authorities_of_the_environment(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))
    with pytest.raises(UnreadableImage, match="cannot be reached"):
        read_image(NONE, sandbox.add_asset(image(), "i.png", "image/png"))


def test_progress_is_stacked_day_by_day() -> None:
    days = [date(2026, 1, 30) + timedelta(n) for n in range(4)]
    figure = _draw_progress(
        days, ["delivered", "new"], [[0, 1000, 3000, 3000], [4000, 3000, 1000, 1000]], ["#0072B2", "#C9CDD3"]
    )
    picture = Drawn(figure)
    for day, tasks, colour in (
        (0.5, 200, "#C9CDD3"),
        (1.5, 800, "#0072B2"),
        (1.5, 1300, "#C9CDD3"),
        (2.5, 2800, "#0072B2"),
    ):
        assert picture.has(colour, day, tasks), (day, tasks)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["30 Jan\n2026", "31 Jan", "1 Feb"]
    assert "4,000" in [label.get_text() for label in axes.get_yticklabels()]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Day", "Tasks")
    assert "new (1,000)" in words(figure)


def test_bars_are_as_long_as_their_labels_are_frequent() -> None:
    figure = _draw_label_counts({"cars": [("a", 2_000_001), ("no label", 500_000)], "lanes": [("c", 7)]})
    picture = Drawn(figure)
    assert picture.has(colour_of("a"), 1_950_000, 0)
    assert not picture.has(colour_of("a"), 2_050_000, 0.3)
    assert picture.has("#8A8F98", 450_000, 1)
    assert "2,000,001" in words(figure)
    assert "e6" not in words(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Annotations by label: cars",
        "Annotations by label: lanes",
    ]
