"""Reading tasks in pages: multi status, delivered since a time, delivered since the last call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any
from zlib import crc32

import msgspec

from sama_spark.sandbox.project import Consumer, Project
from sama_spark.sandbox.refusals import bad_request
from sama_spark.sandbox.task import Entry, Task, Text

Test = Callable[[Task], bool]
DATE_TYPES = {
    "created": "created", "created_date": "created", "creation_date": "created",
    "completed": "completed", "completed_date": "completed", "completion_date": "completed",
    "delivered": "delivered", "delivered_date": "delivered", "delivery_date": "delivered",
    "last_submitted": "completed", "last_submitted_date": "completed",
}  # fmt: skip
MATCHES: dict[str, Callable[[str, str], bool]] = {
    "exact": lambda value, wanted: value == wanted,
    "contains": lambda value, wanted: wanted in value,
    "starts_with": lambda value, wanted: value.startswith(wanted),
}


# By the name of the condition.
_TESTS: dict[str, Callable[[Any, Task], bool]] = {
    "batch_ids": lambda wanted, task: task.batch_id in wanted,
    "task_ids": lambda wanted, task: task.id in wanted,
    "primary_keys": lambda wanted, task: not wanted.isdisjoint(task.primary_keys),
    "state": lambda wanted, task: task.state == wanted,
    "priority": lambda wanted, task: task.priority == wanted,
}


class Filter(msgspec.Struct, kw_only=True):
    """Which tasks a read wants; None leaves a condition out. Times are nanoseconds, both bounds inclusive."""

    batch_ids: frozenset[int] | None = None
    client_batch_ids: tuple[str, ...] | None = None
    match_type: str = "exact"
    task_ids: frozenset[str] | None = None
    primary_keys: frozenset[str] | None = None
    state: str | None = None
    priority: int | None = None
    date_type: str = "created"
    start: int | None = None
    end: int | None = None
    start_inclusive: bool = True

    def tests(self, *, time: bool) -> list[Test]:
        """Return the tests that a task has to pass; `time` adds the bounds."""
        given = ((test, getattr(self, name)) for name, test in _TESTS.items())
        tests: list[Test] = [partial(test, wanted) for test, wanted in given if wanted is not None]
        if self.client_batch_ids is not None:
            tests.append(self._matches)
        if time and (self.start is not None or self.end is not None):
            tests.append(self._in_time)
        return tests

    def first(self) -> int | None:
        """Return the lower bound as an inclusive one."""
        return self.start if self.start is None or self.start_inclusive else self.start + 1

    def _matches(self, task: Task) -> bool:
        value, matches = task.client_batch_id, MATCHES[self.match_type]
        return value is not None and any(matches(value, wanted) for wanted in self.client_batch_ids or ())

    def _in_time(self, task: Task) -> bool:
        moment: int | None = getattr(task, DATE_TYPES[self.date_type])
        first = self.first()
        return moment is not None and (first is None or moment >= first) and (self.end is None or moment <= self.end)


def status_page(project: Project, wanted: Filter, page: int, size: int) -> list[Task]:
    """Return a page of all tasks, by time of creation."""
    project.advance()
    return _page(project, project.created.rows(), wanted.tests(time=True), page, size)


def delivered_page(project: Project, wanted: Filter, page: int, size: int) -> list[Task]:
    """Return a page of the delivered tasks, by time of delivery."""
    project.advance()
    first = wanted.first()
    start = 0 if first is None else project.deliveries.since(first)
    return _page(project, project.deliveries.rows(), wanted.tests(time=False), page, size, start)


def _page(project: Project, rows: list[Entry], tests: list[Test], page: int, size: int, start: int = 0) -> list[Task]:
    ordering, skip = project.switches.ordering, (page - 1) * size
    if ordering == "descending":
        rows, start = rows[start:][::-1], 0
    elif ordering == "unordered":
        rows, start = sorted(rows[start:], key=lambda row: crc32(row[1].encode())), 0
    if not tests:
        return [row[3] for row in rows[start + skip : start + skip + size]]  # no copy of all that follows
    passing = (row[3] for row in islice(rows, start, None) if all(test(row[3]) for test in tests))
    return list(islice(passing, skip, skip + size))


def since_last_call(project: Project, token: str | None, wanted: Filter, limit: int) -> list[Task]:
    """Return the next deliveries that this consumer has not had. Rows that the filter skips stay unread."""
    project.advance()
    consumer = project.consumers.setdefault(token, Consumer())
    rows, tests = project.deliveries.rows(), wanted.tests(time=False)
    position = start = project.deliveries.since(*consumer.low)
    found: list[Task] = []
    while position < len(rows) and len(found) < limit:
        _, _, delivery, task = rows[position]
        position += 1
        if delivery not in consumer.seen and all(test(task) for test in tests):
            consumer.seen.add(delivery)
            found.append(task)
    while start < len(rows) and rows[start][2] in consumer.seen:
        start += 1
    if start:
        ns, id_, _, _ = rows[start - 1]
        consumer.low = (ns, id_ + "\0")  # just behind that row
    return found


def ids(text: str | None, *, lists: bool, name: str) -> tuple[str, ...] | None:
    """Return the values of a comma list, or the single value where lists are switched off."""
    if text is None:
        return None
    if "," in text and not lists:
        raise bad_request(f"{name} takes one value")
    return tuple(part.strip() for part in text.split(",") if part.strip())


EXTRA_FIELDS = b',"workflow_version":3,"sla":{"due":null,"tier":"gold"}}'


def texts(project: Project, tasks: list[Task], *, as_delivery: bool, answers: bool = True) -> bytes:
    """Return `{"tasks": [...]}` of the tasks' own texts, copied once."""
    switches = project.switches
    parts: list[Text] = [b'{"tasks":[']
    for task in tasks:
        fields = switches.batch_fields
        parts += task.parts(project.id, as_delivery=as_delivery, answers=answers, batch_fields=fields)
        if switches.extra_fields:
            parts[-1] = EXTRA_FIELDS
        parts.append(b",")
    if tasks:
        parts.pop()
    parts.append(b"]}")
    return b"".join(parts)
