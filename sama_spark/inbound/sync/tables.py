"""The Delta tables of a project: their names, their columns, and to which project they belong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import types as T

from sama_spark.delta import SKIP_BY, DeltaTable, table_errors
from sama_spark.errors import SyncError
from sama_spark.inbound.annotation_columns import ANNOTATIONS
from sama_spark.inbound.delivery_types import saveable
from sama_spark.inbound.sync.table_types import SchemaMode, TableTypes
from sama_spark.names import check_place, inside, is_path, quoted, sql_name
from sama_spark.sql_texts import columns_ddl, ddl_comment, quoted_ddl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import SparkSession

    from sama_spark.vendors.seam import Field

# Raise it whenever a column of a table changes: tables of another layout are refused.
_LAYOUT = "2"
_PROJECT, _LAYOUT_NAME, _CONTRACT = "sama_spark.project", "sama_spark.layout", "sama_spark.contract"

# Without deletion vectors Delta rewrites whole files for each task that is delivered again.
FEATURES = {"delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"}
# By default Delta keeps statistics of the first 32 columns and fields, which costs a tenth of a sync.
_OF_RAW = {SKIP_BY: "id,delivered_at,landed_at,problem"}
_OF_ANNOTATIONS = {SKIP_BY: "task_id,delivered_at,output,kind,label,frame"}

RAW = """
    id STRING COMMENT 'of the task',
    delivered_at TIMESTAMP_LTZ,
    raw STRING COMMENT 'the task as it was delivered, JSON text to the byte',
    parts STRING COMMENT 'start and length in raw of data and answers, in bytes from 1, ten digits each',
    feed STRING COMMENT 'the feed that it came from, with its filters',
    cursor STRING COMMENT 'where the feed goes on after this row; null for a feed that goes on by time',
    run_id STRING,
    landed_at TIMESTAMP_LTZ,
    problem STRING COMMENT 'why it cannot be read as a task; null where it can'
"""
RUNS = """
    run_id STRING,
    feed STRING,
    started_at TIMESTAMP_LTZ,
    seconds DOUBLE,
    pages BIGINT, landed BIGINT COMMENT 'deliveries that had not been seen before',
    new BIGINT, updated BIGINT, unchanged BIGINT COMMENT 'tasks',
    rejected BIGINT COMMENT 'deliveries that lie in deliveries_raw and cannot be read as tasks',
    unfit BIGINT COMMENT 'tasks with a value that does not fit its type; see _rescued_data',
    masks_copied BIGINT, masks_failed BIGINT,
    contract_changes ARRAY<STRING>,
    watermark_from TIMESTAMP_LTZ, watermark_to TIMESTAMP_LTZ,
    changes BIGINT COMMENT 'states, batches or statistics that were recorded',
    goes_on STRING COMMENT 'what max_calls left to the next sync',
    notes ARRAY<STRING> COMMENT 'what somebody should look at: rejected deliveries, masks that failed, a wrong label',
    error STRING COMMENT 'null after success'
"""
_END_OF_TASKS = """
    _rescued_data STRING COMMENT 'the whole task, where a value does not fit its type',
    feed STRING COMMENT 'of the sync that took this delivery over, with its filters',
    synced_at TIMESTAMP_LTZ, run_id STRING
"""


def tasks_ddl(envelope: Sequence[Field], types: TableTypes) -> str:
    """Return the columns of `tasks` as DDL, in the order of `typed_tasks`."""
    first = [_field_ddl(field) for field in envelope if field.spark_type != "JSON"]
    last = [_field_ddl(field) for field in envelope if field.spark_type == "JSON"]
    typed = [
        f"data {quoted_ddl(saveable(types.data))} COMMENT 'inputs'",
        f"answers {quoted_ddl(saveable(types.answers))} COMMENT 'outputs'",
    ]
    return ", ".join(["id STRING", *first, "delivered_at TIMESTAMP_LTZ", *typed, *last, _END_OF_TASKS])


def _field_ddl(field: Field) -> str:
    written = {"JSON": "STRING", "TIMESTAMP": "TIMESTAMP_LTZ"}.get(field.spark_type, field.spark_type)
    return f"{quoted(field.name)} {written}" + (f" COMMENT {ddl_comment(field.comment)}" if field.comment else "")


class _Table:
    """An attribute of `SyncTables`: the table of the attribute's own name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, tables: SyncTables, owner: type) -> DeltaTable:
        return tables[self._name]


@dataclass(frozen=True)
class SyncTables:
    """The tables of one project.

    Attributes:
        spark: the session.
        into: schema or path of a folder.
        project_id: the project, as the vendor names it.
        prefix: begins the tables' names.
        vendor: whose project it is.

    Raises:
        InvalidInput: `into` or `prefix` cannot be part of a table's name.
    """

    spark: SparkSession
    into: str
    project_id: str
    prefix: str = ""
    vendor: str = "sama"

    deliveries_raw = _Table()
    tasks = _Table()
    annotations = _Table()
    runs = _Table()
    task_states = _Table()
    status_round = _Table()
    batches = _Table()

    def __post_init__(self) -> None:
        check_place(self.into, self.prefix)

    def __getitem__(self, name: str) -> DeltaTable:
        return DeltaTable(self.spark, inside(self.into, f"{self.prefix}{name}"))

    @property
    def place(self) -> str:
        """Where the tables lie, with `*` for the table's name."""
        return self["*"].name

    @property
    def project(self) -> str:
        """The project, as the tables keep it: `sama/4242`."""
        return f"{self.vendor}/{self.project_id}"

    @property
    def is_path(self) -> bool:
        """Whether the tables lie in a folder and no catalog knows them."""
        return is_path(self.into)

    def open(
        self, declared: TableTypes, envelope: Sequence[Field], meanwhile: Callable[[], None]
    ) -> tuple[TableTypes, set[str]]:
        """Create the tables that are absent.

        Args:
            declared: the types of a new table.
            envelope: the columns of a new table beside `data` and `answers`.
            meanwhile: called before tables are created, to begin what can be done meanwhile.

        Returns:
            The types that `tasks` keeps, and the names of the tables that this call has created.

        Raises:
            SyncError: a table belongs to another project, to somebody else or to another layout, or has been dropped.
        """
        found = self.tasks.properties()
        if not found:
            # Empty properties: another sync is making the table at this moment.
            created = set()
            if found is None or not self.tasks.exists():
                meanwhile()
                created = self._create(declared, envelope)
            if "tasks" in created:
                return declared, created
            found = self.tasks.properties() or {}
        self._check(self.tasks, found if _CONTRACT in found else {})
        if gone := [table for table in (self.deliveries_raw, self.annotations) if not table.exists()]:
            raise SyncError(
                f"there is no table {gone[0].name!r} any more, beside {self.tasks.name!r}",
                project_id=self.project_id,
                remedy="restore it, or drop `tasks` too: the next sync makes them anew",
            )
        return TableTypes.from_json(found[_CONTRACT]), set()

    def adopt(self, kept: TableTypes, seen: TableTypes, mode: SchemaMode) -> tuple[TableTypes, list[str]]:
        """Add to `tasks` the fields that only `seen` has.

        Returns:
            The types that hold from now on, and the names of the fields that were added.

        Raises:
            SyncError: `mode` is "freeze" and there are such fields.
        """
        holds, gained = kept.grown(seen)
        if not gained or mode == "discard":
            return kept, []
        if mode == "freeze":
            raise SyncError(
                f"{self.tasks.name!r} is frozen and lacks {', '.join(gained)}",
                project_id=self.project_id,
                remedy='sync with schema_mode="evolve" to gain these fields, or with "discard" to leave them in '
                "deliveries_raw; what was fetched has landed there and is not lost",
            )
        # The columns come first: nothing could be written by types whose columns are missing.
        self.tasks.grow(T.StructType().add("data", saveable(holds.data)).add("answers", saveable(holds.answers)))
        self.tasks.set_properties({_CONTRACT: holds.to_json()})
        return holds, gained

    def check(self) -> None:
        """Check that a sync has made the tables for this project.

        Raises:
            SyncError: there are none, or they belong to another project, to somebody else or to another layout.
        """
        with table_errors(f"{self.tasks.name!r} cannot be read", SyncError):
            found = self.tasks.properties()
        if found is None:
            raise SyncError(
                f"there is no table {self.tasks.name!r}",
                project_id=self.project_id,
                remedy="sync the project first, or look at `into` and `prefix`",
            )
        self._check(self.tasks, found)

    def _check(self, table: DeltaTable, found: Mapping[str, str]) -> None:
        if _PROJECT not in found:
            raise SyncError(
                f"{table.name!r} is there and is no table of sama_spark",
                project_id=self.project_id,
                remedy="sync into another schema or folder, or give the tables a prefix; nothing was written to it",
            )
        if found.get(_LAYOUT_NAME) != _LAYOUT:
            raise SyncError(
                f"{table.name!r} has layout {found.get(_LAYOUT_NAME)}, and this sama_spark reads and writes layout "
                f"{_LAYOUT}; nothing was written to it",
                project_id=self.project_id,
                remedy="drop tables of an earlier layout, and the next sync makes them anew; for a later layout update "
                "sama_spark",
            )
        if found[_PROJECT] != self.project:
            raise SyncError(
                f"{table.name!r} holds project {found[_PROJECT]}, not project {self.project}",
                project_id=self.project_id,
                remedy="give each project a schema of its own, or a prefix",
            )

    def ensure(
        self, name: str, schema: str, holds: str, cluster_by: str = "", more: Mapping[str, str] | None = None
    ) -> DeltaTable:
        """Return a table of this project, and create it when absent.

        Args:
            name: the table's name, without the prefix.
            schema: its columns as DDL.
            holds: what it holds, for its comment.
            cluster_by: columns to cluster by.
            more: table properties.

        Raises:
            SyncError: the table belongs to another project, to somebody else or to another layout.
        """
        table = self[name]
        if table.exists():
            self._check(table, table.properties() or {})
        else:
            self._make(name, schema, holds, cluster_by, more)
        return table

    def _make(
        self, name: str, schema: str, holds: str, cluster_by: str = "", more: Mapping[str, str] | None = None
    ) -> bool:
        """Create a table that is most likely absent, as `ensure` does. Return whether this call has created it."""
        table = self[name]
        of = f"of project {self.project}; written by sama_spark"
        whose = {_PROJECT: self.project, _LAYOUT_NAME: _LAYOUT}
        if table.create(schema, f"{holds} {of}", {**whose, **(more or {})}, cluster_by):
            return True
        self._check(table, table.properties() or {})
        return False

    def _create(self, types: TableTypes, envelope: Sequence[Field]) -> set[str]:
        """Create what is absent of the tables that every project has. Return the names of those created."""
        if not self.is_path and not self.spark.catalog.databaseExists(sql_name(self.into)):
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {sql_name(self.into)}").collect()
        annotations, holds = columns_ddl(ANNOTATIONS), "A row for each shape or answer of the tasks"
        tables: tuple[tuple[Any, ...], ...] = (
            ("deliveries_raw", RAW, "Deliveries as received", "delivered_at", _OF_RAW),
            ("annotations", annotations, holds, "task_id", FEATURES | _OF_ANNOTATIONS),
            ("runs", RUNS, "Syncs"),
        )
        with ThreadPoolExecutor(thread_name_prefix="sama-tables") as pool:
            are_new = pool.map(lambda table: self._make(*table), tables)
            created = {name for (name, *_), is_new in zip(tables, are_new, strict=True) if is_new}
        # `tasks` is the last: where it exists, all exist.
        plain = [field.name for field in envelope if field.spark_type != "JSON"]
        skip_by = {SKIP_BY: ",".join(["id", *plain, "delivered_at", "synced_at"])}
        known = FEATURES | skip_by | {_CONTRACT: types.to_json()}
        holds = "The latest delivery of each task"
        if self._make("tasks", tasks_ddl(envelope, types), holds, "id", known):
            created.add("tasks")
        return created
