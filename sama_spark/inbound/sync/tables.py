"""The Delta tables of a project: their names, their columns, and whose they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import types as T

from sama_spark.delta import SKIP_BY, DeltaTable, columns_ddl, quoted_ddl, table_errors
from sama_spark.errors import SyncError
from sama_spark.inbound.annotations import ANNOTATIONS
from sama_spark.inbound.delivery_types import saveable
from sama_spark.inbound.sync.table_types import Contract, SchemaMode
from sama_spark.names import check_place, inside, is_path, sql_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

_LAYOUT = "2"
_PROJECT, _LAYOUT_NAME, _CONTRACT = "sama_spark.project", "sama_spark.layout", "sama_spark.contract"

# Without the vectors, a task that is delivered again costs the rewriting of whole files.
FEATURES = {"delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"}
# By default Delta does so for the first 32 columns and fields, which costs a tenth of a sync.
_OF_RAW = {SKIP_BY: "id,delivered_at,landed_at,problem"}
_OF_ANNOTATIONS = {SKIP_BY: "task_id,delivered_at,output,kind,label,frame"}
_OF_TASKS = {SKIP_BY: "id,batch_id,state,created_at,delivered_at,current_state,synced_at"}

RAW = """
    id STRING COMMENT 'of the task',
    delivered_at TIMESTAMP_LTZ,
    raw STRING COMMENT 'the task as Sama delivered it, JSON text to the byte',
    parts STRING COMMENT 'start and length in raw of data and answers, ten digits each',
    feed STRING COMMENT 'delivered or since_last_call',
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
    changes BIGINT COMMENT 'states, batches or statistics that were noted',
    goes_on STRING COMMENT 'what max_calls left to the next sync',
    notes ARRAY<STRING> COMMENT 'what somebody should look at: rejected deliveries, masks that failed, a wrong label',
    error STRING COMMENT 'null after success'
"""
_TASKS = """
    id STRING,
    project_id BIGINT, batch_id BIGINT, client_batch_id STRING,
    state STRING COMMENT 'as delivered',
    current_state STRING COMMENT 'as last heard of',
    priority INT,
    created_at TIMESTAMP_LTZ, delivered_at TIMESTAMP_LTZ,
    data {data} COMMENT 'inputs', answers {answers} COMMENT 'outputs',
    submitter_ids_by_step STRING, _extras STRING,
    _rescued_data STRING COMMENT 'the whole task, where a value does not fit its type',
    feed STRING COMMENT 'of the sync that took this delivery over, with its filters',
    synced_at TIMESTAMP_LTZ, run_id STRING
"""


@dataclass(frozen=True)
class SyncTables:
    """The tables of one project in `into`, a schema or a path, under names that begin with `prefix`.

    Raises:
        InvalidInput: `into` or `prefix` is nothing that can be.
    """

    spark: SparkSession
    into: str
    project_id: str
    prefix: str = ""

    def __post_init__(self) -> None:
        check_place(self.into, self.prefix)

    def __getitem__(self, name: str) -> DeltaTable:
        return DeltaTable(self.spark, inside(self.into, f"{self.prefix}{name}"))

    @property
    def is_path(self) -> bool:
        """Whether the tables lie in a folder and no catalog knows them."""
        return is_path(self.into)

    def open(self, declared: Contract) -> Contract:
        """Create what is absent, by the contract as the project's delivery schema has it. Gives the one that holds.

        Raises:
            SyncError: a table is another project's or somebody else's, or of a layout that is not known, or is gone.
        """
        found = self["tasks"].properties()
        if not found:  # or another sync is making it at this moment
            if not self["tasks"].exists():
                self._create(declared)
            found = self["tasks"].properties() or {}
        self._check(self["tasks"], found if _CONTRACT in found else {})
        for gone in (name for name in ("deliveries_raw", "annotations") if not self[name].exists()):
            raise SyncError(
                f"there is no table {self[gone].name!r} any more, beside {self['tasks'].name!r}",
                project_id=self.project_id,
                remedy="restore it, or drop `tasks` too: the next sync makes them anew",
            )
        return Contract.from_json(found[_CONTRACT])

    def adopt(self, kept: Contract, seen: Contract, mode: SchemaMode) -> tuple[Contract, list[str]]:
        """Let the contract gain what only `seen` has. Gives the one that holds then, and what it has gained.

        Raises:
            SyncError: it would gain something and `mode` is "freeze".
        """
        holds, gained = kept.grown(seen)
        if not gained or mode == "discard":
            return kept, []
        if mode == "freeze":
            raise SyncError(
                f"{self['tasks'].name!r} is frozen and lacks {', '.join(gained)}",
                project_id=self.project_id,
                remedy='sync with schema_mode="evolve" to gain these fields, or with "discard" to leave them in '
                "deliveries_raw; what was fetched has landed there and is not lost",
            )
        # First the columns: a contract without its columns could not be written by.
        self["tasks"].grow(T.StructType().add("data", saveable(holds.data)).add("answers", saveable(holds.answers)))
        self["tasks"].set_properties({_CONTRACT: holds.to_json()})
        return holds, gained

    def check(self) -> None:
        """See that a sync has made them, for this project.

        Raises:
            SyncError: there are none, or they are another project's, somebody else's or of a layout that is not known.
        """
        with table_errors(f"{self['tasks'].name!r} cannot be read", SyncError):
            found = self["tasks"].properties()
        if found is None:
            raise SyncError(
                f"there is no table {self['tasks'].name!r}",
                project_id=self.project_id,
                remedy="sync the project first, or look at `into` and `prefix`",
            )
        self._check(self["tasks"], found)

    def _check(self, table: DeltaTable, found: Mapping[str, str]) -> None:
        if _PROJECT not in found:
            raise SyncError(
                f"{table.name!r} is there and is no table of sama_spark",
                project_id=self.project_id,
                remedy="sync into another schema or folder, or give the tables a prefix; nothing was written to it",
            )
        if found.get(_LAYOUT_NAME) != _LAYOUT or found[_PROJECT] != self.project_id:
            raise SyncError(
                f"{table.name!r} holds project {found[_PROJECT]} in layout {found.get(_LAYOUT_NAME)}, "
                f"not project {self.project_id} in layout {_LAYOUT}",
                project_id=self.project_id,
                remedy="give each project a schema of its own, or a prefix; drop tables of an earlier layout, and the "
                "next sync makes them anew; for a later layout update sama_spark",
            )

    def ensure(
        self, name: str, schema: str, holds: str, cluster_by: str = "", more: Mapping[str, str] | None = None
    ) -> DeltaTable:
        """A table of this project, which is made when absent. `more`: table properties.

        Raises:
            SyncError: it is there and is another project's or somebody else's, or of a layout that is not known.
        """
        table = self[name]
        if not table.exists():
            table.create(schema, f"{holds} {self._of}", {**self._whose, **(more or {})}, cluster_by)
        self._check(table, table.properties() or {})
        return table

    @property
    def _of(self) -> str:
        return f"of project {self.project_id} of Sama; written by sama_spark"

    @property
    def _whose(self) -> dict[str, str]:
        return {_PROJECT: self.project_id, _LAYOUT_NAME: _LAYOUT}

    def _create(self, contract: Contract) -> None:
        if not self.is_path and not self.spark.catalog.databaseExists(sql_name(self.into)):
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {sql_name(self.into)}").collect()
        made = (
            ("deliveries_raw", RAW, "Deliveries as received", "delivered_at", _OF_RAW),
            (
                "annotations",
                columns_ddl(ANNOTATIONS),
                "A row for each shape or answer of the tasks",
                "task_id",
                FEATURES | _OF_ANNOTATIONS,
            ),
            ("runs", RUNS, "Syncs"),
        )
        with ThreadPoolExecutor(thread_name_prefix="sama-tables") as pool:
            list(pool.map(lambda table: self.ensure(*table), made))
        # Last: where it is, all are.
        data, answers = quoted_ddl(saveable(contract.data)), quoted_ddl(saveable(contract.answers))
        tasks = _TASKS.format(data=data, answers=answers)
        known = FEATURES | _OF_TASKS | {_CONTRACT: contract.to_json()}
        self.ensure("tasks", tasks, "The latest delivery of each task", "id", known)
