"""Collects the checks that Spark makes, one expression for all columns of a type, and reports each row's first problem.

A row is invalid, and becomes no task, if it has

    a null in a required column                         `ColumnPlan.required`, which `encode` checks
    a null in the row key of an outbox                  `encode`
    a NaN, an infinity, a year outside 1 to 9999        `render._problems`
    no integer, or no date, where one is due            `render._as_integer`, `render._as_date`
    a text that is none of the project's options        `render.render`
    a path that Sama cannot reach                       `addresses`
    text that is not JSON, or breaks the schema         `cut._json_of` by `output_schemas.check`, on the workers
    a value that is marked: it could not be made        `cut._marked`, on the workers

For the writer of `format("sama")` `encode_values` and `render_values` have what `encode` and `render` have here. What
follows, an error or a rejected row, is in `rejected`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact
from sama_spark.outbound.columns import Computed, array, array_of

if TYPE_CHECKING:
    from pyspark.sql import Column

SHOWN_CHARACTERS = 80
_SEPARATOR = "\x1f"  # between names; neither JSON text nor a sensible column name has it


@dataclass(frozen=True)
class _Check:
    """One kind of problem in some columns.

    Attributes:
        numbers: the places of the checked columns in the DataFrame.
        position_column: name of the computed column with the 1-based position, within `numbers`, of the first bad
            column; 0 if none.
        reason: why such a value is bad.
        data_type: type of the columns; None where nulls are checked, which have no value to show.
    """

    numbers: Sequence[int]
    position_column: str
    reason: str
    data_type: T.DataType | None = None


@dataclass
class Problems:
    """The checks of a DataFrame with the columns `c0`, `c1`, ... Their expressions are added to `computed`."""

    computed: Computed
    checks: list[_Check] = field(default_factory=list)

    def of_nulls(self, numbers: Sequence[int], reason: str) -> None:
        """Make a null in one of these columns a problem."""
        if numbers:
            self._add(F.expr(f"array({', '.join(f'c{i} is null' for i in numbers)})"), numbers, reason)

    def of_values(
        self, numbers: Sequence[int], data_type: T.DataType, reason: str, is_bad: Callable[[Column], Column]
    ) -> None:
        """Make each value for which `is_bad` is true a problem. All these columns have this type."""
        if numbers:
            self._add(array_of(_names(numbers), is_bad), numbers, reason, data_type)

    def _add(self, bad: Column, numbers: Sequence[int], reason: str, data_type: T.DataType | None = None) -> None:
        position_column = self.computed.add(F.array_position(bad, True))
        self.checks.append(_Check(numbers, position_column, reason, data_type))

    def first(self) -> Column:
        """Return the problem of the foremost column, as a struct; null if there is none."""
        found = [_found(i, check) for i, check in enumerate(self.checks)]
        return F.least(*found) if len(found) > 1 else found[0] if found else F.lit(None)

    def described(self, first: Column, names: Sequence[str]) -> Column:
        """Return the problem that `first` gave, as JSON text: column, reason and the start of the value.

        Args:
            first: the column with the struct.
            names: the names of all columns.
        """
        if not self.checks:
            return F.lit(None).cast(exact.TEXT)
        parts = F.struct(
            _one_of(names, first.getField("number")).alias("column"),
            first.getField("reason").alias("reason"),
            first.getField("value").alias("value"),
        )
        return F.when(first.isNotNull(), exact.to_json(parts))


def _found(order: int, check: _Check) -> Column:
    position = F.col(check.position_column)
    index = (position - 1).cast(T.IntegerType())
    value = F.lit(None).cast(exact.TEXT)
    if check.data_type is not None:
        value = _shown(F.get(array(_names(check.numbers)), index), check.data_type)
    parts = F.struct(
        _one_of(list(map(str, check.numbers)), index).cast(T.IntegerType()).alias("number"),
        F.lit(order).alias("order"),
        F.lit(check.reason).alias("reason"),
        value.alias("value"),
    )
    return F.when(position > 0, parts)


def _names(numbers: Sequence[int]) -> list[str]:
    return [f"c{i}" for i in numbers]


def _one_of(texts: Sequence[str], index: Column) -> Column:
    # One literal, because Spark takes seconds to plan thousands of them.
    return F.get(F.split(F.lit(_SEPARATOR.join(texts)), _SEPARATOR), index)


def _shown(value: Column, data_type: T.DataType) -> Column:
    """Return the start of the value's JSON. NaN comes without the quotes that JSON needs."""
    value = exact.changed(value, data_type, exact.ISO)
    text = exact.value_json(value)
    if not exact.is_text(data_type):
        text = F.regexp_replace(text, '"(NaN|-?Infinity)"', "$1")
    return F.when(value.isNotNull(), F.left(text, F.lit(SHOWN_CHARACTERS)))
