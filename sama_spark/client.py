"""`Client`: the drop-in face for `sama.databricks.Client`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from sama_spark.api.calls import Id, checks_arguments
from sama_spark.arguments import check_text, check_texts
from sama_spark.errors import InvalidInput
from sama_spark.ids import id_of, ids_of, number_of
from sama_spark.inbound.dataframes import DataFrames
from sama_spark.inbound.read import delivery_contract
from sama_spark.inbound.sync.feeds.sama_feeds import sama_feeds
from sama_spark.inbound.sync.feeds.status_feed import note_rejected
from sama_spark.inbound.sync.masks import Masks
from sama_spark.inbound.sync.sync_options import SyncOptions
from sama_spark.inbound.sync.sync_result import FeedName, SyncResult
from sama_spark.inbound.sync.sync_run import OVERLAP, SyncRun
from sama_spark.inbound.sync.table_types import SchemaMode, TableTypes
from sama_spark.inbound.sync.tables import SyncTables
from sama_spark.inbound.sync.views import create_views, ensure_labels
from sama_spark.options import documented, from_arguments
from sama_spark.outbound.create import create_tasks
from sama_spark.outbound.creation_options import CreationOptions, OnInvalid
from sama_spark.outbound.creation_result import CreationResult
from sama_spark.outbound.creation_schema import ContractMode, OutputFormat
from sama_spark.outbound.outbox.outbox_options import OnChanged
from sama_spark.outbound.outbox.report import OutboxReport
from sama_spark.outbound.outbox.settle import Verdict, resume
from sama_spark.purge import Purged, purge_outbox, purge_synced
from sama_spark.sessions import check_dataframe, check_session, refuse_stream
from sama_spark.staging import STAGING_TTL, Staging, local_path
from sama_spark.vendors.sama.envelope import TABLE_ENVELOPE
from sama_spark.vendors.sama.reader import SamaReader

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.vendors.seam import Frames, Label


class Client(DataFrames):
    """Sama from Spark: every method of `ApiClient`, and those that take or give DataFrames.

    It replaces `sama.databricks.Client`, with the same names of methods and parameters. `docs/calls.md` lists every
    method with its calls to Sama, `docs/options.md` every option.

    Args:
        api_key: the account's key. It stays in this process and is shown nowhere.
        silent: False prints, or logs to `logger`, a line for each call. Waits are reported either way.
        logger: where those lines go; None prints them.
        log_level: the level of those lines.
        base_url: the API's root, for a sandbox or proxy.
        staging: folder shared by driver and workers in which the text of many rows or deliveries waits, such as
            "/Volumes/catalog/schema/volume"; None takes a temporary folder where the workers see it too (local
            mode) and else streams through the driver; False always streams. Calls take a `staging` of their own too.
            Whether the workers see it is tried when it is first needed.
        staging_ttl: how long the files of dead processes are kept there, 7 days by default.
        **options: as for `ApiClient` (`experimental`, page sizes, time-outs).
    """

    def __init__(
        self,
        api_key: str,
        silent: bool = True,
        logger: logging.Logger | None = None,
        log_level: int = logging.INFO,
        *,
        base_url: str = "https://api.sama.com/v2",
        staging: str | Literal[False] | None = None,
        staging_ttl: timedelta = STAGING_TTL,
        **options: Any,
    ) -> None:
        # The key leaves this frame before anything can raise: a traceback with locals must not show it.
        keys = [api_key]
        del api_key
        super().__init__(keys.pop(), silent, logger, log_level, base_url=base_url, **options)
        check_texts(staging=None if staging is False else staging)
        if not isinstance(staging_ttl, timedelta):
            raise InvalidInput("staging_ttl is no timedelta", column="staging_ttl", remedy="give timedelta(days=7)")
        self._staging_folder = staging
        self._staging = Staging(staging_ttl)

    def close(self) -> None:
        """Close connections and clear the stage; DataFrames that this client returned can no longer be read."""
        super().close()
        self._staging.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @checks_arguments
    @documented(CreationOptions)
    def create_task_batch_from_table(
        self,
        spark_dataframe: DataFrame,
        project_id: str,
        batch_priority: int = 0,
        notification_email: str | None = None,
        submit: bool = False,
        tasks_file_name: str | None = "databricks_connector",
        *,
        staging: str | None = None,
        chunk_rows: int = 5_000,
        chunk_bytes: int = 8 << 20,
        in_flight: int = 4,
        max_tasks: int | None = None,
        outputs: Mapping[str, OutputFormat] | None = None,
        not_sent: str | Sequence[str] = (),
        priority_column: str | None = None,
        reserve_for_column: str | None = None,
        contract: ContractMode = "strict",
        row_key: str | Sequence[str] = (),
        outbox: str | None = None,
        on_changed: OnChanged = "skip",
        ignore_changes: str | Sequence[str] = (),
        on_invalid: OnInvalid = "raise",
        rejected_table: str | None = None,
        dry_run: bool = False,
        on_progress: Callable[[int], None] | None = None,
        key_prefix: str = "",
    ) -> CreationResult:
        """Create a task for each row; each column is an input, `output_<name>` a pre-annotation of output `<name>`.

        Columns and rows are checked against the project's creation schema, and Spark encodes the rows
        (`outbound.render` has the rendering of every type). Each chunk of rows becomes a batch. On the wire: GET
        schemas/create_task.json; for each chunk POST batches.json and PUT to its signed URL; after all uploads POST
        continue.json for each batch. Spark computes the DataFrame once, after a look for a first row; an empty
        DataFrame makes no call.

        Without an `outbox`, calling again creates the tasks again. With one, a rerun sends what is missing, and of
        two runs at once each row is sent by one. `docs/uploading.md` and `docs/outbox.md` say more. `spark_dataframe`
        and `project_id` come in either order; `staging` replaces the client's for this call.

        Returns:
            `CreationResult`, also a mapping with `batch_id`, `batch_ids`, `task_count`, `bytes` and more. Its `wait()`
            waits until Sama has created the tasks and reports those that failed, its `cancel()` stops the creation.
            With `dry_run` a `DryRun`.

        Raises:
            InvalidInput, ContractError: an option, or columns that do not fit the project. Nothing was created.
            InvalidRowsError, TooManyTasks, RepeatedKeys, ChangedRows, OutboxError: nothing was created.
            BatchesNotStarted: everything was uploaded, but not all batches were started; the error names them.
            ConnectorError: a call failed for good; the batches opened by then were cancelled.
        """
        given = locals()
        if hasattr(project_id, "mapInArrow"):  # the old README's order
            spark_dataframe, project_id = cast("DataFrame", project_id), str(id_of(spark_dataframe, "project_id"))
        if not hasattr(spark_dataframe, "mapInArrow"):
            raise InvalidInput(
                f"create_task_batch_from_table got a {type(spark_dataframe).__name__} where a Spark DataFrame is due",
                remedy="call it as create_task_batch_from_table(df, project_id)",
            )
        refuse_stream(spark_dataframe, "use df.writeStream.foreachBatch(MicroBatches(...))")
        options = from_arguments(CreationOptions, given | {"outputs": {} if outputs is None else outputs})
        find_stage = self._stage_finder(spark_dataframe.sparkSession, staging)
        return create_tasks(self, spark_dataframe, project_id, options, self._staging, find_stage)

    def resume(
        self,
        spark: SparkSession,
        *,
        outbox: str,
        unsure: Mapping[int, Verdict] | None = None,
        timeout: float = 600.0,
    ) -> OutboxReport:
        """Settle what runs left behind in an outbox, without their DataFrames. Nothing is uploaded.

        A batch that still waits is continued once no other run may do so, some minutes after its run died; one that has
        ended is recorded. On the wire: GET batches/{batch_id}.json for each claimed or started batch, more where not
        all tasks were created; POST continue.json where a batch waits.

        Args:
            spark: the session to read the table on, classic or Connect.
            outbox: the table that was given as `outbox`.
            unsure: your decision on batches whose fate Sama does not show: "created" (their tasks exist) or "void"
                (none exists and none will: the next run sends their rows again).
            timeout: seconds to wait for leases of other runs to end, 600 by default.

        Returns:
            `OutboxReport`: `recovered` says what was done with each batch; `unsure` and `still_open` what is left.

        Raises:
            InvalidInput: a batch in `unsure` is not unsure. OutboxError: there is no such outbox.
        """
        check_session(spark)
        return resume(self, spark, outbox, {} if unsure is None else unsure, timeout)

    def purge(
        self,
        spark: SparkSession,
        *,
        outbox: str,
        rows: DataFrame | None = None,
        rejected_table: str | None = None,
        staging: str | None = None,
    ) -> Purged:
        """Remove what is kept of some rows, or of all. No call is made: the tasks at Sama stay.

        Keys go from the outbox and its `_tasks` table, rows from `rejected_table`, and left-over folders from the
        stage. A row that the outbox has forgotten is new to it: sent again, it is paid for again. Run this while no
        upload runs. Delta keeps earlier versions until VACUUM; the result has the statements.

        Args:
            spark: the session to use, classic or Connect.
            outbox: the table that was given as `outbox`.
            rows: DataFrame with the outbox's key columns, None for everything.
            rejected_table: as given to the runs.
            staging: as for the client, for this call.

        Returns:
            `Purged`: how many rows went from which table, and how many folders from the stage.
        """
        check_session(spark)
        check_text(outbox, "outbox")
        check_texts(rejected_table=rejected_table, staging=staging)
        if rows is not None:
            check_dataframe(rows, "rows")
            refuse_stream(rows, "read these rows from a table")
        return purge_outbox(spark, outbox, rejected_table, rows, self._stage(spark, staging))

    @checks_arguments
    def purge_synced(
        self,
        spark: SparkSession,
        project_id: str,
        into: str,
        *,
        prefix: str = "",
        task_ids: Sequence[Id] | None = None,
        masks: str | None = None,
        staging: str | None = None,
    ) -> Purged:
        """Remove what `sync` keeps of some tasks, or of the project. No call is made: the tasks at Sama stay.

        Rows go from the tables, copies from `masks`, and left-over folders from the stage. A later `sync` brings back
        what it reads again: tasks of the last hour (`overlap`), or all with `full=True` or after a purge of the whole
        project. So have Sama remove the tasks before, or stop syncing the project. If a purge is killed, run it again.
        Run it while no sync runs. Delta keeps earlier versions until VACUUM; the result has the statements.

        Args:
            spark: the session to use, classic or Connect.
            project_id: Sama's project; the tables must be its own.
            into: schema or folder of the tables, as for `sync`.
            prefix: as for `sync`.
            task_ids: Sama's ids of the tasks, None for all that is kept of the project, its runs included.
            masks: folder that was given to `sync`; None leaves copies of masks where they are.
            staging: as for the client, for this call.

        Returns:
            `Purged`: how many rows went from which table, files of masks, and how many folders from the stage.

        Raises:
            SyncError: there are no such tables, or they belong to another project.
            InvalidInput: `task_ids` is empty, or one of them.
        """
        if task_ids is not None and not task_ids:
            raise InvalidInput("task_ids is no list of ids", remedy="give Sama's ids, or None for the whole project")
        check_session(spark)
        check_text(into, "into")
        check_texts(masks=masks, staging=staging)
        tables = SyncTables(spark, into, str(project_id), prefix)
        ids = None if task_ids is None else [str(task_id) for task_id in task_ids]
        folder = None if masks is None else local_path(masks).absolute() / str(project_id)
        return purge_synced(tables, ids, folder, self._stage(spark, staging))

    @checks_arguments
    @documented(SyncOptions)
    def sync(
        self,
        spark: SparkSession,
        project_id: str,
        into: str,
        *,
        feeds: Sequence[FeedName] = ("delivered",),
        consumer: str | None = None,
        prefix: str = "",
        batches: Sequence[int] = (),
        max_calls: int | None = None,
        full: bool = False,
        overlap: timedelta = OVERLAP,
        label: Label = None,
        frames: Frames = "key",
        masks: str | None = None,
        schema_mode: SchemaMode = "evolve",
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        views: bool = False,
        staging: str | None = None,
    ) -> SyncResult:
        """Bring what is new of a project, its deliveries and the states of its tasks, into Delta tables.

        `into` is a schema ("schema", "catalog.schema") or a folder. `docs/tables.md` describes the tables, which are
        created when absent, the feeds and the views. If a sync is killed, run it again: nothing is lost or doubled.
        Running it twice changes nothing. Run one sync of a project at a time.

        "delivered" begins `overlap` (1 hour) before the latest delivery in `tasks`, for deliveries that become
        visible late. A sync with filters (`batch_id` and its like) keeps a watermark of its own. `staging` replaces the
        client's for this call.

        On the wire: GET schemas/deliver_task.json; then for "delivered" GET tasks/delivered.json; for
        "since_last_call" POST tasks/delivered.json; for "status" GET tasks.json, and GET tasks/{id}.json for up to
        1,000 known tasks that its lists lack; for "batches" GET batches/{id}.json; for "stats" GET stats.json. With
        `masks` GET of each mask's own link, without the key, and GET tasks/{id}.json where a link has expired.

        Returns:
            `SyncResult`: counts, changes of the contract, and the watermark. It is printed, and kept in `runs`.

        Raises:
            InvalidInput: an option is not understood.
            SyncError: the tables belong to another project or to an unknown layout, or are frozen.
            StagingError: `masks` is no path of the file system.
        """
        given = locals()
        check_text(into, "into")
        if not isinstance(overlap, timedelta):
            raise InvalidInput("overlap is no timedelta", column="overlap", remedy="give timedelta(hours=1)")
        given["batches"] = [number_of(batch, "batches") for batch in ids_of(batches, "batches")]
        options = from_arguments(SyncOptions, given)
        SamaReader(options.label, options.frames)  # refuses what it cannot use
        copies = None if options.masks is None else Masks(self, str(project_id), local_path(options.masks).absolute())
        check_session(spark)
        tables = SyncTables(spark, into, str(project_id), options.prefix)
        chosen = sama_feeds(
            options.feeds,
            self,
            str(project_id),
            consumer=options.consumer,
            batches=options.batches,
            max_calls=options.max_calls,
            filters=options.filters,
        )
        sync = SyncRun(
            spark,
            tables,
            self._stage_finder(spark, staging),
            TableTypes(*delivery_contract(self, project_id)),
            TABLE_ENVELOPE,
            label=options.label,
            frames=options.frames,
            overlap=overlap,
            full=options.full,
            schema_mode=options.schema_mode,
            masks=copies,
        )
        result = sync.run(chosen)
        print(result)
        ensure_labels(tables)
        if options.views:
            create_views(tables)
        return result

    @checks_arguments
    def reject_task(
        self,
        project_id: Id,
        task_id: Id,
        reasons: Sequence[str],
        *,
        spark: SparkSession | None = None,
        into: str | None = None,
        prefix: str = "",
    ) -> dict[str, Any]:
        """Send a delivered task back for rework: PUT tasks/{id}/reject.json with {"reasons": [...]}.

        The call is not repeated where Sama may have carried it out. With `spark` and `into` the tables of `sync` are
        updated: a row in `task_states`, and `current_state` in `tasks`. Without them the next sync of the feed "status"
        does that. The task's labels stay until it is delivered again.

        Args:
            project_id: Sama's project.
            task_id: Sama's id of the task.
            reasons: at least one text.
            spark: the session to use, classic or Connect.
            into: schema or folder of the tables, as for `sync`.
            prefix: as for `sync`.

        Raises:
            InvalidInput: only one of `spark` and `into` is given; nothing was sent.
            SyncError: there are no such tables, and nothing was sent; or they could not be written after the task was
                rejected, as the message says.
        """
        check_texts(into=into)
        if (spark is None) != (into is None):
            raise InvalidInput(
                "reject_task takes spark and into together", remedy="give both, or none. Nothing was sent."
            )
        if spark is None or into is None:
            return super().reject_task(project_id, task_id, reasons)
        tables = SyncTables(spark, into, str(project_id), prefix)
        tables.check()
        reply = super().reject_task(project_id, task_id, reasons)
        note_rejected(tables, str(task_id))
        return reply
