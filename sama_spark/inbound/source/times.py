"""Times of deliveries as microseconds since 1970, what a stream's windows are cut by.

A window holds what was delivered from its start on and before its end, so windows that follow each other hold each
delivery once, also where several have the same time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from sama_spark.api.errors import InvalidResponse

if TYPE_CHECKING:
    from sama_spark.api.task_text import Page

# As `inbound.table.as_timestamp`: old samples write 20240301T10:15:30, and no zone means UTC.
_TIME = re.compile(
    r"(?:(\d{4})-(\d\d)-(\d\d)[T ]|(\d{4})(\d\d)(\d\d)T)(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?"
    r"(?:Z|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICRO = timedelta(microseconds=1)


def micros(text: Any) -> int | None:
    """The time that a text means, finer digits cut off; None where it is none."""
    found = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        return None
    *parts, fraction, sign, zone_hours, zone_minutes = found.groups()
    year, month, day = parts[:3] if parts[0] else parts[3:6]
    try:
        time = datetime(
            int(year), int(month), int(day), int(parts[6]), int(parts[7]), int(parts[8] or 0), tzinfo=timezone.utc
        )
    except ValueError:
        return None
    whole = (time - _EPOCH) // _MICRO + int((fraction or "").ljust(6, "0")[:6])
    if sign is None:
        return whole
    ahead = int(zone_hours) * 60 + int(zone_minutes)
    if int(zone_minutes) > 59 or ahead > 18 * 60:
        return None
    return whole - int(f"{sign}{ahead}") * 60_000_000


def to_text(time: int) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return (_EPOCH + time * _MICRO).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Window:
    """What was delivered from `start` on and before `end`; `last` is the latest of it that was seen."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.last: int | None = None

    def of(self, pages: Iterable[Page]) -> Iterator[Page]:
        """What of the pages lies in the window.

        Raises:
            InvalidResponse: a task has no time of delivery, so that no window would have it.
        """
        for page in pages:
            inside = []
            for task in page:
                time = micros(task.delivered_at)
                if time is None:
                    raise InvalidResponse(
                        f"task {task.id!r} was delivered at {task.delivered_at!r}, which is no time",
                        remedy="a stream cannot place it: read it with spark.read or client.sync",
                    )
                if self.start <= time < self.end:
                    inside.append(task)
                    self.last = time if self.last is None else max(self.last, time)
            if inside:
                yield inside
