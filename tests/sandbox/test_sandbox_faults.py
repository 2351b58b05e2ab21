"""Keys, formats and limits; faults on demand, the log of calls; the process itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import urllib3

from sama_spark.sandbox import Sandbox, SandboxError
from sama_spark.sandbox.faults import call_name

from .conftest import Http

TASK = [{"data": {"url": "u"}}]


# --- keys, formats, limits


def test_keys_and_projects(http: Http) -> None:
    assert http.get(".json", access_key=None).status == 401
    assert http.get(".json", access_key="wrong").error["type"] == 401
    foreign = http.sandbox.create_project({"url": "string"}, api_key="another")
    assert Http(http.sandbox, foreign).get(".json").status == 404
    assert Http(http.sandbox, foreign).get(".json", access_key="another").status == 200
    assert Http(http.sandbox, 999).get(".json").status == 404
    http.sandbox.switch(http.project, api_access=False)
    assert http.get(".json").status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/tasks.json", 405),
        ("GET", "/tasks/bulk_update.json", 405),
        ("PUT", "/tasks/delivered.json", 405),
        ("GET", "/batches.json", 405),
        ("GET", "/tasks", 404),
        ("GET", "/tasks/zz.json", 404),
        ("GET", f"/tasks/{'0' * 24}.json", 404),
        ("GET", "/batches/7.json", 404),
        ("GET", "/batches/x.json", 404),
        ("GET", "/nothing.json", 404),
    ],
)
def test_wrong_places_answer_with_errors_bodies(http: Http, method: str, path: str, status: int) -> None:
    reply = http.call(method, path)
    assert (reply.status, reply.error["type"]) == (status, status)


def test_formats(http: Http) -> None:
    url = f"{http.sandbox.base_url}/projects/{http.project}.json?access_key={http.sandbox.api_key}"
    assert http.pool.request("GET", url, headers={"Accept": "text/csv"}).status == 406
    assert http.pool.request("GET", url, headers={"Accept": "text/html, application/json;q=0.9"}).status == 200
    url = url.replace(".json", "/batches.json")
    assert http.pool.request("POST", url, body=b"{}", headers={"Content-Type": "text/plain"}).status == 415


def test_multi_status_takes_one_call_a_second_for_each_key(http: Http) -> None:
    http.sandbox.switch(status_calls_per_second=1.0)
    assert [http.get("/tasks.json").status for _ in range(3)] == [200, 429, 429]
    assert "Retry-After" not in http.get("/tasks.json").headers
    http.sandbox.switch(retry_after=True)
    limited = http.get("/tasks.json")
    assert (limited.error["type"], limited.headers["Retry-After"]) == (429, "1")
    http.sandbox.advance(1)
    assert http.get("/tasks.json").status == 200
    assert http.get("/tasks/delivered.json").status == 200


def test_the_limit_is_on_by_default() -> None:
    with Sandbox() as sandbox:
        http = Http(sandbox, sandbox.create_project({"url": "string"}))
        assert [http.get("/tasks.json").status for _ in range(2)] == [200, 429]


def test_a_limit_for_all_calls(http: Http) -> None:
    http.sandbox.switch(calls_per_second=1.0)
    assert [http.get(".json").status, http.get("/stats.json").status] == [200, 429]


# --- faults


def test_a_status_before_its_effect(http: Http) -> None:
    http.sandbox.fail("open", status=503, times=2, retry_after=7)
    replies = [http.post("/batches.json", {}) for _ in range(3)]
    assert [reply.status for reply in replies] == [503, 503, 201]
    assert replies[0].headers["Retry-After"] == "7"
    assert len(http.sandbox.batches(http.project)) == 1


def test_retry_after_as_a_date(http: Http) -> None:
    http.sandbox.fail("info", status=429, retry_after=60, retry_after_form="date")
    moment = parsedate_to_datetime(http.get(".json").headers["Retry-After"])
    assert 50 < moment.timestamp() - time.time() < 70


@pytest.mark.parametrize(("after", "state"), [(False, "waiting"), (True, "completed")])
def test_a_dropped_continue_with_and_without_effect(http: Http, after: bool, state: str) -> None:
    batch_id, url = http.open()
    http.store(url, TASK)
    http.sandbox.fail("continue", kind="drop", after=after)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        http.post(f"/batches/{batch_id}/continue.json")
    assert http.get(f"/batches/{batch_id}.json").body["state"] == state
    (entry,) = http.sandbox.requests("continue")
    assert (entry["fault"], entry["status"]) == ("drop", None)


def test_a_status_after_its_effect(http: Http) -> None:
    batch_id, url = http.open()
    http.store(url, TASK)
    http.sandbox.fail("continue", status=502, after=True)
    assert http.post(f"/batches/{batch_id}/continue.json").status == 502
    assert len(http.sandbox.tasks(http.project)) == 1


def test_a_lost_since_last_call_moves_the_cursor(http: Http) -> None:
    http.sandbox.deliver(http.project, [{}, {}])
    http.sandbox.fail("since_last_call", kind="drop", after=True)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        http.post("/tasks/delivered.json", {"limit": 1})
    assert len(http.post("/tasks/delivered.json", {"limit": 10}).body["tasks"]) == 1


def test_the_nth_call(http: Http) -> None:
    http.sandbox.fail("delivered", status=500, skip=1)
    assert [http.get("/tasks/delivered.json").status for _ in range(3)] == [200, 500, 200]


def test_bodies_that_are_not_what_they_should_be(http: Http) -> None:
    url = f"{http.sandbox.base_url}/projects/{http.project}.json?access_key={http.sandbox.api_key}"
    for fault in (
        {"kind": "html"},
        {"kind": "json", "body": "[1]"},
        {"kind": "redirect", "location": "https://elsewhere.invalid/"},
        {"kind": "truncate"},
    ):
        http.sandbox.fail("info", **fault)
    page = http.pool.request("GET", url)
    assert (page.status, page.headers["Content-Type"].split(";")[0]) == (200, "text/html")
    assert http.pool.request("GET", url).data == b"[1]"
    moved = http.pool.request("GET", url, redirect=False)
    assert (moved.status, moved.headers["Location"]) == (302, "https://elsewhere.invalid/")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        http.pool.request("GET", url)
    assert http.pool.request("GET", url).json()["id"] == http.project


def test_slow_and_expired(http: Http) -> None:
    http.sandbox.fail("info", kind="slow", seconds=0.2)
    before = time.monotonic()
    assert http.get(".json").status == 200
    assert time.monotonic() - before >= 0.2
    _, url = http.open()
    http.sandbox.fail("put", kind="expired")
    refused = http.store(url, TASK)
    assert (refused.status, b"Request has expired" in refused.data) == (403, True)
    http.sandbox.fail("put", status=503, retry_after=1)
    busy = http.store(url, TASK)
    assert (busy.status, busy.headers["Content-Type"], busy.headers["Retry-After"]) == (
        503,
        "application/xml",
        "1",
    )
    assert http.store(url, TASK).status == 200


def test_faults_by_method_and_path_last_until_healed(http: Http) -> None:
    http.sandbox.fail(method="GET", path=r"/schemas/", times=None)
    assert [http.get("/schemas/create_task.json").status for _ in range(3)] == [500] * 3
    assert http.get(".json").status == 200
    http.sandbox.heal()
    http.sandbox.fail("schema", status=404)
    assert http.get("/schemas/deliver_task.json").status == 404
    assert http.get("/schemas/deliver_task.json").status == 200


@pytest.mark.parametrize("fault", [{"call": "opne"}, {"kind": "odd", "call": "open"}, {}, {"call": "open", "tmies": 2}])
def test_a_fault_that_could_never_happen_is_refused(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        sandbox.fail(**fault)


def test_the_log_holds_what_was_sent_but_no_secret(http: Http) -> None:
    batch_id, url = http.open()
    http.store(url, TASK)
    http.get(f"/batches/{batch_id}.json", page_size=0)
    assert http.sandbox.calls() == {"open": 1, "put": 1, "status": 1}
    opened, put, status = http.sandbox.requests()
    assert (opened["method"], opened["has_key"], opened["status"]) == ("POST", True, 201)
    assert (put["has_key"], put["headers"]["content-length"]) == (False, str(len(json.dumps(TASK))))
    assert status["query"] == {"page_size": "0"}
    text = json.dumps(http.sandbox.requests())
    assert http.sandbox.api_key not in text
    assert url.split("Signature=")[1] not in text
    http.sandbox.forget_calls()
    assert http.sandbox.calls() == {}


def test_call_names() -> None:
    task = "/v2/projects/1/tasks/0123456789abcdef01234567"
    assert call_name("GET", "/v2/projects/1/tasks/delivered.json") == "delivered"
    assert call_name("GET", f"{task}.json") == "task_status"
    assert call_name("PUT", f"{task}/reject.json") == "reject"
    assert call_name("GET", "/v2/projects/1.json") == "info"
    assert call_name("GET", "/v2/projects/1/stats.json") == "stats"
    assert call_name("GET", "/elsewhere") == "other"


# --- the process


def test_commands_that_make_no_sense(sandbox: Sandbox) -> None:
    for wrong in ({"url": "colour"}, {"url": {"type": "string", "needed": True}}):
        with pytest.raises(SandboxError, match=r"enum|needed"):
            sandbox.create_project(wrong)
    with pytest.raises(SandboxError, match="999"):
        sandbox.annotate(999)
    project = sandbox.create_project({"url": "string"})
    with pytest.raises(SandboxError, match="colour"):
        sandbox.switch(project, colour="red")
    with pytest.raises(SandboxError, match="done"):
        sandbox.set_state(project, [], "done")


def test_a_sandbox_that_is_not_started_says_so() -> None:
    with pytest.raises(SandboxError, match=r"\.start\(\)"):
        Sandbox().create_project({})


def test_a_port_that_is_taken_is_said_clearly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=f"Port {port} on 127.0.0.1 is taken"):
            Sandbox(port=port).start()
        code = f"import sys; from sama_spark.sandbox import run; sys.exit(run({port}))"
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_in_the_foreground_it_says_how_to_use_it_and_ends_quietly_by_ctrl_c() -> None:
    code = "import sys; from sama_spark.sandbox import run; sys.exit(run(0, api_key='k-1'))"
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)
    assert process.stdout is not None
    said = ""
    while "sandbox.annotate" not in said:
        said += process.stdout.readline()
    base_url = next(line.split()[-1] for line in said.splitlines() if "base URL" in line)
    assert "k-1" in said
    project = Sandbox.at(base_url, "k-1").create_project({"url": "string"})
    assert isinstance(project, int)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=10)
    assert (process.returncode, complaints) == (0, "")


def test_no_orphan_survives_a_killed_parent() -> None:
    code = (
        "import time; from sama_spark.sandbox import Sandbox\n"
        "sandbox = Sandbox().start(); print(sandbox.base_url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    base_url = parent.stdout.readline().strip()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    host, port = base_url.split("/")[2].split(":")
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) != 0:
                return
        time.sleep(0.05)
    pytest.fail("the sandbox outlived its parent")


def test_stop_ends_the_process_and_can_be_repeated() -> None:
    sandbox = Sandbox().start()
    pid = sandbox.pid
    sandbox.stop()
    sandbox.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
