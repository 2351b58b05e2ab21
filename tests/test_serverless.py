"""The guard bites: what serverless compute refuses raises on the guarded session. Then the user's whole path on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyspark")

from pyspark.sql import types as T

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(autouse=True)
def guarded(session_kind: str) -> None:
    if session_kind != "connect":
        pytest.skip("serverless compute is Spark Connect")


REFUSED: dict[str, Callable[[Any], Any]] = {
    "NOT_SUPPORTED_WITH_SERVERLESS.*PERSIST": lambda spark: spark.range(1).cache(),
    "NOT_SUPPORTED_WITH_SERVERLESS.* PERSIST": lambda spark: spark.range(1).persist(),
    "NOT_SUPPORTED_WITH_SERVERLESS.*UNPERSIST": lambda spark: spark.range(1).unpersist(),
    "NOT_SUPPORTED_WITH_SERVERLESS.*CHECKPOINT": lambda spark: spark.range(1).checkpoint(),
    "NOT_SUPPORTED_WITH_SERVERLESS.*CHECKPOINT_": lambda spark: spark.range(1).localCheckpoint(),
    "NOT_SUPPORTED_WITH_SERVERLESS.*CACHE_TABLE": lambda spark: spark.catalog.cacheTable("t"),
    "NOT_SUPPORTED_WITH_SERVERLESS.*UNCACHE_TABLE": lambda spark: spark.catalog.uncacheTable("t"),
    "NOT_SUPPORTED_WITH_SERVERLESS.*CLEAR_CACHE": lambda spark: spark.catalog.clearCache(),
    "SQL CACHE": lambda spark: spark.sql("CACHE TABLE t"),
    "SQL ADD JAR": lambda spark: spark.sql("ADD JAR '/x.jar'"),
    "GLOBAL TEMPORARY VIEW": lambda spark: spark.range(1).createOrReplaceGlobalTempView("v"),
    "SQL GLOBAL TEMP": lambda spark: spark.sql("CREATE GLOBAL TEMPORARY VIEW v AS SELECT 1"),
    r"SQL \$\{": lambda spark: spark.sql("SELECT '${spark.x}'"),
    "DBFS_DISABLED": lambda spark: spark.read.text("dbfs:/tmp/x").schema,
    "DBFS_DISABLED.*ROOT": lambda spark: spark.range(1).write.save("dbfs:/tmp/x"),
    "NOT_AVAILABLE.*arrow": lambda spark: spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "9"),
    "NOT_AVAILABLE.*warehouse": lambda spark: spark.conf.set("spark.sql.warehouse.dir", "/x"),
    "NOT_AVAILABLE.*adaptive": lambda spark: spark.conf.unset("spark.sql.adaptive.enabled"),
    "NOT_AVAILABLE.*autoMerge": lambda spark: spark.sql("SET spark.databricks.delta.schema.autoMerge.enabled = true"),
    "TRIGGER": lambda spark: stream(spark).start(),
    "TRIGGER.*AVAILABLE": lambda spark: stream(spark).trigger(processingTime="1 second").start(),
    "TRIGGER OTHER": lambda spark: stream(spark).trigger(continuous="1 second").start(),
    "sparkContext": lambda spark: spark.sparkContext,
    "rdd": lambda spark: spark.range(1).rdd,
    "_jvm": lambda spark: spark._jvm,
    "_jdf": lambda spark: spark.range(1)._jdf,
}


def stream(spark: SparkSession) -> Any:
    return spark.readStream.format("rate").load().writeStream.format("noop")


@pytest.mark.parametrize("why", REFUSED)
def test_requests_are_refused(spark: SparkSession, why: str) -> None:
    if "CHECKPOINT" in why and not hasattr(T, "VariantType"):
        pytest.skip("Connect has no checkpoints before Spark 4.0")
    with pytest.raises(Exception, match=why):
        REFUSED[why](spark)


def test_some_settings_are_not(spark: SparkSession) -> None:
    zone = str(spark.conf.get("spark.sql.session.timeZone"))
    spark.conf.set("spark.sql.session.timeZone", zone)
    spark.sql(f"SET spark.sql.session.timeZone = {zone}").collect()


def connects(port: int) -> None:
    import socket

    socket.create_connection(("127.0.0.1", port)).close()


def connects_below(port: int) -> None:
    import _socket

    _socket.socket().connect(("127.0.0.1", port))


def sends(port: int) -> None:
    import socket

    socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", port))


def looks_up(_: int) -> None:
    import socket

    socket.getaddrinfo("localhost", 80)


def fetches(port: int) -> None:
    import urllib3

    urllib3.request("GET", f"http://127.0.0.1:{port}/", retries=False)


def runs_curl(_: int) -> None:
    import subprocess

    subprocess.run(["curl"], check=True)


@pytest.mark.parametrize("act", [connects, connects_below, sends, looks_up, fetches, runs_curl])
def test_workers_have_no_network(spark: SparkSession, running_sandbox: Any, act: Callable[[int], None]) -> None:
    port = int(running_sandbox.base_url.split(":")[2].split("/")[0])
    if act not in (runs_curl,):
        act(port)  # from here it can be done

    def on_a_worker(batches: Iterator[Any]) -> Iterator[Any]:
        try:
            act(port)
        except Exception as error:
            raise RuntimeError(str(error)) from None  # Spark 3.5 shortens what has a long traceback
        yield from batches

    with pytest.raises(Exception, match="workers of serverless compute have no network"):
        spark.range(1).mapInArrow(on_a_worker, "id long").collect()


def test_workers_have_no_variables_of_the_drivers(spark: SparkSession) -> None:
    def variables(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for _ in batches:
            yield pa.RecordBatch.from_pydict({"name": list(os.environ)})

    names = {row.name for row in spark.range(1).mapInArrow(variables, "name string").collect()}
    assert "HOME" in os.environ
    assert not names & {"HOME", "USER", "SAMA_API_KEY"}
