"""Sama's API under /v2: a method for each call, and the bodies that the calls take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sama_spark.sandbox import reading, requests, schemas
from sama_spark.sandbox.batch import Item
from sama_spark.sandbox.clock import to_text
from sama_spark.sandbox.definitions import INT32
from sama_spark.sandbox.hub import Hub
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.refusals import ApiError, bad_request, not_found
from sama_spark.sandbox.signing import UPLOADS
from sama_spark.sandbox.task import Task, dumps

MAX_INLINE = 1000
MAX_IDS = 1000


class NewBatch(msgspec.Struct, forbid_unknown_fields=True):
    tasks: msgspec.Raw = msgspec.Raw(b"null")
    notification_email: str | None = None
    tasks_file_name: str | None = None


class CreateTask(msgspec.Struct, forbid_unknown_fields=True):
    task: Item


class SinceLastCall(msgspec.Struct, forbid_unknown_fields=True):
    consumer: str | None = None
    limit: int | None = None
    batch_id: int | str | None = None
    client_batch_id: str | None = None
    client_batch_id_match_type: str | None = None


class Reject(msgspec.Struct, forbid_unknown_fields=True):
    reasons: list[str]


class Priority(msgspec.Struct, forbid_unknown_fields=True):
    priority: int

    def __post_init__(self) -> None:
        if self.priority not in INT32:
            raise ValueError(f"priority {self.priority} is not a 32-bit integer")


class BulkUpdate(Priority, forbid_unknown_fields=True):
    task_ids: list[str]


class DeleteTasks(msgspec.Struct, forbid_unknown_fields=True):
    task_ids: list[str]


class Submit(msgspec.Struct, forbid_unknown_fields=True):
    answers: dict[str, msgspec.Raw]
    ordinal: int | None = None
    duration: float | None = None


def answer(content: Any, status: int = 200) -> Response:
    """Return a reply of JSON."""
    return Response(dumps(content), status, media_type=requests.JSON)


class Api:
    """The calls of the API: `on_<name>` answers the call of that name in `CALLS`.

    Each method gets the request, and the project that the key may see.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    # --- project

    async def on_info(self, _: Request, project: Project) -> Response:
        return answer(
            {
                "id": project.id,
                "name": project.name,
                "state": "active",
                "type": "annotation",
                "asset_country_code": "US",
                "asset_s3_url": f"s3://sandbox-assets/{project.id}",
                "project_group": "Sandbox",
                "description": "A project of the local sandbox",
                "client": "Sandbox client",
            }
        )

    async def on_stats(self, request: Request, project: Project) -> Response:
        project.advance()
        start, end = requests.moment(request, "from"), requests.moment(request, "to")
        tests = reading.Filter(start=start, end=end).tests(time=True)
        states = Counter(task.state for task in project.tasks.values() if all(test(task) for test in tests))
        bounds = {"from": requests.text(request, "from"), "to": requests.text(request, "to")}
        return answer({**bounds, "tasks": dict(states), "total": states.total()})

    async def on_create_schema(self, _: Request, project: Project) -> Response:
        return self._schema(project, schemas.create_task)

    async def on_deliver_schema(self, _: Request, project: Project) -> Response:
        return self._schema(project, schemas.deliver_task)

    def _schema(self, project: Project, build: Callable[[Project], schemas.Schema]) -> Response:
        if not project.switches.schemas:
            raise not_found("schema")
        return answer(build(project))

    async def on_credentials(self, _: Request, __: Project) -> Response:
        expiration = to_text((self.hub.clock.now() // 10**9 + 3600) * 10**9)
        return answer(
            {
                "access_key_id": "ASIASANDBOX",
                "secret_access_key": "sandbox-secret",
                "session_token": "sandbox-session",
                "expiration": expiration,
            }
        )

    # --- creation

    async def on_create_task(self, request: Request, project: Project) -> Response:
        item = (await requests.body(request, CreateTask)).task
        for error in project.definition.check(item.data):
            raise ApiError(400, error["message"], type_=error["type"])
        task = project.create(project.new_id(), None, item, self.hub.clock.now())
        if project.switches.synchronous_create:
            return answer({"task": {"id": task.id}}, self._created(project, 201))
        return answer({"task": {"id": task.id}, "queued": True}, self._created(project, 202))

    async def on_open(self, request: Request, project: Project) -> Response:
        opened = await requests.body(request, NewBatch)
        file_name, email = opened.tasks_file_name or "from_api", opened.notification_email
        if bytes(opened.tasks) == b"null":
            batch = self.hub.new_batch(project, file_name=file_name, email=email)
            url = self.hub.signer.url("PUT", f"{UPLOADS}{project.id}/{batch.id}.json", project.switches.put_url_life)
            content: dict[str, Any] = {"batch_id": batch.id, "tasks_put_url": url}
            return answer(content, self._created(project, 201))
        self._check_inline(opened.tasks)
        batch = self.hub.new_batch(project, file_name=file_name, email=email)
        batch.start(bytes(opened.tasks))
        content = {"batch_id": batch.id}
        if project.switches.inline_task_ids:
            batch.advance()
            content["task_ids"] = [entry.id for entry in batch.entries]
        return answer(content, self._created(project, 202))

    def _check_inline(self, tasks: msgspec.Raw) -> None:
        try:
            items = msgspec.json.decode(tasks, type=list[Item])
        except ValueError as error:
            raise bad_request(f"tasks: {error}") from None
        if not 1 <= len(items) <= MAX_INLINE:
            raise bad_request(f"tasks holds {len(items)} tasks; an inline batch takes 1 to {MAX_INLINE}")

    def _created(self, project: Project, status: int) -> int:
        return 200 if project.switches.plain_200 else status

    async def on_continue(self, request: Request, project: Project) -> Response:
        batch = requests.find_batch(request, project)
        batch.continue_job()
        return answer({"batch_id": batch.id}, self._created(project, 202))

    async def on_cancel(self, request: Request, project: Project) -> Response:
        batch = requests.find_batch(request, project)
        batch.cancel()
        return answer({"batch_id": batch.id, project.switches.job_state_key: batch.state})

    async def on_status(self, request: Request, project: Project) -> Response:
        batch = requests.find_batch(request, project)
        omit = requests.flag(request, "omit_failed_task_data")
        most = project.switches.batch_page_max
        page, size = requests.page(request, project, most=most, default=1000, least=0)
        return answer(batch.status(page, size, omit_failed_data=omit))

    # --- reading

    async def on_task_status(self, request: Request, project: Project) -> Response:
        task = project.task(request.path_params["task_id"])
        return self._one(project, task, as_delivery=requests.flag(request, "same_as_delivery"))

    def _one(self, project: Project, task: Task, *, as_delivery: bool = False) -> Response:
        page = reading.texts(project, [task], as_delivery=as_delivery)
        return self._signed(project, b'{"task":' + page[len(b'{"tasks":[') : -2] + b"}")

    def _signed(self, project: Project, page: bytes) -> Response:
        page = self.hub.signer.sign_assets(page, project.switches.asset_url_life)
        return Response(page, media_type=requests.JSON)

    async def on_multi_status(self, request: Request, project: Project) -> Response:
        self.hub.limit(request.query_params["access_key"], "status", self.hub.switches.status_calls_per_second)
        wanted = requests.status_filter(request, project)
        most = project.switches.status_page_max
        tasks = reading.status_page(project, wanted, *requests.page(request, project, most=most, default=100))
        as_delivery = requests.flag(request, "same_as_delivery")
        answers = not requests.flag(request, "omit_answers")
        return self._signed(project, reading.texts(project, tasks, as_delivery=as_delivery, answers=answers))

    async def on_delivered(self, request: Request, project: Project) -> Response:
        wanted = requests.delivered_filter(request, project)
        most = project.switches.delivered_page_max
        tasks = reading.delivered_page(project, wanted, *requests.page(request, project, most=most, default=100))
        return self._signed(project, reading.texts(project, tasks, as_delivery=True))

    async def on_since_last_call(self, request: Request, project: Project) -> Response:
        asked = await requests.body(request, SinceLastCall)
        if asked.limit is not None and asked.limit < 1:
            raise bad_request("limit has to be at least 1")
        lists = project.switches.id_lists
        batch_id = None if asked.batch_id is None else str(asked.batch_id)
        wanted = reading.Filter(
            batch_ids=requests.batch_ids(batch_id, lists=lists),
            client_batch_ids=reading.ids(asked.client_batch_id, lists=lists, name="client_batch_id"),
            match_type=requests.match_type(asked.client_batch_id_match_type),
        )
        size = requests.limit(project, asked.limit, project.switches.delivered_page_max, 100)
        tasks = reading.since_last_call(project, asked.consumer, wanted, size)
        return self._signed(project, reading.texts(project, tasks, as_delivery=True))

    # --- changing

    async def on_reject(self, request: Request, project: Project) -> Response:
        task = project.task(request.path_params["task_id"])
        reasons = (await requests.body(request, Reject)).reasons
        if not any(reason.strip() for reason in reasons):
            raise bad_request("reasons needs at least one reason")
        project.reject(task, reasons)
        return self._one(project, task)

    async def on_acknowledge(self, request: Request, project: Project) -> Response:
        task = project.task(request.path_params["task_id"])
        project.acknowledge(task)
        return self._one(project, task)

    async def on_submit(self, request: Request, project: Project) -> Response:
        task = project.task(request.path_params["task_id"])
        submitted = await requests.body(request, Submit)
        project.submit(task, submitted.answers)
        task.duration = submitted.duration
        return self._one(project, task)

    async def on_priority(self, request: Request, project: Project) -> Response:
        task = project.task(request.path_params["task_id"])
        task.priority = (await requests.body(request, Priority)).priority
        return self._one(project, task)

    async def on_bulk_update(self, request: Request, project: Project) -> Response:
        wanted = await requests.body(request, BulkUpdate)
        for task in self._tasks(project, wanted.task_ids):
            task.priority = wanted.priority
        return answer({"success": True, "task_ids": wanted.task_ids})

    async def on_delete(self, request: Request, project: Project) -> Response:
        wanted = await requests.body(request, DeleteTasks)
        project.delete(self._tasks(project, wanted.task_ids))
        return answer({"success": True, "task_ids": wanted.task_ids})

    def _tasks(self, project: Project, task_ids: list[str]) -> list[Task]:
        if not 1 <= len(task_ids) <= MAX_IDS:
            raise bad_request(f"task_ids holds {len(task_ids)} ids; 1 to {MAX_IDS} are possible")
        return [project.task(task_id) for task_id in task_ids]
