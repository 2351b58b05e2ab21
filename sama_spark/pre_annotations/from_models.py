"""What models give becomes the value of an `output_<name>` column, in the JVM.

A column that is given as text is a column's name, as everywhere in Spark; `F.lit("car")` is a constant. Labels and
tags are text: either one for all shapes of the row, or an array with one for each. Text, date, dropdown and
radio outputs need no help: their value is plain text.

A null in place of the shapes gives a null: no pre-annotation. A row that cannot be a pre-annotation says so in its
value: in the field `problem` of shapes, which is null for all others, as the only key of a checkbox, as the text of a
menu. `create_task_batch_from_table` and `format("sama")` take it for a row that cannot become a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pyspark.sql import functions as F

from sama_spark import exact
from sama_spark.api.marked_values import BEFORE_VALUE, MARK, PROBLEM
from sama_spark.arguments import shown
from sama_spark.errors import InvalidInput

if TYPE_CHECKING:
    from pyspark.sql import Column

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
Scale = tuple["str | float | Column", "str | float | Column"]
_SHOWN_CHARACTERS = 200
_NUMBER = r"(tinyint|smallint|int|bigint|float|double|decimal\(\d+,\d+\)|void)"
_TEXT = r"(string( collate \w+)?|(var)?char\(\d+\)|void)"


def boxes_to_output(
    boxes: str | Column,
    label: str | Column | None = None,
    box_format: BoxFormat = "xyxy",
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
    scale: Scale | None = None,
) -> Column:
    """Boxes as rectangles of an image output.

    Args:
        boxes: array of arrays of four numbers, in pixels. From structs:
            `F.transform("boxes", lambda b: F.array(b.x1, b.y1, b.x2, b.y2))`.
        label: the class of each box, or of all; becomes the tag `label_tag`.
        box_format: what the four numbers are: two corners, a corner with width and height, or a centre with them.
        tags: more tags by name.
        label_tag: the name of the tag that `label` becomes.
        scale: width and height by which coordinates are multiplied, numbers or columns: the image's size, where
            coordinates are fractions of it.

    Returns:
        A column `{"layers": {"vector_tagging": [...]}, "problem": null}` with one group of one rectangle for each box,
        its corners top-left, top-right, bottom-left, bottom-right, `index` from 1. `problem` says why a row cannot be
        a pre-annotation: then `layers` is null, and the row cannot become a task. Coordinates are doubles.

    Raises:
        InvalidInput: an argument is not understood, or `tags` has `label_tag` too.

    Such a row is one in which a box has not four numbers, or its right is left of its left or its bottom above its top
    (its format is another), or whose column is of another type than is wanted.
    """
    if not isinstance(box_format, str) or box_format not in _CORNERS:
        raise InvalidInput(f"box_format {shown(box_format)} is none of {', '.join(_CORNERS)}")

    def corners(box: Column) -> tuple[Column, Column, Column, Column]:
        return _CORNERS[box_format](*(F.get(box, F.lit(i)) for i in range(4)))

    def fits(box: Column) -> Column:
        left, top, right, bottom = corners(box)
        return _has_numbers(box, 4) & (left <= right) & (top <= bottom)

    def points(box: Column) -> Column:
        left, top, right, bottom = corners(box)
        return F.array(F.array(left, top), F.array(right, top), F.array(left, bottom), F.array(right, bottom))

    wanted = f"box needs four numbers as {box_format}, top-left first"
    return _vector("rectangle", "boxes", boxes, 2, points, fits, wanted, label, tags, label_tag, scale)


def polygons_to_output(
    polygons: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
    scale: Scale | None = None,
) -> Column:
    """Polygons of an image output; `polygons`: array of arrays of three or more `[x, y]`. See `boxes_to_output`."""

    def fits(polygon: Column) -> Column:
        return _has_points(polygon, 3)

    wanted = "polygon needs three or more [x, y]"
    return _vector("polygon", "polygons", polygons, 3, _as_it_is, fits, wanted, label, tags, label_tag, scale)


def polylines_to_output(
    polylines: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
    scale: Scale | None = None,
) -> Column:
    """Lines of an image output; `polylines`: array of arrays of two or more `[x, y]`. See `boxes_to_output`."""

    def fits(line: Column) -> Column:
        return _has_points(line, 2)

    wanted = "line needs two or more [x, y]"
    return _vector("line", "polylines", polylines, 3, _as_it_is, fits, wanted, label, tags, label_tag, scale)


def points_to_output(
    points: str | Column,
    label: str | Column | None = None,
    tags: Mapping[str, str | Column] | None = None,
    *,
    label_tag: str = "label",
    scale: Scale | None = None,
) -> Column:
    """Points of an image output; `points`: array of `[x, y]`. See `boxes_to_output`."""

    def fits(point: Column) -> Column:
        return _has_numbers(point, 2)

    return _vector(
        "point", "points", points, 2, F.array, fits, "point needs two numbers", label, tags, label_tag, scale
    )


def checkbox_to_output(chosen: str | Column, options: Sequence[str]) -> Column:
    """A checkbox output from the array of the chosen options: every option of `options` with "1" or "0".

    A row with another option cannot become a task: its only key says why.

    Raises:
        InvalidInput: an option stands twice, or `options` is no list of texts.
    """
    if isinstance(options, str) or not isinstance(options, Sequence) or not options:
        raise InvalidInput("options is no list of texts", remedy='give the names of all options: ["rain", "sun"]')
    if not all(isinstance(option, str) for option in options):
        raise InvalidInput(f"options has something that is no text: {list(options)}")
    if len(set(options)) < len(options):
        raise InvalidInput(f"an option stands twice in {list(options)}")
    given, all_options = _column(chosen, "chosen"), F.array(*map(F.lit, options))

    def made(names: Column) -> Column:
        unknown = F.array_except(names, all_options)
        problem = F.when(
            F.size(unknown) > 0,
            _problem("these are not among the options", exact.to_json(unknown)),
        )
        answer = F.map_from_arrays(
            all_options, F.transform(all_options, lambda o: F.when(F.array_contains(names, o), "1").otherwise("0"))
        )
        return _let(
            F.coalesce(_wrong_type("chosen", given, 1, _TEXT), problem),
            lambda p: F.when(p.isNull(), answer).otherwise(F.create_map(p, F.lit(""))),
        )

    return F.when(given.isNotNull(), _let(_parsed(given, "array<string>"), made))


def menu_to_output(levels: str | Column) -> Column:
    """A multi-level menu output from the array of its levels, outermost first: `a|b`.

    A row with no level, a null, or a | in a level cannot become a task: its text says why.
    """
    given = _column(levels, "levels")

    def made(texts: Column) -> Column:
        broken = (F.size(texts) == 0) | F.exists(texts, lambda level: level.isNull() | level.contains("|"))
        problem = F.when(broken, _problem("no levels, a null, or the separator | in one", exact.to_json(texts)))
        return F.coalesce(_wrong_type("levels", given, 1, _TEXT), problem, F.array_join(texts, "|"))

    return F.when(given.isNotNull(), _let(_parsed(given, "array<string>"), made))


_CORNERS: dict[str, Callable[[Column, Column, Column, Column], tuple[Column, Column, Column, Column]]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "cxcywh": lambda x, y, w, h: (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
}


def _vector(
    kind: str,
    argument: str,
    shapes: str | Column,
    depth: int,
    points: Callable[[Column], Column],
    fits: Callable[[Column], Column],
    wanted: str,
    label: str | Column | None,
    tags: Mapping[str, str | Column] | None,
    label_tag: str,
    scale: Scale | None,
) -> Column:
    """`depth`: how many arrays are around a number in `shapes`."""
    given, named = _column(shapes, argument), _named_tags(label, tags, label_tag)
    scaled = _scaled(scale, depth)

    def made(shapes: Column) -> Column:
        values = {name: _one_for_each(value, shapes) for name, value in named.items()}
        parts = [shapes.alias("shapes"), *(value.alias(f"tag{i}") for i, value in enumerate(values.values()))]
        return _let(F.struct(*parts), finished)

    def finished(parts: Column) -> Column:
        shapes = parts.getField("shapes")
        values = {name: parts.getField(f"tag{i}") for i, name in enumerate(named)}

        def group(shape: Column, position: Column) -> Column:
            drawn = F.struct(
                F.lit(kind).alias("type"),
                (position + 1).alias("index"),
                points(shape).alias("points"),
                _tags({name: F.get(value, position) for name, value in values.items()}).alias("tags"),
            )
            return F.struct(F.array(drawn).alias("shapes"))

        layers = F.struct(F.transform(shapes, group).alias("vector_tagging"))
        problems = [
            _wrong_type(argument, given, depth, _NUMBER),
            *(_nested_tag(name, value) for name, value in named.items()),
            F.when(
                F.exists(shapes, lambda shape: shape.isNull() | ~fits(shape)), _problem(f"each {wanted}", _shown(given))
            ),
            *(_wrong_length(name, value, given, shapes) for name, value in values.items()),
        ]
        return _let(
            F.coalesce(*problems),
            lambda p: F.struct(F.when(p.isNull(), layers).alias("layers"), p.alias(PROBLEM)),
        )

    numbers = _parsed(given, "array<" * depth + "double" + ">" * depth)
    return F.when(given.isNotNull(), _let(scaled(numbers), made))


def _parsed(column: Column, data_type: str) -> Column:
    """The column as `data_type`, null where it is of another.

    Through JSON: what a column's type is is not known while an expression is built, and this one suits all.
    """
    return F.from_json(exact.to_json(F.struct(column.alias("v"))), f"v {data_type}").getField("v")


def _let(value: Column, body: Callable[[Column], Column]) -> Column:
    """`body` of a value that is computed once, however often `body` names it."""
    return F.get(F.transform(F.array(value), body), F.lit(0))


def _named_tags(
    label: str | Column | None, tags: Mapping[str, str | Column] | None, label_tag: str
) -> dict[str, Column]:
    if not isinstance(label_tag, str) or not label_tag:
        raise InvalidInput(f"label_tag is {label_tag!r}: the name of a tag is due")
    if not isinstance(tags or {}, Mapping) or not all(isinstance(name, str) for name in tags or {}):
        raise InvalidInput("tags is no mapping of names to columns", remedy='give {"camera": F.col("camera")}')
    if label is not None and label_tag in (tags or {}):
        raise InvalidInput(f"tag {label_tag!r} is given by label and by tags: name another label_tag")
    named = {name: _column(value, f"tags[{name!r}]") for name, value in (tags or {}).items()}
    return named if label is None else {label_tag: _column(label, "label"), **named}


def _scaled(scale: Scale | None, depth: int) -> Callable[[Column], Column]:
    if scale is None:
        return _as_it_is
    if not isinstance(scale, (tuple, list)) or len(scale) != 2:
        raise InvalidInput("scale is no pair of width and height", remedy='give scale=("width", "height")')
    width, height = (_parsed(_number(side), "double") for side in scale)

    def pair(numbers: Column) -> Column:  # x and y take turns, in points and in boxes of all formats
        return F.transform(numbers, lambda n, i: n * F.when(i % F.lit(2) == 0, width).otherwise(height))

    if depth == 2:
        return lambda shapes: F.transform(shapes, pair)
    return lambda shapes: F.transform(shapes, lambda shape: F.transform(shape, pair))


def _number(side: str | float | Column) -> Column:
    if isinstance(side, (int, float)) and not isinstance(side, bool):
        return F.lit(side)
    return _column(side, "scale")  # type: ignore[arg-type]


def _one_for_each(values: Column, shapes: Column) -> Column:
    several, one = _parsed(values, "array<string>"), _parsed(values, "string")
    missing = F.array_repeat(F.lit(None).cast("string"), F.size(shapes))
    return F.coalesce(several, F.transform(missing, lambda _: one))


def _wrong_type(argument: str, given: Column, depth: int, inner: str) -> Column:
    """The problem of a column that is not `depth` arrays around `inner`; null for one that is."""
    pattern = inner
    for _ in range(depth):
        pattern = f"(array<{pattern}>|void)"
    wanted = "array<" * depth + ("string" if inner == _TEXT else "double") + ">" * depth
    reason = F.concat(
        F.lit(f"{argument} is a column of type "),
        F.left(F.typeof(given), F.lit(_SHOWN_CHARACTERS)),
        F.lit(
            f", and {wanted} is wanted: from JSON text F.from_json(column, {wanted!r}) gives it, from structs "
            "F.transform(column, lambda s: F.array(s.x, s.y))"
        ),
    )
    return F.when(~F.typeof(given).rlike(f"^{pattern}$"), _problem(reason, _shown(given)))


def _nested_tag(name: str, value: Column) -> Column:
    nested = F.typeof(value).rlike("^(array<)?(struct<|map<|variant|binary)|^array<array<")
    return F.when(nested, _problem(f"tag {name!r} takes text, not objects or arrays", _shown(value)))


def _wrong_length(name: str, values: Column, given: Column, shapes: Column) -> Column:
    both = exact.to_json(F.struct(given.alias("shapes"), values.alias(name)))
    problem = _problem(f"tag {name!r} needs one value for all shapes or one for each", both)
    return F.when(F.size(values) != F.size(shapes), problem)


def _tags(values: Mapping[str, Column]) -> Column:
    if not values:
        return F.create_map().cast("map<string,string>")
    pairs = F.create_map(*(part for name, value in values.items() for part in (F.lit(name), value)))
    return F.map_filter(pairs, lambda _, value: value.isNotNull())


def _has_numbers(shape: Column, count: int) -> Column:
    return (F.size(shape) == count) & ~F.exists(shape, lambda number: number.isNull() | F.isnan(number))


def _has_points(shape: Column, least: int) -> Column:
    return (F.size(shape) >= least) & F.forall(shape, lambda p: F.coalesce(_has_numbers(p, 2), F.lit(False)))


def _as_it_is(shape: Column) -> Column:
    return shape


def _column(column: str | Column, argument: str) -> Column:
    if isinstance(column, str) and column:
        return F.col(column)
    if not hasattr(column, "isNotNull"):
        raise InvalidInput(f"{argument} is a {type(column).__name__}: a column, or the name of one, is due")
    return column  # type: ignore[return-value]


def _problem(reason: str | Column, shown: Column) -> Column:
    what = F.lit(reason) if isinstance(reason, str) else reason
    return F.concat(F.lit(MARK), what, F.lit(BEFORE_VALUE), F.left(shown, F.lit(_SHOWN_CHARACTERS)))


def _shown(value: Column) -> Column:
    text = exact.to_json(F.struct(value.alias("v")))  # {"v":...}
    return F.substr(text, F.lit(6), F.length(text) - 6)
