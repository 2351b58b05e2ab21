"""One round through the status lists, over as many runs as it takes.

Sama has a list for every state. The round reads the lists of all states that can still change. It saves the rows in the
table `status_round` with their page, so the place where the next run goes on is never ahead of the rows. After the last
list, a known task that was in none of them was acknowledged or deleted, or it moved from one list to another between
two calls. The round asks for each such task by its id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from sama_spark.api.broken_json import without_surrogates
from sama_spark.api.states import TaskStates
from sama_spark.api.task_text import as_dict
from sama_spark.driver_rows import local_values
from sama_spark.errors import InvalidInput
from sama_spark.http.call_errors import NotFoundError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

    from sama_spark.api.api_client import ApiClient
    from sama_spark.api.task_text import TaskText
    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.inbound.sync.tables import SyncTables

# In the order of the workflow, so that a task that moves on meanwhile is seen twice rather than never.
LISTS = tuple(state.value for state in TaskStates if state is not TaskStates.ACKNOWLEDGED)
GONE = "gone"
ENDED = (TaskStates.ACKNOWLEDGED.value, GONE)

_SEEN = """
    task_id STRING COMMENT 'null where the list ended',
    batch_id BIGINT, client_batch_id STRING, state STRING, priority INT,
    polled STRING COMMENT 'the list; null for a task that was requested by its id', page INT,
    seen_at TIMESTAMP_LTZ
"""
_MOST_WAITING = 5000  # rows that wait on the driver
_BY_ID = 1000  # most tasks that a round requests one by one


@dataclass
class StatusRound:
    """A round that is under way.

    Attributes:
        api: how to call Sama.
        tables: the project's tables.
        progress: its `pages` counts the calls of this run.
        max_calls: the most calls of this run; None for no bound.
    """

    api: ApiClient
    tables: SyncTables
    progress: FeedSync
    max_calls: int | None
    _waiting: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._table = self.tables.status_round
        self._is_saved = self._table.exists()

    def read(self, known: DataFrame) -> bool:
        """Go on where the last run stopped.

        The list of acknowledged tasks only grows, so the round reads it only if more tasks are missing than it may
        request one by one. Tasks that are missing even then wait for the next round.

        Args:
            known: tasks whose state can change, with `task_id`, `batch_id` and `client_batch_id`.

        Returns:
            Whether the round is over; False if `max_calls` ends this run before.
        """
        places = self._places()
        for polled in LISTS:
            if not self._read_list(polled, places.get(polled, 1)):
                return False
        missing = self._missing(known)
        acknowledged = TaskStates.ACKNOWLEDGED.value
        if acknowledged in places or len(missing) > _BY_ID:
            if not self._read_list(acknowledged, places.get(acknowledged, 1)):
                return False
            missing = self._missing(known)
        return self._ask(missing[:_BY_ID])

    def seen(self) -> DataFrame:
        """Return what this round has seen so far."""
        waiting = local_values(self.tables.spark, self._waiting, _SEEN)
        rows = self._table.read().unionByName(waiting) if self._is_saved else waiting
        return rows.where("task_id IS NOT NULL")

    def save(self) -> None:
        """Save what has been seen in the table, for the next run."""
        if self._waiting:
            if not self._is_saved:
                self._table = self.tables.ensure("status_round", _SEEN, "Tasks seen in the round of lists under way")
                self._is_saved = True
            self._table.append(local_values(self.tables.spark, self._waiting, _SEEN))
            self._waiting = []

    def end(self) -> None:
        """Empty the table, so that the next run begins a new round."""
        if self._is_saved:
            self._table.delete(None, "task_id")

    def _places(self) -> dict[str, int | None]:
        """Return the page to go on with for each list; None where the list has ended."""
        if not self._is_saved:
            return {}
        lists = self._table.read().where("polled IS NOT NULL").groupBy("polled")
        found = lists.agg(F.max("page").alias("page"), F.bool_or(F.col("task_id").isNull()).alias("ended"))
        return {row["polled"]: None if row["ended"] else row["page"] + 1 for row in found.collect()}

    def _read_list(self, polled: str, number: int | None) -> bool:
        if number is None:
            return True
        pages = self.api.state_pages(self.tables.project_id, polled, number)
        while self._may_call(f"'{polled}', page {number}"):
            page = next(pages, [])
            now = datetime.now(timezone.utc)
            if not page:
                self._keep([(*[None] * 5, polled, number, now)])  # the list has ended
                return True
            self._keep([_row(task, polled, number, now) for task in page])
            number += 1
        return False

    def _missing(self, known: DataFrame) -> list[Row]:
        return known.join(self.seen().select("task_id"), "task_id", "left_anti").limit(_BY_ID + 1).collect()

    def _ask(self, missing: list[Row]) -> bool:
        for task in missing:
            if not self._may_call(f"task {task['task_id']}"):
                return False
            try:
                text = self.api.task_status_text(self.tables.project_id, task["task_id"], same_as_delivery=False)
            except NotFoundError:
                gone = (task["task_id"], task["batch_id"], task["client_batch_id"], GONE, None, None, None)
                self._keep([(*gone, datetime.now(timezone.utc))])
            except InvalidInput:  # an id that no call can have
                self._keep([None])
            else:
                self._keep([_row(text, None, None, datetime.now(timezone.utc))])
        return True

    def _may_call(self, place: str) -> bool:
        if self.max_calls is not None and self.progress.pages >= self.max_calls:
            self.progress.goes_on = place
            return False
        self.progress.pages += 1
        return True

    def _keep(self, rows: list[tuple[Any, ...] | None]) -> None:
        """Keep rows; None is a task that cannot be read, which only counts as rejected."""
        readable = [row for row in rows if row is not None]
        self._waiting += readable
        self.progress.rejected += len(rows) - len(readable)
        if len(self._waiting) >= _MOST_WAITING:
            self.save()


def can_change(state: Column) -> Column:
    """Return whether a state is unknown or no end state."""
    return ~F.coalesce(state.isin(*ENDED), F.lit(False))


def _row(task: TaskText, polled: str | None, page: int | None, now: datetime) -> tuple[Any, ...] | None:
    """Return the row of a task; None if the task has no id or no state."""
    fields = as_dict(task)
    state, client_batch_id = fields.get("state"), fields.get("client_batch_id")
    if task.id is None or not isinstance(state, str):
        return None
    return (
        str(task.id),
        _number(fields.get("batch_id"), 63),
        None if client_batch_id is None else without_surrogates(str(client_batch_id)),
        without_surrogates(state),
        _number(fields.get("priority"), 31),
        polled,
        page,
        now,
    )


def _number(value: Any, bits: int) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -(2**bits) <= number < 2**bits else None
