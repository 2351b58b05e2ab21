"""What models give becomes the value of an `output_<name>` column, in the JVM.

A column that is given as text is a column's name, as everywhere in Spark; `F.lit("car")` is a constant. Labels and
tags are text: either one for all shapes of the row, or an array with one for each. Text, date, dropdown and
radio outputs need no help: their value is plain text.

A row that cannot be a pre-annotation ends the job with an error that shows it. A null in place of the shapes gives a
null: no pre-annotation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
_SHOWN_CHARACTERS = 200


def boxes_to_output(
    boxes: str | Column,
    label: str | Column | None = None,
    box_format: BoxFormat = "xyxy",
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
) -> Column:
    """Boxes as rectangles of an image output.

    Args:
        boxes: array of arrays of four numbers, in pixels. From structs:
            `F.transform("boxes", lambda b: F.array(b.x1, b.y1, b.x2, b.y2))`.
        label: the class of each box, or of all; becomes the tag `label_tag`.
        box_format: what the four numbers are: two corners, a corner with width and height, or a centre with them.
        tags: more tags by name.

    Returns:
        A column `{"layers": {"vector_tagging": [...]}}` with one group of one rectangle for each box, its corners
        top-left, top-right, bottom-left, bottom-right, `index` from 1.

    Raises:
        ValueError: `box_format` is none of the three, or `tags` has `label_tag` too.

    A box whose right is left of its left, or bottom above its top, is an error: its format is another.
    """
    if box_format not in _CORNERS:
        raise ValueError(f"box_format {box_format!r} is none of {', '.join(_CORNERS)}")

    def corners(box: Column) -> tuple[Column, Column, Column, Column]:
        return _CORNERS[box_format](*(F.get(box, F.lit(i)) for i in range(4)))

    def fits(box: Column) -> Column:
        left, top, right, bottom = corners(box)
        return _has_numbers(box, 4) & (left <= right) & (top <= bottom)

    def points(box: Column) -> Column:
        left, top, right, bottom = corners(box)
        return F.array(F.array(left, top), F.array(right, top), F.array(left, bottom), F.array(right, bottom))

    return _vector(
        "rectangle", boxes, points, fits, f"four numbers as {box_format}, top-left first", label, tags, label_tag
    )


def polygons_to_output(
    polygons: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
) -> Column:
    """Polygons of an image output; `polygons`: array of arrays of three or more `[x, y]`. See `boxes_to_output`."""
    return _vector(
        "polygon", polygons, _as_it_is, lambda p: _has_points(p, 3), "three or more [x, y]", label, tags, label_tag
    )


def polylines_to_output(
    polylines: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
) -> Column:
    """Lines of an image output; `polylines`: array of arrays of two or more `[x, y]`. See `boxes_to_output`."""
    return _vector(
        "line", polylines, _as_it_is, lambda p: _has_points(p, 2), "two or more [x, y]", label, tags, label_tag
    )


def points_to_output(
    points: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
) -> Column:
    """Points of an image output; `points`: array of `[x, y]`. See `boxes_to_output`."""
    return _vector("point", points, F.array, lambda p: _has_numbers(p, 2), "two numbers", label, tags, label_tag)


def checkbox_to_output(chosen: str | Column, options: Sequence[str]) -> Column:
    """A checkbox output from the array of the chosen options: every option of `options` with "1" or "0".

    Raises:
        ValueError: an option stands twice.
    """
    if len(set(options)) < len(options):
        raise ValueError(f"an option stands twice in {list(options)}")
    column, all_options = _column(chosen), F.array(*map(F.lit, options))
    unknown = F.array_except(column, all_options)
    answer = F.map_from_arrays(
        all_options, F.transform(all_options, lambda o: F.when(F.array_contains(column, o), "1").otherwise("0"))
    )
    message = F.concat(F.lit("checkbox_to_output: not among the options: "), F.to_json(unknown))
    return F.when(F.size(unknown) > 0, _error(message, "map<string,string>")).when(column.isNotNull(), answer)


def menu_to_output(levels: str | Column) -> Column:
    """A multi-level menu output from the array of its levels, outermost first: `a|b`."""
    column = _column(levels)
    message = F.concat(F.lit("menu_to_output: no levels, a null, or the separator | in one: "), F.to_json(column))
    broken = (F.size(column) == 0) | F.exists(column, lambda level: level.isNull() | level.contains("|"))
    return F.when(broken, _error(message, "string")).otherwise(F.array_join(column, "|"))


_CORNERS: dict[str, Callable[[Column, Column, Column, Column], tuple[Column, Column, Column, Column]]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "cxcywh": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
}


def _vector(
    kind: str,
    shapes: str | Column,
    points: Callable[[Column], Column],
    fits: Callable[[Column], Column],
    wanted: str,
    label: str | Column | None,
    tags: Mapping[str, str | Column] | None,
    label_tag: str,
) -> Column:
    column = _column(shapes)
    if label is not None and label_tag in (tags or {}):
        raise ValueError(f"tag {label_tag!r} is given by label and by tags: name another label_tag")
    named = {**({} if label is None else {label_tag: label}), **(tags or {})}
    by_shape = {name: _one_for_each(_column(value), column) for name, value in named.items()}

    def group(shape: Column, position: Column) -> Column:
        drawn = F.struct(
            F.lit(kind).alias("type"),
            (position + 1).alias("index"),
            points(shape).alias("points"),
            _tags({name: F.get(values, position) for name, values in by_shape.items()}).alias("tags"),
        )
        return F.struct(F.array(drawn).alias("shapes"))

    answer = F.struct(F.struct(F.transform(column, group).alias("vector_tagging")).alias("layers"))
    checked = F.when(
        F.exists(column, lambda shape: shape.isNull() | ~fits(shape)),
        _fails(f"{kind}: each needs {wanted}, this row has ", column),
    )
    checked = checked.when(
        F.typeof(column).contains("string"), _fails(f"{kind}: coordinates are numbers, not text, this row has ", column)
    )
    for name, value in named.items():
        problem = f"{kind}: tag {name!r} takes text, not objects or arrays, this row has "
        checked = checked.when(_is_nested(_column(value)), _fails(problem, F.struct(_column(value).alias(name))))
    for name, values in by_shape.items():
        other_length = F.size(values) != F.size(column)
        problem = f"{kind}: tag {name!r} needs one value for all shapes or one for each, this row has "
        checked = checked.when(other_length, _fails(problem, F.struct(column.alias("shapes"), values.alias(name))))
    # The check is part of the expression, else the optimizer drops it.
    return F.when(column.isNotNull() & checked.isNull(), answer)


def _one_for_each(values: Column, shapes: Column) -> Column:
    # Whether it is an array is not known while the expression is built; as JSON it can be either.
    text = F.to_json(F.struct(values.alias("v")))
    several = F.from_json(text, "v array<string>").getField("v")
    one = F.from_json(text, "v string").getField("v")
    missing = F.array_repeat(F.lit(None).cast("string"), F.size(shapes))
    return F.coalesce(several, F.transform(missing, lambda _: one))


def _is_nested(values: Column) -> Column:
    return F.typeof(values).rlike("^array<array<|struct<|map<|variant|binary")


def _tags(values: Mapping[str, Column]) -> Column:
    if not values:
        return F.create_map().cast("map<string,string>")
    pairs = F.create_map(*(part for name, value in values.items() for part in (F.lit(name), value)))
    return F.map_filter(pairs, lambda _, value: value.isNotNull())


def _has_numbers(shape: Column, count: int) -> Column:
    return (F.size(shape) == count) & ~F.exists(shape, lambda number: number.isNull())


def _has_points(shape: Column, least: int) -> Column:
    return (F.size(shape) >= least) & F.forall(shape, lambda p: F.coalesce(_has_numbers(p, 2), F.lit(False)))


def _as_it_is(shape: Column) -> Column:
    return shape


def _column(column: str | Column) -> Column:
    return F.col(column) if isinstance(column, str) else column


def _fails(problem: str, value: Column) -> Column:
    return _error(F.concat(F.lit(problem), F.substring(F.to_json(value), 1, _SHOWN_CHARACTERS)), "string")


def _error(message: Column, data_type: str) -> Column:
    return F.raise_error(message).cast(data_type)
