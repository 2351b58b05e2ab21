"""The value of an image output with shapes, as one Column expression: points, tags and problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark import exact
from sama_spark.api.marked_values import PROBLEM
from sama_spark.errors import InvalidInput
from sama_spark.pre_annotations.given_columns import (
    NUMBER,
    column_of,
    let,
    parsed,
    problem_text,
    wrong_type,
)

if TYPE_CHECKING:
    from pyspark.sql import Column

Scale = tuple["str | float | Column", "str | float | Column"]


def shapes_column(
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
    """Return the output's value: a group of one shape for each of the given ones, or the row's first problem.

    Args:
        kind: Sama's word for the shapes.
        argument: name of the user's argument with the shapes, for errors.
        shapes: the user's column.
        depth: how many arrays are around a number in `shapes`.
        points: makes the points of a shape.
        fits: whether a shape is as it should be.
        wanted: what a shape needs, for errors.
        label: as for `boxes_to_output`, like the following.
        tags: more tags.
        label_tag: the tag that `label` becomes.
        scale: width and height.
    """
    given, named = column_of(shapes, argument), _named_tags(label, tags, label_tag)
    scaled = _scaled(scale, depth)

    def made(shapes: Column) -> Column:
        values = {name: _one_for_each(value, shapes) for name, value in named.items()}
        parts = [shapes.alias("shapes"), *(value.alias(f"tag{i}") for i, value in enumerate(values.values()))]
        return let(F.struct(*parts), finished)

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
            wrong_type(argument, given, depth, NUMBER),
            *(_nested_tag(name, value) for name, value in named.items()),
            F.when(
                F.exists(shapes, lambda shape: shape.isNull() | ~fits(shape)),
                problem_text(f"each {wanted}", exact.value_json(given)),
            ),
            *(_wrong_length(name, value, given, shapes) for name, value in values.items()),
        ]
        return let(
            F.coalesce(*problems),
            lambda p: F.struct(F.when(p.isNull(), layers).alias("layers"), p.alias(PROBLEM)),
        )

    numbers = parsed(given, "array<" * depth + "double" + ">" * depth)
    return F.when(given.isNotNull(), let(scaled(numbers), made))


def _named_tags(
    label: str | Column | None, tags: Mapping[str, str | Column] | None, label_tag: str
) -> dict[str, Column]:
    if not isinstance(label_tag, str) or not label_tag:
        raise InvalidInput(f"label_tag is {label_tag!r}: the name of a tag is due")
    if not isinstance(tags or {}, Mapping) or not all(isinstance(name, str) for name in tags or {}):
        raise InvalidInput("tags is no mapping of names to columns", remedy='give {"camera": F.col("camera")}')
    if label is not None and label_tag in (tags or {}):
        raise InvalidInput(f"tag {label_tag!r} is given by label and by tags: name another label_tag")
    named = {name: column_of(value, f"tags[{name!r}]") for name, value in (tags or {}).items()}
    return named if label is None else {label_tag: column_of(label, "label"), **named}


def _scaled(scale: Scale | None, depth: int) -> Callable[[Column], Column]:
    if scale is None:
        return as_it_is
    if not isinstance(scale, (tuple, list)) or len(scale) != 2:
        raise InvalidInput("scale is no pair of width and height", remedy='give scale=("width", "height")')
    width, height = (parsed(_number(side), "double") for side in scale)

    def pair(numbers: Column) -> Column:  # x and y alternate in points and in boxes of all formats
        return F.transform(numbers, lambda n, i: n * F.when(i % F.lit(2) == 0, width).otherwise(height))

    if depth == 2:
        return lambda shapes: F.transform(shapes, pair)
    return lambda shapes: F.transform(shapes, lambda shape: F.transform(shape, pair))


def _number(side: str | float | Column) -> Column:
    if isinstance(side, (int, float)) and not isinstance(side, bool):
        return F.lit(side)
    return column_of(side, "scale")  # type: ignore[arg-type]


def _one_for_each(values: Column, shapes: Column) -> Column:
    several, one = parsed(values, "array<string>"), parsed(values, "string")
    missing = F.array_repeat(F.lit(None).cast("string"), F.size(shapes))
    return F.coalesce(several, F.transform(missing, lambda _: one))


def _nested_tag(name: str, value: Column) -> Column:
    nested = F.typeof(value).rlike("^(array<)?(struct<|map<|variant|binary)|^array<array<")
    return F.when(nested, problem_text(f"tag {name!r} takes text, not objects or arrays", exact.value_json(value)))


def _wrong_length(name: str, values: Column, given: Column, shapes: Column) -> Column:
    both = exact.to_json(F.struct(given.alias("shapes"), values.alias(name)))
    problem = problem_text(f"tag {name!r} needs one value for all shapes or one for each", both)
    return F.when(F.size(values) != F.size(shapes), problem)


def _tags(values: Mapping[str, Column]) -> Column:
    if not values:
        return F.create_map().cast("map<string,string>")
    pairs = F.create_map(*(part for name, value in values.items() for part in (F.lit(name), value)))
    return F.map_filter(pairs, lambda _, value: value.isNotNull())


def has_numbers(shape: Column, count: int) -> Column:
    """Return whether an array has so many numbers, none of them null or NaN."""
    return (F.size(shape) == count) & ~F.exists(shape, lambda number: number.isNull() | F.isnan(number))


def has_points(shape: Column, least: int) -> Column:
    """Return whether an array has at least so many `[x, y]`."""
    return (F.size(shape) >= least) & F.forall(shape, lambda p: F.coalesce(has_numbers(p, 2), F.lit(False)))


def as_it_is(shape: Column) -> Column:
    """Return a shape whose points need no change."""
    return shape
