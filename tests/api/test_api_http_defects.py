"""One test per row of "HTTP behaviour": what Sama's own connector gets wrong on the wire."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from kit.fake_clock import FakeClock
from kit.scripted_server import KEY, Answer, Got, ScriptedServer, fixed_random, stamp, task
from sama_spark import api
from sama_spark.api import ApiClient, batches

INFO = "projects/42.json"
BATCHES = "projects/42/batches.json"
CONTINUE = "projects/42/batches/7/continue.json"
CANCEL = "projects/42/batches/7/cancel.json"
JOB = "projects/42/batches/7.json"
DELIVERED = "projects/42/tasks/delivered.json"
STATUS = "projects/42/tasks.json"
OK = Answer(200, {"id": 42})


def open_ok(server: ScriptedServer, batch_id: int = 7) -> Answer:
    return Answer(201, {"batch_id": batch_id, "tasks_put_url": server.upload_url})


def pages_of(rows: list[dict], cap: int = 1000) -> Callable[[Got], Answer]:
    """A well-behaved list: filtered by `from`, cut into pages, `cap` rows at most."""

    def serve(got: Got) -> Answer:
        size = min(cap, int(got.query["page_size"]))
        start = (int(got.query["page"]) - 1) * size
        fitting = [row for row in rows if (row["delivered_at"] or "") >= got.query.get("from", "")]
        return Answer(200, {"tasks": fitting[start : start + size]})

    return serve


def test_connection_refused_is_retried(clock: FakeClock) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    client = ApiClient(KEY, base_url=f"http://127.0.0.1:{port}/v2", clock=clock, rng=fixed_random(), deadline=60)
    with pytest.raises(api.ConnectionFailed) as caught:
        client.get_project_information("42")
    assert len(clock.sleeps) > 3
    assert sum(clock.sleeps) <= 60
    assert caught.value.retryable


def test_connection_dropped_by_peer_is_retried(server: ScriptedServer, client: ApiClient, clock: FakeClock) -> None:
    server.on("GET", INFO, Answer(fault="drop"), Answer(fault="drop"), OK)
    assert client.get_project_information("42") == {"id": 42}
    assert len(server.calls) == 3
    assert len(clock.sleeps) == 2


def test_connection_dropped_is_not_retried_where_it_may_have_been_done(
    server: ScriptedServer, client: ApiClient
) -> None:
    server.on("PUT", "projects/42/tasks/1/reject.json", Answer(fault="drop"))
    with pytest.raises(api.ConnectionFailed) as caught:
        client.reject_task("42", "1", ["blurred"])
    assert len(server.calls) == 1
    assert caught.value.maybe_done
    assert not caught.value.retryable


def test_server_that_never_answers_ends_in_a_timeout(server: ScriptedServer) -> None:
    server.on("GET", INFO, Answer(fault="hang"))
    client = ApiClient(KEY, base_url=server.base_url, read_timeout=0.1, deadline=0.4)
    started = time.monotonic()
    with pytest.raises(api.RequestTimedOut):
        client.get_project_information("42")
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("fault", ["trickle", "trickle headers"])
def test_server_that_trickles_ends_in_a_timeout(server: ScriptedServer, fault: str) -> None:
    server.on("GET", INFO, Answer(200, {"text": "x" * 1000}, fault=fault))
    client = ApiClient(KEY, base_url=server.base_url, read_timeout=0.3, deadline=0.6)
    started = time.monotonic()
    with pytest.raises(api.RequestTimedOut):
        client.get_project_information("42")
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("status", [429, 503])
def test_429_with_retry_after_seconds_is_honoured(
    server: ScriptedServer, client: ApiClient, clock: FakeClock, status: int
) -> None:
    server.on("GET", INFO, Answer(status, {}, {"Retry-After": "7"}), OK)
    client.get_project_information("42")
    assert clock.sleeps == [7.0]


def test_429_with_retry_after_date_is_honoured(server: ScriptedServer, client: ApiClient, clock: FakeClock) -> None:
    server.on("GET", INFO, Answer(429, {}, {"Retry-After": formatdate(clock.now + 9, usegmt=True)}), OK)
    client.get_project_information("42")
    assert clock.sleeps == [9.0]


def test_429_whose_retry_after_passes_the_deadline_ends_at_once(
    server: ScriptedServer, client: ApiClient, clock: FakeClock
) -> None:
    server.on("GET", INFO, Answer(429, {"errors": [{"type": 429, "message": "slow"}]}, {"Retry-After": "9000"}))
    with pytest.raises(api.RateLimitedError, match="slow") as caught:
        client.get_project_information("42")
    assert clock.sleeps == []
    assert caught.value.retryable


def test_429_is_waited_for_with_jitter_within_a_budget(server: ScriptedServer) -> None:
    server.on("GET", INFO, Answer(429))
    waits = []
    for seed in (1, 2):
        clock, rng = FakeClock(), fixed_random()
        rng.seed(seed)
        client = ApiClient(KEY, base_url=server.base_url, clock=clock, rng=rng, deadline=100)
        with pytest.raises(api.RateLimitedError):
            client.get_project_information("42")
        assert sum(clock.sleeps) <= 100
        waits.append(clock.sleeps)
    assert waits[0] != waits[1]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_500_is_retried_where_safe(server: ScriptedServer, client: ApiClient, status: int) -> None:
    server.on("GET", INFO, Answer(status), Answer(status), OK)
    assert client.get_project_information("42") == {"id": 42}


def test_500_from_the_store_is_retried(server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", BATCHES, open_ok(server))
    server.on("PUT", "/store/file-1", Answer(500, b"<Error>oops</Error>"), Answer(fault="drop"), Answer(200, b""))
    assert batches.upload(client, "42", b"[1]") == 7
    assert [got.body for got in server.calls[1:]] == [b"[1]"] * 3


@pytest.mark.parametrize(
    ("status", "kind", "error_type"),
    [
        (400, api.BadRequestError, 400),
        (401, api.AuthenticationError, 401),
        (404, api.NotFoundError, 404),
        (422, api.InvalidInputSchema, "InvalidInputSchema"),
    ],
)
def test_400_and_401_keep_the_servers_message_and_hide_the_key(
    server: ScriptedServer, client: ApiClient, status: int, kind: type, error_type: object
) -> None:
    body = {"errors": [{"type": error_type, "message": f"Key {KEY} is not welcome"}]}
    server.on("GET", INFO, Answer(status, body, {"X-Request-Id": "r-1"}))
    with pytest.raises(kind, match="is not welcome") as caught:
        client.get_project_information("42")
    error = caught.value
    assert (error.status, error.error_type, error.request_id) == (status, str(error_type), "r-1")
    assert error.project_id == "42"
    assert KEY not in str(error)
    assert len(server.calls) == 1


def test_504_on_the_first_post_leaves_nothing_that_costs(server: ScriptedServer, client: ApiClient) -> None:
    """The first batch stays open, but only the second is ever uploaded to and continued."""
    server.on("POST", BATCHES, Answer(504), open_ok(server))
    server.on("PUT", "/store/file-1", Answer(200, b""))
    server.on("POST", CONTINUE, Answer(202, {"batch_id": 7}))
    assert client.create_task_batch("42", [{"url": "u"}]) == {"batch_id": 7}
    assert [got.path for got in server.calls] == [BATCHES, BATCHES, "/store/file-1", CONTINUE]


@pytest.mark.parametrize("state", ["queued", "processing", "completed"])
@pytest.mark.parametrize("lost", [Answer(502), Answer(fault="drop"), Answer(200, b"<html>"), Answer(400)])
def test_continue_answered_502_asks_the_job_status_first(
    server: ScriptedServer, client: ApiClient, lost: Answer, state: str
) -> None:
    server.on("POST", CONTINUE, lost)
    server.on("GET", JOB, Answer(200, {"batch_id": 7, "status": state}))
    assert batches.start(client, "42", 7) == {"batch_id": 7}
    assert server.count("POST", CONTINUE) == 1
    assert server.calls[-1].query["page_size"] == "0"


def test_continue_answered_502_is_repeated_while_the_batch_waits(server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", CONTINUE, Answer(502), Answer(202, {"batch_id": 7}))
    server.on("GET", JOB, Answer(200, {"batch_id": 7, "state": "waiting"}))
    assert batches.start(client, "42", 7) == {"batch_id": 7}
    assert [got.path for got in server.calls] == [CONTINUE, JOB, CONTINUE]


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        (Answer(200, {"state": "failed"}), api.BatchStateError),
        (Answer(200, {"state": "canceled"}), api.BatchStateError),
        (Answer(200, {"state": "snoozing"}), api.BatchUnsure),
        (Answer(404), api.BatchUnsure),
        (Answer(200, {"state": "waiting"}), api.BatchUnsure),
    ],
)
def test_continue_answered_502_and_no_clear_state_is_a_typed_error(
    server: ScriptedServer, client: ApiClient, job: Answer, kind: type
) -> None:
    server.on("POST", CONTINUE, Answer(502))
    server.on("GET", JOB, job)
    with pytest.raises(kind) as caught:
        batches.start(client, "42", 7)
    assert type(caught.value) is kind
    assert caught.value.batch_id == 7
    assert "get_batch_job" in str(caught.value)
    assert server.count("POST", CONTINUE) <= 3


def test_continue_without_any_answer_is_watched_and_never_repeated(
    server: ScriptedServer, make_client: Callable[..., ApiClient], clock: FakeClock
) -> None:
    client = make_client(read_timeout=0.1)
    server.on("POST", CONTINUE, Answer(fault="hang"))
    waiting = Answer(200, {"state": "waiting"})
    server.on("GET", JOB, waiting, waiting, Answer(200, {"state": "queued"}))
    assert batches.start(client, "42", 7) == {"batch_id": 7}
    server.on("GET", JOB, waiting)
    with pytest.raises(api.BatchUnsure):
        batches.start(client, "42", 7)
    assert server.count("POST", CONTINUE) == 2
    assert sum(clock.sleeps) > 30


def test_continue_refused_with_400_while_waiting_shows_the_refusal(server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", CONTINUE, Answer(400, {"errors": [{"type": 400, "message": "no file"}]}))
    server.on("GET", JOB, Answer(200, {"state": "waiting"}))
    with pytest.raises(api.BadRequestError, match="no file"):
        batches.start(client, "42", 7)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_presigned_put_403_opens_a_new_batch_and_cancels_the_old(
    server: ScriptedServer, client: ApiClient, status: int
) -> None:
    expired = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    server.on("POST", BATCHES, open_ok(server, 7), open_ok(server, 8))
    server.on("POST", CANCEL, Answer(200, {"batch_id": 7}))
    server.on("PUT", "/store/file-1", Answer(status, expired), Answer(200, b""))
    assert batches.upload(client, "42", b"[]") == 8
    assert server.count("POST", CANCEL) == 1


def test_presigned_put_403_for_ever_is_a_typed_error_and_leaves_no_batch_open(
    server: ScriptedServer, client: ApiClient
) -> None:
    expired = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    server.on("POST", BATCHES, open_ok(server))
    server.on("POST", CANCEL, Answer(200, b""))
    server.on("PUT", "/store/file-1", Answer(403, expired))
    with pytest.raises(api.UploadUrlRefused, match="Request has expired") as caught:
        client.create_task_batch("42", [{"url": "u"}])
    assert caught.value.error_type == "AccessDenied"
    assert server.count("POST", BATCHES) == server.count("POST", CANCEL) == 3


@pytest.mark.parametrize("reply", [{"batch_id": 7}, {"batch_id": 7, "tasks_put_url": None}, {"tasks_put_url": "x"}, []])
def test_answer_without_tasks_put_url_is_a_typed_error(
    server: ScriptedServer, client: ApiClient, reply: object
) -> None:
    server.on("POST", BATCHES, Answer(200, reply))
    with pytest.raises(api.InvalidResponse):
        client.create_task_batch("42", [{"url": "u"}])


@pytest.mark.parametrize(
    "page_2",
    [
        Answer(200, b"<html><body>Please sign in</body></html>"),
        Answer(200, b""),
        Answer(200, {"tasks": [task(3, stamp(3))]}, fault="truncate"),
        Answer(200, b'{"tasks": [{"id": '),
    ],
)
def test_page_2_that_is_html_or_broken_is_retried_then_an_error(
    server: ScriptedServer, client: ApiClient, page_2: Answer
) -> None:
    page_1 = Answer(200, {"tasks": [task(1, stamp(1)), task(2, stamp(2))]})
    server.on("GET", DELIVERED, page_1, page_2)
    with pytest.raises(api.InvalidResponse):
        list(client.get_delivered_tasks("42"))
    rows = [task(1, stamp(1)), task(2, stamp(2))]
    server.on("GET", DELIVERED, page_1, page_2, pages_of(rows))
    assert list(client.get_delivered_tasks("42")) == rows


@pytest.mark.parametrize("page", [{}, {"tasks": None}, {"tasks": {}}, {"tasks": [1]}, {"tasks": [{}]}, [], None])
def test_wrong_shaped_page_is_an_error_and_no_end(server: ScriptedServer, client: ApiClient, page: object) -> None:
    server.on("GET", DELIVERED, Answer(200, page))
    server.on("GET", STATUS, Answer(200, page))
    server.on("GET", JOB, Answer(200, page))
    for read in (client.get_delivered_tasks("42"), client.get_multi_task_status("42")):
        with pytest.raises(api.InvalidResponse, match="project 42"):
            list(read)
    if page != {"tasks": [{}]}:
        with pytest.raises(api.InvalidResponse):
            list(client.get_status_batch_creation_job("42", 7))


@pytest.mark.parametrize("cap", [1, 7, 500])
def test_server_that_caps_the_page_size_gives_all(server: ScriptedServer, client: ApiClient, cap: int) -> None:
    rows = [task(number, stamp(number // 3)) for number in range(40 if cap < 500 else 1500)]
    server.on("GET", DELIVERED, pages_of(rows, cap))
    server.on("GET", STATUS, pages_of(rows, min(cap, 100)))
    assert list(client.get_delivered_tasks("42")) == rows
    assert list(client.get_multi_task_status("42")) == rows


def test_list_that_shifts_while_paging_loses_nothing(server: ScriptedServer, client: ApiClient) -> None:
    rows = [task(number) for number in range(350)]
    serve = pages_of(rows)

    def shifting(got: Got) -> Answer:
        if len(server.calls) == 2:
            del rows[:50]
        return serve(got)

    expected = list(rows)
    server.on("GET", STATUS, shifting)
    got = list(client.get_multi_task_status("42", state=api.TaskStates.NEW))
    assert sorted(row["id"] for row in got) == [row["id"] for row in expected]


def test_since_last_call_yields_each_page_before_the_next_call(server: ScriptedServer, client: ApiClient) -> None:
    """A consumer that crashes after 10 rows has caused one call, so one page at most is in its hands."""
    server.on("POST", DELIVERED, Answer(200, {"tasks": [task(n, stamp(n)) for n in range(1000)]}))
    pages = client.since_last_call_pages("42")
    assert len(next(pages)) == 1000
    assert len(server.calls) == 1


@pytest.mark.parametrize("fault", [Answer(500), Answer(fault="drop"), Answer(429), Answer(200, b"<html>")])
def test_since_last_call_that_fails_on_page_2_is_not_repeated_and_keeps_page_1(
    server: ScriptedServer, client: ApiClient, fault: Answer
) -> None:
    server.on("POST", DELIVERED, Answer(200, {"tasks": [task(1, stamp(1))]}), fault)
    received = []
    with pytest.raises(api.SamaError):
        for page in client.since_last_call_pages("42"):
            received += page
    assert [json.loads(bytes(text.text))["id"] for text in received] == [task(1)["id"]]
    assert len(server.calls) == 2


def test_since_last_call_sends_no_page_and_reads_until_an_empty_answer(
    server: ScriptedServer, client: ApiClient
) -> None:
    rows = [task(number, stamp(number)) for number in range(1700)]

    def take(got: Got) -> Answer:
        taken = rows[: min(500, got.json["limit"])]
        del rows[: len(taken)]
        return Answer(200, {"tasks": taken})

    server.on("POST", DELIVERED, take)
    assert len(list(client.get_deliveried_tasks_since_last_call(proj_id=42, consumer="c"))) == 1700
    assert all(got.query == {"access_key": KEY} for got in server.calls)
    assert server.calls[0].json == {
        "batch_id": None,
        "client_batch_id": None,
        "client_batch_id_match_type": None,
        "consumer": "c",
        "limit": 1000,
    }


def test_batch_job_status_gives_state_count_messages_and_tasks(server: ScriptedServer, client: ApiClient) -> None:
    items = [
        {"id": "a", "state": "created"},
        {
            "task_id": "b",
            "status": "failed",
            "data": {"url": "u"},
            "errors": [{"type": 400, "message": "no"}],
        },
        {"id": "c", "state": "created"},
    ]

    def job(got: Got) -> Answer:
        size, page = int(got.query["page_size"]), int(got.query.get("page", 1))
        reply = {"batch_id": 7, "state": "completed", "created_count": 2, "messages": ["done"]}
        return Answer(200, reply | ({"tasks": items[size * (page - 1) : size * page]} if size else {}))

    server.on("GET", JOB, job)
    assert client.get_batch_job("42", 7) == api.BatchJob(7, "completed", 2, ("done",))
    assert len(server.calls) == 1
    assert client.get_batch_job("42", 7, page_size=2).counts == {"created": 2, "failed": 1}
    assert list(client.get_status_batch_creation_job("42", "7")) == items
    (failed,) = client.get_failed_batch_items("42", 7)
    assert (failed.id, failed.data, failed.errors[0]["message"]) == ("b", {"url": "u"}, "no")


@pytest.mark.parametrize(
    ("error_type", "kind"),
    [
        (404, api.NotFoundError),
        (401, api.AuthenticationError),
        ("InvalidInputSchema", api.InvalidInputSchema),
        ("x", api.BadRequestError),
    ],
)
def test_200_with_an_errors_body_is_a_typed_error(
    server: ScriptedServer, client: ApiClient, error_type: object, kind: type
) -> None:
    body = {"errors": [{"type": error_type, "message": "no such thing"}]}
    server.on("GET", DELIVERED, Answer(200, body))
    server.on("GET", INFO, Answer(200, body))
    for read in (lambda: list(client.get_delivered_tasks("42")), lambda: client.get_project_information(42)):
        with pytest.raises(kind, match="no such thing") as caught:
            read()
        assert caught.value.error_type == str(error_type)


def test_silent_logger_and_log_level_work(
    server: ScriptedServer,
    make_client: Callable[..., ApiClient],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.on("GET", INFO, Answer(503), OK)
    logger = logging.getLogger("users.own")
    caplog.set_level(logging.DEBUG)
    make_client().get_project_information("42")
    assert not [record for record in caplog.records if record.name == "users.own"]
    assert any(record.name == "sama_spark" and "503" in record.getMessage() for record in caplog.records)
    assert capsys.readouterr().out == ""
    make_client(silent=False, logger=logger, log_level=logging.WARNING).get_project_information("42")
    (line,) = [record for record in caplog.records if record.name == "users.own"]
    assert line.levelno == logging.WARNING
    assert re.search(r"GET projects/42.json -> 200", line.getMessage())
    make_client(silent=False).get_project_information("42")
    assert "GET projects/42.json -> 200" in capsys.readouterr().out


def test_user_agent_names_the_one_version(server: ScriptedServer, client: ApiClient) -> None:
    server.on("GET", INFO, OK)
    client.get_project_information("42")
    assert re.fullmatch(r"sama-spark/[0-9][\w.]*", server.calls[0].headers["user-agent"])


def test_dependencies_are_declared_and_spark_is_not_needed() -> None:
    code = (
        "import sys\n"
        "for name in ('pyspark', 'pandas', 'pyarrow', 'numpy', 'requests', 'delta'): sys.modules[name] = None\n"
        "import sama_spark.api as api\n"
        "print(api.ApiClient('key'), api.batches.start)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ApiClient" in done.stdout


def test_connections_are_pooled(server: ScriptedServer, client: ApiClient) -> None:
    ports = set()
    handler_class = server._http.RequestHandlerClass
    setup = handler_class.setup

    def remember(self: object) -> None:
        ports.add(self.client_address)  # type: ignore[attr-defined]
        setup(self)  # type: ignore[arg-type]

    handler_class.setup = remember  # type: ignore[method-assign]
    server.on("GET", INFO, OK)
    for _ in range(20):
        client.get_project_information("42")
    assert len(ports) == 1


def test_redirects_are_not_followed(server: ScriptedServer, client: ApiClient) -> None:
    server.on(
        "GET",
        INFO,
        Answer(302, {"message": "moved house"}, {"Location": f"{server.base_url}/elsewhere.json"}),
    )
    with pytest.raises(api.RedirectRefused, match="moved house"):
        client.get_project_information("42")
    assert len(server.calls) == 1


def test_a_byte_order_mark_is_no_flaw(server: ScriptedServer, client: ApiClient) -> None:
    server.on("GET", "projects/42.json", Answer(200, b'\xef\xbb\xbf{"id": 42}'))
    assert client.get_project_information(42) == {"id": 42}
