"""Lays out a sheet: a panel for each image with its labels, captions below, and a legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sama_spark.pictures.colours import colour_of
from sama_spark.pictures.drawing import Row, class_of, draw_image, draw_mask, draw_shapes, is_drawn, outside, region_of
from sama_spark.pictures.words import drawable, escaped, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from sama_spark.pictures.images import Pixels, Region

_INCHES = {1: 9.0, 2: 6.5, 3: 4.8}  # width of a panel, by their number in a row
_MARGIN, _ZOOM_MARGIN = 0.08, 0.35  # around the shapes, as a share of their region
_TALLEST, _FLATTEST = 1.5, 0.35  # height of a panel as a share of its width
_LEGEND, _ANSWER_LINES = 15, 4


class Picture(Figure):
    """A figure that a notebook shows by itself. pyplot does not keep it in memory."""

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.savefig(content, format="png", bbox_inches="tight")
        return content.getvalue()


@dataclass
class Scene:
    """The content of one panel.

    Attributes:
        title: the text above the panel.
        rows: annotations of one task and, in a video, of one frame.
        image: the image to draw over; None for a blank canvas.
        missing: why there is no image; None where nobody asked for one.
        masks: rows of kind mask, each with its pixels.
        lost: for each mask that cannot be read, the reason.
    """

    title: str
    rows: Sequence[Row]
    image: Pixels | None = None
    missing: str | None = None
    masks: list[tuple[Row, Pixels]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def shapes(self) -> list[Row]:
        return [row for row in self.rows if is_drawn(row)]

    @property
    def size(self) -> tuple[float, float] | None:
        """Return width and height of the whole image or mask, if there is one."""
        known = [self.image] if self.image else [mask for _, mask in self.masks]
        return known[0].size if known else None

    def region(self) -> Region:
        """Return the region to show: that of the image, or of the shapes with a margin if there is no image."""
        if self.image:
            return self.image.region
        if self.size:
            return (0, 0, *self.size)
        return around(self.rows, _MARGIN) or (0, 0, 4, 3)


def around(rows: Sequence[Row], margin: float = _ZOOM_MARGIN) -> Region | None:
    """Return the region of all shapes with a margin, given as a share of it; None where there is no shape."""
    region = region_of(rows)
    if region is None:
        return None
    left, top, right, bottom = region
    wide = max(right - left, bottom - top, 20) * margin
    return left - wide, top - wide, right + wide, bottom + wide


def draw_sheet(scenes: Sequence[Scene], heading: str = "") -> Picture:
    """Draw a panel for each scene, at most three in a row."""
    columns = 1 if len(scenes) == 1 else 2 if len(scenes) <= 4 else 3
    rows = [scenes[i : i + columns] for i in range(0, len(scenes), columns)]
    width = _INCHES[columns]
    captions = {id(scene): _caption(scene, width) for scene in scenes}
    heights = [
        max(width * _shape(scene) + 0.35 + 0.17 * captions[id(scene)].count("\n") for scene in row) for row in rows
    ]
    figure = Picture(figsize=(width * columns, sum(heights) + 0.5), layout="constrained", facecolor="white", dpi=100)
    grid: Any = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    panels: list[Axes] = list(grid.flat)
    classes: Counter[str] = Counter()
    texts: list[Text] = []
    for name in sorted({class_of(row) for scene in scenes for row in scene.shapes}):
        colour_of(name)  # in order of the names, so that colours do not depend on the order of panels
    for axes, scene in zip(panels, scenes, strict=False):
        texts += _draw(axes, scene, captions[id(scene)], classes)
    for axes in panels[len(scenes) :]:
        axes.set_axis_off()
    if heading:
        figure.suptitle(shown(heading), fontsize=11)
    _legend(figure, classes)
    _thin_out(figure, texts)
    return figure


def _draw(axes: Axes, scene: Scene, caption: str, classes: Counter[str]) -> list[Text]:
    axes.set_aspect("equal", anchor="N")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#ECEEF1")
    axes.set_title(shown(scene.title), fontsize=9, loc="left", color="#333333")
    axes.set_xlabel(caption, fontsize=9, loc="left")
    if scene.image:
        draw_image(axes, scene.image)
    for row, mask in scene.masks:
        classes.update(draw_mask(axes, mask, row["output"] or "mask", (0, 0, *(scene.size or mask.size))))
    left, top, right, bottom = scene.region()
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    texts = draw_shapes(axes, scene.shapes)
    classes.update(map(class_of, scene.shapes))
    return texts


def _shape(scene: Scene) -> float:
    left, top, right, bottom = scene.region()
    return min(max((bottom - top) / max(right - left, 1e-9), _FLATTEST), _TALLEST)


def _caption(scene: Scene, inches: float) -> str:
    letters = int(inches * 15)
    answers = " · ".join(_answer(row) for row in scene.rows if row["kind"] == "answer")
    lines = wrap(drawable(answers), letters, max_lines=_ANSWER_LINES, placeholder=" …")
    for note in _notes(scene):
        lines += wrap(drawable(f"({note})"), letters)
    return escaped("\n".join(lines))


def _answer(row: Row) -> str:
    text = row["value"] if row["value"] is not None else ", ".join(row["values"] or ()) or "none"
    return f"{row['output']}: {' '.join(text.split())}"


def _notes(scene: Scene) -> Iterable[str]:
    """Yield notes on what the panel does not show, and why."""
    if scene.missing:
        yield f"no image: {scene.missing}; drawn on a blank canvas"
    yield from scene.lost
    drawn = scene.shapes
    beyond = outside(drawn, (0, 0, *scene.size)) if scene.size and drawn else 0
    if beyond:
        yield f"outside of the image: {beyond}"
    unseen = [row for row in scene.rows if row["kind"] not in ("answer", "mask") and not is_drawn(row)]
    hidden = sum(row["visible"] is False for row in unseen)
    if hidden:
        yield f"not in sight in this frame: {hidden}"
    left_out = Counter(row["kind"] for row in unseen if row["visible"] is not False)
    if left_out:
        yield "not drawn: " + ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))


def _legend(figure: Figure, classes: Counter[str]) -> None:
    if not classes:
        return
    names = sorted(name for name, _ in classes.most_common(_LEGEND))
    handles = [Patch(color=colour_of(name), label=shown(f"{name} ({classes[name]:,})")) for name in names]
    if len(classes) > len(names):
        handles.append(Patch(color="none", label=f"and {len(classes) - len(names)} more"))
    columns = min(len(handles), max(int(figure.get_figwidth() / 2), 1))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=10)


def _thin_out(figure: Figure, texts: Sequence[Text]) -> None:
    """Move labels into their panel, and hide those that overlap others: the legend explains the colours."""
    figure.draw_without_rendering()
    kept: dict[int, list[Any]] = {}
    for text in texts:
        assert text.axes is not None  # noqa: S101
        if text.get_window_extent().x1 > text.axes.bbox.x1:
            text.set_horizontalalignment("right")
        box = text.get_window_extent().expanded(1.02, 1.05)
        others = kept.setdefault(id(text.axes), [])
        if any(box.overlaps(other) for other in others):
            text.set_visible(False)
        elif text.get_visible():
            others.append(box)
