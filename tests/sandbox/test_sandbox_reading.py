"""Status and delivered reads, cursors, the changes that a client makes, schemas and project reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sama_spark.sandbox.clock import from_text, to_text

from .conftest import Http, Reply

EVERY_STATE = ["new", "in progress", "completed", "approved", "delivered", "rejected", "acknowledged"]


def task_ids(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return [task["id"] for task in reply.body["tasks"]]


def record(number: int, delivered_at: str, **more: Any) -> dict[str, Any]:
    return {"id": f"{number:024x}", "delivered_at": delivered_at, "data": {"url": f"u{number}"}, **more}


def delivered(http: Http, **query: Any) -> list[int]:
    return [int(task_id, 16) for task_id in task_ids(http.get("/tasks/delivered.json", **query))]


def since_last_call(http: Http, **body: Any) -> list[int]:
    return [int(task_id, 16) for task_id in task_ids(http.post("/tasks/delivered.json", body))]


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_timestamps_survive_their_text(ns: int) -> None:
    assert from_text(to_text(ns)) == ns


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2024-01-31", "2024-01-31T00:00:00.000Z"),
        ("2023-09-02T10:23:36.536167366Z", "2023-09-02T10:23:36.536167366Z"),
        ("2024-01-31T01:00:00+02:00", "2024-01-30T23:00:00.000Z"),
        ("2024-01-31T01:00:00", "2024-01-31T01:00:00.000Z"),
    ],
)
def test_timestamps_are_read_in_all_documented_forms(text: str, same: str) -> None:
    assert to_text(from_text(text)) == same


# --- delivered


def test_deliveries_are_kept_to_the_byte(http: Http) -> None:
    answers = '{"n": 12345678901234567890.10,  "e": 1e2, "s": "\\u00e9"}'
    http.sandbox.deliver(http.project, [f'{{"answers": {answers}, "new_field": [1.50]}}'])
    url = f"{http.sandbox.base_url}/projects/{http.project}/tasks/delivered.json"
    body = http.pool.request("GET", f"{url}?access_key={http.sandbox.api_key}").data.decode()
    assert f'"answers":{answers},' in body
    assert ',"new_field":[1.50]}' in body


def test_delivered_is_ordered_and_paged(http: Http) -> None:
    days = {5: "2024-01-01", 2: "2024-01-03", 9: "2024-01-02", 1: "2024-01-02"}
    assert http.sandbox.deliver(http.project, [record(n, day) for n, day in days.items()]) == 4
    assert delivered(http) == [5, 1, 9, 2]
    assert [delivered(http, page=page, page_size=3) for page in (1, 2, 3)] == [[5, 1, 9], [2], []]
    for ordering, expected in (("descending", [2, 9, 1, 5]), ("unordered", None)):
        http.sandbox.switch(http.project, ordering=ordering)
        assert sorted(delivered(http)) == [1, 2, 5, 9]
        assert expected in (None, delivered(http))


def test_from_is_inclusive_to_the_nanosecond(http: Http) -> None:
    times = ["2024-01-01T00:00:00.000Z", "2024-01-01T00:00:00.000000001Z", "2024-01-01T00:00:01Z"]
    http.sandbox.deliver(http.project, [record(n, time) for n, time in enumerate(times)])
    assert delivered(http, from_="2024-01-01") == [0, 1, 2]
    assert delivered(http, from_="2024-01-01T00:00:00.000000001Z") == [1, 2]
    http.sandbox.switch(http.project, from_inclusive=False)
    assert delivered(http, from_="2024-01-01T00:00:00.000000001Z") == [2]


def test_delivered_filters(http: Http) -> None:
    rows = [record(n, "2024-01-01", batch_id=n % 3, client_batch_id=f"run-{n}") for n in range(6)]
    http.sandbox.deliver(http.project, rows)
    assert delivered(http, batch_id="1,2") == [1, 2, 4, 5]
    assert delivered(http, client_batch_id="run-3,run-4") == [3, 4]
    assert delivered(http, client_batch_id="un-3") == []
    assert delivered(http, client_batch_id="un-3", client_batch_id_match_type="contains") == [3]
    assert delivered(http, client_batch_id="run", client_batch_id_match_type="starts_with", batch_id=0) == [
        0,
        3,
    ]
    assert delivered(http, task_id=f"{5:024x},{1:024x}") == [1, 5]
    http.sandbox.switch(http.project, id_lists=False)
    assert http.get("/tasks/delivered.json", batch_id="1,2").status == 400


@pytest.mark.parametrize("rule", ["clamp", "refuse"])
def test_pages_above_the_maximum(http: Http, rule: str) -> None:
    http.sandbox.deliver(http.project, [record(n, "2024-01-01") for n in range(5)])
    http.sandbox.switch(http.project, oversize_page=rule, delivered_page_max=2, status_page_max=2, batch_page_max=2)
    replies = [
        http.get("/tasks/delivered.json", page_size=3),
        http.get("/tasks.json", page_size=3),
        http.post("/tasks/delivered.json", {"limit": 3}),
    ]
    if rule == "clamp":
        assert [len(task_ids(reply)) for reply in replies] == [2, 2, 2]
    else:
        assert [reply.status for reply in replies] == [400, 400, 400]


def test_a_project_without_batch_fields_and_one_with_tomorrows(http: Http) -> None:
    http.sandbox.deliver(http.project, [record(1, "2024-01-01")])
    http.sandbox.switch(http.project, batch_fields=False, extra_fields=True)
    (task,) = http.get("/tasks/delivered.json").body["tasks"]
    assert "batch_id" not in task
    assert task["sla"] == {"due": None, "tier": "gold"}
    assert http.get(f"/tasks/{1:024x}.json").body["task"]["workflow_version"] == 3


def test_a_delivery_anew_replaces_the_old_one(http: Http) -> None:
    http.sandbox.deliver(http.project, [record(1, "2024-01-01"), record(2, "2024-01-02")])
    http.sandbox.deliver(http.project, [record(1, "2024-01-03", answers={"note": "again"})])
    assert delivered(http) == [2, 1]
    assert http.get("/tasks/delivered.json").body["tasks"][1]["answers"] == {"note": "again"}


# --- since last call


def test_each_consumer_has_its_own_place(http: Http) -> None:
    http.sandbox.deliver(http.project, [record(n, "2024-01-01") for n in range(5)])
    assert since_last_call(http, consumer="a", limit=2) == [0, 1]
    assert since_last_call(http, consumer=None, limit=3) == [0, 1, 2]
    assert since_last_call(http, consumer="a", limit=2) == [2, 3]
    assert since_last_call(http) == [3, 4]
    assert since_last_call(http) == []
    http.sandbox.deliver(http.project, [record(9, "2023-01-01"), record(1, "2024-02-01")])
    assert since_last_call(http) == [9, 1]  # a late one and a delivery anew
    assert since_last_call(http, consumer="a") == [9, 4, 1]


def test_rows_that_a_filter_skips_stay_unread(http: Http) -> None:
    http.sandbox.deliver(http.project, [record(n, "2024-01-01", batch_id=n % 2) for n in range(6)])
    assert since_last_call(http, batch_id=1, limit=2) == [1, 3]
    assert since_last_call(http, limit=3) == [0, 2, 4]
    assert since_last_call(http) == [5]


def test_since_last_call_ignores_page_numbers_in_the_query(http: Http) -> None:
    http.sandbox.deliver(http.project, [record(n, "2024-01-01") for n in range(4)])
    pages = [http.post("/tasks/delivered.json", {"limit": 2}, page=page, page_size=2) for page in (1, 2, 3)]
    assert [len(task_ids(page)) for page in pages] == [2, 2, 0]


# --- status


def test_multi_status_filters(http: Http) -> None:
    first = http.create(2, client_batch_id="run-1")
    http.sandbox.advance(3600)
    batch_id = http.upload([{"data": {"url": "x"}, "priority": 5, "primary_keys": ["sku-1"]}])
    (last,) = set(task_ids(http.get("/tasks.json"))) - set(first)
    http.sandbox.set_state(http.project, first[:1], "in progress")
    created = http.get(f"/tasks/{last}.json").body["task"]["created_at"]
    for query, expected in [
        ({}, [*first, last]),
        ({"batch_id": batch_id}, [last]),
        ({"client_batch_id": "run-1"}, first),
        ({"client_batch_id": "run", "client_batch_id_match_type": "contains"}, first),
        ({"state": "in progress"}, first[:1]),
        ({"state": "new"}, [first[1], last]),
        ({"priority": 5}, [last]),
        ({"primary_keys": "sku-0,sku-1"}, [last]),
        ({"from_": created}, [last]),
        ({"to": created}, [*first, last]),
        ({"to": created, "date_type": "delivered"}, []),
        ({"page": 2, "page_size": 2}, [last]),
    ]:
        assert task_ids(http.get("/tasks.json", **query)) == expected, query


@pytest.mark.parametrize(
    "query",
    [
        {"state": "done"},
        {"state": "in_progress"},
        {"date_type": "birth"},
        {"client_batch_id_match_type": "like"},
        {"batch_id": "x"},
        {"from": "yesterday"},
        {"to": "2024-13-01"},
        {"priority": 2**31},
        {"page": 0},
        {"page_size": 0},
        {"page_size": "ten"},
        {"omit_answers": "True"},
        {"same_as_delivery": "1"},
    ],
)
def test_what_makes_no_sense_is_a_400(http: Http, query: dict[str, Any]) -> None:
    reply = http.get("/tasks.json", **query)
    assert reply.status == 400
    assert set(reply.error) == {"type", "message"}


def test_shapes_of_a_status(http: Http) -> None:
    (task_id,) = http.create(1, output_note="before", client_batch_id="b")
    task = http.get(f"/tasks/{task_id}.json").body["task"]
    assert (task["state"], task["delivered_at"], task["client_batch_id"]) == ("new", None, "b")
    assert task["data"] == {"url": "u0", "client_batch_id": "b"}
    assert (task["priority"], "answers" in task, "_extras" in task) == (0, False, False)
    as_delivery = http.get(f"/tasks/{task_id}.json", same_as_delivery="true", page=1, page_size=1000).body["task"]
    assert ("priority" in as_delivery, as_delivery["_extras"]) == (False, {})
    http.sandbox.annotate(http.project)
    assert "answers" in http.get("/tasks.json").body["tasks"][0]
    assert "answers" not in http.get("/tasks.json", omit_answers="true").body["tasks"][0]


@pytest.mark.parametrize("state", EVERY_STATE)
def test_every_state_can_be_set_and_shows(http: Http, state: str) -> None:
    ids = http.create(2)
    http.sandbox.set_state(http.project, ids[:1], state)
    assert task_ids(http.get("/tasks.json", state=state)) == (ids if state == "new" else ids[:1])
    in_feed = state in ("delivered", "acknowledged")
    assert task_ids(http.get("/tasks/delivered.json")) == (ids[:1] if in_feed else [])


# --- changes


def test_a_rejected_task_leaves_the_feed_until_delivered_again(http: Http) -> None:
    (task_id,) = http.create(1, output_note="before")
    assert http.put(f"/tasks/{task_id}/reject.json", {"reasons": ["no"]}).status == 400  # not delivered yet
    http.sandbox.annotate(http.project)
    (first,) = http.get("/tasks/delivered.json").body["tasks"]
    for reasons in ([], [" "], "no", None):
        assert http.put(f"/tasks/{task_id}/reject.json", {"reasons": reasons}).status == 400
    rejected = http.put(f"/tasks/{task_id}/reject.json", {"reasons": ["boxes are loose"]})
    assert (rejected.status, rejected.body["task"]["state"]) == (200, "rejected")
    assert rejected.body["task"]["answers"] == {"note": "before"}
    assert task_ids(http.get("/tasks/delivered.json")) == []
    assert http.sandbox.tasks(http.project)[0]["reasons"] == ["boxes are loose"]
    assert http.sandbox.annotate(http.project) == 1
    (second,) = http.get("/tasks/delivered.json").body["tasks"]
    assert from_text(second["delivered_at"]) > from_text(first["delivered_at"])


def test_early_rejection_by_switch(http: Http) -> None:
    (task_id,) = http.create()
    http.sandbox.set_state(http.project, [task_id], "completed")
    assert http.put(f"/tasks/{task_id}/reject.json", {"reasons": ["no"]}).status == 400
    http.sandbox.switch(http.project, reject_early=True)
    assert http.put(f"/tasks/{task_id}/reject.json", {"reasons": ["no"]}).status == 200


def test_acknowledge(http: Http) -> None:
    (task_id,) = http.create()
    assert http.put(f"/tasks/{task_id}/acknowledge.json").status == 400
    http.sandbox.annotate(http.project)
    for _ in range(2):
        reply = http.put(f"/tasks/{task_id}/acknowledge.json")
        assert (reply.status, reply.body["task"]["state"]) == (200, "acknowledged")
    assert task_ids(http.get("/tasks/delivered.json")) == [task_id]


def test_submit(http: Http) -> None:
    (task_id,) = http.create()
    assert http.put(f"/tasks/{task_id}/submit.json", {"answers": {"colour": "red"}}).status == 400
    assert http.put(f"/tasks/{task_id}/submit.json", {"answers": {"note": 5}}).status == 400
    reply = http.put(f"/tasks/{task_id}/submit.json", {"answers": {"note": "ok"}, "ordinal": 1, "duration": 3})
    assert reply.body["task"]["answers"] == {"note": "ok"}
    assert reply.body["task"]["state"] == "completed"


def test_priorities_and_deletion_are_all_or_nothing(http: Http) -> None:
    ids = http.create(3)
    unknown = "0" * 24
    assert http.post("/tasks/bulk_update.json", {"task_ids": [*ids, unknown], "priority": 3}).status == 404
    assert [task["priority"] for task in http.sandbox.tasks(http.project)] == [0, 0, 0]
    reply = http.post("/tasks/bulk_update.json", {"task_ids": ids[:2], "priority": -100})
    assert reply.body == {"success": True, "task_ids": ids[:2]}
    assert http.put(f"/tasks/{ids[2]}.json", {"priority": 2**31}).status == 400
    assert http.put(f"/tasks/{ids[2]}.json", {"priority": 4}).body["task"]["priority"] == 4
    assert [task["priority"] for task in http.sandbox.tasks(http.project)] == [-100, -100, 4]
    http.sandbox.set_state(http.project, ids[:1], "in progress")
    assert http.post("/tasks/delete_tasks.json", {"task_ids": ids}).status == 400
    assert len(task_ids(http.get("/tasks.json"))) == 3
    assert http.post("/tasks/delete_tasks.json", {"task_ids": ids[1:]}).status == 200
    assert task_ids(http.get("/tasks.json")) == ids[:1]
    assert http.get(f"/tasks/{ids[1]}.json").status == 404
    assert http.post("/tasks/delete_tasks.json", {"task_ids": ids * 400}).status == 400


# --- project


def test_project_reads(http: Http) -> None:
    info = http.get(".json").body
    assert {"name", "state", "type", "asset_country_code", "project_group", "description", "client"} <= set(info)
    assert info["id"] == http.project
    http.create(3)
    http.sandbox.annotate(http.project, 1 / 3)
    stats = http.get("/stats.json", to="2200-01-01").body
    assert stats == {"from": None, "to": "2200-01-01", "tasks": {"delivered": 1, "new": 2}, "total": 3}
    assert http.get("/stats.json", from_="2200-01-01").body["total"] == 0
    assert set(http.get("/credentials.json").body) == {
        "access_key_id", "secret_access_key", "session_token", "expiration",
    }  # fmt: skip


def test_schemas(http: Http) -> None:
    create = http.get("/schemas/create_task.json").body
    data = create["properties"]["data"]
    assert create["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert data["required"] == ["url"]
    assert data["additionalProperties"] is False
    assert data["properties"]["day"] == {"type": "string", "format": "date"}
    assert data["properties"]["count"]["maximum"] == 2**31 - 1
    assert set(data["properties"]["output_weather"]["properties"]) == {"rain", "sun"}
    deliver = http.get("/schemas/deliver_task.json").body["properties"]
    assert "client_batch_id" in deliver
    assert not [name for name in deliver["data"]["properties"] if name.startswith("output_")]
    objects = deliver["answers"]["properties"]["objects"]
    assert objects["x-sama-output-type"] == "image"
    assert objects["examples"][0]["layers"]["vector_tagging"][0]["shapes"][0]["type"] == "rectangle"
    tags = objects["properties"]["layers"]["properties"]["vector_tagging"]["items"]["properties"]["shapes"]
    assert tags["items"]["properties"]["tags"]["properties"]["kind"]["enum"] == ["car", "bus"]
    http.sandbox.switch(http.project, schemas=False)
    assert http.get("/schemas/create_task.json").status == 404
    assert http.get("/schemas/deliver_task.json").status == 404


def test_image_metadata_by_switch(http: Http) -> None:
    http.sandbox.switch(http.project, image_metadata=True)
    http.create()
    assert http.get("/tasks.json").body["tasks"][0]["data"]["objects Width"] == "640"


def test_large_pages_come_whole_over_one_connection(http: Http) -> None:
    text = json.dumps({"answers": {"note": "x" * 3000}})
    assert http.sandbox.deliver(http.project, [text] * 5000) == 5000
    sizes = [len(task_ids(http.get("/tasks/delivered.json", page=page, page_size=1000))) for page in range(1, 7)]
    assert sizes == [1000] * 5 + [0]
    assert len({entry["connection"] for entry in http.sandbox.requests("delivered")}) == 1
