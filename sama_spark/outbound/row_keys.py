"""What tells one row from another: its key, and a hash of what it sends, as Column expressions in the JVM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.api.errors import ContractError

if TYPE_CHECKING:
    from pyspark.sql import Column

# Timestamps as text must not follow the session's zone.
_EXACT = {"timeZone": "UTC", "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"}
# A string of a JSON text that begins as a URL does, up to its query: signed URLs differ there from run to run.
_URL_QUERY = r'("[A-Za-z][A-Za-z0-9+.\-]*://[^"?\s\\]*)\?[^"\s\\]*'
_LONGEST_SCHEME = 12
_KEY_TYPES = (
    T.StringType,
    T.ByteType,
    T.ShortType,
    T.IntegerType,
    T.LongType,
    T.DecimalType,
    T.DateType,
    T.BooleanType,
)
_ATOMIC = (*_KEY_TYPES, T.FloatType, T.DoubleType, T.TimestampType, T.TimestampNTZType)
NULL_KEY = "is null, and tells the row from others in the outbox"


def key_text(columns: Mapping[str, Column], types: Mapping[str, T.DataType], names: Sequence[str]) -> Column:
    """JSON of the key columns in the order of their names, values as text: 1 and "1" are one key."""
    if not names:
        return F.lit(None).cast("string")
    values = [
        columns[name].cast("string") if isinstance(types[name], _ATOMIC) else columns[name] for name in sorted(names)
    ]
    return F.to_json(F.struct(*(value.alias(name) for value, name in zip(values, sorted(names), strict=True))))


def key_in(data: Mapping[str, Any] | None, names: Sequence[str]) -> str | None:
    """The text that `key_text` gives, from a task's inputs; None where they do not have all of the key."""
    values = {name: (data or {}).get(name) for name in sorted(names)}
    if not values or None in values.values():
        return None
    texts = {n: v if isinstance(v, str) else msgspec.json.encode(v).decode() for n, v in values.items()}
    return msgspec.json.encode(texts).decode()


@dataclass(frozen=True)
class OutboxKeys:
    """How an outbox knows rows again.

    `names`: the key columns, or none where a row's whole content is its key, behind `prefix`. `ignored`: columns
    that may change without the row counting as changed.
    """

    names: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    prefix: str = ""

    def check(self, schema: T.StructType) -> None:
        """Refuse key columns whose text could differ from session to session, and `ignored` ones that are not there.

        Raises:
            ContractError: it names the column.
        """
        types = {column.name: column.dataType for column in schema.fields}
        for name in self.ignored:
            if name not in types:
                raise ContractError(
                    f"`ignore_changes` names {name!r}, and the DataFrame has no such column",
                    column=name,
                    remedy=f"its columns are {sorted(types)}",
                )
        for name in self.names:
            if not isinstance(types[name], _KEY_TYPES):
                raise ContractError(
                    f"column {name!r} is {types[name].simpleString()[:100]}, which cannot be a row key in an outbox",
                    column=name,
                    remedy="take a text, integer, decimal, date or boolean column, or cast it to text yourself",
                )

    def key(self, columns: Mapping[str, Column], types: Mapping[str, T.DataType]) -> Column:
        """The key of each row, as text."""
        if self.names:
            return key_text(columns, types, self.names)
        return F.concat(F.lit(self.prefix), F.left(F.sha2(_as_json(columns), 256), F.lit(32)))

    def content(self, columns: Mapping[str, Column], types: Mapping[str, T.DataType]) -> Column:
        """A hash of each row's values: neither columns in `ignored` nor queries of URLs count, nor nulls."""
        compared = {
            name: _without_queries(column, types[name]) for name, column in columns.items() if name not in self.ignored
        }
        return F.xxhash64(_as_json(compared))


def _without_queries(column: Column, data_type: T.DataType) -> Column:
    if not isinstance(data_type, T.StringType) and isinstance(data_type, _ATOMIC):
        return column
    # The regular expression costs more than all the rest, so that only texts with a URL in them meet it.
    text = column if isinstance(data_type, T.StringType) else F.to_json(F.struct(column), _EXACT)
    without = F.when(F.contains(text, F.lit("://")), F.regexp_replace(text, _URL_QUERY, "$1")).otherwise(text)
    is_url = (F.instr(F.left(text, F.lit(_LONGEST_SCHEME)), "://") > 1) & ~F.contains(text, F.lit(" "))
    return F.when(is_url, F.substring_index(text, "?", 1)).otherwise(without)


def _as_json(columns: Mapping[str, Column]) -> Column:
    # By name, so that the order of columns says nothing.
    named = [columns[name].alias(name) for name in sorted(columns)]
    return F.to_json(F.struct(*named), _EXACT) if named else F.lit("")
