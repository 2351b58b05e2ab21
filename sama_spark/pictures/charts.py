"""Two charts: tasks by state over time, and annotations by label. Spark counts, the driver draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from sama_spark.errors import InvalidInput
from sama_spark.pictures import check_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pyspark.sql import DataFrame

# From the bottom up: tasks that are done, nearly done, sent back, waiting.
_STATES = {
    "acknowledged": "#00456E",
    "delivered": "#0072B2",
    "approved": "#56B4E9",
    "completed": "#009E73",
    "in progress": "#F2C14E",
    "rejected": "#D55E00",
    "new": "#C9CDD3",
    "gone": "#6B7078",
}
_OTHER_STATE = "#CC79A7"
_MOST_BARS, _MOST_DATES = 25, 12
_DARK, _LIGHT = "#333333", "#D9DCE1"


def show_progress(df: DataFrame) -> Figure:
    """Draw how many tasks were in each state at the end of each day, as stacked areas.

    Args:
        df: the view `progress_by_day`, which `Client.sync(..., views=True)` makes, or any DataFrame with its columns:
            `day` (date), `state`, `tasks`.

    Returns:
        A matplotlib `Figure`, which a notebook shows, as does `display(...)`.

    Raises:
        InvalidInput: `df` is a stream, lacks a column, or has no row.
        ModuleNotFoundError: matplotlib is not installed.
    """
    check_rows(df, ("day", "state", "tasks"), "give the view `progress_by_day`")
    counted = df.groupBy("day", "state").agg(F.sum("tasks").alias("tasks")).where("day IS NOT NULL").collect()
    if not counted:
        raise InvalidInput("there are no tasks in any state: nothing to draw", remedy="sync the project first")
    tasks: defaultdict[str, dict[date, int]] = defaultdict(dict)
    for row in counted:
        tasks[row.state][row.day] = row.tasks
    first, last = min(row.day for row in counted), max(row.day for row in counted)
    days = [first + timedelta(n) for n in range((last - first).days + 2)]  # the last day has an end too
    order = [state for state in _STATES if state in tasks] + sorted(set(tasks) - set(_STATES))
    heights = [[tasks[state].get(min(day, last), 0) for day in days] for state in order]
    colours = [_STATES.get(state, _OTHER_STATE) for state in order]
    return _draw_progress(days, order, heights, colours)


def show_label_counts(df: DataFrame, *, by_output: bool = False) -> Figure:
    """Draw how many annotations each label has, as bars, the most frequent first.

    Answers about a whole scene do not count. 25 labels have a bar each, and all others have one together.

    Args:
        df: the view `label_counts` or `labels_current`, the table `annotations`, or a DataFrame of
            `flatten_annotations`.
        by_output: draw a chart for each output; by default one for all outputs together.

    Returns:
        A matplotlib `Figure`, which a notebook shows, as does `display(...)`.

    Raises:
        InvalidInput: `df` is a stream, lacks a column, or has no annotation of a shape or mask.
        ModuleNotFoundError: matplotlib is not installed.
    """
    check_rows(df, ("output", "kind", "label"), "give `label_counts` or `labels_current`")
    number = F.sum("annotations") if "annotations" in df.columns else F.count(F.lit(1))
    output = F.col("output") if by_output else F.lit("")
    labels = F.coalesce("label", F.lit("no label"))
    counted = (
        df.where("kind <> 'answer'")
        .groupBy(output.alias("output"), labels.alias("label"))
        .agg(number.alias("annotations"))
        .orderBy("output", F.desc("annotations"), "label")
        .collect()
    )
    if not counted:
        raise InvalidInput("there are no annotations: nothing to draw", remedy="sync the project first")
    by_name: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in counted:
        by_name[row.output].append((row.label, row.annotations))
    return _draw_label_counts({name: _shortened(bars) for name, bars in by_name.items()})


def _shortened(bars: list[tuple[str, int]]) -> list[tuple[str, int]]:
    rest = bars[_MOST_BARS:]
    return bars[:_MOST_BARS] + [(f"{len(rest)} other labels", sum(count for _, count in rest))] * bool(rest)


def _draw_progress(
    days: Sequence[date], states: Sequence[str], heights: Sequence[Sequence[int]], colours: Sequence[str]
) -> Figure:
    from sama_spark.pictures.sheet import Picture
    from sama_spark.pictures.words import shown

    figure = Picture(figsize=(11, 5), layout="constrained", facecolor="white", dpi=100)
    axes = figure.subplots()
    x = range(len(days))
    names = [shown(f"{state} ({height[-1]:,})") for state, height in zip(states, heights, strict=True)]
    # In steps, because the count of a day holds for the whole day.
    axes.stackplot(x, heights, labels=names, colors=colours, step="post", edgecolor="white", linewidth=0.6)
    axes.set_xlim(0, len(days) - 1)
    axes.set_ylim(0, max(map(sum, zip(*heights, strict=True))) * 1.05)
    named = range(0, len(days) - 1, len(days) // _MOST_DATES + 1)
    axes.set_xticks([n + 0.5 for n in named], [_date(days[n], is_first=not n) for n in named])
    axes.set_xlabel("Day")
    axes.set_ylabel("Tasks")
    axes.set_title("Tasks by state at the end of each day", loc="left", fontsize=13)
    _quiet(axes, "y")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False, title="State (tasks now)")
    return figure


def _draw_label_counts(charts: dict[str, list[tuple[str, int]]]) -> Figure:
    from sama_spark.pictures.colours import GREY, colour_of
    from sama_spark.pictures.sheet import Picture
    from sama_spark.pictures.words import drawable, escaped, shown

    bars = [max(len(chart), 2) for chart in charts.values()]
    figure = Picture(figsize=(9, 0.32 * sum(bars) + 1.1 * len(bars)), layout="constrained", facecolor="white", dpi=100)
    panels: Any = figure.subplots(len(charts), 1, squeeze=False, height_ratios=bars)
    for axes, (output, chart) in zip(panels.flat, charts.items(), strict=True):
        names, counts = zip(*chart, strict=True)
        is_label = [i < _MOST_BARS and name != "no label" for i, name in enumerate(names)]
        colours = [colour_of(name) if named else GREY for name, named in zip(names, is_label, strict=True)]
        drawn = axes.barh(range(len(names)), counts, color=colours, height=0.72)
        axes.bar_label(drawn, [f"{count:,}" for count in counts], padding=4, fontsize=9, color=_DARK)
        words = map(drawable, names)
        axes.set_yticks(range(len(names)), [escaped(w if len(w) <= 40 else f"{w[:39]}…") for w in words])
        axes.set_ylim(max(len(names), 2) - 0.4, -0.6)
        axes.set_xlim(0, max(counts) * 1.12)
        axes.set_title(
            shown(f"Annotations by label: {output}") if output else "Annotations by label", loc="left", fontsize=13
        )
        _quiet(axes, "x")
        axes.tick_params(axis="y", length=0)
    panels.flat[-1].set_xlabel("Annotations")
    return figure


def _date(day: date, *, is_first: bool) -> str:
    return f"{day.day} {day:%b}" + f"\n{day.year}" * is_first


def _quiet(axes: Axes, counts: Any) -> None:
    """Show whole numbers with commas and light grid lines; hide two sides of the frame."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis = axes.xaxis if counts == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis=counts, color=_LIGHT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
