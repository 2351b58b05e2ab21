"""One reading of the status lists, over as many runs as it takes.

Every state that can still change has its list. What is seen lands in `status_round` with the page that it was on, so
the place where the next run goes on cannot be ahead of the rows. When all lists have been read, a task that was known
and has not shown up was acknowledged, deleted, or shifted past by a list that moved: it is asked for by its id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from sama_spark.api.broken_json import plain
from sama_spark.api.states import TaskStates
from sama_spark.api.task_text import as_dict
from sama_spark.errors import InvalidInput
from sama_spark.http.call_errors import NotFoundError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

    from sama_spark.api.api_client import ApiClient
    from sama_spark.api.task_text import TaskText
    from sama_spark.inbound.sync.sync_result import FeedSync
    from sama_spark.inbound.sync.tables import SyncTables

# Along the workflow: a task that moves on meanwhile is rather seen twice than not at all.
LISTS = tuple(state.value for state in TaskStates if state is not TaskStates.ACKNOWLEDGED)
GONE = "gone"
ENDED = (TaskStates.ACKNOWLEDGED.value, GONE)

_SEEN = """
    task_id STRING COMMENT 'null where the list ended',
    batch_id BIGINT, client_batch_id STRING, state STRING, priority INT,
    polled STRING COMMENT 'the list; null for a task that was asked for by its id', page INT,
    seen_at TIMESTAMP_LTZ
"""
_PIECE = 5000  # rows that wait on the driver
_BY_ID = 1000  # tasks that a round asks for one by one


@dataclass
class StatusRound:
    """`max_calls`: of this run. `done.pages` counts them."""

    api: ApiClient
    tables: SyncTables
    done: FeedSync
    max_calls: int | None
    _waiting: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._table = self.tables["status_round"]
        self._has_landed = self._table.exists()

    def read(self, known: DataFrame) -> bool:
        """Go on where the last run stopped; False where `max_calls` ends this one before the round is over.

        `known`: tasks whose state can change, by task_id, batch_id and client_batch_id.

        The list of acknowledged tasks only grows. It is read only where more tasks are missing than may be asked for
        one by one; what is missing even then waits for the next round.
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
        """What this round has seen so far."""
        waiting = self.tables.spark.createDataFrame(self._waiting, _SEEN)
        rows = self._table.read().unionByName(waiting) if self._has_landed else waiting
        return rows.where("task_id IS NOT NULL")

    def land(self) -> None:
        """Keep what has been seen for the runs to come."""
        if self._waiting:
            if not self._has_landed:
                self._table = self.tables.ensure("status_round", _SEEN, "Tasks seen in the round of lists under way")
                self._has_landed = True
            self._table.append(self.tables.spark.createDataFrame(self._waiting, _SEEN))
            self._waiting = []

    def end(self) -> None:
        """The next run begins a new round."""
        if self._has_landed:
            self._table.delete(None, "task_id")

    def _places(self) -> dict[str, int | None]:
        """The page to go on with by list, None where a list has ended."""
        if not self._has_landed:
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
                self._keep([_end(polled, number, now)])
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
        if self.max_calls is not None and self.done.pages >= self.max_calls:
            self.done.goes_on = place
            return False
        self.done.pages += 1
        return True

    def _keep(self, rows: list[tuple[Any, ...] | None]) -> None:
        """A task that cannot be read is counted, and stands in nobody's way."""
        readable = [row for row in rows if row is not None]
        self._waiting += readable
        self.done.rejected += len(rows) - len(readable)
        if len(self._waiting) >= _PIECE:
            self.land()


def can_change(state: Column) -> Column:
    """Whether it is none of the end states, or not known."""
    return ~F.coalesce(state.isin(*ENDED), F.lit(False))


def _row(task: TaskText, polled: str | None, page: int | None, now: datetime) -> tuple[Any, ...] | None:
    """What is noted of a task; None where it has no id or state."""
    fields = as_dict(task)
    state = fields.get("state")
    if task.id is None or not isinstance(state, str):
        return None
    batch_id, client_batch_id = _number(fields.get("batch_id"), 63), fields.get("client_batch_id")
    client_batch_id = None if client_batch_id is None else plain(str(client_batch_id))
    return (
        str(task.id),
        batch_id,
        client_batch_id,
        plain(state),
        _number(fields.get("priority"), 31),
        polled,
        page,
        now,
    )


def _number(value: Any, bits: int) -> int | None:
    try:
        number = None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and -(2**bits) <= number < 2**bits else None


def _end(polled: str, page: int, now: datetime) -> tuple[Any, ...]:
    return (None, None, None, None, None, polled, page, now)
