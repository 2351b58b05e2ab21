"""Fields of a task beside its inputs, and the columns that are no inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from sama_spark.arguments import do_you_mean
from sama_spark.errors import ContractError, InvalidInput
from sama_spark.outbound.creation_schema import INT32, Rule

_PRIORITY = Rule(kind="integer")
_AGENT = Rule(kind="integer", minimum=0, maximum=2**63 - 1)


class OwnMember(NamedTuple):
    """A member beside `data` that differs from row to row: its name, the rule for its value, the JSON for a null."""

    name: str
    rule: Rule
    otherwise: str


@dataclass(frozen=True)
class TaskFields:
    """What a task has beside its `data`, and which columns are no inputs.

    Attributes:
        priority, submit: hold for all tasks.
        priority_column, reserve_for_column: integer columns with a row's own values; a null there takes `priority`, or
            reserves for nobody.
        not_sent: columns that are left out of the tasks.
        row_key: columns that name a row in errors and tables. They are inputs too, unless `not_sent` has them.
    """

    priority: int = 0
    submit: bool = False
    priority_column: str | None = None
    reserve_for_column: str | None = None
    not_sent: tuple[str, ...] = ()
    row_key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not INT32[0] <= self.priority <= INT32[1]:
            raise InvalidInput(
                f"batch_priority {self.priority} is beyond 32 bits",
                remedy=f"give a number from {INT32[0]} to {INT32[1]}; lower is served first",
            )

    def task_start(self) -> bytes:
        """Return the JSON that every task begins with, up to the first part that differs from row to row."""
        same = ({} if self.priority_column else {"priority": self.priority}) | {"submit": self.submit}
        return msgspec.json.encode(same)[:-1] + b","

    def members_from(self, column: str) -> list[OwnMember]:
        """Return the members of a task that get their values from `column`."""
        found = []
        if column == self.priority_column:
            found.append(OwnMember("priority", _PRIORITY, f'"priority":{self.priority},'))
        if column == self.reserve_for_column:
            found.append(OwnMember("reserve_for", _AGENT, ""))
        return found

    def inputs(self, columns: Sequence[str]) -> list[str]:
        """Return the columns that go into `data`.

        Raises:
            ContractError: a column that is named here does not exist, or no input is left.
        """
        own = {"priority_column": self.priority_column, "reserve_for_column": self.reserve_for_column}
        named = {name: option for option, name in own.items() if name is not None}
        named |= dict.fromkeys(self.not_sent, "not_sent")
        for name, option in (dict.fromkeys(self.row_key, "row_key") | named).items():
            if (found := columns.count(name)) != 1:
                question = "" if found else do_you_mean(name, columns)
                raise ContractError(
                    f"`{option}` names {name!r}, and the DataFrame has {found or 'no'} such columns{question}",
                    column=name,
                    remedy=f"its columns are {sorted(columns)}",
                )
        inputs = [column for column in columns if column not in named]
        if not inputs:
            raise ContractError(
                "no column is left that goes into the tasks, which would all be empty",
                remedy=f"the columns are {sorted(columns)}, and none of them is an input",
            )
        return inputs
