"""Labels drawn on a photograph: what the annotators delivered, and what the detector had found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sama_spark.demo.photographs import Detection, Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

matplotlib.use("Agg")

COLOURS = ("#ffb000", "#2ec4ff", "#7dff6a")
DETECTOR = "#ff4d6d"


def draw(pixels: Pixels, found: Sequence[Detection], delivered: Sequence[Detection], title: str, target: Path) -> None:
    """Save a PNG: the photograph with its labels, and one object close up with both boxes.

    found, delivered: the detector's and the annotators' boxes, in the same order.
    """
    colours = {label: COLOURS[i % 3] for i, label in enumerate(sorted({d.label for d in delivered}))}
    figure = Figure(figsize=(13, 6.4), layout="constrained", facecolor="white")
    whole, close = figure.subplots(1, 2, width_ratios=[1.5, 1])
    for axes in (whole, close):
        axes.imshow(pixels, cmap="gray")
        axes.set_axis_off()
    for detection in delivered:
        _box(whole, detection, colours[detection.label])
    for label, colour in colours.items():
        count = sum(d.label == label for d in delivered)
        whole.plot([], [], color=colour, linewidth=2, label=f"{label} ({count})")
    whole.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=len(colours), frameon=False, fontsize=12)
    whole.set_title(title, fontsize=14)

    before, after = max(zip(found, delivered, strict=True), key=lambda pair: shift(*pair))
    _box(close, before, DETECTOR, dashed=True)
    _box(close, after, colours[after.label])
    (x1, y1, x2, y2), margin = after.box, 12
    close.set_xlim(x1 - margin, x2 + margin)
    close.set_ylim(y2 + margin, y1 - margin)
    close.set_title(f"{after.label}, corrected by {shift(before, after):.1f} pixels", fontsize=14)
    close.plot([], [], color=DETECTOR, linestyle="--", linewidth=2, label="detector")
    close.plot([], [], color=colours[after.label], linewidth=2, label="annotator")
    close.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False, fontsize=12)
    figure.savefig(target, dpi=100)


def shift(before: Detection, after: Detection) -> float:
    """How far the centre moved, in pixels."""
    (x1, y1), (x2, y2) = before.centre, after.centre
    return float(((x1 - x2) ** 2 + (y1 - y2) ** 2) ** 0.5)


def _box(axes: Axes, detection: Detection, colour: str, *, dashed: bool = False) -> None:
    x1, y1, x2, y2 = detection.box
    axes.add_patch(
        Rectangle(
            (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=2, linestyle="--" if dashed else "-"
        )
    )
