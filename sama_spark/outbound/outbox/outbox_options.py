"""Options of a run's outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sama_spark.errors import InvalidInput
from sama_spark.names import check_table
from sama_spark.outbound.row_keys import OutboxKeys

OnChanged = Literal["skip", "error", "resend"]
BY_CONTENT = "content"


@dataclass(frozen=True)
class OutboxOptions:
    """The outbox of a run.

    Attributes:
        table: the Delta table, a name or a path.
        keys: how the outbox knows rows again.
        on_changed: what happens to rows that the outbox knows with other content.
    """

    table: str
    keys: OutboxKeys
    on_changed: OnChanged


def outbox_options(
    table: str | None, keys: OutboxKeys, on_changed: OnChanged, *, by_content: bool
) -> OutboxOptions | None:
    """Return the options of the outbox that a user names; None without a table.

    `by_content`: the user asked for row_key="content", so no key columns is not a mistake.

    Raises:
        InvalidInput: the options do not go together.
    """
    if table is None:
        if by_content or on_changed != "skip" or keys.ignored:
            raise InvalidInput(
                "row_key='content', on_changed and ignore_changes are words on an outbox, and none is named",
                remedy="name a Delta table in outbox; a column of the name 'content' is given as row_key=['content']",
            )
        return None
    check_table(table, "outbox")
    if not keys.names and not by_content:
        raise InvalidInput(
            f"outbox {table!r} needs to know what tells one row from another",
            remedy="name columns in row_key, such as row_key=['image_id']; row_key='content' takes the whole row",
        )
    if not keys.names and (on_changed != "skip" or keys.ignored):
        raise InvalidInput(
            "where the whole content is the key, no row can have changed",
            remedy="name key columns in row_key, or leave on_changed and ignore_changes out",
        )
    return OutboxOptions(table, keys, on_changed)
