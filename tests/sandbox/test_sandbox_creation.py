"""Opening, uploading, continuing, cancelling and watching batches; single creation."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from sama_spark.sandbox import SandboxError

from .conftest import Http


def status(http: Http, batch_id: int, **query: Any) -> dict[str, Any]:
    body: dict[str, Any] = http.get(f"/batches/{batch_id}.json", **query).body
    return body


def states(http: Http, batch_id: int) -> list[str]:
    return [item["state"] for item in status(http, batch_id)["tasks"]]


def test_an_uploaded_file_becomes_tasks_with_their_data_to_the_byte(http: Http) -> None:
    text = b'[ {"data": {"url": "a\\u00e9", "count": 7,  "output_note": "1"}, "priority": -5, "submit": false} ]'
    opened = http.post("/batches.json", {"notification_email": None, "tasks_file_name": "t"})
    assert opened.status == 201
    assert status(http, opened.body["batch_id"])["state"] == "waiting"
    stored = http.store(opened.body["tasks_put_url"], text)
    assert (stored.status, stored.data) == (200, b"")
    continued = http.post(f"/batches/{opened.body['batch_id']}/continue.json")
    assert (continued.status, continued.body) == (202, {"batch_id": opened.body["batch_id"]})
    job = status(http, opened.body["batch_id"])
    assert (job["state"], job["created_count"], [item["state"] for item in job["tasks"]]) == (
        "completed",
        1,
        ["created"],
    )
    (task,) = http.sandbox.tasks(http.project)
    assert task["data"] == {"url": "aé", "count": 7, "output_note": "1"}
    assert (task["priority"], task["state"]) == (-5, "new")
    assert http.sandbox.uploaded(http.project, opened.body["batch_id"]) == text.decode()


def test_page_size_zero_leaves_the_items_out(http: Http) -> None:
    batch_id = http.upload([{"data": {"url": str(n)}} for n in range(3)])
    assert "tasks" not in status(http, batch_id, page_size=0)
    assert [len(status(http, batch_id, page=page, page_size=2)["tasks"]) for page in (1, 2, 3)] == [2, 1, 0]


BAD_DATA: list[tuple[dict[str, Any], str]] = [
    ({}, "url is required"),
    ({"url": None}, "url is required"),
    ({"url": 5}, "not a string"),
    ({"url": "u", "count": "5"}, "32-bit"),
    ({"url": "u", "count": 5.0}, "32-bit"),
    ({"url": "u", "count": 2**31}, "32-bit"),
    ({"url": "u", "day": "2024-02-30"}, "not a date"),
    ({"url": "u", "day": "2024-02-03T00:00:00Z"}, "not a date"),
    ({"url": "u", "colour": "red"}, "not an input"),
    ({"url": "u", "outputXnote": "seen"}, "not an input"),
    ({"url": "u", "output_note": 5}, "output_note"),
    ({"url": "u", "output_weather": {"snow": "1"}}, "snow"),
    ({"url": "u", "output_weather": {"rain": True}}, "output_weather"),
    ({"url": "u", "output_objects": {"layers": {}}}, "vector_tagging"),
    ({"url": "u", "output_objects": [{"type": "circle", "points": [[1, 2]]}]}, "unknown shape"),
    ({"url": "u", "output_objects": [{"type": "rectangle", "points": [[1, 2]]}]}, "4 points"),
]


@pytest.mark.parametrize(("data", "words"), BAD_DATA)
def test_data_that_does_not_fit_fails_its_item_only(http: Http, data: dict[str, Any], words: str) -> None:
    job = status(http, http.upload([{"data": data}, {"data": {"url": "good", "count": None}}]))
    failed, created = job["tasks"]
    assert (job["state"], job["created_count"], created["state"]) == ("completed", 1, "created")
    assert (failed["state"], failed["data"]) == ("failed", data)
    assert failed["errors"][0]["type"] == "InvalidInputSchema"
    assert words in failed["errors"][0]["message"]


def test_failed_data_can_be_left_out(http: Http) -> None:
    (item,) = status(http, http.upload([{"data": {}}]), omit_failed_task_data="true")["tasks"]
    assert "data" not in item
    assert item["errors"]


def test_an_unknown_output_is_a_400_of_its_item(http: Http) -> None:
    (item,) = status(http, http.upload([{"data": {"url": "u", "output_x": 1, "output_y": 2}}]))["tasks"]
    assert item["errors"] == [{"type": 400, "message": "Invalid seeded output name(s): x, y"}]


@pytest.mark.parametrize("item", [5, {"data": {"url": "u"}, "priority": 2**31}, {"data": {"url": "u"}, "colour": 1}])
def test_an_item_that_is_no_task_fails(http: Http, item: Any) -> None:
    assert states(http, http.upload([item])) == ["failed"]


@pytest.mark.parametrize("content", [b'{"tasks": []}', b"[{", b"", b"\xff"])
def test_a_malformed_file_fails_the_job(http: Http, content: bytes) -> None:
    batch_id = http.upload(content)
    job = status(http, batch_id)
    assert (job["state"], job["tasks"], len(job["messages"])) == ("failed", [], 1)
    assert http.sandbox.tasks(http.project) == []


def test_an_empty_file_completes_with_nothing(http: Http) -> None:
    assert status(http, http.upload([]))["state"] == "completed"


def test_items_pass_through_their_states_along_the_clock(http: Http) -> None:
    http.sandbox.switch(http.project, creation_delay=100)
    batch_id = http.upload([{"data": {"url": str(n)}} for n in range(4)])
    seen = [states(http, batch_id)]
    for _ in range(5):
        http.sandbox.advance(20)
        seen.append(states(http, batch_id))
    assert seen == [
        ["queued"] * 4,
        ["preprocessing"] * 4,
        ["ready"] * 4,
        ["ready"] * 4,
        ["created"] * 2 + ["ready"] * 2,
        ["created"] * 4,
    ]


def test_cancel_keeps_what_is_created(http: Http) -> None:
    http.sandbox.switch(http.project, creation_delay=100)
    batch_id = http.upload([{"data": {"url": str(n)}} for n in range(4)])
    http.sandbox.advance(80)
    cancelled = http.post(f"/batches/{batch_id}/cancel.json")
    assert (cancelled.status, cancelled.body) == (200, {"batch_id": batch_id, "state": "canceled"})
    http.sandbox.advance(1000)
    assert states(http, batch_id) == ["created", "created", "canceled", "canceled"]
    assert len(http.sandbox.tasks(http.project)) == 2


def test_a_waiting_batch_can_be_cancelled_and_then_not_continued(http: Http) -> None:
    batch_id, url = http.open()
    assert http.post(f"/batches/{batch_id}/cancel.json").status == 200
    assert http.store(url, [{"data": {"url": "u"}}]).status == 200
    assert http.post(f"/batches/{batch_id}/continue.json").status == 400
    assert http.sandbox.tasks(http.project) == []


def test_a_finished_batch_cannot_be_cancelled(http: Http) -> None:
    assert http.post(f"/batches/{http.upload([])}/cancel.json").status == 400


def test_continue_needs_a_file(http: Http) -> None:
    batch_id, _ = http.open()
    assert http.post(f"/batches/{batch_id}/continue.json").status == 400
    assert http.post("/batches/999/continue.json").status == 404


@pytest.mark.parametrize(("rule", "code", "count"), [("refuse", 400, 1), ("obey", 202, 2)])
def test_a_second_continue(http: Http, rule: str, code: int, count: int) -> None:
    http.sandbox.switch(http.project, second_continue=rule)
    batch_id = http.upload([{"data": {"url": "u"}}])
    assert http.post(f"/batches/{batch_id}/continue.json").status == code
    assert len(http.sandbox.tasks(http.project)) == count
    assert status(http, batch_id)["created_count"] == count


def test_a_second_upload_before_continue_wins(http: Http) -> None:
    batch_id, url = http.open()
    for name in ("old", "new"):
        assert http.store(url, [{"data": {"url": name}}]).status == 200
    http.post(f"/batches/{batch_id}/continue.json")
    http.store(url, [{"data": {"url": "too late"}}])
    assert [task["data"]["url"] for task in http.sandbox.tasks(http.project)] == ["new"]


def test_the_same_data_twice_makes_two_tasks(http: Http) -> None:
    http.upload([{"data": {"url": "u"}}, {"data": {"url": "u"}}])
    assert len({task["id"] for task in http.sandbox.tasks(http.project)}) == 2


# --- the upload store


def test_an_upload_url_expires(http: Http) -> None:
    _, url = http.open()
    http.sandbox.advance(4 * 3600 - 5)
    assert http.store(url, []).status == 200
    http.sandbox.advance(10)
    refused = http.store(url, [])
    assert (refused.status, refused.headers["Content-Type"]) == (403, "application/xml")
    assert b"Request has expired" in refused.data


def test_an_upload_url_stands_no_tampering(http: Http) -> None:
    batch_id, url = http.open()
    other, _ = http.open()
    tampered = [
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace(f"/{batch_id}.json", f"/{other}.json"),
        url.replace("Expires=1", "Expires=2"),
        url.split("?")[0],
        url + "&access_key=" + http.sandbox.api_key,
    ]
    assert [http.store(one, []).status for one in tampered] == [403] * 5
    assert [batch["uploaded_bytes"] for batch in http.sandbox.batches(http.project)] == [None, None]


def test_an_upload_needs_its_length(http: Http) -> None:
    _, url = http.open()
    reply = http.pool.request("PUT", url, body=iter([b"[", b"]"]))
    assert reply.status == 411
    (entry,) = http.sandbox.requests("put")
    assert entry["headers"]["transfer-encoding"] == "chunked"
    assert (entry["has_key"], entry["status"]) == (False, 411)


def test_the_upload_store_answers_while_a_client_hangs_up_half_way(http: Http) -> None:
    batch_id, url = http.open()
    host, port = url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as raw:
        path = url.split(f":{port}", 1)[1]
        raw.sendall(f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\n[".encode())
    assert http.post(f"/batches/{batch_id}/continue.json").status == 400  # nothing was stored


# --- inline and single


def test_an_inline_batch(http: Http) -> None:
    tasks = [{"data": {"url": "u"}, "priority": 3}, {"data": {}}]
    opened = http.post("/batches.json", {"tasks": tasks})
    assert opened.status == 202
    job = status(http, opened.body["batch_id"])
    assert [item["id"] for item in job["tasks"]] == opened.body["task_ids"]
    assert [item["state"] for item in job["tasks"]] == ["created", "failed"]


def test_an_inline_batch_without_id_list(http: Http) -> None:
    http.sandbox.switch(http.project, inline_task_ids=False, plain_200=True)
    opened = http.post("/batches.json", {"tasks": [{"data": {"url": "u"}}]})
    assert (opened.status, set(opened.body)) == (200, {"batch_id"})


@pytest.mark.parametrize(
    "body",
    [
        {"tasks": [{"data": {"url": "u"}}] * 1001},
        {"tasks": []},
        {"tasks": {}},
        {"tasks": [{"data": {"url": "u"}, "priority": -(2**31) - 1}]},
        {"tasks": [{"priority": 1}]},
        {"colour": 1},
        {"notification_email": 5},
        [],
        b"{",
    ],
)
def test_what_is_no_batch_is_refused(http: Http, body: Any) -> None:
    assert http.post("/batches.json", body).status == 400
    assert http.sandbox.batches(http.project) == []


def test_single_creation(http: Http) -> None:
    created = http.post("/tasks.json", {"task": {"data": {"url": "u"}, "reserve_for": 7, "priority": 2}})
    assert created.status == 201
    (task,) = http.sandbox.tasks(http.project)
    assert (task["id"], task["reserve_for"], task["batch_id"]) == (created.body["task"]["id"], 7, None)
    http.sandbox.switch(http.project, synchronous_create=False)
    queued = http.post("/tasks.json", {"task": {"data": {"url": "u"}}})
    assert (queued.status, queued.body["queued"]) == (202, True)
    refused = http.post("/tasks.json", {"task": {"data": {}}})
    assert (refused.status, refused.error["type"]) == (400, "InvalidInputSchema")


def test_a_task_that_is_submitted_at_creation_is_completed(http: Http) -> None:
    http.upload([{"data": {"url": "u", "output_note": "n"}, "submit": True, "duration": 12.5}])
    (task,) = http.sandbox.tasks(http.project)
    assert (task["state"], task["answers"], task["duration"]) == ("completed", {"note": "n"}, 12.5)


def test_other_keys_of_batch_status(http: Http) -> None:
    http.sandbox.switch(http.project, job_state_key="status", item_state_key="status", item_id_key="task_id")
    job = status(http, http.upload([{"data": {"url": "u"}}]))
    assert (job["status"], set(job["tasks"][0])) == ("completed", {"task_id", "status"})


def test_a_limit_for_uploaded_files(http: Http) -> None:
    http.sandbox.switch(http.project, upload_max_tasks=2)
    assert status(http, http.upload([{"data": {"url": "u"}}] * 3))["state"] == "failed"


def test_a_project_without_an_id_takes_one_that_is_free(http: Http) -> None:
    named = http.sandbox.create_project({}, {}, project_id=http.project + 1)
    assert http.sandbox.create_project({}, {}) not in (http.project, named)
    with pytest.raises(SandboxError, match=f"project {named} exists already"):
        http.sandbox.create_project({}, {}, project_id=named)
