"""The result of task creation: its batches, and methods to wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from sama_spark.api.interruption_notes import note
from sama_spark.arguments import check_function, check_seconds
from sama_spark.errors import ConnectorError
from sama_spark.outbound.outbox.report import OutboxReport
from sama_spark.outbound.upload import UploadedBatch
from sama_spark.outbound.wait import Outcome, cancel_started, wait_for_all

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.api.api_client import ApiClient
    from sama_spark.outbound.outbox.no_outbox import NoOutbox
    from sama_spark.outbound.outbox.outbox import Outbox
    from sama_spark.outbound.rejected import RejectedRows
    from sama_spark.outbound.task_fields import TaskFields


@dataclass(frozen=True)
class RunTables:
    """The tables of one run, for what is learnt after it: its outbox, and its rejected rows where they are kept."""

    batches: Sequence[UploadedBatch]
    fields: TaskFields
    rejected: RejectedRows | None
    outbox: Outbox | NoOutbox

    def record(self, outcome: Outcome) -> None:
        """Record how the run's batches have ended. The same outcome again changes nothing."""
        if self.rejected is not None:
            whole = [batch.batch_id for batch in outcome.batches if batch.failed and not batch.failed_items]
            keys = self.outbox.keys_of(whole) if whole else {}
            self.rejected.append_failed(outcome, self.fields.row_key, keys)
        self.outbox.record_outcome(outcome, self.batches)

    def tasks(self, match_on: str) -> DataFrame:
        """Return the task of each row; see `CreationResult.tasks`."""
        return self.outbox.tasks(self.batches, match_on, self.fields.not_sent)


@dataclass(frozen=True, repr=False)
class CreationResult(Mapping[str, Any]):
    """The batches of one run; also a mapping with the keys below.

    Sama creates the tasks in the background: `wait()` returns what became of them, `cancel()` stops their creation.
    The rows of the DataFrame are `task_count` + `rejected_rows` + `outbox.known`. The result can be pickled, without
    `api`, `rejected` and `tables`.

    Attributes:
        project_id: Sama's project.
        batches: `batch_id`, `tasks` and `bytes` of each batch, in the order of upload.
        batch_ids: their ids.
        batch_id: the first of them, None where nothing was sent.
        task_count, bytes: the sums over `batches`.
        output_rules: for each output, how its value travelled and why.
        seconds: from the call to the last start.
        staged: whether the tasks waited in a shared folder; else they passed through the driver's memory.
        run_id: names this run in the table of rejected rows and in the outbox.
        rejected_rows: how many rows could not become tasks.
        rejected: with `on_invalid="reject"`, a DataFrame of these rows: `run_id`, `row_key` (JSON), `column`,
            `reason`, `value` and `row` (both shortened). It can be read until the client is closed. Else None.
        outbox: what the outbox knew of the rows; None without one.
        api: the client that made the result; no key of the mapping.
        tables: the run's tables; no key of the mapping.
    """

    project_id: str
    batches: tuple[UploadedBatch, ...]
    output_rules: Mapping[str, str]
    seconds: float
    staged: bool
    api: ApiClient | None = field(default=None, repr=False, compare=False)
    run_id: str = ""
    rejected_rows: int = 0
    rejected: DataFrame | None = field(default=None, repr=False, compare=False)
    outbox: OutboxReport | None = None
    tables: RunTables | None = field(default=None, repr=False, compare=False)

    @property
    def batch_ids(self) -> list[int]:
        """Sama's ids of the batches, in the order of upload."""
        return [batch.batch_id for batch in self.batches]

    @property
    def batch_id(self) -> int | None:
        """The first batch, None where nothing was sent."""
        return self.batches[0].batch_id if self.batches else None

    @property
    def task_count(self) -> int:
        """How many tasks were uploaded."""
        return sum(batch.tasks for batch in self.batches)

    @property
    def bytes(self) -> int:
        """How many bytes were uploaded."""
        return sum(batch.bytes for batch in self.batches)

    def wait(self, timeout: float = 3600.0, *, on_progress: Callable[[int, int], None] | None = None) -> Outcome:
        """Wait until all batches have ended, and return what became of every task.

        On the wire: GET batches/{batch_id}.json with page_size=0 for each batch that has not ended, in rounds that
        are 0.5 s apart at first and 20 s at last. Then, for each batch of which not all tasks were created, one call
        for each 1,000 tasks and one more. An empty result makes no call.

        Args:
            timeout: seconds for all batches together, an hour by default. Each batch is asked for at least once, and
                a call under way is not cut short.
            on_progress: called after each round with the number of tasks created so far, and of all tasks of the run.

        Returns:
            `Outcome`. A batch that failed or was cancelled raises nothing; the outcome counts its tasks. Failed tasks
            are kept with their data, in memory.

        Raises:
            WaitTimedOut: the time is up. Creation goes on, and `wait()` can be called again.
            TasksUnaccounted: the counts of a batch do not add up to its tasks.
            ConnectorError: a call failed for good, or the result was pickled and has no client.
        """
        check_seconds(timeout, "timeout")
        check_function(on_progress, "on_progress")
        if not self.batches:
            return Outcome()
        return self._recorded(lambda: wait_for_all(self._client(), self.project_id, self.batches, timeout, on_progress))

    def cancel(self, timeout: float = 60.0) -> Outcome:
        """Cancel the tasks that Sama has not created yet, wait for that, and return what became of every task.

        Tasks that exist stay. A batch that has ended is left alone, so a second call is harmless. On the wire:
        GET batches/{batch_id}.json for each batch, POST cancel.json where it has not ended, then as for `wait`.

        Args:
            timeout: seconds to wait after the last cancel, 60 by default.

        Raises:
            WaitTimedOut: as for `wait`.
            TasksUnaccounted: as for `wait`.
            ConnectorError: a call failed for good; the first such error, once all batches have been tried.
        """
        check_seconds(timeout, "timeout")
        if not self.batches:
            return Outcome()
        return self._recorded(lambda: cancel_started(self._client(), self.project_id, self.batches, timeout))

    def _recorded(self, look: Callable[[], Outcome]) -> Outcome:
        """Return what `look` returns, and record it. On an interrupt name the batches: the result may be lost."""
        try:
            outcome = look()
        except ConnectorError:
            raise
        except BaseException as error:
            ids = ", ".join(map(str, self.batch_ids))
            note(
                error,
                f"interrupted while Sama creates the tasks of these batches of project {self.project_id}: {ids}. All "
                "of them were started: do not send their rows again. Call wait() again, or client.wait_for_batch",
            )
            raise
        if self.tables is not None:
            self.tables.record(outcome)
        return outcome

    def tasks(self, match_on: str) -> DataFrame:
        """Return the task of each row of this run: `row_key` (JSON), `batch_id`, `task_id`, `reason`.

        Sama keeps no row key and documents no order of tasks. So a row and its task are matched by the value of one
        input, and only where one row and one task of a batch have that value; else `task_id` is null and `reason`
        says why. The rows are kept in the Delta table `<outbox>_tasks`, and Sama is not asked again for batches that
        are complete there. On the wire, for each other batch: GET tasks/delivered.json, 1,000 tasks a call, and for
        tasks that are not delivered GET tasks.json, 100 tasks a second.

        Args:
            match_on: a column of `row_key` that was sent as an input and that Sama gives back unchanged.

        Raises:
            InvalidInput: there is no outbox, or `match_on` is no part of its key or was not sent.
            ConnectorError: a call failed for good, or the result was pickled.
        """
        if self.tables is None:
            raise self._pickled("run again with the same outbox: its batches are known there")
        return self.tables.tasks(match_on)

    def _pickled(self, remedy: str) -> ConnectorError:
        return ConnectorError(
            "this result was pickled, and the client, which holds the key, was left out",
            project_id=self.project_id,
            remedy=remedy,
        )

    def _client(self) -> ApiClient:
        if self.api is None:
            raise self._pickled(
                f"make a client and call client.wait_for_batch({self.project_id!r}, batch_id) "
                "for each of result.batch_ids",
            )
        return self.api

    def __getstate__(self) -> dict[str, Any]:
        # A client refuses to be pickled, because it holds the key; a DataFrame belongs to its session.
        return {**self.__dict__, "api": None, "rejected": None, "tables": None}

    _KEYS: ClassVar[tuple[str, ...]] = (
        "batch_id",
        "batch_ids",
        "batches",
        "task_count",
        "bytes",
        "output_rules",
        "seconds",
        "staged",
        "project_id",
        "run_id",
        "rejected_rows",
        "outbox",
    )

    def __getitem__(self, key: str) -> Any:
        if key not in self._KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._KEYS)

    def __len__(self) -> int:
        return len(self._KEYS)

    def __repr__(self) -> str:
        rejected = (
            f"\n  {self.rejected_rows:,} rows could not become tasks: see `rejected`" if self.rejected_rows else ""
        )
        rejected += "".join(f"\n  {line}" for line in self.outbox.lines()) if self.outbox else ""
        if not self.batches:
            why = rejected or " the DataFrame was empty"
            return f"<no tasks for project {self.project_id}:{why}, nothing was sent>"
        ids = ", ".join(map(str, self.batch_ids[:5])) + (", ..." if len(self.batches) > 5 else "")
        rules = "".join(f"\n  output {name}: {rule}" for name, rule in self.output_rules.items())
        return (
            f"<{self.task_count:,} tasks in {len(self.batches)} batches for project {self.project_id} "
            f"({self.bytes / 1e6:,.1f} MB, {self.seconds:.1f} s{', staged' if self.staged else ''})\n"
            f"  batches {ids}{rules}{rejected}>"
        )
