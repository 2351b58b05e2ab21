"""What stays as in Sama's SDK (signatures, wire), what is new, and what is refused before it is sent."""

from __future__ import annotations

import gzip
import inspect
import json
import subprocess
import sys
import threading
import uuid
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from kit.fake_clock import FakeClock
from kit.scripted_server import KEY, Answer, Got, ScriptedServer, task
from sama_spark import api
from sama_spark.api import ApiClient
from sama_spark.api.records import tasks_body, to_json
from sama_spark.api.sama_errors import of_sama
from sama_spark.http.call_errors import ConnectionFailed

BATCHES = "projects/42/batches.json"

# Names, order and defaults of 0.5.12; what comes on top is keyword-only.
_FILTERS = "project_id, batch_id=None, client_batch_id=None, client_batch_id_match_type=None"
SIGNATURES = {
    "create_task_batch": "project_id, task_data_records, batch_priority=0, notification_email=None, "
    "submit=False, tasks_file_name='python_sdk'",
    "cancel_batch_creation_job": "project_id, batch_id",
    "reject_task": "project_id, task_id, reasons",
    "update_task_priorities": "project_id, task_ids, priority",
    "delete_tasks": "project_id, task_ids",
    "get_task_status": "project_id, task_id, same_as_delivery=True",
    "get_multi_task_status": f"{_FILTERS}, date_type=None, from_timestamp=None, to_timestamp=None, "
    "state=None, omit_answers=True",
    "get_delivered_tasks": f"{_FILTERS}, from_timestamp=None, task_id=None",
    "get_delivered_tasks_since_last_call": f"{_FILTERS}, consumer=None",
    "get_status_batch_creation_job": "project_id, batch_id, omit_failed_task_data=False",
    "get_creation_task_schema": "project_id",
    "get_delivery_task_schema": "project_id",
    "get_project_information": "project_id",
    "get_project_stats": "project_id, from_timestamp=None, to_timestamp=None",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_is_that_of_the_old_sdk(name: str) -> None:
    parameters = list(inspect.signature(getattr(ApiClient, name)).parameters.values())[1:]
    kept = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    text = ", ".join(one.name if one.default is one.empty else f"{one.name}={one.default!r}" for one in kept)
    assert text == SIGNATURES[name]


def test_constructor_takes_the_old_arguments_in_order() -> None:
    names = list(inspect.signature(ApiClient).parameters)
    assert names[:4] == ["api_key", "silent", "logger", "log_level"]


def test_wire_of_creation_is_that_of_the_old_sdk(server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", BATCHES, Answer(201, {"batch_id": 7, "tasks_put_url": server.upload_url}))
    server.on("PUT", "/store/file-1", Answer(200, b""))
    server.on("POST", "projects/42/batches/7/continue.json", Answer(202, {"batch_id": 7}))
    records = [{"url": "u", "output_box": {"shapes": [1.5]}}, {"url": "ü"}]
    assert client.create_task_batch(proj_id="42", task_data_records=records, batch_priority=-5)["batch_id"] == 7
    opened, put, continued = server.calls
    assert opened.json == {"notification_email": None, "tasks_file_name": "python_sdk"}
    assert put.json == [{"data": record, "priority": -5, "submit": False} for record in records]
    assert continued.body == b""
    for got in (opened, continued):
        assert got.query == {"access_key": KEY}
        assert got.headers["content-type"] == got.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("call", "method", "path", "query", "body"),
    [
        (
            lambda c: c.cancel_batch_creation_job(42, "7"),
            "POST",
            "projects/42/batches/7/cancel.json",
            {},
            None,
        ),
        (
            lambda c: c.reject_task("42", "ab", ["r"]),
            "PUT",
            "projects/42/tasks/ab/reject.json",
            {},
            {"reasons": ["r"]},
        ),
        (
            lambda c: c.update_task_priorities("42", ["ab"], -1),
            "POST",
            "projects/42/tasks/bulk_update.json",
            {},
            {"task_ids": ["ab"], "priority": -1},
        ),
        (
            lambda c: c.delete_tasks(project_id=42, task_ids=["ab"]),
            "POST",
            "projects/42/tasks/delete_tasks.json",
            {},
            {"task_ids": ["ab"]},
        ),
        (
            lambda c: c.get_project_stats("42", "2024-01-01", "2024-02-01T00:00:00+01:00"),
            "GET",
            "projects/42/stats.json",
            {"from": "2024-01-01", "to": "2024-02-01T00:00:00+01:00"},
            None,
        ),
        (
            lambda c: c.get_creation_task_schema("a/b ?"),
            "GET",
            "projects/a%2Fb%20%3F/schemas/create_task.json",
            {},
            None,
        ),
        (
            lambda c: c.get_delivery_task_schema(proj_id=4),
            "GET",
            "projects/4/schemas/deliver_task.json",
            {},
            None,
        ),
    ],
)
def test_wire_of_single_calls(
    server: ScriptedServer,
    client: ApiClient,
    call: Callable[[ApiClient], Any],
    method: str,
    path: str,
    query: dict[str, str],
    body: object,
) -> None:
    server.on(method, path, Answer(200, {"answer": 1}))
    assert call(client) == {"answer": 1}
    (got,) = server.calls
    assert got.query == {"access_key": KEY} | query
    assert (got.json if got.body else None) == body
    assert ("content-type" in got.headers) == (method != "GET")


def test_wire_of_status_filters(server: ScriptedServer, client: ApiClient) -> None:
    server.on("GET", "projects/42/tasks.json", Answer(200, {"tasks": []}))
    list(
        client.get_multi_task_status(
            "42",
            7,
            "mine",
            "contains",
            "created",
            "2024-01-01",
            "2024-01-02",
            api.TaskStates.IN_PROGRESS,
            False,
            primary_keys=["a", "b"],
            priority=-3,
            same_as_delivery=True,
        )
    )
    assert server.calls[0].query == {
        "access_key": KEY,
        "batch_id": "7",
        "client_batch_id": "mine",
        "client_batch_id_match_type": "contains",
        "date_type": "created",
        "from": "2024-01-01",
        "to": "2024-01-02",
        "state": "in progress",
        "omit_answers": "false",
        "primary_keys": "a,b",
        "priority": "-3",
        "same_as_delivery": "true",
        "page": "1",
        "page_size": "100",
    }


def test_task_status_is_a_lazy_generator_of_one_dict(server: ScriptedServer, client: ApiClient) -> None:
    text = b'{"task":  {"id": "ab", "n": 12345678901234567890, "x": 1.10}}'
    server.on("GET", "projects/42/tasks/ab.json", Answer(200, text))
    reading = client.get_task_status("42", "ab")
    assert server.calls == []
    assert next(reading)["n"] == 12345678901234567890
    assert next(reading, None) is None
    assert server.calls[0].query == {"access_key": KEY, "same_as_delivery": "true"}
    assert bytes(client.task_status_text("42", "ab").text) == text[10:-1]


def test_pages_hold_each_tasks_own_text_to_the_byte(server: ScriptedServer, client: ApiClient) -> None:
    one = b'{ "id" : "a",\n "n": 1.10, "big": 123456789012345678901234567890, "t": "\\u00e9\xc3\xa9" }'
    page = Answer(200, gzip.compress(b'{"tasks": [ ' + one + b" ] }"), {"Content-Encoding": "gzip"})
    empty = Answer(200, {"tasks": []})
    server.on("GET", "projects/42/tasks/delivered.json", lambda got: page if got.query["page"] == "1" else empty)
    ((text,),) = list(client.delivered_pages("42"))
    assert bytes(text.text) == one


def test_text_that_is_not_utf8_comes_with_what_can_be_read(server: ScriptedServer, client: ApiClient) -> None:
    page = Answer(200, b'{"tasks": [{"id": "a", "note": "caf\xe9"}, {"id": "b", "n": NaN}, {"id": "c"}]}')
    server.on("GET", "projects/42/tasks/delivered.json", page, page, Answer(200, {"tasks": []}))
    found = list(client.get_delivered_tasks("42"))
    assert [task["id"] for task in found] == ["a", "b", "c"]
    assert found[0]["note"] == "caf\ufffd"


def test_status_is_paced_across_clients_of_one_key(
    server: ScriptedServer, make_client: Callable[..., ApiClient], clock: FakeClock
) -> None:
    server.on("GET", "projects/42/tasks.json", Answer(200, {"tasks": []}))
    clients = [make_client(), make_client()]
    threads = [
        threading.Thread(target=lambda client=client: list(client.get_multi_task_status("42"))) for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.sleeps == [1.0]


@pytest.mark.parametrize(("asked", "sent"), [(5, 5), (100, 100), (5000, 100)])
def test_page_sizes_are_clamped(
    server: ScriptedServer, make_client: Callable[..., ApiClient], asked: int, sent: int
) -> None:
    server.on("GET", "projects/42/tasks.json", Answer(200, {"tasks": []}))
    list(make_client(status_page_size=asked).get_multi_task_status("42"))
    assert server.calls[0].query["page_size"] == str(sent)


@pytest.mark.parametrize("status", [200, 204])
def test_changes_without_a_documented_reply_accept_an_empty_one(
    server: ScriptedServer, client: ApiClient, status: int
) -> None:
    server.on("PUT", "projects/42/tasks/1/reject.json", Answer(status, b""))
    assert client.reject_task("42", "1", ["r"]) == {}
    server.on("POST", "projects/42/batches/7/continue.json", Answer(status, b""))
    with pytest.raises(api.InvalidResponse) as caught:
        client.continue_batch("42", 7)
    assert caught.value.maybe_done


def test_calls_that_act_are_repeated_after_429(server: ScriptedServer, client: ApiClient, clock: FakeClock) -> None:
    server.on("PUT", "projects/42/tasks/1/reject.json", Answer(429, {}, {"Retry-After": "3"}), Answer(200))
    client.reject_task("42", "1", ["r"])
    assert clock.sleeps == [3.0]
    server.on("POST", "projects/42/tasks/delete_tasks.json", Answer(503))
    with pytest.raises(api.ServerError, match="look before you repeat"):
        client.delete_tasks("42", ["1"])
    assert server.count("POST", "projects/42/tasks/delete_tasks.json") == 1


EXPERIMENTAL: dict[str, Callable[[ApiClient], Any]] = {
    "POST projects/42/tasks.json": lambda c: c.create_task("42", {"url": "u"}, reserve_for=9, priority=2),
    "PUT projects/42/tasks/1/acknowledge.json": lambda c: c.acknowledge_task("42", "1"),
    "PUT projects/42/tasks/1/submit.json": lambda c: c.submit_task("42", "1", {"color": "red"}, duration=4),
    "PUT projects/42/tasks/1.json": lambda c: c.update_task_priority("42", "1", -9),
}
SENT: dict[str, object] = {
    "POST projects/42/tasks.json": {"task": {"data": {"url": "u"}, "priority": 2, "reserve_for": 9, "submit": False}},
    "PUT projects/42/tasks/1/acknowledge.json": None,
    "PUT projects/42/tasks/1/submit.json": {"answers": {"color": "red"}, "duration": 4},
    "PUT projects/42/tasks/1.json": {"priority": -9},
}


@pytest.mark.parametrize("line", EXPERIMENTAL)
def test_guessed_paths_are_sent_only_when_asked_for(
    server: ScriptedServer, make_client: Callable[..., ApiClient], line: str
) -> None:
    method, path = line.split()
    server.on(method, path, Answer(200, {"done": True}))
    with pytest.raises(api.ExperimentalCallError, match="experimental=True"):
        EXPERIMENTAL[line](make_client())
    assert server.calls == []
    assert EXPERIMENTAL[line](make_client(experimental=True)) == {"done": True}
    assert (server.calls[0].json if server.calls[0].body else None) == SENT[line]


def test_inline_creation_sends_each_tasks_own_settings(server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", BATCHES, Answer(202, {"batch_id": 9, "task_ids": ["a"]}))
    tasks = [{"data": {"url": "u"}, "priority": 1, "submit": True, "duration": 5, "reserve_for": "agent"}]
    assert client.create_tasks_inline("42", tasks)["batch_id"] == 9
    assert server.calls[0].json["tasks"] == tasks


@pytest.mark.parametrize(
    "refused",
    [
        lambda c: c.create_tasks_inline("42", [{"data": {}}] * 1001),
        lambda c: c.create_tasks_inline("42", [{"url": "u"}]),
        lambda c: c.create_tasks_inline("42", [{"data": {}, "prio": 1}]),
        lambda c: c.create_tasks_inline("42", [{"data": {}, "duration": 1}]),
        lambda c: c.create_task_batch("42", [{"url": "u"}], 2**31),
        lambda c: c.create_task_batch("42", [{"url": "u"}], 1.5),
        lambda c: c.create_task_batch("42", ["url"]),
        lambda c: c.update_task_priorities("42", ["a"], -(2**31) - 1),
        lambda c: c.update_task_priorities("42", "abc", 1),
        lambda c: c.reject_task("42", "1", []),
        lambda c: c.reject_task("42", "1", "blurred"),
        lambda c: c.get_project_information(""),
        lambda c: c.get_project_information(None),
        lambda c: list(c.get_task_status("42", "..")),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_call(
    server: ScriptedServer, client: ApiClient, refused: Callable[[ApiClient], Any]
) -> None:
    with pytest.raises(api.InvalidInput):
        refused(client)
    assert server.calls == []


def test_no_records_make_no_call(server: ScriptedServer, client: ApiClient) -> None:
    assert client.create_task_batch("42", [])["batch_id"] is None
    assert client.create_tasks_inline("42", [])["batch_id"] is None
    assert server.calls == []


class Odd:
    pass


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"deep": [1, float("nan")]},
        np.float32("nan"),
        np.array([1.0, float("nan")]),
        pd.NaT,
        pd.NA,
        np.datetime64("NaT"),
        np.timedelta64(3, "s"),
        Decimal("NaN"),
        b"bytes",
        {1, 2},
        1j,
        timedelta(seconds=1),
        Odd(),
        "half \ud800",
    ],
)
def test_values_without_a_json_form_are_refused_with_record_and_key(
    server: ScriptedServer, client: ApiClient, value: object
) -> None:
    with pytest.raises(api.InvalidRowsError, match=r"record 1, key 'score'") as caught:
        client.create_task_batch("42", [{"score": 1}, {"url": "u", "score": value}])
    assert caught.value.column == "score"
    assert server.calls == []


def test_values_are_rendered_as_documented() -> None:
    zone = timezone(timedelta(hours=2))
    some_id = uuid.uuid4()
    rendered = {
        "date": (date(2024, 2, 3), "2024-02-03"),
        "naive": (datetime(2024, 2, 3, 4, 5, 6), "2024-02-03T04:05:06+00:00"),
        "zoned": (datetime(2024, 2, 3, 4, 5, 6, 789, zone), "2024-02-03T04:05:06.000789+02:00"),
        "pandas": (pd.Timestamp("2024-02-03T04:05:06.000000007Z"), "2024-02-03T04:05:06.000000007+00:00"),
        "numpy date": (np.datetime64("2024-02-03"), "2024-02-03"),
        "numpy time": (np.datetime64("2024-02-03T04:05:06.1", "ns"), "2024-02-03T04:05:06.100000000Z"),
        "decimal": (Decimal("1.10"), "1.10"),
        "small decimal": (Decimal("1.0E-7"), "0.00000010"),
        "large decimal": (Decimal("-1E+5"), "-100000"),
        "uuid": (some_id, str(some_id)),
        "int64": (np.int64(2**62), 2**62),
        "float32": (np.float32(0.1), 0.1),
        "float64": (np.float64(0.1), 0.1),
        "bool": (np.bool_(True), True),
        "text": (np.str_("é"), "é"),
        "array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        "float array": (np.array([0.1, 2], dtype="float32"), [0.1, 2.0]),
        "big": (2**70, 2**70),
        "null": (None, None),
        "tuple": ((1, 2), [1, 2]),
        "state": (api.TaskStates.NEW, "new"),
    }
    sent = json.loads(tasks_body([{name: value for name, (value, _) in rendered.items()}]))[0]["data"]
    assert sent == {name: expected for name, (_, expected) in rendered.items()}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=4), st.booleans())
def test_records_arrive_as_they_are(records: list[Mapping[str, Any]], submit: bool) -> None:
    items = json.loads(tasks_body(records, priority=-7, submit=submit))
    assert items == [{"data": record, "priority": -7, "submit": submit} for record in records]
    assert json.loads(to_json(records)) == records


def test_wait_returns_the_completed_job_and_backs_off(
    server: ScriptedServer, client: ApiClient, clock: FakeClock
) -> None:
    steps = [Answer(200, {"state": state}) for state in ("waiting", "queued", "processing", "completed")]
    server.on("GET", "projects/42/batches/7.json", *steps)
    assert client.wait_for_batch("42", 7).state == "completed"
    assert clock.sleeps == sorted(clock.sleeps)
    assert len(clock.sleeps) == 3


def test_wait_ends_when_the_time_is_up_and_when_the_job_fails(
    server: ScriptedServer, client: ApiClient, clock: FakeClock
) -> None:
    server.on("GET", "projects/42/batches/7.json", Answer(200, {"state": "queued"}))
    with pytest.raises(api.WaitTimedOut, match=r"get_batch_job\('42', 7\)"):
        client.wait_for_batch("42", 7, timeout=90)
    assert sum(clock.sleeps) == pytest.approx(90)
    failed = {"state": "failed", "messages": [{"message": "bad file"}], "created_count": 2}
    server.on("GET", "projects/42/batches/7.json", Answer(200, failed))
    with pytest.raises(api.BatchFailed, match="bad file") as caught:
        client.wait_for_batch("42", 7)
    assert (caught.value.state, caught.value.created_count) == ("failed", 2)


def test_a_failure_that_is_no_refusal_cancels_the_batch_too(server: ScriptedServer, client: ApiClient) -> None:
    server.on("POST", BATCHES, Answer(201, {"batch_id": "7", "tasks_put_url": server.upload_url}))
    server.on("PUT", "/store/file-1", Answer(413))
    server.on("POST", "projects/42/batches/7/cancel.json", Answer(500))
    with pytest.raises(api.BadRequestError):
        client.create_task_batch("42", [{"url": "u"}])
    assert server.count("POST", "projects/42/batches/7/cancel.json") >= 1
    assert server.count("POST", BATCHES) == 1


def test_a_large_upload_to_a_slow_store_gets_through(
    server: ScriptedServer, make_client: Callable[..., ApiClient]
) -> None:
    server.on("POST", BATCHES, Answer(201, {"batch_id": 7, "tasks_put_url": server.upload_url}))
    server.on("PUT", "/store/file-1", Answer(200, b""))
    client = make_client()
    body = b"[" + b" " * 5_000_000 + b"]"
    client.upload_tasks(client.open_batch("42"), body)
    assert server.calls[-1].body == body


def test_the_environments_proxy_is_used(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.origin)
    monkeypatch.setenv("no_proxy", "")
    server.on("GET", "http://sama.invalid/v2/projects/42.json", Answer(200, {"id": 42}))

    def absolute(got: Got) -> Answer:
        return Answer(200, {"id": 42})

    server.on("GET", "projects/42.json", absolute)
    client = ApiClient(KEY, base_url="http://sama.invalid/v2", clock=FakeClock(), deadline=5)
    assert client.get_project_information("42") == {"id": 42}


def test_a_login_at_the_proxy_is_decoded(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.origin.replace("://", "://me:p%40ss%3A@"))
    monkeypatch.setenv("no_proxy", "")
    server.on("GET", "projects/42.json", Answer(200, {"id": 42}))
    server.on("GET", "http://sama.invalid/v2/projects/42.json", Answer(200, {"id": 42}))
    ApiClient(KEY, base_url="http://sama.invalid/v2", clock=FakeClock(), deadline=5).get_project_information("42")
    headers = {name.lower(): value for name, value in server.calls[-1].headers.items()}
    assert b64decode(headers["proxy-authorization"].removeprefix("Basic ")) == b"me:p@ss:"


@pytest.mark.parametrize(
    "variable",
    [None, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "REQUESTS_CA_BUNDLE of another", "REQUESTS_CA_BUNDLE of nobody"],
)
def test_certificate_authorities(
    variable: str | None, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours, another = trustme.CA(), trustme.CA()
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, authority in (("ours", ours), ("another", another)):
        authority.cert_pem.write_to_path(str(tmp_path / name))
    if variable is not None:
        name, _, of_another = variable.partition(" of ")
        monkeypatch.setenv(name, str(tmp_path / (of_another or "ours")))
    server.speak_tls(ours)
    server.on("GET", "projects/42.json", Answer(200, {"id": 42}))
    client = ApiClient(KEY, base_url=server.base_url, clock=FakeClock(), deadline=5)
    if variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        assert client.get_project_information("42") == {"id": 42}
    else:
        why = "nobody, which is not there" if variable and "nobody" in variable else "certificate not accepted"
        with pytest.raises(ConnectionFailed, match=why) as refused:
            client.get_project_information("42")
        assert not (refused.value.retryable or refused.value.maybe_done)
        assert not server.calls


def test_every_error_class_is_exported() -> None:
    code = "from sama_spark.api import *; print(SamaError, UploadUrlRefused, TaskStates, ApiClient)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [state.value for state in api.TaskStates] == [
        "new",
        "in progress",
        "completed",
        "approved",
        "delivered",
        "acknowledged",
        "rejected",
    ]


def test_both_spellings_of_an_argument_at_once_are_refused(client: ApiClient) -> None:
    with pytest.raises(TypeError, match="proj_id"):
        client.get_project_information(project_id="1", proj_id="2")
    with pytest.raises(TypeError):
        list(client.get_delivered_tasks(projid="1"))


def test_task_helper_is_a_24_digit_id() -> None:
    assert len(task(1)["id"]) == 24


@pytest.mark.parametrize(
    "base_url",
    [
        None,
        "",
        42,
        b"https://api.sama.com/v2",
        "api.sama.com/v2",
        "https://",
        "https:///v2",
        "https:api.sama.com",
        "ftp://api.sama.com",
        " https://api.sama.com/v2",
        "https://api.sama.com/v2 ",
        "https://api.sama.com/v2\n",
        "\thttps://api.sama.com/v2",
        "https://api.sa ma.com/v2",
        "https://api.sama.com/v 2",
        "https://ä.example/v2",
        "https://api.sama.com/ä",
        "https://api.sama.com:99999/v2",
        "https://api.sama.com:port/v2",
        "https://api.sama.com:0/v2",
        "https://[::1/v2",
        "https://[::g]/v2",
        "https://::1/v2",
        "https://a..b/v2",
        f"https://{'a' * 64}.com/v2",
        f"https://{'a.' * 130}com/v2",
        "https://a_/v2?x=1",
        "https://api.sama.com/v2#x",
        "https://user:word@api.sama.com/v2",
        "https://api.sama.com\\v2",
        "https://api<.sama.com/v2",
        "https://api.sama.com/v2\x00",
    ],
)
def test_a_base_url_that_cannot_be_asked_is_told_at_once(base_url: Any) -> None:
    with pytest.raises(api.InvalidInput, match="base_url"):
        ApiClient(KEY, base_url=base_url)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.sama.com",
        "http://127.0.0.1:8/v2/",
        "https://[::1]:8/v2",
        "HTTPS://API.sama.com./v2",
        "http://a_b-c",
    ],
)
def test_a_base_url_that_can_be_asked_is_taken(base_url: str) -> None:
    assert ApiClient(KEY, base_url=base_url).base_url == base_url.rstrip("/")


@pytest.mark.parametrize("value", ["x", "10", None, True, 0, -1, float("nan"), float("inf"), 1e30, 10**400, [1]])
@pytest.mark.parametrize("name", ["deadline", "connect_timeout", "read_timeout"])
def test_seconds_that_cannot_be_meant_are_told_at_once(name: str, value: Any) -> None:
    with pytest.raises(api.InvalidInput, match=name) as caught:
        ApiClient(KEY, **{name: value})
    assert caught.value.column == name


@pytest.mark.parametrize("value", ["x", None, True, 1.5, 0, -1, float("nan"), [1]])
@pytest.mark.parametrize("name", ["status_page_size", "delivered_page_size", "batch_page_size", "pages_in_flight"])
def test_page_sizes_that_cannot_be_meant_are_told_at_once(name: str, value: Any) -> None:
    with pytest.raises(api.InvalidInput, match=name):
        ApiClient(KEY, **{name: value})


@pytest.mark.parametrize(
    "options", [{"logger": "name"}, {"logger": 1}, {"log_level": "INFO"}, {"log_level": None}, {"log_level": True}]
)
def test_what_cannot_log_is_told_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(api.InvalidInput, match=next(iter(options))):
        ApiClient(KEY, silent=False, **options)


@pytest.mark.parametrize("value", ["x", True, 0, -1, float("nan")])
def test_a_calls_own_deadline_is_checked_before_it_is_sent(
    server: ScriptedServer, client: ApiClient, value: Any
) -> None:
    with pytest.raises(api.InvalidInput, match="deadline"):
        client.continue_batch("42", 7, deadline=value)
    assert server.calls == []


@pytest.mark.parametrize(
    "call", [lambda c, v: c.get_project_stats("42", v), lambda c, v: next(c.status_pages("42", state=v))]
)
def test_half_a_character_in_a_filter_is_refused(
    server: ScriptedServer, client: ApiClient, call: Callable[[ApiClient, Any], Any]
) -> None:
    with pytest.raises(api.InvalidInput):
        call(client, "\ud800")
    assert server.calls == []


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("body", [DEEP, b'{"a": ' + DEEP + b"}", b'{"errors": ' + DEEP + b"}", b'{"a":' * 100_000])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_deep_reply_is_an_error_of_ours(
    server: ScriptedServer, make_client: Callable[..., ApiClient], status: int, body: bytes
) -> None:
    server.on("GET", "projects/42.json", Answer(status, body))
    with pytest.raises(api.SamaError) as caught:
        make_client(deadline=1).get_project_information("42")
    if status == 200:
        assert type(caught.value) is of_sama(api.InvalidResponse)
        assert "nested too deep" in str(caught.value)
        assert len(server.calls) == 1


@pytest.mark.parametrize("kind", ["²", "9" * 5_000, "999", "-1", "0", "401.0", "x" * 5_000, ["a"], {"b": 1}, True])
def test_any_error_type_is_taken(server: ScriptedServer, client: ApiClient, kind: object) -> None:
    for status in (200, 400):
        server.on("GET", "projects/42.json", Answer(status, {"errors": [{"type": kind, "message": "no"}]}))
        with pytest.raises(api.BadRequestError, match="no"):
            client.get_project_information("42")
