"""`spark.readStream.format("sama")`: deliveries in windows of time, one window for each micro-batch.

An offset is the end of a window: the moment after the latest delivery seen. Deliveries that are younger than `lag` do
not count, since others may still become visible before them. If nothing was delivered, the offset does not move. If
Spark runs a window again, it has the same bounds and is read from Sama again. A task that was delivered anew in between
has left this window and comes in a later one.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceStreamReader

from sama_spark.data_source.batch_read import KIND, read_pages, stage_pages
from sama_spark.data_source.read_options import LAG
from sama_spark.data_source.stream_window import Window
from sama_spark.errors import InvalidInput
from sama_spark.inbound.times import micros, to_text

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
    # Spark before 4.2 runs Trigger.AvailableNow as one micro-batch, so one window is enough. After a crash Spark first
    # repeats the unfinished micro-batch; newer deliveries then come with the next run.
    _AvailableNow = object

_SECOND = 1_000_000


class TaskStreamReader(DataSourceStreamReader, _AvailableNow):  # type: ignore[misc]
    """One run of a query. Only its offsets outlive the run, in Spark's checkpoint."""

    def __init__(self, options: SourceOptions, schema: StructType) -> None:
        self._options, self._schema = options, schema
        self._lag = LAG if options.lag is None else options.lag
        self._reached: int | None = None
        self._last_end: int | None = None
        self._asked: float | None = None
        self._staged: dict[tuple[int, int], tuple[Path, list[InputPartition]]] = {}

    def initialOffset(self) -> dict[str, str]:  # noqa: N802
        """Return the start of the first window."""
        return self._offset(self._options.start())

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        """Fix the time up to which this run reads."""
        self._last_end = self._now()

    def latestOffset(self, start: dict[str, str] | None = None, limit: object = None) -> dict[str, str]:  # noqa: ARG002, N802
        """Return the end of the deliveries that are there, or `start` if there are none.

        Spark before 4.2 does not pass `start`.
        """
        if start is not None:
            begin = self._time(start)
            self._clear(begin)
        else:
            begin = self._options.start() if self._reached is None else self._reached
        until = self._now() if self._last_end is None else self._last_end
        self._reached = begin if self._asked_enough() else self._end_of(Window(begin, until))
        return self._offset(self._reached)

    def partitions(self, start: dict[str, str], end: dict[str, str]) -> list[InputPartition]:
        """Return the files of a window for each Spark task. Fetch the window if an earlier run planned it."""
        window = Window(self._time(start), self._time(end))
        self._reached = window.end
        if window.start >= window.end:
            return []
        if (window.start, window.end) not in self._staged:
            self._staged[window.start, window.end] = self._fetch(window)
        return self._staged[window.start, window.end][1]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read staged files, on a worker."""
        return read_pages(partition, self._schema)

    def commit(self, end: dict[str, str]) -> None:
        """Remove the staged files of finished windows. Nothing is sent to Sama."""
        self._clear(self._time(end))

    def stop(self) -> None:
        """Remove the staged files of all windows."""
        self._clear(None)

    def _end_of(self, window: Window) -> int:
        """Return where the window really ends, by its last delivery. Keep its staged files until Spark is done."""
        if window.start >= window.end:
            return window.start
        folder, staged = self._fetch(window)
        if window.last is None:
            shutil.rmtree(folder, ignore_errors=True)
            return window.start
        self._staged[window.start, window.last + 1] = folder, staged
        return window.last + 1

    def _fetch(self, window: Window) -> tuple[Path, list[InputPartition]]:
        stage = self._options.stage
        stage.sweep(KIND)
        # A nanosecond earlier, so that it does not matter whether `from` includes its bound.
        since = to_text(window.start - 1).replace("Z", "999Z") if window.start else None
        with self._options.pages(from_timestamp=since) as pages:
            return stage_pages(window.of(pages), stage)

    def _clear(self, until: int | None) -> None:
        for window in [window for window in self._staged if until is None or window[1] <= until]:
            shutil.rmtree(self._staged.pop(window)[0], ignore_errors=True)

    def _asked_enough(self) -> bool:
        """Return whether no call is due: after one with Trigger.AvailableNow, else until `lag` seconds have passed."""
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
