"""Options of task creation, with their defaults.

Repeat a new one in the call's signature, docs/options.md and conf/<job>.yml; tests compare them. The writer of
`format("sama")` takes it too, and the docstring of `SamaDataSource` lists it, unless `NEEDS_SESSION` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sama_spark.errors import InvalidInput
from sama_spark.names import check_table
from sama_spark.options import Count, Text, about
from sama_spark.outbound.creation_schema import ContractMode, OutputFormat
from sama_spark.outbound.outbox.outbox_options import BY_CONTENT, OnChanged, OutboxOptions, outbox_options
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.outbound.task_fields import TaskFields

OnInvalid = Literal["raise", "reject"]

NEEDS_SESSION = (
    "outbox",
    "on_changed",
    "ignore_changes",
    "key_prefix",
    "rejected_table",
    "dry_run",
    "on_progress",
)
"""Options that the writer of `format("sama")` does not take: it has no Spark session."""


class CreationOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `Client.create_task_batch_from_table`."""

    batch_priority: Annotated[
        int, about("priority of all tasks, a signed 32-bit integer; tasks of a lower one are served first")
    ] = 0
    notification_email: Annotated[Text | None, about("where Sama mails the outcome of each batch")] = None
    submit: Annotated[bool, about("create the tasks as submitted")] = False
    tasks_file_name: Annotated[Text | None, about("name of the uploads in Sama's web application")] = (
        "databricks_connector"
    )
    chunk_rows: Annotated[Count, about("most tasks in a chunk, which becomes one batch")] = 5_000
    chunk_bytes: Annotated[Count, about("most bytes in a chunk; a single larger task is sent alone")] = 8 << 20
    in_flight: Annotated[Count, about("how many batches are uploaded, and later started, at the same time")] = 4
    max_tasks: Annotated[
        Annotated[int, Meta(ge=0)] | None, about("create nothing where more rows than this would be sent")
    ] = None
    outputs: Annotated[
        Mapping[str, OutputFormat],
        about('"json" or "text" by output, where text in `output_<name>` should not follow the project\'s schema'),
    ] = {}
    not_sent: Annotated[tuple[str, ...], about("columns that are no inputs")] = ()
    priority_column: Annotated[
        Text | None, about("integer column with the priority of each row; null means `batch_priority`")
    ] = None
    reserve_for_column: Annotated[
        Text | None, about("integer column with the id of the annotator a task is reserved for; null means anybody")
    ] = None
    contract: Annotated[
        ContractMode,
        about(
            '"strict" rejects what does not fit the project\'s creation schema; "lenient" leaves unknown and missing '
            'columns, nulls, structures and local paths to Sama, with a warning; "off" does not read the schema'
        ),
    ] = "strict"
    row_key: Annotated[
        str | tuple[str, ...],
        about(
            "columns that name a row in errors, among rejected rows and in the outbox; they are inputs too, unless in "
            '`not_sent`; "content", with an outbox, takes the whole row as its key'
        ),
    ] = ()
    outbox: Annotated[Text | None, about("Delta table that remembers which rows became tasks; created when absent")] = (
        None
    )
    on_changed: Annotated[
        OnChanged,
        about('a row that the outbox knows with other values: "skip", "error", or "resend", which pays for it again'),
    ] = "skip"
    ignore_changes: Annotated[
        tuple[str, ...],
        about("columns whose changes do not count; set for good by the run that creates the outbox"),
    ] = ()
    on_invalid: Annotated[
        OnInvalid,
        about('rows that cannot become tasks: "raise" creates nothing, "reject" creates the tasks of the other rows'),
    ] = "raise"
    rejected_table: Annotated[
        Text | None, about('with "reject", a Delta table for the rejected rows, written before any task is created')
    ] = None
    dry_run: Annotated[
        bool, about("check everything and send nothing; report what would become of each column and row")
    ] = False
    on_progress: Annotated[
        Callable[[int], None] | None, about("called on the driver with the number of tasks uploaded so far")
    ] = None
    key_prefix: Annotated[
        str, about('with row_key="content", begins each key: the same row under another prefix is another row')
    ] = ""

    def __post_init__(self) -> None:
        _ = self.fields, self.outbox_options  # which check what goes together
        if self.rejected_table is not None:
            check_table(self.rejected_table, "rejected_table")
            if self.on_invalid != "reject":
                raise InvalidInput(
                    "rejected_table is named, and invalid rows raise", remedy='say on_invalid="reject" too'
                )

    @property
    def fields(self) -> TaskFields:
        """What stands beside `data` in a task."""
        return TaskFields(
            priority=self.batch_priority,
            submit=self.submit,
            priority_column=self.priority_column,
            reserve_for_column=self.reserve_for_column,
            not_sent=self.not_sent,
            row_key=self._key_columns,
        )

    @property
    def outbox_options(self) -> OutboxOptions | None:
        """The outbox with its key and what happens to changed rows; None without an outbox."""
        return outbox_options(
            self.outbox,
            OutboxKeys(self._key_columns, self.ignore_changes, self.key_prefix),
            self.on_changed,
            by_content=self.row_key == BY_CONTENT,
        )

    @property
    def _key_columns(self) -> tuple[str, ...]:
        if isinstance(self.row_key, str):
            return () if self.row_key == BY_CONTENT else (self.row_key,)
        return self.row_key
