"""Drivers killed with SIGKILL between every two steps of a sync, and within them; then the same sync again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from test_sync import contents

from kit.deliveries import PAGE, delivery
from kit.doomed_sync import STEPS
from kit.killing import kill
from sama_spark import Client

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

_WRITES = ("landing", "landed", "labelling", "labelled", "typing", "typed", "recorded")
WAYS = {
    "first": tuple(step for step in STEPS if step != "two pages landed"),
    "later": ("fetched", *_WRITES),
    "since_last_call": ("landed", "two pages landed", "labelled", "typed"),
}
ALL = [(way, step) for way, steps in WAYS.items() for step in steps]

# `test_sync.py` has deaths that cost less in every run.
pytestmark = [pytest.mark.timeout(900), pytest.mark.one_kind, pytest.mark.long]


class Killed(NamedTuple):
    """A project, the folder of its tables by way and step, and what the tables of undisturbed runs have by way."""

    project: int
    folders: dict[tuple[str, str], str]
    undisturbed: dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def killed(
    running_sandbox: Sandbox,
    spark: SparkSession,
    server: str | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Killed:
    sandbox, folder = running_sandbox, tmp_path_factory.mktemp("killed")
    sandbox.reset()
    project = sandbox.create_project({"name": "string", "n": "integer"}, {"shapes": "image", "weather": "text"})
    sandbox.deliver(project, (delivery(n) for n in range(9)))
    folders = {(way, step): str(folder / f"{way}-{step.replace(' ', '-')}") for way, step in ALL}
    with sync_client(sandbox) as client:
        base = folder / "later"
        client.sync(spark, str(project), str(base))
        for (way, step), into in folders.items():
            if way != "first":
                shutil.copytree(base, into)
            if way == "since_last_call":
                list(client.since_last_call_pages(project, consumer=step))
        # Two are delivered again, four are new, one is rejected and stays so.
        for n in (3, 5):
            client.reject_task(str(project), f"{n:024x}", ["the box is loose"])
        sandbox.annotate(project, delivered_at="2026-01-03T00:00:00.000Z")
        sandbox.deliver(project, (delivery(n, at="2026-01-03T00:00:01.000Z") for n in range(20, 24)))
        client.reject_task(str(project), f"{1:024x}", ["no box at all"])
        undisturbed = {}
        for way in {"first" if way == "first" else "later" for way, _ in folders}:
            client.sync(spark, str(project), str(folder / way))
            undisturbed[way] = contents(spark, str(folder / way))
    if "later" in undisturbed:
        undisturbed["since_last_call"] = undisturbed["later"]
    drivers = [
        {
            "step": step,
            "first": way == "first",
            "project": project,
            "into": into,
            "feed": feed_of(way),
            "consumer": step,
            "page_size": PAGE,
            "many": (WAYS[way].index(step) + (way == "later")) % 2 == 1,
        }
        for (way, step), into in folders.items()
    ]
    kill("kit.doomed_sync", sandbox, server, folder, drivers)
    return Killed(project, folders, undisturbed)


def sync_client(sandbox: Sandbox) -> Client:
    return Client(sandbox.api_key, base_url=sandbox.base_url, delivered_page_size=PAGE)


def feed_of(way: str) -> Any:
    return "since_last_call" if way == "since_last_call" else "delivered"


@pytest.mark.parametrize(("way", "step"), ALL)
def test_the_next_sync_finishes_a_killed_one(
    killed: Killed, running_sandbox: Sandbox, spark: SparkSession, way: str, step: str
) -> None:
    into = killed.folders[way, step]
    with sync_client(running_sandbox) as client:
        client.sync(spark, str(killed.project), into, feeds=[feed_of(way)], consumer=step)
    assert contents(spark, into) == killed.undisturbed[way]
