"""The client against the sandbox: the whole way of a task, and lost replies on the way."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kit.scripted_server import fixed_random
from sama_spark import api
from sama_spark.api import ApiClient, SystemClock, batches
from sama_spark.sandbox import Sandbox


class QuickClock(SystemClock):
    """Real time, but sleeping is short."""

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02))


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    sandbox.switch(status_calls_per_second=None)
    return sandbox.create_project(inputs={"url": "string"}, outputs={"color": "dropdown"})


@pytest.fixture
def client(sandbox: Sandbox) -> ApiClient:
    return ApiClient(
        sandbox.api_key, base_url=sandbox.base_url, clock=QuickClock(), rng=fixed_random(), experimental=True
    )


def records(number: int) -> list[dict[str, Any]]:
    return [{"url": f"https://ex.invalid/{place}.jpg", "output_color": "red"} for place in range(number)]


def test_tasks_go_out_and_come_back(sandbox: Sandbox, project: int, client: ApiClient) -> None:
    batch_id = client.create_task_batch(project, records(30), batch_priority=-4)["batch_id"]
    job = client.wait_for_batch(project, batch_id, timeout=30)
    assert (job.state, job.created_count) == ("completed", 30)
    assert client.get_batch_job(project, batch_id, page_size=7).counts == {"created": 30}
    assert len(list(client.get_status_batch_creation_job(project, batch_id))) == 30
    assert len(list(client.get_multi_task_status(project, batch_id, state=api.TaskStates.NEW))) == 30
    assert sandbox.annotate(project) == 30
    delivered = list(client.get_delivered_tasks(project))
    assert len({row["id"] for row in delivered}) == 30
    assert len(list(client.get_deliveried_tasks_since_last_call(project, consumer="c"))) == 30
    assert list(client.get_delivered_tasks_since_last_call(project, consumer="c")) == []
    client.reject_task(project, delivered[0]["id"], ["blurred"])
    client.acknowledge_task(project, delivered[1]["id"])
    (rejected,) = client.get_task_status(project, delivered[0]["id"])
    assert rejected["state"] == "rejected"
    assert client.get_project_information(project)["id"] == project
    assert "properties" in client.get_creation_task_schema(project)
    assert client.get_temporary_credentials(project).expiration


@pytest.mark.parametrize("second", ["refuse", "obey"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["drop", "status", "html", "truncate"])
def test_a_lost_reply_to_continue_creates_each_task_once(
    sandbox: Sandbox, project: int, client: ApiClient, kind: str, after: bool, second: str
) -> None:
    sandbox.switch(second_continue=second)
    sandbox.fail("continue", kind=kind, status=502, after=after)
    batch_id = client.create_task_batch(project, records(3))["batch_id"]
    client.wait_for_batch(project, batch_id, timeout=30)
    assert len(sandbox.tasks(project)) == 3


FAULTS = [
    (call, kind)
    for call in ("open", "put", "delivered", "status", "info")
    for kind in ("drop", "status", "html", "truncate")
]


@pytest.mark.parametrize(("call", "kind"), [*FAULTS, ("put", "expired")])
def test_any_fault_in_free_calls_passes(
    sandbox: Sandbox, project: int, client: ApiClient, call: str, kind: str
) -> None:
    sandbox.fail(call, kind=kind, times=2)
    client.get_project_information(project)
    batch_id = client.create_task_batch(project, records(5))["batch_id"]
    client.wait_for_batch(project, batch_id, timeout=30)
    sandbox.annotate(project)
    assert len(list(client.get_delivered_tasks(project))) == 5
    assert len(sandbox.tasks(project)) == 5


@pytest.mark.parametrize("ordering", ["ascending", "descending", "unordered"])
@pytest.mark.parametrize("from_inclusive", [True, False])
@pytest.mark.parametrize("one_time", [True, False])
def test_every_delivery_comes_once_however_the_list_is_ordered(
    sandbox: Sandbox, project: int, client: ApiClient, ordering: str, from_inclusive: bool, one_time: bool
) -> None:
    sandbox.switch(ordering=ordering, from_inclusive=from_inclusive, delivered_page_max=40, status_page_max=30)
    moment = "2024-05-06T07:08:09.123Z"
    rows = [
        {"id": f"{number:024x}", "data": {"url": str(number)}} | ({"delivered_at": moment} if one_time else {})
        for number in range(170)
    ]
    sandbox.deliver(project, rows)
    expected = sorted(row["id"] for row in rows)
    assert sorted(row["id"] for row in client.get_delivered_tasks(project)) == expected
    assert sorted(row["id"] for row in client.get_multi_task_status(project)) == expected


def test_an_expired_url_leads_to_a_new_batch(sandbox: Sandbox, project: int, client: ApiClient) -> None:
    sandbox.fail("put", kind="expired")
    batch_id = batches.upload(client, project, b'[{"data": {"url": "u"}}]')
    states = {batch["batch_id"]: batch["state"] for batch in sandbox.batches(project)}
    assert states.pop(batch_id) == "waiting"
    assert list(states.values()) == ["canceled"]


def test_failed_items_are_listed_with_their_errors(sandbox: Sandbox, project: int, client: ApiClient) -> None:
    sent = [*records(2), {"nonsense": 1}]
    batch_id = client.create_task_batch(project, sent)["batch_id"]
    client.wait_for_batch(project, batch_id, timeout=30)
    (failed,) = client.get_failed_batch_items(project, batch_id)
    assert failed.data is not None
    assert failed.errors[0]["type"] == "InvalidInputSchema"
