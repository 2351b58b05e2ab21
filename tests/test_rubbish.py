"""Rubbish for each argument of each public call, the others good: nothing but our own errors comes out."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kit.fake_clock import FakeClock

pytest.importorskip("pyspark.sql.datasource")

import sama_spark
from sama_spark import Client, ConnectorError, MicroBatches

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

RUBBISH: list[Any] = [
    None,
    "",
    " ",
    -1,
    1.5,
    True,
    [],
    {},
    object(),
    float("nan"),
    b"bytes",
    "no such",
    "x" * 100_000,
    ["a", 5, None],
]

# What ends a call late, in an error of ours, where a good one takes Spark seconds; used for all other arguments.
LATE: dict[str, dict[str, Any]] = {
    "sync": {"masks": "s3://bucket/masks", "max_calls": 0},
    "get_delivered_tasks_to_table": {"staging": "s3://bucket"},
    "get_delivered_tasks_since_last_call_to_table": {"staging": "s3://bucket"},
    "get_task_status_to_table": {"staging": "s3://bucket"},
    "get_multi_task_status_to_table": {"staging": "s3://bucket"},
}
# What the catalog makes of a name that is no name is not looked at here.
TABLES = {"into", "outbox"}
# Of Python's own kinds: a logger, a clock, a random number generator.
OWN = {"logger", "log_level", "silent", "clock", "rng"}


@pytest.fixture(scope="module")
def world(spark: SparkSession, running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sandbox = running_sandbox
    sandbox.reset()
    project = sandbox.create_project({"url": "string"}, {"objects": "image"})
    client = Client(
        sandbox.api_key, base_url=sandbox.base_url, deadline=2.0, clock=FakeClock(time.time()), experimental=True
    )
    df = spark.createDataFrame([], "url string")
    batch_id = client.create_task_batch(project, [{"url": "u"}])["batch_id"]
    task_id = sandbox.tasks(project)[0]["id"]
    folder = tmp_path_factory.mktemp("rubbish")
    good: dict[str, Any] = {
        "spark_dataframe": df,
        "df": df,
        "project_id": project,
        "batch_id": batch_id,
        "task_id": task_id,
        "task_ids": [task_id],
        "spark": spark,
        "into": str(folder / "tables"),
        "outbox": str(folder / "outbox"),
        "row_key": "url",
        "task_data_records": [],
        "tasks": [],
        "data": {"url": "u"},
        "answers": {},
        "priority": 1,
        "reasons": ["no"],
        "state": "new",
        "api_key": sandbox.api_key,
        "make_client": lambda: client,
        "boxes": "url",
        "polygons": "url",
        "polylines": "url",
        "points": "url",
        "chosen": "url",
        "levels": "url",
        "options": ["a"],
        "match_on": "url",
        "timeout": 1.0,
    }
    yield client, good
    client.close()


def calls() -> dict[str, Callable[..., Any]]:
    methods = {
        name: call
        for name, call in inspect.getmembers(Client, inspect.isfunction)
        if not name.startswith("_") and name not in ("close", "upload_tasks", "download_mask")
    }
    functions = {name: thing for name in sama_spark.__all__ if inspect.isfunction(thing := getattr(sama_spark, name))}
    return {**methods, **functions, "Client": Client, "MicroBatches": MicroBatches}


CALLS = calls()


def use(result: Any) -> None:
    """Generators work only when they are asked."""
    if inspect.isgenerator(result):
        list(itertools.islice(result, 3))


def _fault(client: Client, call: Callable[..., Any], good: dict[str, Any], parameter: str, rubbish: Any) -> str:
    """What comes out and should not; nothing where all is well."""
    try:
        use(call(**{**good, parameter: rubbish}))
    except ConnectorError as error:
        text = str(error)
        found = "shows the key" if client.api_key in text else f"{len(text):,} characters" if len(text) > 5_000 else ""
    except Exception as error:
        found = f"{type(error).__name__}: {error!s:.100}"
    else:
        found = ""
    return found and f"{parameter}={rubbish!r:.30}: {found}"


@pytest.mark.parametrize("name", sorted(CALLS))
def test_rubbish(name: str, world: tuple[Client, dict[str, Any]]) -> None:
    client, good = world
    call = getattr(client, name) if hasattr(Client, name) else CALLS[name]
    parameters = {
        n: p
        for n, p in inspect.signature(call).parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    base = {n: good[n] for n, p in parameters.items() if p.default is p.empty}
    wrong = []
    for parameter in parameters.keys() - OWN:
        late = {n: value for n, value in LATE.get(name, {}).items() if n != parameter}
        tried = [one for one in RUBBISH if parameter not in TABLES or one != "no such"]
        wrong += filter(None, (_fault(client, call, base | late, parameter, rubbish) for rubbish in tried))
    assert wrong == []
