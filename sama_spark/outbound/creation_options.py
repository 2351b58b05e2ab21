"""What a caller can choose about one run of task creation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from sama_spark.arguments import (
    check_function,
    check_mapping,
    check_one_of,
    check_texts,
    check_whole,
    check_yes_no,
)
from sama_spark.errors import InvalidInput
from sama_spark.names import check_table
from sama_spark.outbound.creation_schema import ContractMode, OutputFormat
from sama_spark.outbound.outbox.outbox import OutboxOptions
from sama_spark.outbound.task_fields import TaskFields

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
        check_one_of("contract", self.contract, get_args(ContractMode))
        check_one_of("on_invalid", self.on_invalid, get_args(OnInvalid))
        if self.rejected_table is not None:
            check_table(self.rejected_table, "rejected_table")
        check_texts(
            notification_email=self.notification_email,
            tasks_file_name=self.tasks_file_name,
        )
        check_yes_no(dry_run=self.dry_run)
        check_function("on_progress", self.on_progress)
        if self.rejected_table is not None and self.on_invalid != "reject":
            raise InvalidInput("rejected_table is named, and invalid rows raise", remedy='say on_invalid="reject" too')
        for name in ("chunk_rows", "chunk_bytes", "in_flight"):
            check_whole(name, getattr(self, name), 1)
        if self.max_tasks is not None:
            check_whole("max_tasks", self.max_tasks, 0)
        check_mapping("outputs", self.outputs)
        if wrong := {name: how for name, how in self.outputs.items() if how not in ("json", "text")}:
            raise InvalidInput(f"outputs={wrong!r} is not understood", remedy='give "json" or "text" for each')
