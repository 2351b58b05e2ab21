"""Endpoints that read tasks: the delivered, since-last-call and status feeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from sama_spark.api.calls import Endpoints, Id, accepts_proj_id, located
from sama_spark.api.dialect import project_path
from sama_spark.api.paging import number_pages, scan_by_number, scan_delivered
from sama_spark.api.records import checked_priority, to_json
from sama_spark.api.replies import decode_page, decode_single_task
from sama_spark.api.sama_errors import of_sama
from sama_spark.api.states import TaskStates
from sama_spark.api.task_text import Page, TaskText, as_dict
from sama_spark.http.call import Call
from sama_spark.http.call_errors import LinkRefused
from sama_spark.http.retry import Safety
from sama_spark.http.secrets import Secret


class Feeds(Endpoints):
    """The `get_` methods give dicts, as Sama's own SDK; the `_pages` give pages of tasks as JSON texts.

    A page is a list of `TaskText`, which has each task's own text to the byte. All are generators: the first call is
    made when the first page or task is asked for.
    """

    @accepts_proj_id
    def get_task_status(self, project_id: Id, task_id: Id, same_as_delivery: bool = True) -> Iterator[dict[str, Any]]:
        """One task, as a generator of one dict: GET tasks/{task_id}.json.

        Args:
            same_as_delivery: True for the shape of a delivery.
        """
        yield as_dict(self.task_status_text(project_id, task_id, same_as_delivery))

    @accepts_proj_id
    def task_status_text(self, project_id: Id, task_id: Id, same_as_delivery: bool = True) -> TaskText:
        """One task as the server wrote it."""

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

    @accepts_proj_id
    def download_mask(self, project_id: Id, mask_url: str, into: Path, *, deadline: float | None = None) -> None:
        """GET what a `mask_url` leads to, without the key, into a file, piece by piece.

        Args:
            deadline: seconds that it may take, where that is less than the client's own.

        Raises:
            LinkRefused: the link has expired, or leads to nothing. Others as for any call; the file may be incomplete.
        """
        if not mask_url.lower().startswith(("http://", "https://")):
            raise of_sama(LinkRefused)("the mask's link is no http(s) address", project_id=project_id)
        if deadline is not None:
            deadline = min(deadline, self._transport.deadline)
        call = Call("get mask", "GET", "<mask URL>", Safety.FREE, project_id=project_id, deadline=deadline)
        self._transport.download(Secret(mask_url), call, into)

    @accepts_proj_id
    def get_multi_task_status(
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
    ) -> Iterator[dict[str, Any]]:
        """The tasks that fit all filters, each once, as dicts; see `status_pages`."""
        return _dicts(
            self.status_pages(
                project_id,
                batch_id=batch_id,
                client_batch_id=client_batch_id,
                client_batch_id_match_type=client_batch_id_match_type,
                date_type=date_type,
                from_timestamp=from_timestamp,
                to_timestamp=to_timestamp,
                state=state,
                omit_answers=omit_answers,
                primary_keys=primary_keys,
                priority=priority,
                same_as_delivery=same_as_delivery,
            )
        )

    @accepts_proj_id
    def status_pages(
        self,
        project_id: Id,
        *,
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        date_type: str | None = None,
        from_timestamp: str | None = None,
        to_timestamp: str | None = None,
        state: TaskStates | str | None = None,
        omit_answers: bool | None = True,
        primary_keys: Sequence[str] | str | None = None,
        priority: int | None = None,
        same_as_delivery: bool | None = None,
    ) -> Iterator[Page]:
        """Pages of the status list: GET tasks.json, at most one call per second for a key in this process.

        The list moves while it is read, so it is read again until nothing new turns up: at 100 tasks a page,
        10,000 tasks take 202 calls and as many seconds. Narrow filters are faster. Each task comes once, as
        it was first seen.

        Args:
            batch_id: a batch's id.
            client_batch_id, client_batch_id_match_type: your own batch name and how to compare it
                ("exact", "contains"), passed on as they are.
            date_type: which date `from_timestamp` and `to_timestamp` test, passed on as it is.
            from_timestamp, to_timestamp: RFC 3339 bounds.
            state: a `TaskStates` or its text.
            omit_answers: True leaves answers out.
            primary_keys: keys to look for; sent comma-separated as `primary_keys`, a name that Sama's pages
                suggest but do not show.
            priority: only tasks of this priority.
            same_as_delivery: True for the shape of a delivery; Sama's default if None.
        """
        query = {
            "batch_id": batch_id,
            "client_batch_id": client_batch_id,
            "client_batch_id_match_type": client_batch_id_match_type,
            "date_type": date_type,
            "from": from_timestamp,
            "to": to_timestamp,
            "state": state.value if isinstance(state, Enum) else state,
            "omit_answers": omit_answers,
            "primary_keys": primary_keys
            if primary_keys is None or isinstance(primary_keys, str)
            else ",".join(primary_keys),
            "priority": None if priority is None else checked_priority(priority),
            "same_as_delivery": same_as_delivery,
            "page_size": self._status_page_size,
        }
        what = "get status of tasks"
        yield from located(
            scan_by_number(lambda page: self._page(what, project_id, "tasks", query | {"page": page}, paced=True)),
            what,
            project_id,
        )

    @accepts_proj_id
    def state_pages(self, project_id: Id, state: TaskStates | str, first: int = 1) -> Iterator[Page]:
        """Pages of the list of one state, read once: GET tasks.json, at most one call per second, as `status_pages`.

        Without answers, from page `first` until an empty one. What leaves the list meanwhile shifts all behind it to
        earlier places: a task can be passed by, or come twice.

        Args:
            state: a `TaskStates` or its text.
            first: number of the page to begin with, from 1.
        """
        query = {
            "state": state.value if isinstance(state, Enum) else state,
            "omit_answers": True,
            "page_size": self._status_page_size,
        }
        what = "get status of tasks"
        yield from located(
            number_pages(lambda page: self._page(what, project_id, "tasks", query | {"page": page}, paced=True), first),
            what,
            project_id,
        )

    @accepts_proj_id
    def get_delivered_tasks(
        self,
        project_id: Id,
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        from_timestamp: str | None = None,
        task_id: Id | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Deliveries since a time, as dicts; see `delivered_pages`."""
        return _dicts(
            self.delivered_pages(
                project_id,
                batch_id=batch_id,
                client_batch_id=client_batch_id,
                client_batch_id_match_type=client_batch_id_match_type,
                from_timestamp=from_timestamp,
                task_id=task_id,
            )
        )

    @accepts_proj_id
    def delivered_pages(
        self,
        project_id: Id,
        *,
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        from_timestamp: str | None = None,
        task_id: Id | None = None,
    ) -> Iterator[Page]:
        """Pages of deliveries: GET tasks/delivered.json. Each delivery (id and delivered_at) comes once.

        Read-only: no cursor moves. The end is what has been delivered by then; a later call from the last
        `delivered_at`, less an overlap, gives the rest.

        Args:
            batch_id, task_id: ids.
            client_batch_id, client_batch_id_match_type: your own batch name and how to compare it
                ("exact", "contains"), passed on as they are.
            from_timestamp: RFC 3339, up to nine fractional digits; everything if None.
        """
        query = {
            "batch_id": batch_id,
            "client_batch_id": client_batch_id,
            "client_batch_id_match_type": client_batch_id_match_type,
            "task_id": task_id,
            "page_size": self._delivered_page_size,
        }
        what = "get delivered tasks"

        def fetch(start: str | None, page: int) -> Page:
            return self._page(what, project_id, "tasks/delivered", query | {"from": start, "page": page})

        yield from located(scan_delivered(fetch, from_timestamp), what, project_id)

    @accepts_proj_id
    def get_delivered_tasks_since_last_call(
        self,
        project_id: Id,
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        consumer: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Deliveries since this consumer's last call, as dicts; see `since_last_call_pages`."""
        return _dicts(
            self.since_last_call_pages(
                project_id,
                batch_id=batch_id,
                client_batch_id=client_batch_id,
                client_batch_id_match_type=client_batch_id_match_type,
                consumer=consumer,
            )
        )

    get_deliveried_tasks_since_last_call = get_delivered_tasks_since_last_call
    """The spelling of Sama's README."""

    @accepts_proj_id
    def since_last_call_pages(
        self,
        project_id: Id,
        *,
        batch_id: Id | None = None,
        client_batch_id: str | None = None,
        client_batch_id_match_type: str | None = None,
        consumer: str | None = None,
    ) -> Iterator[Page]:
        """Pages of deliveries since this consumer's last call: POST tasks/delivered.json until an empty page.

        At most once, by Sama's design: the server's cursor moves before its reply arrives, so a call that
        fails is never repeated and its page may be lost to this consumer. Each page is yielded before the
        next call: keep it before you go on. `delivered_pages` loses nothing.

        Args:
            consumer: the token whose place in the feed is used; None for Sama's default.
        """
        body = to_json(
            {
                "batch_id": batch_id,
                "client_batch_id": client_batch_id,
                "client_batch_id_match_type": client_batch_id_match_type,
                "consumer": consumer,
                "limit": self._delivered_page_size,
            }
        )
        what = "get delivered tasks since last call"
        call = Call(
            what,
            "POST",
            project_path(project_id, "tasks", "delivered"),
            Safety.NEVER,
            body=body,
            project_id=project_id,
        )
        yield from located(number_pages(lambda _: self._transport.send(call, decode_page)), what, project_id)

    def _page(self, what: str, project_id: Id, path: str, query: dict[str, Any], *, paced: bool = False) -> Page:
        return self._project_call(
            what, "GET", project_id, *path.split("/"), query=query, paced=paced, decode=decode_page
        )


def _dicts(pages: Iterator[Page]) -> Iterator[dict[str, Any]]:
    for page in pages:
        for task in page:
            yield as_dict(task)
