"""The configuration of each job. What the fields mean stands in `conf/<job>.yml`, where each of them is shown.

Most bear the names of the parameters of `Client`, whose docstrings tell more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import msgspec

from sama_spark.api.errors import InvalidInput
from sama_spark.format_options import BASE_URL
from sama_spark.inbound.flatten import Frames
from sama_spark.inbound.sync.contract import SchemaMode
from sama_spark.inbound.sync.result import Feed
from sama_spark.keys import KeyReference
from sama_spark.names import check_place, check_table
from sama_spark.outbound.contract import ContractMode, OutputFormat
from sama_spark.outbound.options import CHUNK_BYTES, CHUNK_ROWS, IN_FLIGHT, OnInvalid
from sama_spark.outbound.outbox.outbox import OnChanged
from sama_spark.outbound.outbox.settle import Word

StatusFeed = Literal["status", "batches", "stats"]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows: a table, a query, or files of a `format` at a `path`."""

    table: str | None = None
    query: str | None = None
    path: str | None = None
    format: str | None = None
    options: dict[str, str | int | float | bool] = {}

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.table, self.query, self.path)) != 1:
            raise ValueError("name one of table, query and path")
        if (self.path is None) != (self.format is None) or (self.options and self.path is None):
            raise ValueError("path and format go together, and options with them")


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="job", tag=str.lower):
    """What all jobs have."""

    project: int | str
    api_key: KeyReference | str = KeyReference()
    base_url: str = BASE_URL
    staging: str | None = None
    runs: str | None = None

    def __post_init__(self) -> None:
        # Without the value, which may be a key at the wrong place.
        for argument in ("outbox", "rejected_table", "runs"):
            if (name := getattr(self, argument, None)) is not None:
                with _said_of(argument):
                    check_table(name, argument)
        if (into := getattr(self, "into", None)) is not None:
            with _said_of("into, or prefix,"):
                check_place(into, getattr(self, "prefix", ""))

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} of project {self.project}>"  # the fields may hold the key


@contextmanager
def _said_of(argument: str) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise ValueError(f"{argument} is nothing that a table can be called; {error.remedy}") from None


class Upload(Job, frozen=True):
    source: Source
    max_tasks: int
    outbox: str | None = None
    row_key: str | list[str] = []
    on_changed: OnChanged = "skip"
    ignore_changes: list[str] = []
    key_prefix: str = ""
    not_sent: list[str] = []
    outputs: dict[str, OutputFormat] = {}
    contract: ContractMode = "strict"
    on_invalid: OnInvalid = "raise"
    rejected_table: str | None = None
    batch_priority: int = 0
    priority_column: str | None = None
    reserve_for_column: str | None = None
    submit: bool = False
    notification_email: str | None = None
    tasks_file_name: str = "databricks_connector"
    chunk_rows: int = CHUNK_ROWS
    chunk_bytes: int = CHUNK_BYTES
    in_flight: int = IN_FLIGHT
    dry_run: bool = False
    wait_seconds: int = 3600


class Sync(Job, frozen=True):
    into: str
    prefix: str = ""
    feeds: tuple[Feed, ...] = ("delivered",)
    label: str | dict[str, str] | None = None
    frames: Frames = "key"
    views: bool = False
    schema_mode: SchemaMode = "evolve"
    overlap_seconds: int = 3600
    full: bool = False
    max_calls: int | None = None
    masks: str | None = None
    consumer: str | None = None
    batches: list[int] = []
    batch_id: int | None = None
    client_batch_id: str | None = None
    client_batch_id_match_type: str | None = None


class Status(Job, frozen=True):
    into: str
    prefix: str = ""
    feeds: tuple[StatusFeed, ...] = get_args(StatusFeed)
    max_calls: int | None = 600
    outbox: str | None = None


class Resume(Job, frozen=True):
    outbox: str
    unsure: dict[int, Word] = {}
    timeout_seconds: int = 600


class Purge(Job, frozen=True):
    everything: bool = False
    tasks: list[str] = []
    rows: Source | None = None
    into: str | None = None
    prefix: str = ""
    masks: str | None = None
    outbox: str | None = None
    rejected_table: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.into is None and self.outbox is None:
            raise ValueError("name the tables to purge: into, outbox, or both")
        if self.everything:
            if self.tasks or self.rows is not None:
                raise ValueError("everything: true leaves no choice of tasks or rows")
        elif bool(self.tasks) != (self.into is not None) or (self.rows is not None) != (self.outbox is not None):
            raise ValueError("say everything: true, or name tasks of the tables in `into`, rows of the `outbox`")


AnyJob = Upload | Sync | Status | Resume | Purge
JOBS: dict[str, type[Job]] = {job.__name__.lower(): job for job in get_args(AnyJob)}
