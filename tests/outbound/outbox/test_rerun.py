"""The heart of an outbox, on both kinds of session: a rerun sends what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.outbox_runs import images, numbers, once, send

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark import Client
    from sama_spark.sandbox import Sandbox


def test_a_rerun_sends_what_is_missing(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    first = send(client, images(spark, 0, 20), project, outbox)
    assert (first.task_count, first.outbox and first.outbox.known) == (20, 0)
    sandbox.forget_calls()
    again = send(client, images(spark, 0, 20), project, outbox)
    assert again.outbox is not None
    assert (again.task_count, again.outbox.known, again.outbox.changed) == (0, 20, 0)
    assert not {"open", "put", "continue"} & set(sandbox.calls())
    more = send(client, images(spark, 10, 35), project, outbox)
    assert more.outbox is not None
    assert (more.task_count, more.outbox.known) == (15, 10)
    assert numbers(sandbox, project) == once(range(35))
    assert "10 rows were known to the outbox and not sent" in repr(more)


def test_it_lives_under_a_name_as_well(spark: SparkSession, client: Client, sandbox: Sandbox, project: int) -> None:
    name = "default.outbox_by_name"
    for _ in range(2):
        send(client, images(spark, 0, 5), project, name)
    assert numbers(sandbox, project) == once(range(5))
    assert spark.sql(f"DESCRIBE DETAIL {name}").collect()[0]["properties"]["sama_spark.project"] == str(project)
