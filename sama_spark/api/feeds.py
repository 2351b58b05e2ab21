"""Endpoints that read tasks: the delivered, since-last-call and status feeds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ParamSpec

import msgspec

from sama_spark.api.calls import Endpoints, Id, checks_arguments, located
from sama_spark.api.delivered_scan import scan_delivered
from sama_spark.api.paging import number_pages, scan_by_number
from sama_spark.api.records import checked_priority, to_json
from sama_spark.api.replies import decode_page, decode_single_task
from sama_spark.api.sama_dialect import project_path
from sama_spark.api.sama_errors import of_sama
from sama_spark.api.states import TaskStates
from sama_spark.api.task_text import Page, TaskText, as_dict
from sama_spark.http.call import Call
from sama_spark.http.call_errors import LinkRefused
from sama_spark.http.retry import Safety
from sama_spark.http.secrets import Secret
from sama_spark.http.turns import Turns

P = ParamSpec("P")
_STATUS = "get status of tasks"


def _as_dicts(name: str, pages: Callable[P, Iterator[Page]], doc: str) -> Callable[P, Iterator[dict[str, Any]]]:
    """Return a method with the arguments of `pages` that yields the tasks of its pages as dicts."""

    @functools.wraps(pages)
    def tasks(*args: P.args, **kwargs: P.kwargs) -> Iterator[dict[str, Any]]:
        return (as_dict(task) for page in pages(*args, **kwargs) for task in page)

    tasks.__name__, tasks.__qualname__, tasks.__doc__ = name, f"Feeds.{name}", doc
    return tasks


class Feeds(Endpoints):
    """Calls that read tasks.

    The `get_` methods yield dicts, as Sama's own SDK does; the `_pages` methods yield pages of tasks as JSON texts. A
    page is a list of `TaskText`, which has each task's own text to the byte. All of them are generators: the first call
    is made when the first page or task is asked for.
    """

    @checks_arguments
    def get_task_status(self, project_id: Id, task_id: Id, same_as_delivery: bool = True) -> Iterator[dict[str, Any]]:
        """Yield one task, as a dict: GET tasks/{task_id}.json.

        Args:
            project_id: the project's id.
            task_id: the task's id.
            same_as_delivery: True for the shape of a delivery.
        """
        yield as_dict(self.task_status_text(project_id, task_id, same_as_delivery))

    @checks_arguments
    def task_status_text(self, project_id: Id, task_id: Id, same_as_delivery: bool = True) -> TaskText:
        """Return one task as the server wrote it; see `get_task_status`."""

        def decode(body: bytes) -> TaskText:
            task = decode_single_task(body)
            if task.id is not None and str(task.id).casefold() != str(task_id).casefold():
                raise msgspec.ValidationError("The reply is about another task than was asked for - at `$.task.id`")
            return task

        return self._project_call(
            "get task status",
            "GET",
            project_id,
            "tasks",
            task_id,
            query={"same_as_delivery": same_as_delivery},
            decode=decode,
        )

    @checks_arguments
    def download_mask(self, project_id: Id, mask_url: str, into: Path, *, deadline: float | None = None) -> None:
        """GET what a `mask_url` leads to, without the key, into a file, piece by piece.

        Args:
            project_id: the project's id, for errors.
            mask_url: the link in a task's answers, signed and short-lived.
            into: the file to write. If the call fails, the file may be incomplete.
            deadline: seconds for the download, at most the client's own deadline.

        Raises:
            LinkRefused: the link has expired, or leads to nothing.
            ConnectorError: the download failed for another reason, as any call can.
        """
        if not mask_url.lower().startswith(("http://", "https://")):
            raise of_sama(LinkRefused)("the mask's link is no http(s) address", project_id=project_id)
        if deadline is not None:
            deadline = min(deadline, self._transport.deadline)
        call = Call("get mask", "GET", "<mask URL>", Safety.FREE, project_id=project_id, deadline=deadline)
        self._transport.download(Secret(mask_url), call, into)

    @checks_arguments
    def status_pages(
        self,
        project_id: Id,
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        date_type: str | None = None,
        from_timestamp: str | None = None,
        to_timestamp: str | None = None,
        state: TaskStates | str | None = None,
        omit_answers: bool | None = True,
        *,
        primary_keys: Sequence[str] | str | None = None,
        priority: int | None = None,
        same_as_delivery: bool | None = None,
    ) -> Iterator[Page]:
        """Yield pages of the status list: GET tasks.json, at most one call per second for a key in this process.

        The list moves while it is read, so it is read again until nothing new turns up: at 100 tasks a page, 10,000
        tasks take 202 calls and as many seconds. Narrow filters are faster. Each task that fits all filters comes once,
        as it was first seen.

        Args:
            project_id: the project's id.
            batch_id: only tasks of this batch.
            client_batch_id: only tasks of the batch that you gave this name.
            client_batch_id_match_type: how to compare `client_batch_id`, "exact" or "contains"; sent as it is.
            date_type: which date `from_timestamp` and `to_timestamp` test; sent as it is.
            from_timestamp: the first date, RFC 3339.
            to_timestamp: the last date, RFC 3339.
            state: only tasks in this state, a `TaskStates` or its text.
            omit_answers: True leaves answers out.
            primary_keys: keys to look for; sent comma-separated as `primary_keys`, a name that Sama's pages suggest but
                do not show.
            priority: only tasks of this priority.
            same_as_delivery: True for the shape of a delivery, None for Sama's default.

        Raises:
            InvalidResponse: the list does not come to rest, or repeats itself.
        """
        if primary_keys is not None and not isinstance(primary_keys, str):
            primary_keys = ",".join(primary_keys)
        query = {
            "batch_id": batch_id,
            "client_batch_id": client_batch_id,
            "client_batch_id_match_type": client_batch_id_match_type,
            "date_type": date_type,
            "from": from_timestamp,
            "to": to_timestamp,
            "state": state.value if isinstance(state, Enum) else state,
            "omit_answers": omit_answers,
            "primary_keys": primary_keys,
            "priority": None if priority is None else checked_priority(priority),
            "same_as_delivery": same_as_delivery,
        }
        yield from located(scan_by_number(self._status_list(project_id, query)), _STATUS, project_id)

    get_multi_task_status = _as_dicts(
        "get_multi_task_status",
        status_pages,
        "Yield the tasks that fit all filters, each once, as dicts; see `status_pages`.",
    )

    @checks_arguments
    def state_pages(self, project_id: Id, state: TaskStates | str, first: int = 1) -> Iterator[Page]:
        """Yield pages of the list of one state, read once: GET tasks.json, at most one call per second.

        Reads without answers, from page `first` until an empty page. When a task leaves the list meanwhile, all tasks
        behind it move to earlier places, so this can miss a task or yield one twice.

        Args:
            project_id: the project's id.
            state: a `TaskStates` or its text.
            first: number of the first page, from 1.
        """
        query = {"state": state.value if isinstance(state, Enum) else state, "omit_answers": True}
        yield from located(number_pages(self._status_list(project_id, query), first), _STATUS, project_id)

    @checks_arguments
    def delivered_pages(
        self,
        project_id: Id,
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        from_timestamp: str | None = None,
        task_id: Id | None = None,
    ) -> Iterator[Page]:
        """Yield pages of deliveries: GET tasks/delivered.json. Each delivery (id and delivered_at) comes once.

        Several pages are asked for at once, see `pages_in_flight` of `ApiClient`, and come in order all the same.

        Read-only: no cursor moves. A later call from the last `delivered_at`, less an overlap, yields what was
        delivered since.

        Args:
            project_id: the project's id.
            batch_id: only tasks of this batch.
            client_batch_id: only tasks of the batch that you gave this name.
            client_batch_id_match_type: how to compare `client_batch_id`, "exact" or "contains"; sent as it is.
            from_timestamp: the first `delivered_at`, RFC 3339 with up to nine fractional digits; None for all
                deliveries.
            task_id: only this task.

        Raises:
            InvalidResponse: the list does not come to rest, or repeats itself.
        """
        query = {
            "batch_id": batch_id,
            "client_batch_id": client_batch_id,
            "client_batch_id_match_type": client_batch_id_match_type,
            "task_id": task_id,
        }
        what = "get delivered tasks"
        turns = Turns(self._pages_in_flight, self.clock)

        def fetch(start: str | None, page: int, size: int) -> Page:
            place = {"page_size": size, "from": start, "page": page}
            return self._page(what, project_id, "tasks", "delivered", query=query | place, turns=turns)

        pages = scan_delivered(fetch, from_timestamp, self._delivered_page_size, self._pages_in_flight)
        try:
            yield from located(pages, what, project_id)
        finally:
            turns.end()

    get_delivered_tasks = _as_dicts(
        "get_delivered_tasks", delivered_pages, "Yield deliveries since a time, as dicts; see `delivered_pages`."
    )

    @checks_arguments
    def since_last_call_pages(
        self,
        project_id: Id,
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        consumer: str | None = None,
    ) -> Iterator[Page]:
        """Yield pages of deliveries since a consumer's last call: POST tasks/delivered.json until an empty page.

        At most once, by Sama's design: the server's cursor moves before its reply arrives. A call that fails is never
        repeated, and its page may be lost to this consumer. Each page is yielded before the next call: keep the page
        before you go on. `delivered_pages` loses nothing.

        Args:
            project_id: the project's id.
            batch_id: only tasks of this batch.
            client_batch_id: only tasks of the batch that you gave this name.
            client_batch_id_match_type: how to compare `client_batch_id`, "exact" or "contains"; sent as it is.
            consumer: the name whose place in the feed is used; None for Sama's default.
        """
        body = {
            "batch_id": batch_id,
            "client_batch_id": client_batch_id,
            "client_batch_id_match_type": client_batch_id_match_type,
            "consumer": consumer,
            "limit": self._delivered_page_size,
        }
        what = "get delivered tasks since last call"
        call = Call(
            what,
            "POST",
            project_path(project_id, "tasks", "delivered"),
            Safety.NEVER,
            body=to_json(body),
            project_id=project_id,
        )
        yield from located(number_pages(lambda _: self._transport.send(call, decode_page)), what, project_id)

    get_delivered_tasks_since_last_call = _as_dicts(
        "get_delivered_tasks_since_last_call",
        since_last_call_pages,
        "Yield deliveries since this consumer's last call, as dicts; see `since_last_call_pages`.",
    )
    get_deliveried_tasks_since_last_call = get_delivered_tasks_since_last_call
    """The spelling of Sama's README."""

    def _status_list(self, project_id: Id, query: dict[str, Any]) -> Callable[[int], Page]:
        query = query | {"page_size": self._status_page_size}
        return lambda page: self._page(_STATUS, project_id, "tasks", query=query | {"page": page}, paced=True)

    def _page(self, what: str, project_id: Id, *path: str, **details: Any) -> Page:
        return self._project_call(what, "GET", project_id, *path, decode=decode_page, **details)
