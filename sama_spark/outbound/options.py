"""What a caller can choose about one run of task creation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from sama_spark.api.errors import InvalidInput
from sama_spark.names import check_table
from sama_spark.outbound.contract import ContractMode, OutputFormat
from sama_spark.outbound.encode import TaskFields
from sama_spark.outbound.outbox.outbox import OutboxOptions

OnInvalid = Literal["raise", "reject"]

CHUNK_ROWS = 5_000
CHUNK_BYTES = 8 << 20
IN_FLIGHT = 4


@dataclass(frozen=True)
class CreationOptions:
    """How one run cuts and sends. `max_tasks` refuses a larger DataFrame before a batch is opened."""

    fields: TaskFields = field(default_factory=TaskFields)
    contract: ContractMode = "strict"
    on_invalid: OnInvalid = "raise"
    rejected_table: str | None = None
    outbox: OutboxOptions | None = None
    notification_email: str | None = None
    tasks_file_name: str | None = "databricks_connector"
    chunk_rows: int = CHUNK_ROWS
    chunk_bytes: int = CHUNK_BYTES
    in_flight: int = IN_FLIGHT
    max_tasks: int | None = None
    outputs: Mapping[str, OutputFormat] = field(default_factory=dict)
    on_progress: Callable[[int], None] | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.contract not in get_args(ContractMode):
            raise InvalidInput(
                f"contract={self.contract!r} is not understood", remedy=f"give one of {get_args(ContractMode)}"
            )
        if self.on_invalid not in get_args(OnInvalid):
            raise InvalidInput(
                f"on_invalid={self.on_invalid!r} is not understood", remedy=f"give one of {get_args(OnInvalid)}"
            )
        if self.rejected_table is not None:
            check_table(self.rejected_table, "rejected_table")
        if self.rejected_table is not None and self.on_invalid != "reject":
            raise InvalidInput("rejected_table is named, and invalid rows raise", remedy='say on_invalid="reject" too')
        for name in ("chunk_rows", "chunk_bytes", "in_flight"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}", remedy="give a number of 1 or more")
        if wrong := {name: how for name, how in self.outputs.items() if how not in ("json", "text")}:
            raise InvalidInput(f"outputs={wrong!r} is not understood", remedy='give "json" or "text" for each')
