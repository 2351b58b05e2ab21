"""Columns that users hand to `from_models`: parsed, checked, and their problems as values.

A problem is a text by `marked_values`. It takes the place of a value that could not be made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark import exact
from sama_spark.api.marked_values import BEFORE_VALUE, MARK
from sama_spark.errors import InvalidInput

if TYPE_CHECKING:
    from pyspark.sql import Column

NUMBER = r"(tinyint|smallint|int|bigint|float|double|decimal\(\d+,\d+\)|void)"
TEXT = r"(string( collate \w+)?|(var)?char\(\d+\)|void)"
_SHOWN_CHARACTERS = 200


def column_of(column: str | Column, argument: str) -> Column:
    """Return the column that an argument names or is.

    Raises:
        InvalidInput: it is neither a name nor a column.
    """
    if isinstance(column, str) and column:
        return F.col(column)
    if not hasattr(column, "isNotNull"):
        raise InvalidInput(f"{argument} is a {type(column).__name__}: a column, or the name of one, is due")
    return column  # type: ignore[return-value]


def parsed(column: Column, data_type: str) -> Column:
    """Return the column as `data_type`; null if its type is another.

    It goes through JSON, because the type of a column is not known while an expression is built.
    """
    return F.from_json(exact.wrapped_json(column), f"v {data_type}").getField("v")


def let(value: Column, body: Callable[[Column], Column]) -> Column:
    """Return `body` of a value. Spark computes the value once, however often `body` uses it."""
    return F.get(F.transform(F.array(value), body), F.lit(0))


def wrong_type(argument: str, given: Column, depth: int, inner: str) -> Column:
    """Return the problem of a column whose type is not `depth` arrays around `inner`; null for any other column."""
    pattern = inner
    for _ in range(depth):
        pattern = f"(array<{pattern}>|void)"
    wanted = "array<" * depth + ("string" if inner == TEXT else "double") + ">" * depth
    reason = F.concat(
        F.lit(f"{argument} is a column of type "),
        F.left(F.typeof(given), F.lit(_SHOWN_CHARACTERS)),
        F.lit(
            f", and {wanted} is wanted: from JSON text F.from_json(column, {wanted!r}) gives it, from structs "
            "F.transform(column, lambda s: F.array(s.x, s.y))"
        ),
    )
    return F.when(~F.typeof(given).rlike(f"^{pattern}$"), problem_text(reason, exact.value_json(given)))


def problem_text(reason: str | Column, shown: Column) -> Column:
    """Return the text in place of a value that cannot be made: why, and what the row has."""
    what = F.lit(reason) if isinstance(reason, str) else reason
    return F.concat(F.lit(MARK), what, F.lit(BEFORE_VALUE), F.left(shown, F.lit(_SHOWN_CHARACTERS)))
