"""Replies that speak of another batch, or count in words: never a success."""

from __future__ import annotations

from typing import Any

import pytest

from kit.scripted_server import KEY, Answer, ScriptedServer
from sama_spark.api import ApiClient, batches
from sama_spark.api.sama_errors import BatchFailed, BatchUnsure, SamaError, WaitTimedOut
from sama_spark.http.call_errors import InvalidResponse
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.cut import PieceHeader
from sama_spark.outbound.pieces import StreamedPiece
from sama_spark.outbound.upload import Uploader

OPEN, JOB = "projects/42/batches.json", "projects/42/batches/5.json"
CONTINUE, CANCEL = "projects/42/batches/5/continue.json", "projects/42/batches/5/cancel.json"
OTHERS: list[dict[str, Any]] = [
    {"batch_id": 6},
    {"batch_id": "6"},
    {"batch_id": "05"},
    {"batch_id": 5.0},
    {"batch_id": True},
    {"batch_id": [5]},
    {"batch_id": 5, "project_id": 43},
]


def job(state: Any, **more: Any) -> Answer:
    return Answer(body={"batch_id": 5, "state": state, "created_count": 0, "messages": [], **more})


NO_IDS = [0, -1, 2**63, 10**30, 7.0, 7.5, True, None, [7]]
NO_IDS += ["", "0", "-7", "+7", "0070", "7.0", " 7", "7\n", "\u00b2", "\u0667", "7" * 5000]


@pytest.mark.parametrize("batch_id", NO_IDS)
def test_ids_that_are_none(batch_id: Any, server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", OPEN, Answer(201, {"batch_id": batch_id, "tasks_put_url": server.upload_url}))
    with pytest.raises(InvalidResponse, match="batch_id"):
        client.open_batch(42)
    server.on("POST", OPEN, Answer(201, {"batch_id": batch_id}))
    with pytest.raises(InvalidResponse, match="batch_id"):
        client.create_tasks_inline(42, [{"data": {"url": "u"}}])


@pytest.mark.parametrize("batch_id", [1, "1", 2**63 - 1, str(2**63 - 1), "70"])
def test_ids(batch_id: Any, server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", OPEN, Answer(201, {"batch_id": batch_id, "tasks_put_url": server.upload_url}))
    assert client.open_batch(42).batch_id == int(batch_id)


@pytest.mark.parametrize("other", OTHERS)
def test_continue_that_answers_for_another(other: dict[str, Any], server: ScriptedServer, client: ApiClient) -> None:
    """It is settled by the batch's state: started where that says so, else nobody knows."""
    server.on("POST", CONTINUE, Answer(202, other))
    server.on("GET", JOB, job("queued"))
    assert batches.start(client, 42, 5) == {"batch_id": 5}
    assert server.count("POST", CONTINUE) == 1
    server.on("GET", JOB, Answer(200, other | {"state": "queued", "created_count": 1}))
    with pytest.raises(BatchUnsure):
        batches.start(client, 42, 5)
    assert server.count("POST", CONTINUE) == 2


@pytest.mark.parametrize("other", OTHERS)
def test_status_of_another(other: dict[str, Any], server: ScriptedServer, client: ApiClient) -> None:
    server.on("GET", JOB, Answer(200, {"state": "completed", "created_count": 1, "tasks": [], **other}))
    for ask in (
        lambda: client.get_batch_job(42, 5),
        lambda: client.get_batch_job("42", "5", page_size=10),
        lambda: client.wait_for_batch(42, 5),
        lambda: list(client.get_batch_items(42, 5)),
    ):
        with pytest.raises(InvalidResponse, match="another"):
            ask()


def test_items_of_another(server: ScriptedServer, client: ApiClient) -> None:
    items = [{"id": "a", "state": "created", "batch_id": 5}, {"id": "b", "state": "created", "batch_id": 6}]
    server.on("GET", JOB, Answer(200, {"batch_id": 5, "state": "completed", "tasks": items}))
    with pytest.raises(InvalidResponse, match="another batch_id"):
        list(client.get_batch_items(42, 5))


@pytest.mark.parametrize("other", OTHERS)
def test_cancel_of_another(other: dict[str, Any], server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", CANCEL, Answer(200, other))
    with pytest.raises(InvalidResponse):
        client.cancel_batch_creation_job(42, 5)
    assert not client.discard_batch(42, 5)


def test_replies_that_name_no_batch(server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", CANCEL, Answer(200, b""))
    assert client.cancel_batch_creation_job(42, 5) == {}
    server.on("GET", JOB, Answer(200, {"state": "completed", "created_count": 1, "project_id": "42"}))
    assert client.get_batch_job(42, 5).batch_id == 5


@pytest.mark.parametrize("count", [True, False, -1, 1.0, "1", None, [1]])
def test_counts_that_are_none(count: Any, server: ScriptedServer, client: ApiClient) -> None:
    server.on("GET", JOB, job("completed", created_count=count))
    assert client.get_batch_job(42, 5).created_count is None


@pytest.mark.parametrize("state", [True, 5, 1.5, None, "", ["completed"], {"completed": True}])
def test_states_that_are_none(state: Any, server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", CONTINUE, Answer(500, {}))
    server.on("GET", JOB, job(state))
    with pytest.raises(BatchUnsure):
        batches.start(client, 42, 5)
    with pytest.raises(WaitTimedOut):
        client.wait_for_batch(42, 5, timeout=3)


def test_one_id_for_two_uploads(server: ScriptedServer, client: ApiClient) -> None:
    """The second file would take the first one's place: all is cancelled, nothing is started."""
    server.on("POST", OPEN, Answer(201, {"batch_id": 5, "tasks_put_url": server.upload_url}))
    server.on("PUT", "/store/file-1", Answer(200, b""))
    server.on("POST", CANCEL, Answer(200, {}))
    piece = StreamedPiece(PieceHeader(tasks=1, bytes=2), b"{}")
    for in_flight in (1, 3):
        uploader = Uploader(client, 42, CreationOptions(tasks_file_name=None, in_flight=in_flight))
        with pytest.raises(InvalidResponse, match="twice"):
            uploader.upload([[piece]] * 3)
    assert server.count("POST", CANCEL) >= 2
    assert server.count("POST", CONTINUE) == 0


# --- what Sama says in good replies

LINK = "https://store.example.org/k.jpg"
SAID = f"cannot fetch {LINK}?X-Amz-Signature=s1gn4ture with {KEY}"


def test_no_secret_in_what_a_job_says(server: ScriptedServer, client: ApiClient) -> None:
    server.on("GET", JOB, job("failed", messages=[SAID, {"message": SAID}, {"said": SAID}, [SAID]]))
    made = client.get_batch_job(42, 5)
    assert made.messages[0] == f"cannot fetch {LINK}?<redacted> with <redacted>"
    with pytest.raises(BatchFailed) as raised:
        client.wait_for_batch(42, 5)
    errors = [{"type": "X", "message": SAID, "more": [{SAID: SAID}]}, SAID, 5, None]
    items = [{"id": "a", "state": SAID, "data": {"url": f"{LINK}?sig=mine"}, "errors": errors}]
    server.on("GET", JOB, job("completed", tasks=items), job("completed", tasks=[]))
    [item] = client.get_batch_items(42, 5)
    assert item.errors[0]["message"] == made.messages[0]
    assert item.data == {"url": f"{LINK}?sig=mine"}  # what was sent is the user's own
    server.on("GET", JOB, job(SAID))
    with pytest.raises(SamaError) as waited:
        client.wait_for_batch(42, 5, timeout=1)
    for text in (repr(made), str(raised.value), repr(raised.value.messages), repr(item), str(waited.value)):
        assert LINK in text
        assert KEY not in text
        assert "s1gn4ture" not in text


def test_a_batch_of_another_project_is_not_filled(server: ScriptedServer, client: ApiClient) -> None:
    reply = {"batch_id": 5, "project_id": 43, "tasks_put_url": server.upload_url}
    server.on("POST", OPEN, Answer(201, reply))
    with pytest.raises(InvalidResponse, match="another project_id"):
        client.open_batch(42)
    with pytest.raises(InvalidResponse, match="another project_id"):
        client.create_tasks_inline(42, [{"data": {"url": "u"}}])


def test_another_task_is_not_taken_for_the_one_asked_for(server: ScriptedServer, client: ApiClient) -> None:
    path = "projects/42/tasks/65e1a0000000000000000abc.json"
    for answer in (b'{"task": {"id": "65e1a0000000000000000abd"}}', b'{"task": {"id": 7, "answers": NaN}}'):
        server.on("GET", path, Answer(200, answer))
        with pytest.raises(InvalidResponse, match="another task"):
            list(client.get_task_status(42, "65e1a0000000000000000abc"))
    server.on(
        "GET",
        "projects/42/tasks/65E1A0000000000000000ABC.json",
        Answer(200, {"task": {"id": "65e1a0000000000000000abc"}}),
    )
    assert len(list(client.get_task_status(42, "65E1A0000000000000000ABC"))) == 1


@pytest.mark.parametrize("data", ["NaN", "[" * 20_000 + "]" * 20_000], ids=["NaN", "deep"])
@pytest.mark.parametrize("batch_id", [5, 6])
def test_odd_items_are_of_the_batch_asked_for(
    data: str, batch_id: int, server: ScriptedServer, client: ApiClient
) -> None:
    page = f'{{"batch_id": {batch_id}, "tasks": [{{"id": "a", "state": "failed", "data": {data}}}]}}'.encode()
    server.on("GET", JOB, Answer(200, page), Answer(200, {"tasks": []}))
    if batch_id == 5:
        assert [item.state for item in client.get_batch_items(42, 5)] == ["failed"]
    else:
        with pytest.raises(InvalidResponse, match="another batch_id"):
            list(client.get_batch_items(42, 5))
