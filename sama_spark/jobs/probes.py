"""Tries of the doctor on the session: its capabilities, a table of its own, and two rivals for one outbox."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import msgspec

from sama_spark.delta import DeltaTable
from sama_spark.errors import OutboxError
from sama_spark.inbound.sync.tables import FEATURES
from sama_spark.names import inside, is_path, split, sql_name
from sama_spark.outbound.outbox.ledger import Ledger
from sama_spark.outbound.outbox.ledger_rows import Claim
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.sessions import find_dbutils, on_databricks
from sama_spark.staging import local_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Unavailable(Exception):
    """A check that cannot be made here; the text says why."""


def capabilities(spark: SparkSession) -> Mapping[str, Callable[[], str]]:
    """Return the checks of what the session can do, by name."""
    return {
        "Spark": lambda: _versions(spark),
        "data source API": lambda: _data_sources(spark),
        "VARIANT": lambda: _variant(spark),
    }


def _versions(spark: SparkSession) -> str:
    kind = "Connect" if ".connect." in type(spark).__module__ else "classic"
    delta = "Delta of Databricks"
    if not on_databricks():
        try:
            delta = f"delta-spark {version('delta-spark')}"
        except PackageNotFoundError:
            delta = "Delta of the server"
    return f"{spark.version}, {kind}, {delta}"


def _data_sources(spark: SparkSession) -> str:
    if not hasattr(spark, "dataSource"):
        raise Unavailable('format("sama") needs Spark 4.0 or newer: use Client, which does the same')
    return 'format("sama") works'


def _variant(spark: SparkSession) -> str:
    try:
        spark.sql("SELECT parse_json('[1]')").collect()
    except Exception:
        raise Unavailable("needs Spark 4.0 or newer; columns of JSON text do the same") from None
    return "columns can be sent"


def table_probe(spark: SparkSession, place: str) -> str:
    """Create a table beside the configured ones, append, delete and drop, as a job would."""
    if place and not is_path(place) and not spark.catalog.databaseExists(sql_name(place)):
        raise Unavailable("there is no such schema; the first sync makes it, which takes CREATE SCHEMA on the catalog")
    with _own_table(spark, place) as table:
        table.create("id BIGINT", "made by sama-spark doctor, may be dropped", FEATURES, "id")
        table.append(spark.createDataFrame([(1,), (2,)], "id BIGINT"))
        spark.sql(f"DELETE FROM {table.sql_name} WHERE id = 1").collect()
        left = [row["id"] for row in table.read().collect()]
        if left != [2]:
            raise OutboxError(f"a table that should hold row 2 holds {left}", remedy="see whether this is Delta")
        detail = spark.sql(f"DESCRIBE DETAIL {table.sql_name}").collect()[0].asDict()
        features = ", ".join(sorted(detail.get("tableFeatures") or ()))
    return (
        "create, append, delete and drop work; Delta "
        f"{detail['minReaderVersion']}/{detail['minWriterVersion']}, clustered, features {features}"
    )


def rivals(spark: SparkSession, outbox: str | None, project: str) -> str:
    """Make two claims on one number of an outbox. Exactly one may win, and each has to learn whether it won."""
    if outbox is None:
        raise Unavailable("no outbox is named: a job that runs again creates its tasks again")
    with _own_table(spark, split(outbox)[0]) as table:
        ledger = Ledger.open(spark, table.name, project, OutboxKeys(("doctor",)))
        seq, now = ledger.state().seq + 1, time.time()

        def claim(batch_id: int) -> bool:
            text = msgspec.json.encode(Claim(batch_id, "doctor", 1, ('{"doctor":"1"}',), (0,))).decode()
            claims = spark.createDataFrame([(text,)], "value string")
            return ledger.bind(claims, seq, uuid.uuid4().hex, now, now)

        with ThreadPoolExecutor(2) as pool:
            won = list(pool.map(claim, (1, 2)))
        if sorted(won) != [False, True]:
            raise OutboxError(
                f"of two claims at once {sum(won)} won",
                remedy="do not use an outbox here: the storage of this table does not keep writers apart",
            )
    return "of two at once one won"


@contextmanager
def _own_table(spark: SparkSession, place: str) -> Iterator[DeltaTable]:
    table = DeltaTable(spark, inside(place, f"sama_spark_doctor_{uuid.uuid4().hex[:8]}"))
    try:
        yield table
    finally:
        if not table.is_path:
            spark.sql(f"DROP TABLE IF EXISTS {table.sql_name}").collect()
        elif "://" not in table.name:
            shutil.rmtree(local_path(table.name), ignore_errors=True)
        elif (dbutils := find_dbutils()) is not None:
            dbutils.fs.rm(table.name, True)
