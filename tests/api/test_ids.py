"""Ids as they come from tables, pandas and forms: taken where that is exact, else refused before any call."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kit.scripted_server import KEY, Answer, ScriptedServer
from sama_spark.api import ApiClient
from sama_spark.data_source.text_options import SharedOptions
from sama_spark.errors import InvalidInput

GOOD = [
    4242,
    "4242",
    " 4242 ",
    "4242\n",
    "\t4242",
    "4242.0",
    "4242.",
    4242.0,
    np.int64(4242),
    np.int8(42) + np.int64(4200),
]
GOOD += [
    np.float64(4242),
    np.float32(4242),
    Decimal(4242),
    Decimal("4242.00"),
    Fraction(4242),
    np.str_("4242"),
    np.array(4242),
]
BAD: list[Any] = [None, True, False, np.True_, "", " ", ".", "..", "None", "nan", "NaN", "<NA>", "null", "True"]
BAD += [
    0,
    -1,
    "0",
    "-4242",
    "+4242",
    "4242.5",
    4242.5,
    float("nan"),
    float("inf"),
    2**63,
    1e30,
    "42\n42",
    "\u0664\u0662",
]
BAD += [
    Decimal("4242.5"),
    Decimal("NaN"),
    Decimal("sNaN"),
    pd.NA,
    pd.NaT,
    np.nan,
    1j,
    b"4242",
    [4242],
    {4242},
    {},
    object(),
]
BAD += ["https://app.sama.com/projects/4242", pd.Series([4242]), "4" * 5000, "x" * 5000]


@pytest.fixture
def calls(client: ApiClient) -> dict[str, Any]:
    """A call with an id in each of its places: in paths and in queries."""
    return {
        "project_id": client.get_project_information,
        "batch_id": lambda value: client.get_batch_job(1, value),
        "task_id": lambda value: client.reject_task(1, value, ["no"]),
        "batch_id of a list": lambda value: list(client.get_multi_task_status(1, batch_id=value)),
        "task_id of a list": lambda value: list(client.get_delivered_tasks(1, task_id=value)),
        "batch_id of a feed": lambda value: list(client.get_delivered_tasks_since_last_call(1, batch_id=value)),
        "task_ids[0]": lambda value: client.delete_tasks(1, [value]),
        "proj_id": lambda value: client.get_project_stats(proj_id=value),
    }


@pytest.mark.parametrize("value", GOOD, ids=repr)
def test_taken(value: Any, client: ApiClient, server: ScriptedServer, calls: dict[str, Any]) -> None:
    server.on("GET", "projects/4242.json", Answer(body={"id": 4242}))
    assert calls["project_id"](value) == {"id": 4242}
    server.on("GET", "projects/1/batches/4242.json", Answer(body={"batch_id": 4242, "state": "queued"}))
    assert calls["batch_id"](value).state == "queued"
    server.on("GET", "projects/1/tasks.json", Answer(body={"tasks": []}))
    calls["batch_id of a list"](value)
    assert server.calls[-1].query["batch_id"] == "4242"
    server.on("POST", "projects/1/tasks/delete_tasks.json", Answer(body={}))
    calls["task_ids[0]"](value)
    assert server.calls[-1].json == {"task_ids": ["4242"]}


@pytest.mark.parametrize("value", BAD, ids=lambda value: repr(value)[:20])
def test_refused(value: Any, server: ScriptedServer, calls: dict[str, Any]) -> None:
    for name, call in calls.items():
        if value is None and name.endswith(("list", "feed")):
            continue  # no filter
        with pytest.raises(InvalidInput) as raised:
            call(value)
        named = "project_id" if name == "proj_id" else name.partition(" ")[0]
        assert raised.value.message.startswith(f"{named} is ")
        assert len(str(raised.value)) < 300
    assert server.calls == []


def test_odd_ids_that_could_be_one(client: ApiClient, server: ScriptedServer) -> None:
    for task_id in ("65f1c0de0000000000000001", "6" * 24, "0" * 24, "a/b ?", "77,78"):
        with pytest.raises(Exception, match="no such route"):
            next(client.get_task_status("4242", task_id))
    assert len(server.calls) == 5


@pytest.mark.parametrize(
    ("value", "sent"), [(" b-7 ", "b-7"), ("it's 5%", "it's 5%"), (77, "77"), (77.0, "77"), (np.int64(77), "77")]
)
def test_client_batch_ids(value: Any, sent: str, client: ApiClient, server: ScriptedServer) -> None:
    server.on("GET", "projects/1/tasks/delivered.json", Answer(body={"tasks": []}))
    assert list(client.get_delivered_tasks(1, client_batch_id=value)) == []
    assert server.calls[-1].query["client_batch_id"] == sent


@pytest.mark.parametrize("value", ["", " ", True, 7.5, float("nan"), ["b"], b"b", "a\nb", pd.NA])
def test_client_batch_ids_that_are_none(value: Any, client: ApiClient, server: ScriptedServer) -> None:
    with pytest.raises(InvalidInput, match="client_batch_id is "):
        list(client.get_delivered_tasks(1, client_batch_id=value))
    assert server.calls == []


def test_a_key_in_place_of_an_id_is_not_shown(client: ApiClient) -> None:
    for value in (f"https://x.org/?{KEY}", f"{KEY}\n{KEY}"):
        with pytest.raises(InvalidInput) as raised:
            client.get_project_information(value)
        assert KEY not in str(raised.value)


def test_options_of_format_sama() -> None:
    assert [SharedOptions(project=text).the_project() for text in (" 4242 ", "4242.0", "4242")] == ["4242"] * 3
    for text in ("nan", "True", "https://app.sama.com/4242"):
        with pytest.raises(InvalidInput, match="option `project`"):
            SharedOptions(project=text).the_project()
