"""A row's key and the hash of its content, as Column expressions in the JVM. An outbox knows rows again by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact
from sama_spark.arguments import do_you_mean
from sama_spark.errors import ContractError
from sama_spark.outbound.columns import Computed, Member, grouped, json_of

if TYPE_CHECKING:
    from pyspark.sql import Column

# A string within JSON text that begins like a URL, with its query: in signed URLs the query differs from run to run.
_URL_QUERY = r'("[A-Za-z][A-Za-z0-9+.\-]*://[^"?\s\\]*)\?[^"\s\\]*'
_LONGEST_SCHEME = 12
_KEY_TYPES = (T.StringType, *exact.INTEGERS, T.DecimalType, T.DateType, T.BooleanType)
NULL_KEY = "is null, and a row key of an outbox must not be null"


def key_text(values: Mapping[str, tuple[Column, T.DataType]], names: Sequence[str]) -> Column:
    """Return JSON of the key columns, in the order of their names. Values are text, so 1 and "1" are the same key.

    Args:
        values: column and type by name.
        names: the key columns; none gives null.
    """
    if not names:
        return F.lit(None).cast(exact.TEXT)
    texts = []
    for name in sorted(names):
        column, found = values[name]
        data_type = exact.plain_type(found)
        column = column if found == data_type else column.cast(data_type)
        is_flat = exact.is_flat(data_type)
        text = exact.text(column, data_type) if is_flat else exact.changed(column, data_type, exact.AS_JSON)
        texts.append(text.alias(name))
    return exact.to_json(F.struct(*texts))


def key_of(columns: Sequence[Member], names: Sequence[str]) -> Column:
    """Return `key_text` of those columns that have these names."""
    return key_text({c.name: (F.col(c.column), c.data_type) for c in columns if c.name in names}, names)


def key_in(data: Mapping[str, Any] | None, names: Sequence[str]) -> str | None:
    """Return the text that `key_text` gives, from a task's inputs. None if an input of the key is missing."""
    values = {name: (data or {}).get(name) for name in sorted(names)}
    if not values or None in values.values():
        return None
    texts = {n: v if isinstance(v, str) else msgspec.json.encode(v).decode() for n, v in values.items()}
    return msgspec.json.encode(texts).decode()


@dataclass(frozen=True)
class OutboxKeys:
    """How an outbox knows rows again.

    Attributes:
        names: the key columns. Without any, a hash of the whole row is its key.
        ignored: columns whose changes do not make a row count as changed.
        prefix: text before the hash that is a row's key.
    """

    names: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    prefix: str = ""

    def check(self, schema: T.StructType) -> None:
        """Refuse key columns whose text could differ between sessions, and `ignored` columns that do not exist.

        Raises:
            ContractError: it names the column.
        """
        types = {column.name: column.dataType for column in schema.fields}
        for name in self.ignored:
            if name not in types:
                raise ContractError(
                    f"`ignore_changes` names {name!r}, and the DataFrame has no such column{do_you_mean(name, types)}",
                    column=name,
                    remedy=f"its columns are {sorted(types)}",
                )
        for name in self.names:
            if not isinstance(exact.plain_type(types[name]), _KEY_TYPES):
                raise ContractError(
                    f"column {name!r} is {types[name].simpleString()[:100]}, which cannot be a row key in an outbox",
                    column=name,
                    remedy="take a text, integer, decimal, date or boolean column, or cast it to text yourself",
                )

    def key(self, columns: Sequence[Member], computed: Computed) -> Column:
        """Return the key of each row, as text."""
        if self.names:
            return key_of(columns, self.names)
        whole = _hashable_json(_of_each_type(columns, computed, _written))
        return F.concat(F.lit(self.prefix), F.left(F.sha2(whole, 256), F.lit(32)))

    def content(self, columns: Sequence[Member], computed: Computed) -> Column:
        """Return a hash of each row's values, as text. It leaves out `ignored` columns, nulls and queries of URLs."""
        compared = [column for column in columns if column.name not in self.ignored]
        return F.xxhash64(_hashable_json(_of_each_type(compared, computed, _without_queries))).cast(exact.TEXT)


def _hashable_json(members: Sequence[Member]) -> Column:
    """Return JSON of the members, as bytes to hash. Sorted by name: the order of columns does not matter."""
    text = json_of(sorted(members, key=lambda member: member.name)) if members else F.lit("")
    return text.cast(T.BinaryType())


def _of_each_type(
    columns: Sequence[Member], computed: Computed, write: Callable[[Sequence[Member], Computed], list[Member]]
) -> list[Member]:
    """Return what `write` makes of the columns of each type."""
    return [m for alike in grouped(columns, lambda column: column.data_type.json()) for m in write(alike, computed)]


def _written(columns: Sequence[Member], computed: Computed) -> list[Member]:
    """Write dates and moments as text, and sort maps by their keys."""
    data_type = columns[0].data_type
    written_type = exact.type_with_texts(data_type, exact.AS_JSON)
    if written_type == data_type and not exact.has_map(data_type):
        return list(columns)
    texts = computed.each([c.column for c in columns], lambda c: _written_one(c, data_type))
    return [Member(c.name, text, written_type) for c, text in zip(columns, texts, strict=True)]


def _without_queries(columns: Sequence[Member], computed: Computed) -> list[Member]:
    """Write the columns, and take the queries of URLs out of texts and of the JSON of nested values."""
    data_type = columns[0].data_type
    if isinstance(data_type, T.StringType):
        texts = computed.each([column.column for column in columns], _without_query)
    elif exact.is_flat(data_type):
        return _written(columns, computed)
    else:
        texts = computed.each(
            [c.column for c in columns], lambda c: _without_query(exact.wrapped_json(_written_one(c, data_type)))
        )
    return [Member(column.name, text, exact.TEXT) for column, text in zip(columns, texts, strict=True)]


def _written_one(value: Column, data_type: T.DataType) -> Column:
    # The order of a map's entries differs from run to run.
    return exact.changed(exact.with_sorted_maps(value, data_type), data_type, exact.AS_JSON)


def _without_query(text: Column) -> Column:
    # The regular expression costs more than all the rest, so only texts with a URL reach it.
    without = F.when(F.contains(text, F.lit("://")), F.regexp_replace(text, _URL_QUERY, "$1")).otherwise(text)
    is_url = (F.instr(F.left(text, F.lit(_LONGEST_SCHEME)), "://") > 1) & ~F.contains(text, F.lit(" "))
    return F.when(is_url, F.substring_index(text, "?", 1)).otherwise(without)
