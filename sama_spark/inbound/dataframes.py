"""The methods of `Client` that return deliveries and statuses as DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sama_spark.api.api_client import ApiClient
from sama_spark.api.calls import checks_arguments
from sama_spark.api.states import TaskStates
from sama_spark.arguments import check_texts
from sama_spark.inbound.read import FeedReader
from sama_spark.sessions import check_session
from sama_spark.staging import Stage, Staging

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType

_BATCH = ("batch_id", "client_batch_id", "client_batch_id_match_type")


class DataFrames(ApiClient):
    """Reads feeds into DataFrames. `Client`, which has all methods, says where text waits meanwhile."""

    _staging: Staging
    _staging_folder: str | Literal[False] | None

    @checks_arguments
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
        """Return the deliveries since `from_timestamp` as a DataFrame, fetched once, now, with a stable schema.

        The filters are those of `get_delivered_tasks`; `docs/reading.md` has the columns. `staging` replaces the
        client's for this call. `answers_schema` is the type of `answers`: DDL, a table whose `answers` has it, "infer"
        from these tasks, or a Spark type. By default the project's delivery schema decides, so that the schema is the
        same whatever was delivered; where that declares nothing, `answers` is JSON text.
        """
        pages = self.delivered_pages(project_id, **_of(locals(), *_BATCH, "from_timestamp", "task_id"))
        return self._reader(spark, project_id, staging, answers_schema).read(pages)

    @checks_arguments
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
        """Return what `consumer` has not been given yet, as a DataFrame like `get_delivered_tasks_to_table`.

        Sama moves the consumer's place when it answers and never serves these tasks again: save the DataFrame.
        With a shared folder each page is on disk before the next is requested. Calls are never retried.

        Raises:
            FeedInterrupted: a call failed; its `received` is the DataFrame of what came before.
        """
        pages = self.since_last_call_pages(project_id, **_of(locals(), *_BATCH, "consumer"))
        return self._reader(spark, project_id, staging, answers_schema).read_once(pages)

    @checks_arguments
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
        """Return one task's status as a DataFrame of one row, with the columns of `get_delivered_tasks_to_table`."""

        def page() -> Iterator[list[Any]]:
            yield [self.task_status_text(project_id, task_id, same_as_delivery)]

        return self._reader(spark, project_id, staging, answers_schema).read(page())

    @checks_arguments
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
        """Return statuses as a DataFrame with the columns of `get_delivered_tasks_to_table`; 100 tasks a second.

        Filters are those of `get_multi_task_status` (`primary_keys`, `priority`, `same_as_delivery` too).
        """
        named = _of(locals(), *_BATCH, "date_type", "from_timestamp", "to_timestamp", "state", "omit_answers")
        pages = self.status_pages(project_id, **named, **filters)
        return self._reader(spark, project_id, staging, answers_schema).read(pages)

    def _reader(
        self,
        spark: SparkSession,
        project_id: str,
        staging: str | None,
        answers_schema: str | DataType | None,
    ) -> FeedReader:
        check_session(spark)
        return FeedReader(self, spark, project_id, self._staging, self._stage(spark, staging), answers_schema)

    def _stage(self, spark: SparkSession, staging: str | None) -> Stage | None:
        """Return the stage of one call; `staging`: the folder for this call, None for the client's."""
        return self._stage_finder(spark, staging)()

    def _stage_finder(self, spark: SparkSession, staging: str | None) -> Callable[[], Stage | None]:
        """Return what finds the stage of one call when it is needed: to try it takes two Spark jobs."""
        check_texts(staging=staging)
        folder = staging or self._staging_folder
        self._staging.check(folder)
        return partial(self._staging.stage, spark, folder)


def _of(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names}
