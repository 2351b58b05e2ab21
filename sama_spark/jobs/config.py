"""The configuration of each job: every field with its type, its default and a line for `sama-spark <job> --help`.

`conf/<job>.yml` shows each field and tells more; most bear the names of the parameters of `Client`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from sama_spark.data_source.text_options import BASE_URL
from sama_spark.errors import InvalidInput
from sama_spark.inbound.sync.sync_result import FeedName
from sama_spark.inbound.sync.table_types import SchemaMode
from sama_spark.keys import KeyReference
from sama_spark.names import check_place, check_table
from sama_spark.outbound.creation_options import CHUNK_BYTES, CHUNK_ROWS, IN_FLIGHT, OnInvalid
from sama_spark.outbound.creation_schema import ContractMode, OutputFormat
from sama_spark.outbound.outbox.outbox_options import OnChanged
from sama_spark.outbound.outbox.settle import Verdict
from sama_spark.vendors.sama.reader import Frames

StatusFeed = Literal["status", "batches", "stats"]
Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]  # a year


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

    project: Annotated[int | str, Meta(description="the id of the project in Sama")]
    api_key: Annotated[
        KeyReference | str,
        Meta(description="where the key is: {env: NAME}, {file: path}, {scope: s, key: k} or {secret: c.s.name}"),
    ] = KeyReference()
    base_url: Annotated[str, Meta(description="the address of Sama's API, for a sandbox or proxy")] = BASE_URL
    deadline: Annotated[
        Annotated[float, Meta(gt=0, le=86_400)], Meta(description="seconds for one call to Sama with all its retries")
    ] = 300.0
    staging: Annotated[
        str | None, Meta(description="a folder that driver and workers share, in which text waits for a while")
    ] = None
    runs: Annotated[
        str | None, Meta(description="a Delta table for a row of each run; with `into`, by default the one there")
    ] = None

    def __post_init__(self) -> None:
        if not re.fullmatch("[1-9][0-9]{0,17}", str(self.project)):
            raise ValueError("`project` is no id: write the whole number that Sama shows, such as 4242")
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
    source: Annotated[
        Source, Meta(description="the rows: {table: name}, {query: SELECT ...} or {path: p, format: f, options: {}}")
    ]
    max_tasks: Annotated[int, Meta(description="creates nothing where there are more rows")]
    outbox: Annotated[
        str | None,
        Meta(description="a Delta table that remembers which rows became tasks, so that none is paid for twice"),
    ] = None
    row_key: Annotated[
        str | list[str], Meta(description="columns that tell one row from another, or content for the whole row")
    ] = []
    on_changed: Annotated[
        OnChanged, Meta(description="what happens to a row that the outbox knows with other values")
    ] = "skip"
    ignore_changes: Annotated[list[str], Meta(description="columns that may change without that")] = []
    key_prefix: Annotated[str, Meta(description="stands before each key where row_key is content")] = ""
    not_sent: Annotated[list[str], Meta(description="columns that are no inputs of the task")] = []
    outputs: Annotated[dict[str, OutputFormat], Meta(description="how output_ columns of text travel, by output")] = {}
    contract: Annotated[
        ContractMode, Meta(description="whether rows that do not fit the project's schema are refused")
    ] = "strict"
    on_invalid: Annotated[
        OnInvalid, Meta(description="whether rows that cannot become tasks stop the job, or are left out")
    ] = "raise"
    rejected_table: Annotated[
        str | None, Meta(description="a Delta table for rows that are left out or fail at Sama")
    ] = None
    batch_priority: Annotated[int, Meta(description="priority of all tasks; lower is served first")] = 0
    priority_column: Annotated[str | None, Meta(description="an integer column with the priority of each row")] = None
    reserve_for_column: Annotated[
        str | None, Meta(description="an integer column with the annotator a task is reserved for")
    ] = None
    submit: Annotated[bool, Meta(description="create the tasks as submitted")] = False
    notification_email: Annotated[str | None, Meta(description="where Sama mails the outcome of each batch")] = None
    tasks_file_name: Annotated[str, Meta(description="the name of the uploads in Sama's web application")] = (
        "databricks_connector"
    )
    chunk_rows: Annotated[int, Meta(description="the most tasks in a batch")] = CHUNK_ROWS
    chunk_bytes: Annotated[int, Meta(description="the most bytes in a batch")] = CHUNK_BYTES
    in_flight: Annotated[int, Meta(description="uploads at the same time")] = IN_FLIGHT
    dry_run: Annotated[bool, Meta(description="check everything and send nothing")] = False
    wait_seconds: Annotated[
        Seconds, Meta(description="how long to wait until Sama has created the tasks; 0 does not wait")
    ] = 3600


class Sync(Job, frozen=True):
    into: Annotated[str, Meta(description="where the tables are: a schema, or a folder with a slash in its name")]
    prefix: Annotated[str, Meta(description="begins the names of the tables")] = ""
    feeds: Annotated[tuple[FeedName, ...], Meta(description="what to read, in this order")] = ("delivered",)
    label: Annotated[
        str | dict[str, str] | None,
        Meta(description="the tag of a shape that becomes the column label, or one for each output"),
    ] = None
    frames: Annotated[Frames, Meta(description="rows of annotations in videos: key frames, or all")] = "key"
    views: Annotated[bool, Meta(description="make the views too")] = False
    schema_mode: Annotated[SchemaMode, Meta(description="what happens to fields that the tables lack")] = "evolve"
    overlap_seconds: Annotated[Seconds, Meta(description="how far before the last delivery to begin")] = 3600
    full: Annotated[bool, Meta(description="read everything again")] = False
    max_calls: Annotated[int | None, Meta(description="the most calls that status and batches make, each")] = None
    masks: Annotated[str | None, Meta(description="a folder for copies of masks")] = None
    consumer: Annotated[str | None, Meta(description="whose place in since_last_call is used")] = None
    batches: Annotated[
        list[int], Meta(description="batches that the feed batches asks for although no table knows them")
    ] = []
    batch_id: Annotated[int | None, Meta(description="only the deliveries of one batch")] = None
    client_batch_id: Annotated[str | None, Meta(description="only the deliveries of a batch by your own name")] = None
    client_batch_id_match_type: Annotated[
        str | None, Meta(description="how these names are compared: exact or contains")
    ] = None


class Status(Job, frozen=True):
    into: Annotated[str, Meta(description="where the tables are: a schema, or a folder with a slash in its name")]
    prefix: Annotated[str, Meta(description="begins the names of the tables")] = ""
    feeds: Annotated[tuple[StatusFeed, ...], Meta(description="what to ask for")] = get_args(StatusFeed)
    max_calls: Annotated[int | None, Meta(description="the most calls that status and batches make, each")] = 600
    outbox: Annotated[str | None, Meta(description="an outbox, to tell which of its batches are open or unsure")] = None


class Resume(Job, frozen=True):
    outbox: Annotated[str, Meta(description="the outbox with batches that no run has finished")]
    unsure: Annotated[
        dict[int, Verdict],
        Meta(description="a word of yours on batches that nobody else can judge: {id: created} or {id: void}"),
    ] = {}
    timeout_seconds: Annotated[
        Seconds, Meta(description="how long to wait for runs that may still be at work on a batch")
    ] = 600


class Purge(Job, frozen=True):
    everything: Annotated[bool, Meta(description="all of the project goes")] = False
    tasks: Annotated[list[str], Meta(description="ids of tasks that go from the tables in `into`")] = []
    rows: Annotated[Source | None, Meta(description="rows that go from the outbox, as the source of an upload")] = None
    into: Annotated[
        str | None, Meta(description="where the tables are: a schema, or a folder with a slash in its name")
    ] = None
    prefix: Annotated[str, Meta(description="begins the names of the tables")] = ""
    masks: Annotated[str | None, Meta(description="the folder with copies of masks")] = None
    outbox: Annotated[str | None, Meta(description="the outbox")] = None
    rejected_table: Annotated[str | None, Meta(description="the table of rejected rows")] = None

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
