"""The configuration of each job: every field with its type, its default and a line for `sama-spark <job> --help`.

The fields of `options` are the options of the call itself. A file writes them beside the other fields.
`conf/<job>.yml` explains each field.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta, inspect

from sama_spark.data_source.text_options import BASE_URL
from sama_spark.inbound.sync.sync_options import SyncOptions
from sama_spark.keys import KeyReference
from sama_spark.options import about, fields_of
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.outbox.settle import Verdict

_PREFIX = "begins the names of the tables"
_INTO = "where the tables are: a schema, or a folder with a slash in its name"
StatusFeedName = Literal["status", "batches", "stats"]
Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]  # a year


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where rows come from: a table, a query, or files of a `format` at a `path`."""

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
    """The fields of all jobs."""

    project: Annotated[int | str, about("the id of the project in Sama")]
    api_key: Annotated[
        KeyReference | str,
        about("where the key is: {env: NAME}, {file: path}, {scope: s, key: k} or {secret: c.s.name}"),
    ] = KeyReference()
    base_url: Annotated[str, about("the address of Sama's API, for a sandbox or proxy")] = BASE_URL
    deadline: Annotated[
        Annotated[float, Meta(gt=0, le=86_400)], about("seconds for one call to Sama with all its retries")
    ] = 300.0
    staging: Annotated[str | None, about("a folder that driver and workers share, in which text waits for a while")] = (
        None
    )
    runs: Annotated[str | None, about("a Delta table for a row of each run; with `into`, by default the one there")] = (
        None
    )

    def __post_init__(self) -> None:
        if not re.fullmatch("[1-9][0-9]{0,17}", str(self.project)):
            raise ValueError("`project` is no id: write the whole number that Sama shows, such as 4242")

    def value_of(self, name: str) -> Any:
        """Return a field, or an option of the call; None where this job has neither."""
        return getattr(self, name, getattr(getattr(self, "options", None), name, None))

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} of project {self.project}>"  # the fields may hold the key


class Upload(Job, frozen=True):
    """Rows become tasks."""

    source: Annotated[
        Source, about("the rows: {table: name}, {query: SELECT ...} or {path: p, format: f, options: {}}")
    ]
    max_tasks: Annotated[Annotated[int, Meta(ge=0)], about("creates nothing where more rows than this would be sent")]
    options: CreationOptions = CreationOptions()
    wait_seconds: Annotated[Seconds, about("how long to wait until Sama has created the tasks; 0 does not wait")] = 3600


class Sync(Job, frozen=True):
    """Feeds land in Delta tables."""

    into: Annotated[str, about(_INTO)]
    options: SyncOptions = SyncOptions()
    overlap_seconds: Annotated[Seconds, about("how far before the last delivery to begin")] = 3600


class Status(Job, frozen=True):
    """The states of tasks and batches land in the tables, and a summary is printed."""

    into: Annotated[str, about(_INTO)]
    prefix: Annotated[str, about(_PREFIX)] = ""
    feeds: Annotated[tuple[StatusFeedName, ...], about("what to ask for")] = get_args(StatusFeedName)
    max_calls: Annotated[int | None, about("the most calls that status and batches make, each")] = 600
    outbox: Annotated[str | None, about("an outbox, to tell which of its batches are open or unsure")] = None


class Resume(Job, frozen=True):
    """What dead uploads left in an outbox is settled."""

    outbox: Annotated[str, about("the outbox with batches that no run has finished")]
    unsure: Annotated[
        dict[int, Verdict],
        about("your decision on batches whose fate Sama does not show: {id: created} or {id: void}"),
    ] = {}
    timeout_seconds: Annotated[Seconds, about("how long to wait for runs that may still be at work on a batch")] = 600


class Purge(Job, frozen=True):
    """What is kept of tasks, or of a project, is removed."""

    everything: Annotated[bool, about("all of the project goes")] = False
    tasks: Annotated[list[str], about("ids of tasks that go from the tables in `into`")] = []
    rows: Annotated[Source | None, about("rows that go from the outbox, as the source of an upload")] = None
    into: Annotated[str | None, about(_INTO)] = None
    prefix: Annotated[str, about(_PREFIX)] = ""
    masks: Annotated[str | None, about("the folder with copies of masks")] = None
    outbox: Annotated[str | None, about("the outbox")] = None
    rejected_table: Annotated[str | None, about("the table of rejected rows")] = None

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


def options_of(job: type[Job]) -> dict[str, inspect.Field]:
    """Return the options of the call among the fields of a job's file. A field of the job itself goes before one."""
    kind = get_type_hints(job).get("options")
    own = (*job.__struct_fields__, "on_progress")  # a file holds no function
    return {name: field for name, field in fields_of(kind).items() if name not in own} if kind else {}
