"""Whom a sandbox answers: programs with its key, and no web page; and what odd control calls get."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from sama_spark.sandbox import Sandbox, SandboxError
from sama_spark.sandbox.guard import Guard

from .conftest import Http

KEY = "X-Sandbox-Key"
PAGES = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8888"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "evil.example"},
    {"Host": "evil.example:8080"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost.evil.example"},
    {"Host": "127.0.0.1@evil.example"},
    {"Host": "sandbox"},
    {"Host": "192.0.2.1"},
    {"Host": "[::1"},
    {"Host": ""},
]
OURS = ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:80", "localhost.", "127.8.9.1", "[::1]:80", "a.localhost"]


def send(sandbox: Sandbox, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, str]:
    root = sandbox.base_url.removesuffix("/v2")
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        reply = pool.request(method, root + path, body=body, headers=headers)
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]
        return reply.status, reply.data.decode()


@pytest.mark.parametrize("headers", PAGES, ids=str)
def test_a_page_gets_nothing_and_changes_nothing(http: Http, headers: dict[str, str]) -> None:
    sandbox, key = http.sandbox, f"access_key={http.sandbox.api_key}"
    control = {KEY: sandbox.api_key, "Content-Type": "application/json"}
    _, put_url = http.open()
    sandbox.fail("info")  # faults wait for calls of programs
    sandbox.forget_calls()
    for method, path, more, body in (
        ("GET", f"/v2/projects/{http.project}.json?{key}", {}, b""),
        ("POST", f"/v2/projects/{http.project}/batches.json?{key}", {"Content-Type": "application/json"}, b"{}"),
        ("PUT", urlsplit(put_url).path + "?" + urlsplit(put_url).query, {}, b"[]"),
        ("POST", "/_sandbox/command", control, b'{"do": "reset"}'),
        ("POST", f"/_sandbox/seed?project_id={http.project}", control, b"{}"),
        ("POST", "/_sandbox/asset?name=a", control, b"x"),
        ("OPTIONS", "/_sandbox/command", {"Access-Control-Request-Method": "POST"}, b""),
        ("GET", "/", {}, b""),
    ):
        status, said = send(sandbox, method, path, {**more, **headers}, body)
        assert status == 403, path
        [error] = json.loads(said)["errors"]
        assert "use the sandbox from a program" in error["message"]
    assert sandbox.calls() == {}
    assert http.get(".json").status == 500  # the fault was still there
    assert http.get(".json").status == 200


@pytest.mark.parametrize("host", OURS)
def test_names_of_this_machine(http: Http, host: str) -> None:
    path = f"/v2/projects/{http.project}.json?access_key={http.sandbox.api_key}"
    assert send(http.sandbox, "GET", path, {"Host": host})[0] == 200
    assert send(http.sandbox, "GET", path, {"Host": host, "Sec-Fetch-Site": "none"})[0] == 200


def test_a_request_without_a_name_or_with_two_is_refused(http: Http) -> None:
    place = urlsplit(http.sandbox.base_url)
    for hosts in ("", "Host: 127.0.0.1\r\nHost: evil.example\r\n"):
        with socket.create_connection((str(place.hostname), place.port or 0), 5) as connection:
            connection.sendall(f"GET /v2/x HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
            assert connection.recv(100).split()[1] in (b"403", b"400")


def test_pictures_are_shown_in_notebooks(http: Http) -> None:
    """An <img> of a signed link: the signature is its permission."""
    url = urlsplit(http.sandbox.add_asset(b"x", "a.png", "image/png"))
    assert send(http.sandbox, "GET", f"{url.path}?{url.query}", {"Sec-Fetch-Site": "cross-site"}) == (200, "x")


@pytest.mark.parametrize(
    ("address", "names", "ours", "others"),
    [
        ("127.0.0.1", ["127.0.0.1"], ["localhost:1", "127.0.0.1"], ["box", "10.0.0.1", "a.example", ""]),
        ("127.0.1.1", ["box.example"], ["box.example", "Box.Example:80"], ["other.example"]),
        ("0.0.0.0", ["0.0.0.0"], ["10.0.0.1:80", "sandbox:8080", "localhost", "[fd00::1]"], ["evil.example", ""]),  # noqa: S104
        ("10.0.0.7", ["box.example"], ["10.0.0.7", "box.example", "box", "127.0.0.1"], ["evil.example"]),
    ],
)
def test_a_sandbox_that_others_reach_too(address: str, names: list[str], ours: list[str], others: list[str]) -> None:
    guard = Guard(lambda *_: None, address, names)  # type: ignore[arg-type, return-value]
    assert [host for host in ours if not guard._is_ours(host)] == []
    assert [host for host in others if guard._is_ours(host)] == []


def test_it_answers_by_the_address_that_it_was_given() -> None:
    with Sandbox(host="0.0.0.0") as sandbox:  # noqa: S104
        assert sandbox.create_project({"url": "string"}) == 4242
        assert send(sandbox, "GET", "/v2/projects/1.json", {"Host": "evil.example"})[0] == 403
        assert send(sandbox, "GET", "/v2/projects/1.json", {"Host": "sandbox:8080"})[0] == 401


@pytest.mark.parametrize("path", ["command", "seed?project_id=4242", "asset?name=a"])
@pytest.mark.parametrize("key", [None, "", "wrong", "sandbox-keyx", "schlüssel"])
def test_a_control_call_needs_the_key(sandbox: Sandbox, path: str, key: str | None) -> None:
    headers = {"Content-Type": "application/json"} | ({} if key is None else {KEY: key.encode()})  # type: ignore[dict-item]
    status, said = send(sandbox, "POST", f"/_sandbox/{path}", headers, b"{}")
    assert (status, KEY in said) == (401, True)


def test_a_client_with_another_key_is_told(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match=r"needs the sandbox's key.*Sandbox\.at\(base_url, api_key\)"):
        Sandbox.at(sandbox.base_url, "other").reset()
    assert Sandbox.at(sandbox.base_url).calls() == {}


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_control_call_is_json(sandbox: Sandbox, kind: str) -> None:
    headers = {KEY: sandbox.api_key, "Content-Type": kind}
    for path in ("command", "seed?project_id=4242"):
        assert send(sandbox, "POST", f"/_sandbox/{path}", headers, b'{"do":"calls"}')[0] == 415


DEEP = b"[" * 5000
COMMANDS: list[Any] = [
    b"",
    b"null",
    b"{",
    b"\xff",
    DEEP,
    b'{"do":"calls","with":' + DEEP,
    {},
    {"do": "nothing"},
    {"do": 5},
    {"do": "calls", "more": 1},
    {"do": "calls", "with": {"more": 1}},
    {"do": "calls", "with": [1]},
    {"do": "clear"},
    {"do": "__init__", "with": {"origin": "", "api_key": ""}},
    {"do": "tasks"},
    {"do": "tasks", "with": {"project_id": "x"}},
    {"do": "tasks", "with": {"project_id": 10**30}},
    {"do": "tasks", "with": {"project_id": 1.5}},
    {"do": "advance", "with": {"seconds": 1e300}},
    {"do": "advance", "with": {"seconds": "1"}},
    {"do": "annotate", "with": {"project_id": 4242, "fraction": 1e300}},
    {"do": "annotate", "with": {"project_id": 4242, "fraction": -1}},
    {"do": "annotate", "with": {"project_id": 4242, "task_ids": ["x"]}},
    {"do": "annotate", "with": {"project_id": 4242, "delivered_at": "yesterday"}},
    {"do": "annotate", "with": {"project_id": 4242, "delivered_at": "9999-12-31T23:59:59+23:59"}},
    {"do": "set_state", "with": {"project_id": 4242, "task_ids": ["x"], "state": "new"}},
    {"do": "set_state", "with": {"project_id": 4242, "task_ids": [], "state": "odd"}},
    {"do": "uploaded", "with": {"project_id": 4242, "batch_id": 1}},
    {"do": "switch", "with": {"changes": {"odd": 1}}},
    {"do": "switch", "with": {"changes": {"put_url_life": "x"}}},
    {"do": "create_project", "with": {"inputs": []}},
    {"do": "create_project", "with": {"inputs": {"a": 5}}},
    {"do": "create_project", "with": {"inputs": {"a": "odd"}}},
    {"do": "create_project", "with": {"inputs": {"a": None}}},
    {"do": "create_project", "with": {"inputs": {}, "outputs": {"a": {"type": "image", "tags": [1]}}}},
    {"do": "create_project", "with": {"inputs": {}, "outputs": {"a": {"type": "image", "tags": {"b": {"type": "x"}}}}}},
    {"do": "create_project", "with": {"inputs": {}, "outputs": {"a": {"type": "dropdown", "options": 5}}}},
    {"do": "create_project", "with": {"inputs": {}, "switches": {"odd": 1}}},
    {"do": "create_project", "with": {"inputs": {}, "project_id": 4242}},
    {"do": "fail", "with": {"fault": {"path": "("}}},
    {"do": "fail", "with": {"fault": {"call": "open", "status": 99}}},
    {"do": "fail", "with": {"fault": {"call": "open", "status": 10**6}}},
    {"do": "fail", "with": {"fault": {"call": "open", "seconds": -1}}},
    {"do": "fail", "with": {"fault": {"call": "open", "retry_after": 1e300}}},
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command)[:60])
def test_an_odd_command_gets_a_sentence(http: Http, command: Any) -> None:
    sandbox = http.sandbox
    headers = {KEY: sandbox.api_key, "Content-Type": "application/json"}
    body = command if isinstance(command, bytes) else json.dumps(command).encode()
    status, said = send(sandbox, "POST", "/_sandbox/command", headers, body)
    assert status in ((200, 400, 404) if "annotate" in str(command) else (400, 404))
    if status != 200:
        assert json.loads(said)["errors"][0]["message"]
    assert http.get(".json").status == 200


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"do": "nothing"}, "there is no command 'nothing'; known: create_project, switch, annotate"),
        ({"do": "advance", "with": {"seconds": "1"}}, "Expected `float`, got `str` - at `$.seconds`"),
        ({"do": "advance"}, "missing required field `seconds`"),
        ({"do": "heal", "with": {"all": True}}, "unknown field `all`"),
        ({"do": "fail", "with": {"fault": {"call": "opne"}}}, "unknown call 'opne'"),
    ],
    ids=str,
)
def test_a_command_is_told_what_it_lacks(sandbox: Sandbox, command: dict[str, Any], said: str) -> None:
    headers = {KEY: sandbox.api_key, "Content-Type": "application/json"}
    status, answer = send(sandbox, "POST", "/_sandbox/command", headers, json.dumps(command).encode())
    assert (status, said in json.loads(answer)["errors"][0]["message"]) == (400, True), answer


def test_a_project_with_an_odd_switch_is_none(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxError, match="odd"):
        sandbox.create_project({}, project_id=77, odd=1)
    assert sandbox.create_project({}, project_id=77) == 77


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("seed", b"{}"),
        ("seed?project_id=", b"{}"),
        ("seed?project_id=x", b"{}"),
        ("seed?project_id=-1", b"{}"),
        (f"seed?project_id={'9' * 5000}", b"{}"),
        ("seed?project_id=1", b"{}"),
        ("seed?project_id=1&project_id=2", b"{}"),
        ("seed?project_id=PROJECT", b"{"),
        ("seed?project_id=PROJECT", b"[]"),
        ("seed?project_id=PROJECT", b"\xff"),
        ("seed?project_id=PROJECT", DEEP),
        ("seed?project_id=PROJECT", b'{"id": "x"}'),
        ("seed?project_id=PROJECT", b'{"answers": ' + DEEP),
        ("seed?project_id=PROJECT", b'{"delivered_at": "x"}'),
        ("asset", b"x"),
        ("asset?name=", b"x"),
        ("asset?name=../a", b"x"),
        ("asset?name=masks/a", b"x"),
    ],
    ids=str,
)
def test_odd_seeds_and_assets_get_a_sentence(http: Http, path: str, body: bytes) -> None:
    headers = {KEY: http.sandbox.api_key, "Content-Type": "application/x-ndjson"}
    status, said = send(http.sandbox, "POST", "/_sandbox/" + path.replace("PROJECT", str(http.project)), headers, body)
    assert status in (400, 404), said
    assert json.loads(said)["errors"][0]["message"]
    assert http.get("/tasks/delivered.json").status == 200


def test_an_odd_fault_is_told_by_the_client_too(sandbox: Sandbox) -> None:
    for fault in ({"call": "open", "kind": "odd"}, {"path": "("}, {"call": "open", "status": 99}):
        with pytest.raises(ValueError, match="there is no such fault"):
            sandbox.fail(**fault)
