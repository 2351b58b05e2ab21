"""Endpoints that create tasks in batches, and tell how that went."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from sama_spark.api import batches
from sama_spark.api.batch_replies import (
    BatchItem,
    BatchJob,
    WaitingBatch,
    about,
    check_ids,
    decode_batch_reply,
    decode_waiting_batch,
    item_from,
    job_from,
)
from sama_spark.api.calls import Endpoints, Id, accepts_proj_id, located, page_size
from sama_spark.api.paging import number_pages
from sama_spark.api.records import checked_records, tasks_body
from sama_spark.api.replies import decode_object, decode_object_or_nothing, decode_page
from sama_spark.api.sama_errors import of_sama
from sama_spark.api.task_text import as_dict
from sama_spark.errors import ConnectorError, InvalidInput
from sama_spark.http.call import Call
from sama_spark.http.call_errors import InvalidResponse
from sama_spark.http.retry import Safety
from sama_spark.http.secrets import Secret
from sama_spark.http.wire import Body

_log = logging.getLogger("sama_spark")

INLINE_LIMIT = 1000


class Creation(Endpoints):
    """Batches of tasks: created from a file or inline, watched, cancelled."""

    @accepts_proj_id
    def create_task_batch(
        self,
        project_id: Id,
        task_data_records: Iterable[Mapping[str, Any]],
        batch_priority: int = 0,
        notification_email: str | None = None,
        submit: bool = False,
        tasks_file_name: str | None = "python_sdk",
    ) -> dict[str, Any]:
        """Create tasks through an uploaded file: POST batches.json, PUT the file, POST continue.json.

        Args:
            task_data_records: a dict of inputs per task, `output_<name>` a pre-annotation. Dates, datetimes,
                Decimal, UUID and numpy values are converted, see `records.render`.
            batch_priority: signed 32-bit; lower is served first.
            notification_email: who is told by Sama when creation has ended.
            submit: create the tasks as submitted, with the given pre-annotations.
            tasks_file_name: the upload's label in Sama's web application.

        Returns:
            Sama's reply with `batch_id`; `{"batch_id": None, "message": ...}` and no call for no records.

        Raises:
            InvalidRowsError: a record has NaN, Infinity or a value without a JSON form; nothing was sent.
            BatchUnsure: whether the tasks are created cannot be known; see `batches.start`.
        """
        body = tasks_body(task_data_records, priority=batch_priority, submit=submit)
        if not body:
            return {"batch_id": None, "message": "no records, so no batch was created"}
        batch_id = batches.upload(
            self,
            project_id,
            body,
            notification_email=notification_email,
            tasks_file_name=tasks_file_name,
        )
        return batches.start(self, project_id, batch_id)

    @accepts_proj_id
    def create_tasks_inline(
        self,
        project_id: Id,
        tasks: Sequence[Mapping[str, Any]],
        notification_email: str | None = None,
        tasks_file_name: str | None = "python_sdk",
    ) -> dict[str, Any]:
        """Create up to 1,000 tasks in one call: POST batches.json with `tasks`.

        Not repeated where it may have been carried out.

        Args:
            tasks: per task a dict with `data` and, as wanted, `priority` (signed 32-bit), `submit`,
                `duration` (seconds, only with submit) and `reserve_for` (an agent's id).

        Returns:
            Sama's reply with `batch_id`; `{"batch_id": None, "message": ...}` and no call for no tasks.
        """
        items = checked_records(tasks)
        if not items:
            return {"batch_id": None, "message": "no tasks, so no batch was created"}
        if len(items) > INLINE_LIMIT:
            raise InvalidInput(
                f"{len(items):,} tasks are more than the {INLINE_LIMIT:,} that fit into one call",
                remedy="Use create_task_batch(). Nothing was sent.",
            )
        return self._project_call(
            "create tasks inline",
            "POST",
            project_id,
            "batches",
            safety=Safety.ONCE,
            body={
                "tasks": items,
                "notification_email": notification_email,
                "tasks_file_name": tasks_file_name,
            },
            decode=about(decode_batch_reply, project_id=project_id),
        )

    @accepts_proj_id
    def open_batch(
        self,
        project_id: Id,
        *,
        notification_email: str | None = None,
        tasks_file_name: str | None = "python_sdk",
    ) -> WaitingBatch:
        """Open a batch that waits for its tasks file: POST batches.json without tasks.

        Costs nothing until it is continued, so it is repeated freely; a lost reply leaves an empty batch.
        """
        return self._project_call(
            "open batch",
            "POST",
            project_id,
            "batches",
            body={"notification_email": notification_email, "tasks_file_name": tasks_file_name},
            decode=about(decode_waiting_batch, project_id=project_id),
        )

    def upload_tasks(self, batch: WaitingBatch, body: Body) -> None:
        """PUT a tasks file, an array of {"data", "priority", "submit"}, to its signed URL, without the key.

        Raises:
            UploadUrlRefused: the URL has expired or is refused; `batches.upload` answers that by itself.
        """
        call = Call("upload tasks", "PUT", "<upload URL>", Safety.FREE, body=body, batch_id=batch.batch_id)
        self._transport.upload(Secret(batch.tasks_put_url), call)

    @accepts_proj_id
    def continue_batch(self, project_id: Id, batch_id: Id, *, deadline: float | None = None) -> dict[str, Any]:
        """Start creation from the uploaded file: POST continue.json.

        Not repeated where it may have been carried out; `batches.start` asks for the state and decides.

        Args:
            deadline: seconds that it may take, where that is not the client's own.
        """
        return self._project_call(
            "continue batch",
            "POST",
            project_id,
            "batches",
            batch_id,
            "continue",
            batch_id=batch_id,
            safety=Safety.ONCE,
            decode=about(decode_batch_reply, project_id=project_id, batch_id=batch_id),
            deadline=deadline,
        )

    @accepts_proj_id
    def cancel_batch_creation_job(self, project_id: Id, batch_id: Id) -> dict[str, Any]:
        """Cancel what a batch has not created yet: POST cancel.json. Sama's reply, {} if that is empty."""
        return self._cancel(project_id, batch_id)

    def _cancel(self, project_id: Id, batch_id: Id, **details: Any) -> dict[str, Any]:
        return self._project_call(
            "cancel batch",
            "POST",
            project_id,
            "batches",
            batch_id,
            "cancel",
            batch_id=batch_id,
            decode=about(decode_object_or_nothing, project_id=project_id, batch_id=batch_id),
            **details,
        )

    def discard_batch(self, project_id: Id, batch_id: Id) -> bool:
        """Cancel a batch on the way out of a failure: never raises, takes 15 s at most. True if it worked."""
        try:
            self._cancel(project_id, batch_id, deadline=15.0)
        except ConnectorError as error:
            _log.debug("batch %s stays open: %s", batch_id, error)
            return False
        return True

    @accepts_proj_id
    def get_batch_job(
        self,
        project_id: Id,
        batch_id: Id,
        *,
        page_size: int = 0,
        omit_failed_task_data: bool = True,
    ) -> BatchJob:
        """The creation job's state, count and messages: GET batches/{batch_id}.json.

        Args:
            page_size: 0 asks for the job alone, in one call; more (up to 1,000) reads its items page by page
                to count them by state.
        """
        counts: Counter[str] = Counter()
        if page_size:
            items = self._item_pages(project_id, batch_id, omit_failed_task_data, page_size)
            counts.update(self._item(task).state for page in items for task in page)
        job = self._project_call(
            "get batch job",
            "GET",
            project_id,
            "batches",
            batch_id,
            query={"omit_failed_task_data": omit_failed_task_data, "page_size": 0},
            batch_id=batch_id,
            decode=about(decode_object, project_id=project_id, batch_id=batch_id),
        )
        return job_from(job, batch_id, dict(counts), self._transport.redact)

    @accepts_proj_id
    def wait_for_batch(self, project_id: Id, batch_id: Id, *, timeout: float = 3600.0) -> BatchJob:
        """Wait until a batch's creation job has completed; asks after 0.5 s first, later every 20 s.

        A completed job can have failed items: see `get_failed_batch_items`.

        Args:
            timeout: seconds.

        Raises:
            BatchFailed: the job failed or was cancelled; tasks created by then stay.
            WaitTimedOut: time is up; the job goes on.
        """
        return batches.wait(self, project_id, batch_id, timeout)

    @accepts_proj_id
    def get_status_batch_creation_job(
        self, project_id: Id, batch_id: Id, omit_failed_task_data: bool | None = False
    ) -> Iterator[dict[str, Any]]:
        """The tasks of a batch's creation job, as dicts: GET batches/{batch_id}.json, page by page.

        `get_batch_job` gives the job's own state.
        """
        for page in self._item_pages(project_id, batch_id, omit_failed_task_data, self._batch_page_size):
            yield from page

    @accepts_proj_id
    def get_batch_items(self, project_id: Id, batch_id: Id, omit_failed_task_data: bool = False) -> Iterator[BatchItem]:
        """The tasks of a batch's creation job, in the order in which they were sent."""
        for page in self._item_pages(project_id, batch_id, omit_failed_task_data, self._batch_page_size):
            yield from map(self._item, page)

    @accepts_proj_id
    def get_failed_batch_items(self, project_id: Id, batch_id: Id) -> Iterator[BatchItem]:
        """The tasks of a batch that could not be created, with what was sent and Sama's errors."""
        return (item for item in self.get_batch_items(project_id, batch_id) if item.state == "failed")

    def _item_pages(
        self, project_id: Id, batch_id: Id, omit_failed_task_data: bool | None, size: int
    ) -> Iterator[list[dict[str, Any]]]:
        query = {
            "omit_failed_task_data": omit_failed_task_data,
            "page_size": page_size(size, 1, 1000, "page_size"),
        }
        what = "get batch items"
        pages = number_pages(
            lambda page: self._project_call(
                what,
                "GET",
                project_id,
                "batches",
                batch_id,
                batch_id=batch_id,
                query=query | {"page": page},
                decode=about(decode_page, project_id=project_id, batch_id=batch_id),
            )
        )
        for page in located(pages, what, project_id):
            tasks = [as_dict(task) for task in page]
            try:
                for task in tasks:
                    check_ids(task, project_id=project_id, batch_id=batch_id)
            except msgspec.ValidationError as error:
                raise of_sama(InvalidResponse)(
                    str(error), call=what, project_id=project_id, batch_id=batch_id
                ) from error
            yield tasks

    def _item(self, task: Mapping[str, Any]) -> BatchItem:
        return item_from(task, self._transport.redact)
