"""Fetch a feed once, on the driver, and return it as a DataFrame."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pyspark.sql import types as T

from sama_spark.errors import ConnectorError, FeedInterrupted
from sama_spark.http.call_errors import NotFoundError
from sama_spark.inbound.delivery_types import delivery_types
from sama_spark.inbound.lines import TABLE_BYTES, ahead, line_tables, stage_lines, staged_lines, streamed_lines
from sama_spark.inbound.table import asked_type, inferred_type, task_table
from sama_spark.staging import stage_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType

    from sama_spark.api.api_client import ApiClient
    from sama_spark.api.task_text import Page
    from sama_spark.staging import Stage, Staging

log = logging.getLogger("sama_spark")


class FeedReader:
    """Reads feeds of one project on one session."""

    def __init__(
        self,
        api: ApiClient,
        spark: SparkSession,
        project_id: str | int,
        staging: Staging,
        stage: Stage | None,
        answers_schema: str | DataType | None,
    ) -> None:
        self._api, self._spark, self._project_id = api, spark, project_id
        self._staging, self._stage = staging, stage
        self._answers_schema = answers_schema

    def read(self, pages: Iterator[Page]) -> DataFrame:
        """Return all tasks of a feed that can be read again."""
        types = self._types()
        return self._table(self._lines(ahead(pages)), types)

    def read_once(self, pages: Iterator[Page]) -> DataFrame:
        """Return all tasks of a feed that serves each task once. Each page is safe before the next is requested.

        Raises:
            FeedInterrupted: a call failed; `received` has what came before.
        """
        types = self._types()
        failure: list[ConnectorError] = []
        if self._stage is None:
            log.warning(
                "tasks since the last call are held in memory only: Sama does not serve them again. "
                "Name a shared folder in `staging=` to keep them on disk."
            )
        table = self._table(self._lines(_until_error(pages, failure)), types)
        if failure:
            raise FeedInterrupted(
                f"the feed broke off: {failure[0]}",
                project_id=self._project_id,
                remedy="save the DataFrame in this error's `received`: Sama does not serve these tasks again to "
                "this consumer; a task in the lost reply is found with get_delivered_tasks(from_timestamp=...)",
                received=table,
            )
        return table

    def _types(self) -> tuple[DataType, DataType | None]:
        """Return the types of `data` and `answers` before a task is fetched; None means to infer it later."""
        types = delivery_contract(self._api, self._project_id)
        if self._answers_schema is None:
            return types
        return types[0], None if self._answers_schema == "infer" else asked_type(self._spark, self._answers_schema)

    def _table(self, lines: DataFrame, types: tuple[DataType, DataType | None]) -> DataFrame:
        return task_table(lines, types[0], types[1] or inferred_type(lines))

    def _lines(self, pages: Iterator[Page]) -> DataFrame:
        """Fetch the pages, and return their lines: in the stage, or held in memory where there is none."""
        if self._stage is None:
            return streamed_lines(self._spark, line_tables(pages, TABLE_BYTES))
        folder = self._staging.keep(self._stage.new_run("back"))
        with stage_errors(folder):
            tasks = stage_lines(pages, folder)
        until = datetime.now(timezone.utc) + self._stage.ttl
        log.info("%s tasks staged; the DataFrame reads them until %s UTC or close()", tasks, f"{until:%F %R}")
        return staged_lines(self._spark, folder)


def delivery_contract(api: ApiClient, project_id: str | int) -> tuple[DataType, DataType]:
    """Return the types of `data` and `answers` by the delivery schema; JSON text if there is none (404)."""
    try:
        return delivery_types(api.get_delivery_task_schema(project_id))
    except NotFoundError:
        return T.StringType(), T.StringType()


def _until_error(pages: Iterator[Page], failure: list[ConnectorError]) -> Iterator[Page]:
    try:
        yield from pages
    except ConnectorError as error:
        failure.append(error)
