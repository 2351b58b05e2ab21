"""Few expressions for many columns.

Spark needs a tenth of a second to plan an expression, whatever the number of rows. So columns of one type go into an
array, and one expression transforms the array. Arrays and structs of columns are written as SQL text. Columns have
names such as `c17` here, so no name of a user's gets into SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Item = TypeVar("Item")
FEW = 8


class Member(NamedTuple):
    """A field of a struct: its name there, its column as SQL text, its type."""

    name: str
    column: str
    data_type: T.DataType


def numbered(df: DataFrame) -> tuple[DataFrame, list[Member]]:
    """Rename the columns to `c0`, `c1`, ... and cast them to plain types.

    Returns:
        The DataFrame, and for each column its name in `df`, its new name and its type.
    """
    # By position: names may hold dots or backticks, or differ only in case.
    rows = df.toDF(*(f"c{i}" for i in range(len(df.schema))))
    members = [Member(f.name, f"c{i}", exact.plain_type(f.dataType)) for i, f in enumerate(df.schema.fields)]
    changed = {
        member.column: F.col(member.column).cast(member.data_type)
        for member, column in zip(members, df.schema.fields, strict=True)
        if member.data_type.simpleString() != column.dataType.simpleString()
    }
    return (rows.withColumns(changed) if changed else rows), members


def grouped(items: Iterable[Item], key: Callable[[Item], str]) -> list[list[Item]]:
    """Return the items of each key, in their order."""
    return [list(group) for _, group in groupby(sorted(items, key=key), key)]


def in_order(items: Mapping[Any, Item]) -> list[Item]:
    """Return the items in the order of their keys."""
    return [items[number] for number in sorted(items)]


def of_columns(function: str, columns: Iterable[str]) -> Column:
    """Return a function of columns, which are SQL texts without a name of a user's."""
    return F.expr(f"{function}({', '.join(columns)})")


def array(columns: Iterable[str]) -> Column:
    """Return an array of columns of one type."""
    return of_columns("array", columns)


def array_of(columns: Sequence[str], function: Callable[[Column], Column]) -> Column:
    """Return an array of what `function` makes of each column. All columns have one type."""
    if len(columns) > FEW:
        return F.transform(array(columns), function)
    return F.array(*(function(F.col(column)) for column in columns))  # Spark compiles this form, so it runs faster


def json_of(members: Sequence[Member]) -> Column:
    """Return a JSON object of the members that are not null."""
    if not members:
        return F.lit("{}")
    struct = T.StructType([T.StructField(member.name, member.data_type) for member in members])
    # The cast gives the names, because an alias for each costs more than all the rest.
    return exact.to_json(F.expr(f"struct({', '.join(member.column for member in members)})").cast(struct))


@dataclass
class Computed:
    """Columns that are computed beside a DataFrame's own, once for each row."""

    columns: list[Column] = field(default_factory=list)

    def add(self, column: Column) -> str:
        """Add a column and return its name."""
        name = f"x{len(self.columns)}"
        self.columns.append(column.alias(name))
        return name

    def each(self, columns: Sequence[str], function: Callable[[Column], Column]) -> list[str]:
        """Add what `function` makes of each column, and return it as SQL text. All columns have one type."""
        name = self.add(array_of(columns, function))
        return [f"{name}[{i}]" for i in range(len(columns))]
