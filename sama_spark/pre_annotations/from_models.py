"""The results of models as values of `output_<name>` columns, as Column expressions in the JVM.

An argument that is text names a column, as everywhere in Spark; `F.lit("car")` is a constant. Labels and tags are text:
one for all shapes of the row, or an array with one for each. Text, date, dropdown and radio outputs need no
helper, because their value is plain text.

If the shapes are null, the value is null: no pre-annotation. If a row's values cannot be a pre-annotation, the value
says why: in the field `problem` of shapes (which is null in good rows), as the only key of a checkbox, or as the text
of a menu. `create_task_batch_from_table` and `format("sama")` report such a row as one that cannot become a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pyspark.sql import functions as F

from sama_spark import exact
from sama_spark.arguments import shown
from sama_spark.errors import InvalidInput
from sama_spark.pre_annotations.given_columns import TEXT, column_of, let, parsed, problem_text, wrong_type
from sama_spark.pre_annotations.shapes_column import Scale, as_it_is, has_numbers, has_points, shapes_column

if TYPE_CHECKING:
    from pyspark.sql import Column

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]

_CORNERS: dict[str, Callable[[Column, Column, Column, Column], tuple[Column, Column, Column, Column]]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "cxcywh": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
}


def boxes_to_output(
    boxes: str | Column,
    label: str | Column | None = None,
    box_format: BoxFormat = "xyxy",
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
    scale: Scale | None = None,
) -> Column:
    """Make boxes the rectangles of an image output.

    Args:
        boxes: array of arrays of four numbers, in pixels. From structs:
            `F.transform("boxes", lambda b: F.array(b.x1, b.y1, b.x2, b.y2))`.
        label: the class of each box, or one of all boxes; it becomes the tag `label_tag`.
        box_format: what the four numbers are: two corners (the default), a corner with width and height, or a centre
            with width and height.
        tags: more tags by name.
        label_tag: the name of the tag that `label` becomes.
        scale: width and height, numbers or columns, by which coordinates are multiplied. If coordinates are fractions
            of the image's size, give that size. By default they are not multiplied.

    Returns:
        A column `{"layers": {"vector_tagging": [...]}, "problem": null}`. Each box is a group of one rectangle, with
        the corners top-left, top-right, bottom-left, bottom-right, and `index` from 1. Coordinates are doubles. If a
        row cannot be a pre-annotation, `problem` says why, `layers` is null, and the row cannot become a task.

    Raises:
        InvalidInput: an argument is not understood, or `tags` has `label_tag` too.

    A row cannot be a pre-annotation if a box does not have four numbers; if a box ends before it begins, from left to
    right or from top to bottom, as under a wrong `box_format`; or if the column has another type.
    """
    if not isinstance(box_format, str) or box_format not in _CORNERS:
        raise InvalidInput(f"box_format {shown(box_format)} is none of {', '.join(_CORNERS)}")

    def corners(box: Column) -> tuple[Column, Column, Column, Column]:
        return _CORNERS[box_format](*(F.get(box, F.lit(i)) for i in range(4)))

    def fits(box: Column) -> Column:
        left, top, right, bottom = corners(box)
        return has_numbers(box, 4) & (left <= right) & (top <= bottom)

    def points(box: Column) -> Column:
        left, top, right, bottom = corners(box)
        return F.array(F.array(left, top), F.array(right, top), F.array(left, bottom), F.array(right, bottom))

    wanted = f"box needs four numbers as {box_format}, top-left first"
    return shapes_column("rectangle", "boxes", boxes, 2, points, fits, wanted, label, tags, label_tag, scale)


def polygons_to_output(
    polygons: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
    scale: Scale | None = None,
) -> Column:
    """Make polygons of an image output from arrays of arrays of three or more `[x, y]`. See `boxes_to_output`."""

    def fits(polygon: Column) -> Column:
        return has_points(polygon, 3)

    wanted = "polygon needs three or more [x, y]"
    return shapes_column("polygon", "polygons", polygons, 3, as_it_is, fits, wanted, label, tags, label_tag, scale)


def polylines_to_output(
    polylines: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
    scale: Scale | None = None,
) -> Column:
    """Make lines of an image output from arrays of arrays of two or more `[x, y]`. See `boxes_to_output`."""

    def fits(line: Column) -> Column:
        return has_points(line, 2)

    wanted = "line needs two or more [x, y]"
    return shapes_column("line", "polylines", polylines, 3, as_it_is, fits, wanted, label, tags, label_tag, scale)


def points_to_output(
    points: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
    scale: Scale | None = None,
) -> Column:
    """Make points of an image output from arrays of `[x, y]`. See `boxes_to_output`."""

    def fits(point: Column) -> Column:
        return has_numbers(point, 2)

    return shapes_column(
        "point", "points", points, 2, F.array, fits, "point needs two numbers", label, tags, label_tag, scale
    )


def checkbox_to_output(chosen: str | Column, options: Sequence[str]) -> Column:
    """Make a checkbox output from the array of the chosen options.

    Args:
        chosen: array of text.
        options: all options of the output.

    Returns:
        A column with every option and "1" or "0". A row with another option cannot become a task: its only key says
        why.

    Raises:
        InvalidInput: `options` is no list of texts, or has an option twice.
    """
    if isinstance(options, str) or not isinstance(options, Sequence) or not options:
        raise InvalidInput("options is no list of texts", remedy='give the names of all options: ["rain", "sun"]')
    if not all(isinstance(option, str) for option in options):
        raise InvalidInput(f"options has something that is no text: {list(options)}")
    if len(set(options)) < len(options):
        raise InvalidInput(f"an option stands twice in {list(options)}")
    given, all_options = column_of(chosen, "chosen"), F.array(*map(F.lit, options))

    def made(names: Column) -> Column:
        unknown = F.array_except(names, all_options)
        problem = F.when(
            F.size(unknown) > 0,
            problem_text("these are not among the options", exact.to_json(unknown)),
        )
        answer = F.map_from_arrays(
            all_options, F.transform(all_options, lambda o: F.when(F.array_contains(names, o), "1").otherwise("0"))
        )
        return let(
            F.coalesce(wrong_type("chosen", given, 1, TEXT), problem),
            lambda p: F.when(p.isNull(), answer).otherwise(F.create_map(p, F.lit(""))),
        )

    return F.when(given.isNotNull(), let(parsed(given, "array<string>"), made))


def menu_to_output(levels: str | Column) -> Column:
    """Make a multi-level menu output, such as `a|b`, from the array of its levels, outermost first.

    A row with no level, a null level, or a | in a level cannot become a task: its text says why.
    """
    given = column_of(levels, "levels")

    def made(texts: Column) -> Column:
        broken = (F.size(texts) == 0) | F.exists(texts, lambda level: level.isNull() | level.contains("|"))
        problem = F.when(broken, problem_text("no levels, a null, or the separator | in one", exact.to_json(texts)))
        return F.coalesce(wrong_type("levels", given, 1, TEXT), problem, F.array_join(texts, "|"))

    return F.when(given.isNotNull(), let(parsed(given, "array<string>"), made))
