"""`Client`: the drop-in face for `sama.databricks.Client`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from sama_spark.api.api_client import ApiClient
from sama_spark.api.calls import Id, accepts_proj_id
from sama_spark.api.states import TaskStates
from sama_spark.arguments import check_one_of, check_text, check_texts, check_whole, check_yes_no, names_of, shown
from sama_spark.errors import InvalidInput
from sama_spark.ids import id_of, ids_of, number_of
from sama_spark.inbound.read import FeedReader
from sama_spark.inbound.sync.feeds.status_feed import note_rejected
from sama_spark.inbound.sync.masks import Masks
from sama_spark.inbound.sync.purge import COMES_BACK, purge_masks, purge_synced
from sama_spark.inbound.sync.sync_result import Feed, SyncResult
from sama_spark.inbound.sync.sync_run import OVERLAP, Sync
from sama_spark.inbound.sync.table_types import SchemaMode
from sama_spark.inbound.sync.tables import SyncTables
from sama_spark.inbound.sync.views import create_views
from sama_spark.outbound.create import create_tasks
from sama_spark.outbound.creation_options import CHUNK_BYTES, CHUNK_ROWS, IN_FLIGHT, CreationOptions, OnInvalid
from sama_spark.outbound.creation_result import CreationResult
from sama_spark.outbound.creation_schema import ContractMode, OutputFormat
from sama_spark.outbound.outbox.outbox import BY_CONTENT, OnChanged, outbox_options
from sama_spark.outbound.outbox.purge import Purged, purge_tables
from sama_spark.outbound.outbox.report import OutboxReport
from sama_spark.outbound.outbox.settle import Word, resume
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.outbound.task_fields import TaskFields
from sama_spark.sessions import check_dataframe, check_session, refuse_stream
from sama_spark.staging import STAGING_TTL, Staging, local_path
from sama_spark.vendors.sama.reader import Flattener

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType

    from sama_spark.vendors.sama.reader import Frames, Label


class Client(ApiClient):
    """Sama from Spark: every method of `ApiClient`, and those that take or give DataFrames.

    Args:
        api_key: the account's key. It stays in this process and is shown nowhere.
        silent: False prints, or logs to `logger` at `log_level`, a line for each call. Waits are told either way.
        logger, log_level: where those lines go; None prints them.
        base_url: the API's root, for a sandbox or proxy.
        staging: folder shared by driver and workers in which text waits, such as
            "/Volumes/catalog/schema/volume"; None takes a temporary folder where the workers see it too (local
            mode) and else streams through the driver; False always streams. Each call that uses it takes its own
            `staging` as well.
        staging_ttl: how long what a dead process left there is kept, 7 days by default.
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
        """Close connections and remove what waits in the stage: DataFrames that this client gave end with it."""
        super().close()
        self._staging.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @accepts_proj_id
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
        chunk_rows: int = CHUNK_ROWS,
        chunk_bytes: int = CHUNK_BYTES,
        in_flight: int = IN_FLIGHT,
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

        The project's creation schema is read and every column and row checked against it. Rows are encoded by
        Spark (`outbound.render` has the rendering of every type), cut into chunks, and each chunk becomes a
        batch: POST batches.json, PUT to its signed URL, and once all uploads of the run stand, POST
        continue.json for each. The DataFrame is computed once, after a look for a first row; an empty one makes
        no call. Without an `outbox` the promise "nothing is paid for twice" holds within one run: calling again
        sends again.

        Args:
            spark_dataframe, project_id: in either order.
            batch_priority: for all tasks, signed 32 bit; lower is served first.
            notification_email: where Sama mails the outcome of each batch.
            submit: create the tasks as submitted.
            tasks_file_name: label of the uploads in Sama's web application.
            staging: as for the client, for this call.
            chunk_rows, chunk_bytes: the most that one batch holds: 5,000 tasks, 8 MiB. A larger single task
                travels alone.
            in_flight: uploads at the same time, 4.
            max_tasks: refuse a DataFrame with more rows before any batch is opened.
            outputs: "json" or "text" by output name, where `output_` columns of text should not follow the
                project's schema.
            not_sent: columns that are no inputs: keys, split names, anything of your own.
            priority_column: integer column with a row's own priority; null means `batch_priority`.
            reserve_for_column: integer column with the id of the agent a row's task is reserved for, or null.
            contract: "strict" refuses what does not fit the creation schema, nulls in required inputs, and
                paths that Sama cannot reach (`/Volumes/`, `dbfs:`, `file:`); "lenient" renders by the schema and
                leaves these to Sama, with a warning in the log; "off" does not read the schema.
            row_key: columns that name a row in errors, among the rejected rows and in the outbox. They are inputs
                too, unless they stand in `not_sent`. With an outbox they must tell all rows apart, and "content"
                takes the whole row: then a row that changes in anything (a URL signed anew, a fresh score) is a
                new row and is paid for again, and a row that comes again on another day counts as known.
            outbox: Delta table (a name, or a path with a slash) that remembers which rows became tasks; created
                when absent, and bound to this project and `row_key`. A rerun sends what is missing, whatever ended
                the run before; of two runs at once each row is sent by one. Not to be edited, copied or restored.
            on_changed: what happens to a row that the outbox knows with other values: "skip" (it is counted),
                "error" or "resend" (it is paid for again). Queries of URLs and nulls do not count.
            ignore_changes: columns that may change without that. Given when the outbox is made; later runs take it
                from there.
            on_invalid: "raise" creates nothing where a row cannot become a task; "reject" creates the others and
                gives these as `result.rejected`.
            rejected_table: with "reject", a Delta table (a name, or a path with a slash) that they are appended to
                before any task is created; made when absent.
            dry_run: encode and check everything, read the schema, and send nothing: gives a `DryRun`, which tells
                what would become of each column, how many tasks, bytes and batches there would be, and which
                rows cannot become tasks.
            on_progress: called on the driver with the number of tasks uploaded so far.
            key_prefix: with row_key="content", stands before each key: the same row is another one under another
                prefix.

        Returns:
            `CreationResult`, also a mapping with `batch_id`, `batch_ids`, `task_count`, `bytes` and more. Its `wait()`
            tells when Sama has created the tasks and which failed, its `cancel()` stops that.

        Raises:
            ContractError: columns do not fit the project. InvalidRowsError: rows do not. TooManyTasks.
            RepeatedKeys, ChangedRows, OutboxError: as told above; nothing was created.
            BatchesNotStarted: uploads stand, but not all batches were started; it tells which.
            ConnectorError: a call failed for good; batches opened by then were cancelled.
        """
        if hasattr(project_id, "mapInArrow"):  # the old README's order
            spark_dataframe, project_id = cast("DataFrame", project_id), str(id_of(spark_dataframe, "project_id"))
        if not hasattr(spark_dataframe, "mapInArrow"):
            raise InvalidInput(
                f"create_task_batch_from_table got a {type(spark_dataframe).__name__} where a Spark DataFrame is due",
                remedy="call it as create_task_batch_from_table(df, project_id)",
            )
        refuse_stream(
            spark_dataframe,
            "use df.writeStream.foreachBatch(MicroBatches(...))",
        )
        check_texts(staging=staging)
        by_content = isinstance(row_key, str) and row_key == BY_CONTENT
        names = () if by_content else names_of("row_key", row_key)
        options = CreationOptions(
            fields=TaskFields(
                priority=batch_priority,
                submit=submit,
                priority_column=priority_column,
                reserve_for_column=reserve_for_column,
                not_sent=names_of("not_sent", not_sent),
                row_key=names,
            ),
            contract=contract,
            on_invalid=on_invalid,
            rejected_table=rejected_table,
            outbox=outbox_options(
                outbox,
                OutboxKeys(names, names_of("ignore_changes", ignore_changes), key_prefix),
                on_changed,
                by_content=by_content,
            ),
            dry_run=dry_run,
            notification_email=notification_email,
            tasks_file_name=tasks_file_name,
            chunk_rows=chunk_rows,
            chunk_bytes=chunk_bytes,
            in_flight=in_flight,
            max_tasks=max_tasks,
            outputs={} if outputs is None else outputs,
            on_progress=on_progress,
        )
        stage = self._staging.stage(spark_dataframe.sparkSession, staging or self._staging_folder)
        return create_tasks(self, spark_dataframe, project_id, options, self._staging, stage)

    def resume(
        self,
        spark: SparkSession,
        *,
        outbox: str,
        unsure: Mapping[int, Word] | None = None,
        timeout: float = 600.0,
    ) -> OutboxReport:
        """Settle what runs left behind in an outbox, without their DataFrames.

        Each batch that is claimed or started there is asked for at Sama. One that still waits is continued once no
        other run may do so, which takes up to some minutes after that run died; one that has ended is recorded.
        Nothing is uploaded. On the wire: GET batches/{batch_id}.json with page_size=0 for each, more where not all
        tasks were created; POST continue.json where a batch waits.

        Args:
            spark: the session to read the table on, classic or Connect.
            outbox: the table that was given as `outbox`.
            unsure: a person's word on batches that nobody else can judge: "created" (their tasks exist) or "void"
                (none exists and none will: their rows are sent again by the next run).
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
        """Remove what is kept of some rows, or of all: keys in the outbox and its `_tasks` table, rejected rows, and
        what runs left in the stage. No call is made: the tasks at Sama stay.

        An outbox that has forgotten a row takes it for new: sent again, it is paid for again. Delta keeps earlier
        versions until VACUUM; the result has the statements. No run may be under way: its stage would go too.

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
        check_text("outbox", outbox)
        check_texts(rejected_table=rejected_table, staging=staging)
        if rows is not None:
            check_dataframe("rows", rows)
            refuse_stream(rows, "read these rows from a table")
        counts = purge_tables(spark, outbox, rejected_table, rows)
        stage = self._staging.stage(spark, staging or self._staging_folder)
        return Purged(counts, stage.clear() if stage else 0)

    @accepts_proj_id
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
        """Remove what `sync` keeps of some tasks, or of the whole project: rows of its tables, copies of masks, and
        what runs left in the stage. No call is made: the tasks at Sama stay.

        A later `sync` brings back what it reads again: tasks delivered in the last hour (`overlap`), all with
        `full=True`, and all after a purge of the whole project. Sama's API deletes new tasks only, so have Sama remove
        delivered ones before, or sync this project no more. A purge that dies is run again. No sync may be under way.
        Delta keeps earlier versions until VACUUM; the result has the statements.

        Args:
            spark: the session to use, classic or Connect.
            project_id: Sama's project; the tables must be its own.
            into, prefix, masks: as for `sync`.
            task_ids: Sama's ids of the tasks, None for all that is kept of the project, its runs included.
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
        check_text("into", into)
        check_texts(masks=masks, staging=staging)
        tables = SyncTables(spark, into, str(project_id), prefix)
        ids = None if task_ids is None else [str(task_id) for task_id in task_ids]
        counts = purge_synced(tables, ids)
        files = 0 if masks is None else purge_masks(local_path(masks).absolute() / str(project_id), ids)
        stage = self._staging.stage(spark, staging or self._staging_folder)
        return Purged(counts, stage.clear() if stage else 0, files, COMES_BACK)

    @accepts_proj_id
    def sync(
        self,
        spark: SparkSession,
        project_id: str,
        into: str,
        *,
        feeds: Sequence[Feed] = ("delivered",),
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
        """Bring a project's deliveries, and what became of its tasks, into Delta tables: what is new since last time.

        | table | holds |
        | --- | --- |
        | `deliveries_raw` | every delivery as received, its JSON text to the byte |
        | `tasks` | the latest delivery of each task, typed by the project's delivery schema |
        | `annotations` | a row for each shape or answer of these; see `flatten_annotations` |
        | `runs` | what each sync did, also one that failed |
        | `task_states` | a row each time a task was seen in another state (feed "status") |
        | `batches` | each batch: its creation job (feed "batches") |
        | `project_stats` | Sama's statistics, each time they differ (feed "stats") |

        The tables are made when absent. A sync that dies, at whatever point, is made good by the next one; one that
        is run again changes nothing. One sync of a project at a time. On the wire: GET schemas/deliver_task.json; then
        for "delivered" GET tasks/delivered.json; for "since_last_call" POST tasks/delivered.json; for "status" GET
        tasks.json for each 100 tasks that are not acknowledged and once more for each of six states, at one call a
        second, and GET tasks/{id}.json for known tasks that these lists do not have, up to 1,000; for "batches" GET
        batches/{id}.json for each job that had not finished; for "stats" GET stats.json. With `masks` GET of each
        mask's own link, without the key, and GET tasks/{id}.json where that has expired.

        Args:
            spark: the session to use, classic or Connect.
            project_id: Sama's project; the tables belong to it.
            into: schema ("schema", "catalog.schema") or path of a folder for the tables.
            feeds: "delivered" reads by time, from the last delivery in `tasks` on, and loses nothing. "since_last_call"
                reads what Sama has not yet served to `consumer`, page by page, each landed before the next; a page
                whose reply was lost comes with "delivered". "status" reads the lists of all states but acknowledged,
                keeps the history, and brings `tasks.current_state` up to date; name it after "delivered".
                "batches" asks for the batches of all tasks that the tables know. "stats" is one call.
            consumer: the token whose place in since_last_call is used; None for Sama's default.
            prefix: begins the tables' names, so that projects share a schema.
            batches: ids of batches that "batches" asks for too, such as the `batch_ids` of a creation result.
            max_calls: the most calls that "status" and "batches" make, each, retries aside; None for no bound. The
                next sync goes on where this one stopped.
            full: "delivered" reads all again, and takes over what has been missed.
            overlap: how far before the last delivery to begin, for deliveries that become visible late.
            label, frames: as for `flatten_annotations`. A label that no shape has is told in the result's `notes`, with
                the tags that there are.
            masks: folder that the driver can write, such as "/Volumes/catalog/schema/volume/masks": the PNG behind each
                `mask_url` is copied there before `annotations` names it in `mask_path`. A mask that cannot be had is
                counted and told in the result's `notes`, and its `mask_path` is null; the next sync tries the 1,000
                latest of these again, `full` all, also from before `masks` was given. By default no mask is copied.
            schema_mode: what happens to fields that `tasks` lacks, be it by the project's delivery schema or by what is
                delivered (of which 5,000 tasks are looked at). "evolve": it gains them. "freeze": SyncError, which
                names them, after the deliveries have landed. "discard": they stay in `deliveries_raw` alone.
            batch_id, client_batch_id, client_batch_id_match_type: only the deliveries of these, for the feeds
                "delivered" and "since_last_call". A sync through a filter keeps its own watermark, so that one without
                it misses nothing.
            views: make or replace the views `labels_current` (which the first sync into a schema makes by itself),
                `tags`, `label_counts`, `open_work`, `throughput_by_day`, `progress_by_day`, `rework` and `turnaround`:
                beside the tables, or, where `into` is a path, as temporary views of `spark`. Their names begin with
                `prefix` too.
            staging: as for the client, for this call.

        Returns:
            `SyncResult`: counts, the contract's changes and the watermark. It is printed, and stands in `runs`.

        Raises:
            InvalidInput: a feed or `schema_mode` is not known, or `max_calls` is less than 1.
            SyncError: the tables belong to another project, or to a layout that is not known, or are frozen.
            StagingError: `masks` is no path of the file system.
        """
        check_text("into", into)
        check_texts(consumer=consumer, masks=masks, staging=staging)
        check_yes_no(full=full, views=views)
        if isinstance(feeds, str) or not set(names_of("feeds", feeds)) <= set(get_args(Feed)):
            raise InvalidInput(
                f"feeds={shown(feeds)} are not understood", remedy=f"name some of {get_args(Feed)} in a list"
            )
        check_one_of("schema_mode", schema_mode, get_args(SchemaMode))
        Flattener(label, frames)  # refuses what it cannot use
        batches = [number_of(batch, "batches") for batch in ids_of(batches, "batches")]
        if not isinstance(overlap, timedelta):
            raise InvalidInput("overlap is no timedelta", column="overlap", remedy="give timedelta(hours=1)")
        if max_calls is not None:
            check_whole("max_calls", max_calls, 1)
        copies = None if masks is None else Masks(self, str(project_id), local_path(masks).absolute())
        check_session(spark)
        stage = self._staging.stage(spark, staging or self._staging_folder)
        tables = SyncTables(spark, into, str(project_id), prefix)
        filters = {
            "batch_id": batch_id,
            "client_batch_id": client_batch_id,
            "client_batch_id_match_type": client_batch_id_match_type,
        }
        sync = Sync(
            self,
            spark,
            tables,
            stage,
            label=label,
            frames=frames,
            overlap=overlap,
            full=full,
            consumer=consumer,
            batches=batches,
            max_calls=max_calls,
            masks=copies,
            schema_mode=schema_mode,
            filters={name: value for name, value in filters.items() if value is not None},
        )
        result = sync.run(feeds)
        if views:
            create_views(tables)
        return result

    @accepts_proj_id
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

        Not repeated where it may have been carried out. With `spark` and `into` the tables of `sync` are told: a row in
        `task_states`, and `current_state` in `tasks`. Its labels stay until the task is delivered again. Without them
        the next sync of the feed "status" finds out.

        Args:
            reasons: at least one text.
            spark: the session to use, classic or Connect.
            into, prefix: as for `sync`.

        Raises:
            InvalidInput: only one of `spark` and `into` is given; nothing was sent.
            SyncError: there are no such tables, and nothing was sent; or they could not be written, and the task is
                rejected: the message tells.
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

    @accepts_proj_id
    def get_delivered_tasks_to_table(
        self,
        spark: SparkSession,
        project_id: str,
        batch_id: str | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        from_timestamp: str | None = None,
        task_id: str | None = None,
        *,
        staging: str | None = None,
        answers_schema: str | DataType | None = None,
    ) -> DataFrame:
        """Deliveries since `from_timestamp`, as a DataFrame that is fetched once, now, and has a stable schema.

        Args:
            spark: the session to make the DataFrame on, classic or Connect.
            project_id, batch_id, client_batch_id, client_batch_id_match_type, from_timestamp, task_id: as for
                `get_delivered_tasks`.
            staging: as for the client, for this call.
            answers_schema: type of `answers`: DDL, a table whose `answers` has it, "infer" from these tasks, or
                a Spark type. By default the project's delivery schema decides, so that the schema is the same
                whatever was delivered; where it declares nothing, `answers` is JSON text.

        Returns:
            The columns of `inbound.table.task_table`.
        """
        pages = self.delivered_pages(
            project_id,
            batch_id=batch_id,
            client_batch_id=client_batch_id,
            client_batch_id_match_type=client_batch_id_match_type,
            from_timestamp=from_timestamp,
            task_id=task_id,
        )
        return self._reader(spark, project_id, staging, answers_schema).read(pages)

    @accepts_proj_id
    def get_delivered_tasks_since_last_call_to_table(
        self,
        spark: SparkSession,
        project_id: str,
        batch_id: str | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        consumer: str | None = None,
        *,
        staging: str | None = None,
        answers_schema: str | DataType | None = None,
    ) -> DataFrame:
        """Deliveries that `consumer` has not been given yet, as a DataFrame like `get_delivered_tasks_to_table`.

        Sama moves the consumer's place when it answers and never serves these tasks again: save the DataFrame.
        With a shared folder each page is on disk before the next is asked for. Calls are never retried.

        Raises:
            FeedInterrupted: a call failed; its `received` is the DataFrame of what came before.
        """
        pages = self.since_last_call_pages(
            project_id,
            batch_id=batch_id,
            client_batch_id=client_batch_id,
            client_batch_id_match_type=client_batch_id_match_type,
            consumer=consumer,
        )
        return self._reader(spark, project_id, staging, answers_schema).read_once(pages)

    @accepts_proj_id
    def get_task_status_to_table(
        self,
        spark: SparkSession,
        project_id: str,
        task_id: str,
        same_as_delivery: bool = True,
        *,
        staging: str | None = None,
        answers_schema: str | DataType | None = None,
    ) -> DataFrame:
        """One task's status as a DataFrame of one row, with the columns of `get_delivered_tasks_to_table`."""

        def page() -> Iterator[list[Any]]:
            yield [self.task_status_text(project_id, task_id, same_as_delivery)]

        return self._reader(spark, project_id, staging, answers_schema).read(page())

    @accepts_proj_id
    def get_multi_task_status_to_table(
        self,
        spark: SparkSession,
        project_id: str,
        batch_id: str | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        date_type: str | None = None,
        from_timestamp: str | None = None,
        to_timestamp: str | None = None,
        state: TaskStates | str | None = None,
        omit_answers: bool = True,
        *,
        staging: str | None = None,
        answers_schema: str | DataType | None = None,
        **filters: Any,
    ) -> DataFrame:
        """Statuses as a DataFrame with the columns of `get_delivered_tasks_to_table`; 100 tasks a second.

        Filters are those of `get_multi_task_status` (`primary_keys`, `priority`, `same_as_delivery` too).
        """
        pages = self.status_pages(
            project_id,
            batch_id=batch_id,
            client_batch_id=client_batch_id,
            client_batch_id_match_type=client_batch_id_match_type,
            date_type=date_type,
            from_timestamp=from_timestamp,
            to_timestamp=to_timestamp,
            state=state,
            omit_answers=omit_answers,
            **filters,
        )
        return self._reader(spark, project_id, staging, answers_schema).read(pages)

    def _reader(
        self,
        spark: SparkSession,
        project_id: str,
        staging: str | None,
        answers_schema: str | DataType | None,
    ) -> FeedReader:
        check_session(spark)
        check_texts(staging=staging)
        stage = self._staging.stage(spark, staging or self._staging_folder)
        return FeedReader(self, spark, project_id, self._staging, stage, answers_schema)
