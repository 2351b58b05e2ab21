"""One `spark` fixture for both kinds of session: `pytest --session classic` (default) or `--session connect`.

A process can hold one kind only, so the suite runs once for each. The Connect session refuses what serverless compute
refuses (`kit/serverless.py`), whatever the test.

A test runs on Connect only if it sends a new kind of plan or uses another way between driver and server: `collect`,
`toLocalIterator`, `createDataFrame`, `mapInArrow`, the catalog, DDL, streaming, errors that come back. Other tests are
marked `one_kind` and run on the classic session alone; where a whole file is, `both_kinds` marks the exceptions. Tests
of what only the driver does need no Spark at all: `kit/paper.py` runs them in milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from kit import environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox


# How long an example takes says more of the machine than of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--session", choices=("classic", "connect"), default="classic")
    parser.addoption("--long", action="store_true", help="the long tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--session") == "classic":
        for item in items:
            if item.get_closest_marker("afresh"):
                item.add_marker("long")
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker("jvm")
            if item.get_closest_marker("one_kind") is None or item.get_closest_marker("both_kinds"):
                item.add_marker("spark")


# One session runs all tests: the default heap of 1 GB fills with what Spark and Delta keep of each. Delta keeps the
# state of a thousand tables for an hour, which were made for one test each.
SETTINGS = {
    "spark.driver.memory": "3g",
    "spark.driver.extraJavaOptions": "-Ddelta.log.cacheSize=20 -XX:+UseParallelGC",
    "spark.sql.session.timeZone": "America/New_York",
    "spark.databricks.delta.snapshotPartitions": "1",
    # To list all files of a table in its checksum takes a job for each commit.
    "spark.databricks.delta.allFilesInCrc.enabled": "false",
    "spark.sql.ui.retainedExecutions": "1",
    "spark.ui.retainedJobs": "1",
    "spark.ui.retainedStages": "1",
    # Thousands of small queries run once each: to compile one takes longer than to run it. The demo and the drivers
    # that are killed have sessions of their own and do compile.
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.codegen.wholeStage": "false",
}


# Processes that tests start do little: to optimise code takes their JVM longer than the code runs.
os.environ["SPARK_SUBMIT_OPTS"] = "-XX:TieredStopAtLevel=1"

SESSION: pytest.StashKey[SparkSession] = pytest.StashKey()


@pytest.fixture(scope="session")
def session_kind(pytestconfig: pytest.Config) -> str:
    return str(pytestconfig.getoption("--session"))


@pytest.fixture(scope="session")
def server(spark: SparkSession, session_kind: str) -> str | None:
    """Where other processes reach the same Spark: the Connect session's server. The classic one has none."""
    return "sc://localhost:15002" if session_kind == "connect" else None


@pytest.fixture(scope="session")
def spark(
    session_kind: str, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[SparkSession]:
    from sama_spark.local import local_session

    settings = {**SETTINGS, "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}
    options = os.environ.pop("SPARK_SUBMIT_OPTS", "")
    if session_kind == "classic":
        session = local_session(settings=settings)
    else:
        from kit.serverless import guard
        from kit.serverless_worker import SETTING

        with pytest.MonkeyPatch.context() as patch:  # the server starts its daemon with it
            patch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
            session = local_session(connect=True, settings={**settings, SETTING: "kit.serverless_worker"})
        guard(session)
    os.environ["SPARK_SUBMIT_OPTS"] = options
    pytestconfig.stash[SESSION] = session
    yield session
    del pytestconfig.stash[SESSION]
    session.stop()


@pytest.fixture(scope="module", autouse=True)
def views_end_with_their_file(pytestconfig: pytest.Config) -> Iterator[None]:
    """Drop the views that a file's tests have left: the session, and with it the names, is everybody's."""
    yield
    session = pytestconfig.stash.get(SESSION, None)
    for view in session.sql("SHOW VIEWS").collect() if session is not None else []:
        if view.isTemporary:
            session.catalog.dropTempView(view.viewName)


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    from sama_spark.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """The sandbox without projects, faults or counts of an earlier test."""
    running_sandbox.reset()
    return running_sandbox
