"""Endpoints that create tasks in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sama_spark.api import batches
from sama_spark.api.batch_replies import (
    BatchJob,
    WaitingBatch,
    decode_batch_reply,
    decode_waiting_batch,
    for_ids,
)
from sama_spark.api.calls import Id, checks_arguments
from sama_spark.api.progress import Progress
from sama_spark.api.records import checked_records, tasks_body
from sama_spark.api.replies import decode_object_or_nothing
from sama_spark.errors import ConnectorError, InvalidInput
from sama_spark.http.call import Call
from sama_spark.http.retry import Safety
from sama_spark.http.secrets import Secret
from sama_spark.http.wire import Body

_log = logging.getLogger("sama_spark")

INLINE_LIMIT = 1000


class Creation(Progress):
    """Calls that create batches of tasks, from a file or inline, and cancel them."""

    @checks_arguments
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
            project_id: the project's id.
            task_data_records: one dict of inputs per task; `output_<name>` is a pre-annotation. Dates, datetimes,
                Decimal, UUID and numpy values are converted, see `records.json_value`.
            batch_priority: signed 32-bit; lower is served first.
            notification_email: whom Sama tells when creation has ended.
            submit: True to create the tasks as submitted, with the given pre-annotations.
            tasks_file_name: the upload's label in Sama's web application.

        Returns:
            Sama's reply with `batch_id`; without records `{"batch_id": None, "message": ...}`, and no call is made.

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

    @checks_arguments
    def create_tasks_inline(
        self,
        project_id: Id,
        tasks: Sequence[Mapping[str, Any]],
        notification_email: str | None = None,
        tasks_file_name: str | None = "python_sdk",
    ) -> dict[str, Any]:
        """Create up to 1,000 tasks in one call: POST batches.json with `tasks`.

        The call is not repeated if the server may have carried it out.

        Args:
            project_id: the project's id.
            tasks: per task a dict with `data` and, as wanted, `priority` (signed 32-bit), `submit`,
                `duration` (seconds, only with submit) and `reserve_for` (an agent's id).
            notification_email: whom Sama tells when creation has ended.
            tasks_file_name: the batch's label in Sama's web application.

        Returns:
            Sama's reply with `batch_id`; without tasks `{"batch_id": None, "message": ...}`, and no call is made.

        Raises:
            InvalidInput: there are more than 1,000 tasks; nothing was sent.
            InvalidRowsError: a task cannot be sent; nothing was sent.
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
            decode=for_ids(decode_batch_reply, project_id=project_id),
        )

    @checks_arguments
    def open_batch(
        self,
        project_id: Id,
        *,
        notification_email: str | None = None,
        tasks_file_name: str | None = "python_sdk",
    ) -> WaitingBatch:
        """Open a batch that waits for its tasks file: POST batches.json without tasks.

        A batch costs nothing until it is continued, so the call is repeated freely. A lost reply leaves an empty batch.
        """
        return self._project_call(
            "open batch",
            "POST",
            project_id,
            "batches",
            body={"notification_email": notification_email, "tasks_file_name": tasks_file_name},
            decode=for_ids(decode_waiting_batch, project_id=project_id),
        )

    def upload_tasks(self, batch: WaitingBatch, body: Body) -> None:
        """PUT a tasks file, an array of {"data", "priority", "submit"}, to its signed URL, without the key.

        Raises:
            UploadUrlRefused: the URL has expired or is refused; `batches.upload` then opens a new batch.
        """
        call = Call("upload tasks", "PUT", "<upload URL>", Safety.FREE, body=body, batch_id=batch.batch_id)
        self._transport.upload(Secret(batch.tasks_put_url), call)

    @checks_arguments
    def continue_batch(self, project_id: Id, batch_id: Id, *, deadline: float | None = None) -> dict[str, Any]:
        """Start creation from the uploaded file: POST continue.json.

        The call is not repeated if the server may have carried it out; `batches.start` then looks at the state.

        Args:
            project_id: the project's id.
            batch_id: the batch's id.
            deadline: seconds for the call, None for the client's own deadline.
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
            decode=for_ids(decode_batch_reply, project_id=project_id, batch_id=batch_id),
            deadline=deadline,
        )

    @checks_arguments
    def cancel_batch_creation_job(self, project_id: Id, batch_id: Id) -> dict[str, Any]:
        """Cancel what a batch has not created yet: POST cancel.json. Return Sama's reply, {} for an empty one."""
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
            decode=for_ids(decode_object_or_nothing, project_id=project_id, batch_id=batch_id),
            **details,
        )

    def discard_batch(self, project_id: Id, batch_id: Id) -> bool:
        """Cancel a batch after a failure, within 15 s. Raise nothing, and return True if the batch is cancelled."""
        try:
            self._cancel(project_id, batch_id, deadline=15.0)
        except ConnectorError as error:
            _log.debug("batch %s stays open: %s", batch_id, error)
            return False
        return True

    @checks_arguments
    def wait_for_batch(self, project_id: Id, batch_id: Id, *, timeout: float = 3600.0) -> BatchJob:
        """Wait until a batch's creation job has completed: look after 0.5 s first, later every 20 s.

        A completed job can have failed items: see `get_failed_batch_items`.

        Args:
            project_id: the project's id.
            batch_id: the batch's id.
            timeout: seconds.

        Raises:
            BatchFailed: the job failed or was cancelled; tasks that were created by then stay.
            WaitTimedOut: the time is up; the job goes on.
        """
        return batches.wait(self, project_id, batch_id, timeout)
