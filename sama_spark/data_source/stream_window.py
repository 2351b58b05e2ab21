"""The windows of time that are a stream's micro-batches.

A window holds the deliveries from its start on and before its end. So consecutive windows hold each delivery once, even
if several have the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sama_spark.inbound.times import micros

if TYPE_CHECKING:
    from sama_spark.api.task_text import Page

log = logging.getLogger("sama_spark")


class Window:
    """The deliveries from `start` on and before `end` (microseconds since 1970). `last`: the latest seen."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.last: int | None = None

    def of(self, pages: Iterable[Page]) -> Iterator[Page]:
        """Yield the tasks of the pages that lie in the window.

        A task without a readable time lies in no window: it is left out, and a warning says so.
        """
        for page in pages:
            inside = []
            for task in page:
                time = micros(task.delivered_at)
                if time is None:
                    log.warning(
                        "task %s is left out of the stream, which has no place for it: it was delivered at %r. "
                        "client.sync and spark.read give it",
                        task.id,
                        task.delivered_at,
                    )
                elif self.start <= time < self.end:
                    inside.append(task)
                    self.last = time if self.last is None else max(self.last, time)
            if inside:
                yield inside
