"""The types of `data` and `answers` that a table keeps as its contract. They gain fields and never lose one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import pyarrow as pa
from pyspark.sql import types as T

from sama_spark.inbound.delivery_types import grown, learnt_type
from sama_spark.inbound.observe import observed_schemas, schemas_of_texts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SchemaMode = Literal["evolve", "freeze", "discard"]

_MOST_LOOKED_AT = 5_000
_MOST_IN_PYTHON = 8 << 20  # bytes; Spark is quicker with more, once it is warm


@dataclass(frozen=True)
class TableTypes:
    """The types of `data` and `answers`, with the vendor's own names for the fields."""

    data: T.DataType
    answers: T.DataType

    def to_json(self) -> str:
        """Return both types as JSON text, as the table keeps them in a property."""
        return msgspec.json.encode({"data": self.data.jsonValue(), "answers": self.answers.jsonValue()}).decode()

    @classmethod
    def from_json(cls, text: str) -> TableTypes:
        """Return the types that `to_json` wrote."""
        holder = T.StructType.fromJson(
            {
                "type": "struct",
                "fields": [
                    {"name": name, "type": value, "nullable": True, "metadata": {}}
                    for name, value in msgspec.json.decode(text).items()
                ],
            }
        )
        return cls(holder["data"].dataType, holder["answers"].dataType)

    def grown(self, seen: TableTypes) -> tuple[TableTypes, list[str]]:
        """Return these types with the fields that only `seen` has, and the names of those fields."""
        gained: list[str] = []
        data = grown(self.data, seen.data, "data", gained)
        return TableTypes(data, grown(self.answers, seen.answers, "answers", gained)), gained


def observed(tasks: DataFrame, on_driver: pa.RecordBatch | None = None, *, are_few: bool = False) -> TableTypes:
    """Return the types that `data` and `answers` have in up to 5,000 tasks; VOID where all values are null or empty.

    Args:
        tasks: has `data_raw` and `answers_raw`, JSON text.
        on_driver: the same tasks, if the driver has them.
        are_few: Spark reads all of them, without the extra jobs that a limit costs.
    """
    names = ("data_raw", "answers_raw")
    if on_driver is not None and on_driver.nbytes <= _MOST_IN_PYTHON:
        texts = (on_driver.column(name).cast(pa.binary()).to_pylist() for name in names)
        found = schemas_of_texts(zip(*texts, strict=True), len(names))
    else:
        texts_of_all = tasks.select(*names)
        found = observed_schemas(texts_of_all if are_few else texts_of_all.limit(_MOST_LOOKED_AT))
    return TableTypes(*(learnt_type(schema) for schema in found))
