"""The contract of a project's tables: the types of `data` and `answers`. It gains fields and never loses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
from pyspark.sql import types as T

from sama_spark.inbound.contract import grown, learnt_type
from sama_spark.inbound.observe import observed_schemas

if TYPE_CHECKING:
    from sama_spark.inbound.sync.changed import Changed

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


def observed(changed: Changed) -> Contract:
    """The types as changed tasks have them, 5,000 at the most; VOID where none tells."""
    texts = changed.parts().select("data_raw", "answers_raw")
    if changed.ids is None:  # few are looked at as they are: a limit costs jobs of its own
        texts = texts.limit(_MOST_LOOKED_AT)
    return Contract(*(learnt_type(texts.sparkSession, schema) for schema in observed_schemas(texts)))
