"""The contract of a project's tables: the types of `data` and `answers`. It gains fields and never loses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
from pyspark.sql import types as T

from sama_spark.inbound.delivery_types import grown, learnt_type
from sama_spark.inbound.observe import observed_schemas

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SchemaMode = Literal["evolve", "freeze", "discard"]

_MOST_LOOKED_AT = 5_000


@dataclass(frozen=True)
class Contract:
    """The two types, under Sama's own names."""

    data: T.DataType
    answers: T.DataType

    def to_json(self) -> str:
        return msgspec.json.encode({"data": self.data.jsonValue(), "answers": self.answers.jsonValue()}).decode()

    @classmethod
    def from_json(cls, text: str) -> Contract:
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

    def grown(self, seen: Contract) -> tuple[Contract, list[str]]:
        """This one with what only `seen` has, and the names of that."""
        gained: list[str] = []
        data = grown(self.data, seen.data, "data", gained)
        return Contract(data, grown(self.answers, seen.answers, "answers", gained)), gained


def observed(tasks: DataFrame, *, are_few: bool = False) -> Contract:
    """The types as tasks have them, 5,000 at the most; VOID where none tells.

    `tasks` has `data_raw` and `answers_raw`, JSON text. `are_few`: all are looked at, since a limit costs jobs.
    """
    texts = tasks.select("data_raw", "answers_raw")
    found = observed_schemas(texts if are_few else texts.limit(_MOST_LOOKED_AT))
    return Contract(*(learnt_type(schema) for schema in found))
