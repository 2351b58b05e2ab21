"""Labels drawn on a photograph: what the annotators delivered, and what the detector had found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sama_spark.demo.photographs import Detection, Pixels

matplotlib.use("Agg")

KEPT, MOVED, DETECTOR = "#2ec4ff", "#ffb000", "#ff4d6d"


def draw(pixels: Pixels, found: Sequence[Detection], delivered: Sequence[Detection], title: str, target: Path) -> None:
    """Save a PNG: the photograph with its delivered labels, and close up the one that moved farthest.

    found, delivered: the detector's and the annotators' boxes, in the same order.
    """
    pairs = list(zip(found, delivered, strict=True))
    figure = Figure(figsize=(13, 6), layout="constrained", facecolor="white")
    whole, close = figure.subplots(1, 2, width_ratios=[1.5, 1])
    for axes in (whole, close):
        axes.imshow(pixels, cmap="gray")
        axes.set_axis_off()
    moved = [shift(*pair) > 0 for pair in pairs]
    for (_, after), has_moved in zip(pairs, moved, strict=True):
        _box(whole, after, MOVED if has_moved else KEPT)
    whole.set_title(title, fontsize=14)
    _legend(
        whole, {f"{sum(moved)} moved by a simulated annotator": MOVED, f"{len(moved) - sum(moved)} left as found": KEPT}
    )

    before, after = max(pairs, key=lambda pair: shift(*pair))
    _box(close, before, DETECTOR, dashed=True)
    _box(close, after, MOVED)
    (left, top, right, bottom), margin = after.box, 12
    close.set_xlim(left - margin, right + margin)
    close.set_ylim(bottom + margin, top - margin)
    close.set_title(f"This {after.label} was moved by {shift(before, after):.1f} pixels", fontsize=14)
    _legend(close, {"pre-annotation (detector)": DETECTOR, "delivered label": MOVED}, dashed=DETECTOR)
    figure.savefig(target, dpi=100, bbox_inches="tight")


def shift(before: Detection, after: Detection) -> float:
    """How far the centre moved, in pixels."""
    (x1, y1), (x2, y2) = before.centre, after.centre
    return float(((x1 - x2) ** 2 + (y1 - y2) ** 2) ** 0.5)


def _box(axes: Axes, detection: Detection, colour: str, *, dashed: bool = False) -> None:
    left, top, right, bottom = (edge - 0.5 for edge in detection.box)  # imshow puts a pixel's centre at whole numbers
    style = "--" if dashed else "-"
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=2, linestyle=style)
    )


def _legend(axes: Axes, colours: Mapping[str, str], dashed: str | None = None) -> None:
    for text, colour in colours.items():
        axes.plot([], [], color=colour, linestyle="--" if colour == dashed else "-", linewidth=2, label=text)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=len(colours), frameon=False, fontsize=12)
