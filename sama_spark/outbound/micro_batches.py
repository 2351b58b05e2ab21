"""Streams through `foreachBatch`: the rows of each micro-batch become tasks once, however often Spark repeats it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sama_spark.arguments import check_function, check_text, check_texts, names_of, shown
from sama_spark.errors import InvalidInput
from sama_spark.ids import id_of
from sama_spark.options import refuse_unknown
from sama_spark.outbound.creation_options import CreationOptions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.outbound.creation_result import CreationResult


class CreatesTasks(Protocol):
    """The one method of `Client` that streams need."""

    def create_task_batch_from_table(self, df: DataFrame, project_id: str, /, **options: Any) -> CreationResult:
        """Create a task for each row."""


class MicroBatches:
    """For `writeStream.foreachBatch(...)`: creates a task for each row of each micro-batch, through an outbox.

    Spark repeats a micro-batch after a failure; the outbox knows its rows, so they are not sent again. Spark Connect
    pickles this object: `make_client` fetches the key where the query runs, so the key is not in the pickle. On the
    wire: as for `Client.create_task_batch_from_table`, for each micro-batch.

    Args:
        make_client: a function without arguments that makes the client; called once in each process.
        project_id: Sama's project.
        outbox: Delta table that remembers what was sent.
        row_key: columns that tell rows apart over the whole life of the stream, or "content": then the same row in
            another micro-batch is another task, and `query` has to name the stream.
        query: a name of the stream that stays the same from restart to restart; None by default.
        on_result: called with each micro-batch's result; None by default.
        **options: as for `Client.create_task_batch_from_table`.

    Raises:
        InvalidInput: an argument is wrong, or `query` is missing.
        ConnectorError: at a micro-batch, as for `Client.create_task_batch_from_table`. It ends the query; a restart
            goes on where the query ended.
    """

    def __init__(
        self,
        make_client: Callable[[], CreatesTasks],
        project_id: str | int,
        *,
        outbox: str,
        row_key: str | Sequence[str],
        query: str | None = None,
        on_result: Callable[[CreationResult], None] | None = None,
        **options: Any,
    ) -> None:
        if not callable(make_client):
            raise InvalidInput(
                f"make_client is {shown(make_client)}",
                column="make_client",
                remedy="give a function that makes the client",
            )
        check_function(on_result, "on_result")
        check_text(outbox, "outbox")
        check_texts(query=query)
        names_of(row_key, "row_key")
        refuse_unknown(CreationOptions, options, "staging")
        if row_key == "content" and not query:
            raise InvalidInput(
                "where a row's content is its key, the stream needs a name of its own",
                remedy="give query= a name that stays the same from restart to restart",
            )
        self._make_client, self._project_id = make_client, str(id_of(project_id, "project_id"))
        self._query, self._on_result = query, on_result
        self._options = {"outbox": outbox, "row_key": row_key, **options}
        self._client: CreatesTasks | None = None

    def __call__(self, rows: DataFrame, batch_id: int) -> None:
        if self._client is None:
            self._client = self._make_client()
        within = f"{self._query}/{batch_id}/" if self._options["row_key"] == "content" else ""
        result = self._client.create_task_batch_from_table(rows, self._project_id, key_prefix=within, **self._options)
        if self._on_result is not None:
            self._on_result(result)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}
