"""Endpoints about single tasks: reject, prioritise, delete, acknowledge, submit, create one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sama_spark.api.calls import Endpoints, Id, checks_arguments
from sama_spark.api.records import checked_priority, checked_records
from sama_spark.api.replies import decode_object, decode_object_or_nothing
from sama_spark.errors import InvalidInput
from sama_spark.http.retry import Safety
from sama_spark.ids import ids_of


class Tasks(Endpoints):
    """Calls that change tasks. Sama documents none of their replies: an empty one becomes {}."""

    def _change(self, what: str, method: str, project_id: Id, *path: Id, **details: Any) -> dict[str, Any]:
        return self._project_call(what, method, project_id, *path, decode=decode_object_or_nothing, **details)

    @checks_arguments
    def reject_task(self, project_id: Id, task_id: Id, reasons: Sequence[str]) -> dict[str, Any]:
        """Send a delivered task back for rework: PUT tasks/{id}/reject.json with {"reasons": [...]}.

        The call is not repeated if the server may have carried it out.
        """
        if isinstance(reasons, str) or not isinstance(reasons, Sequence) or not reasons:
            raise InvalidInput("reasons is no list of at least one text", column="reasons")
        body = {"reasons": list(reasons)}
        return self._change("reject task", "PUT", project_id, "tasks", task_id, "reject", body=body, safety=Safety.ONCE)

    @checks_arguments
    def update_task_priorities(self, project_id: Id, task_ids: Sequence[Id], priority: int) -> dict[str, Any]:
        """Give tasks one priority (signed 32-bit, lower is served first): POST tasks/bulk_update.json."""
        body = {"task_ids": _ids(task_ids), "priority": checked_priority(priority)}
        return self._change("update task priorities", "POST", project_id, "tasks", "bulk_update", body=body)

    @checks_arguments
    def delete_tasks(self, project_id: Id, task_ids: Sequence[Id]) -> dict[str, Any]:
        """Delete tasks that are still `new`: POST tasks/delete_tasks.json.

        The call is not repeated if the server may have carried it out.
        """
        body = {"task_ids": _ids(task_ids)}
        return self._change("delete tasks", "POST", project_id, "tasks", "delete_tasks", body=body, safety=Safety.ONCE)

    @checks_arguments
    def create_task(
        self,
        project_id: Id,
        data: Mapping[str, Any],
        *,
        priority: int = 0,
        reserve_for: Id | None = None,
        submit: bool = False,
        duration: float | None = None,
    ) -> dict[str, Any]:
        """Create one task; batches are better for more. Experimental.

        Assumed: POST projects/{id}/tasks.json with {"task": {"data": ...}}, which Sama's pages only hint at. The
        project's set-up decides whether the reply is the task (201) or says that the task is queued (202). The reply's
        object is returned as it is. The call is not repeated if the server may have carried it out.

        Args:
            project_id: the project's id.
            data: inputs by name, and `output_<name>` for pre-annotations.
            priority: signed 32-bit, lower is served first.
            reserve_for: id of the agent to reserve the task for.
            submit: True to submit the task at once, with the given pre-annotations.
            duration: seconds of work to report, only with `submit`.

        Raises:
            ExperimentalCallError: the client was not made with `experimental=True`.
        """
        self._only_if_experimental("create_task", "POST projects/{id}/tasks.json")
        fields = {"priority": priority, "reserve_for": reserve_for, "submit": submit, "duration": duration}
        (task,) = checked_records([{"data": data, **fields}])
        return self._project_call(
            "create task",
            "POST",
            project_id,
            "tasks",
            body={"task": task},
            safety=Safety.ONCE,
            decode=decode_object,
        )

    @checks_arguments
    def acknowledge_task(self, project_id: Id, task_id: Id) -> dict[str, Any]:
        """Accept a delivered task for good. Experimental.

        Assumed: PUT projects/{id}/tasks/{task_id}/acknowledge.json with an empty body; Sama names the call, but not its
        path.

        Raises:
            ExperimentalCallError: the client was not made with `experimental=True`.
        """
        self._only_if_experimental("acknowledge_task", "PUT projects/{id}/tasks/{task_id}/acknowledge.json")
        return self._change("acknowledge task", "PUT", project_id, "tasks", task_id, "acknowledge")

    @checks_arguments
    def submit_task(
        self,
        project_id: Id,
        task_id: Id,
        answers: Mapping[str, Any],
        ordinal: int | None = None,
        duration: float | None = None,
    ) -> dict[str, Any]:
        """Submit answers for a task that is worked in a tool of your own. Experimental.

        Assumed: PUT projects/{id}/tasks/{task_id}/submit.json; Sama names the body's fields, but not the path. The call
        is not repeated if the server may have carried it out.

        Args:
            project_id: the project's id.
            task_id: the task's id.
            answers: in the format of the delivery schema's `answers`.
            ordinal: the step's number, for projects of several steps.
            duration: seconds of work to report.

        Raises:
            ExperimentalCallError: the client was not made with `experimental=True`.
        """
        self._only_if_experimental("submit_task", "PUT projects/{id}/tasks/{task_id}/submit.json")
        given = {"answers": answers, "ordinal": ordinal, "duration": duration}
        body = {name: value for name, value in given.items() if value is not None}
        return self._change("submit task", "PUT", project_id, "tasks", task_id, "submit", body=body, safety=Safety.ONCE)

    @checks_arguments
    def update_task_priority(self, project_id: Id, task_id: Id, priority: int) -> dict[str, Any]:
        """Give one task a priority (signed 32-bit, lower is served first). Experimental.

        Assumed: PUT projects/{id}/tasks/{task_id}.json with {"priority": n}. `update_task_priorities` with one id does
        the same by a documented path.

        Raises:
            ExperimentalCallError: the client was not made with `experimental=True`.
        """
        self._only_if_experimental("update_task_priority", "PUT projects/{id}/tasks/{task_id}.json")
        body = {"priority": checked_priority(priority)}
        return self._change("update task priority", "PUT", project_id, "tasks", task_id, body=body)


def _ids(task_ids: Sequence[Id]) -> list[str]:
    return [str(task_id) for task_id in ids_of(task_ids, "task_ids")]
