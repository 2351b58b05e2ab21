"""`spark.readStream.format("sama")`: deliveries in windows of time, one for each micro-batch.

An offset is the end of a window: the moment after the latest delivery that was seen, of those that are at least `lag`
old, since deliveries may become visible late. Where nothing was delivered, nothing moves on. A window that Spark runs
again has the same bounds and is read from Sama again; a task that was delivered anew in between has left it and comes
with a later window.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceStreamReader

from sama_spark.data_source.batch_read import KIND, StagedPages, read_pages, stage_pages
from sama_spark.data_source.read_options import LAG
from sama_spark.data_source.stream_times import Window, micros, to_text
from sama_spark.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql.datasource import InputPartition
    from pyspark.sql.types import StructType

    from sama_spark.data_source.read_options import SourceOptions

_AvailableNow: Any
try:
    from pyspark.sql.streaming.datasource import SupportsTriggerAvailableNow as _AvailableNow
except ImportError:
    # Spark before 4.2 runs Trigger.AvailableNow as one micro-batch, which needs no more. Where that is one which a dead
    # run had begun, what is newer comes with the next run.
    _AvailableNow = object

_SECOND = 1_000_000


class TaskStreamReader(DataSourceStreamReader, _AvailableNow):  # type: ignore[misc]
    """One run of a query. Nothing but its offsets outlives it, and they lie in Spark's checkpoint."""

    def __init__(self, options: SourceOptions, schema: StructType) -> None:
        self._options, self._schema = options, schema
        self._lag = LAG if options.lag is None else options.lag
        self._reached: int | None = None
        self._last_end: int | None = None
        self._asked: float | None = None
        self._staged: dict[tuple[int, int], tuple[Path, list[StagedPages]]] = {}

    def initialOffset(self) -> dict[str, str]:  # noqa: N802
        return self._offset(self._options.start())

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        self._last_end = self._now()

    def latestOffset(self, start: dict[str, str] | None = None, limit: object = None) -> dict[str, str]:  # noqa: ARG002, N802
        """The end of what is there; `start` where nothing is. Spark before 4.2 does not tell `start`."""
        if start is not None:
            begin = self._time(start)
            self._clear(begin)
        else:
            begin = self._options.start() if self._reached is None else self._reached
        until = self._now() if self._last_end is None else self._last_end
        self._reached = begin if self._asked_enough() else self._end_of(Window(begin, until))
        return self._offset(self._reached)

    def partitions(self, start: dict[str, str], end: dict[str, str]) -> list[StagedPages]:
        window = Window(self._time(start), self._time(end))
        self._reached = window.end
        if window.start >= window.end:
            return []
        if (window.start, window.end) not in self._staged:  # a run before this one has planned it
            self._staged[window.start, window.end] = self._fetch(window)
        return self._staged[window.start, window.end][1]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        return read_pages(partition, self._schema)

    def commit(self, end: dict[str, str]) -> None:
        """What the stage holds of windows that are done goes. Nothing is told to Sama."""
        self._clear(self._time(end))

    def stop(self) -> None:
        self._clear(None)

    def _end_of(self, window: Window) -> int:
        """The window's end as what is in it has it, which is kept until Spark has planned it and is done with it."""
        if window.start >= window.end:
            return window.start
        folder, staged = self._fetch(window)
        if window.last is None:
            shutil.rmtree(folder, ignore_errors=True)
            return window.start
        self._staged[window.start, window.last + 1] = folder, staged
        return window.last + 1

    def _fetch(self, window: Window) -> tuple[Path, list[StagedPages]]:
        stage = self._options.stage
        stage.sweep(KIND)
        # A nanosecond earlier: it does not matter then whether `from` includes its bound.
        since = to_text(window.start - 1).replace("Z", "999Z") if window.start else None
        with self._options.pages(from_timestamp=since) as pages:
            return stage_pages(window.of(pages), stage)

    def _clear(self, until: int | None) -> None:
        for window in [window for window in self._staged if until is None or window[1] <= until]:
            shutil.rmtree(self._staged.pop(window)[0], ignore_errors=True)

    def _asked_enough(self) -> bool:
        """With Trigger.AvailableNow once. Else Spark may ask again at once, and nothing is due before another lag."""
        now = time.monotonic()
        if self._asked is not None and (self._last_end is not None or now - self._asked < max(self._lag, 1)):
            return True
        self._asked = now
        return False

    def _now(self) -> int:
        return time.time_ns() // 1000 - self._lag * _SECOND

    def _offset(self, end: int) -> dict[str, str]:
        return {"project_id": self._options.project_id, "delivered_before": to_text(end)}

    def _time(self, offset: dict[str, str]) -> int:
        end = micros(offset.get("delivered_before"))
        if end is None or offset.get("project_id") != self._options.project_id:
            raise InvalidInput(
                f"the checkpoint is of project {offset.get('project_id')}, not of {self._options.project_id}",
                remedy="give each stream a checkpoint of its own",
            )
        return end
