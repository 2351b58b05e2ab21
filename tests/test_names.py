"""Names of tables: taken with and without backticks, quoted by the product, refused by a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sama_spark import Client, names
from sama_spark.delta import DeltaTable
from sama_spark.errors import InvalidInput, SyncError
from sama_spark.jobs.load import load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

TAKEN = {
    "labels": "`labels`",
    " labels ": "`labels`",
    "main.labels": "`main`.`labels`",
    "my-catalog.labels": "`my-catalog`.`labels`",
    "`my-catalog`.labels": "`my-catalog`.`labels`",
    "`my-catalog` . `my labels`": "`my-catalog`.`my labels`",
    "my-catalog.my labels.2024-tasks": "`my-catalog`.`my labels`.`2024-tasks`",
    "`a.b`.c": "`a.b`.`c`",
    "`a``b`.c": "`a``b`.`c`",
    "größe.order.select": "`größe`.`order`.`select`",
    "it's.a;b--c": "`it's`.`a;b--c`",
    "$5": "`$5`",
    "/data/my labels/100%25 ü's": "delta.`/data/my labels/100%25 ü's`",
    "/data/a`b": "delta.`/data/a``b`",
    "s3://bucket/labels": "delta.`s3://bucket/labels`",
    "dbfs:/labels": "delta.`dbfs:/labels`",
}
REFUSED = (
    "",
    "  ",
    ".",
    "a.",
    ".a",
    "a..b",
    "a.b.c.d",
    "a`b",
    "`a",
    "``",
    "`a`b",
    "a\nb",
    "`a\x00`",
    "${env:HOME}",
    "`${env:HOME}`.a",
    "labels.${spark.master}",
    "a/b",
    "./a",
    "~/a",
    "delta.`/data/labels`",
    "/data/${env:HOME}",
    "/data/a\nb",
    None,
    7,
    Path("/data"),
)


@pytest.mark.parametrize("name", TAKEN)
def test_a_name_that_is_taken(name: str) -> None:
    names.check_table(name, "outbox")
    assert names.sql_name(name) == TAKEN[name]


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("argument", ["outbox", "rejected_table"])
def test_a_name_that_is_refused(name: str, argument: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{argument}=") as refused:
        names.check_table(name, argument)
    assert refused.value.remedy


@pytest.mark.parametrize("into", [*REFUSED, "a.b.c"])
def test_a_schema_or_folder_that_is_refused(into: str) -> None:
    with pytest.raises(InvalidInput, match=r"^into="):
        names.check_place(into, "")


@pytest.mark.parametrize("prefix", ["a/b", "`", "${env:HOME}", "a\n", None, "v1."])
def test_a_prefix_that_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput, match=r"^prefix="):
        names.check_place("labels", prefix)


@pytest.mark.parametrize("prefix", ["", "proj-1_", "1_", "B_", "größe ", "it's ", "$"])
def test_a_table_in_a_place(prefix: str) -> None:
    names.check_place("my-catalog.labels", prefix)
    assert names.sql_name(names.inside("my-catalog.labels", f"{prefix}tasks")) == (
        f"`my-catalog`.`labels`.`{prefix}tasks`"
    )
    assert names.inside("/data/labels/", f"{prefix}tasks") == f"/data/labels/{prefix}tasks"


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("outbox", "`outbox_tasks`"),
        ("main.labels.outbox", "`main`.`labels`.`outbox_tasks`"),
        ("main.`my-outbox`", "`main`.`my-outbox_tasks`"),
        ("/data/outbox", "delta.`/data/outbox_tasks`"),
        ("/data/outbox/", "delta.`/data/outbox_tasks`"),
    ],
)
def test_the_table_beside_another(name: str, tasks: str) -> None:
    assert names.sql_name(names.with_suffix(name, "_tasks")) == tasks


_LEVEL = st.text(st.characters(codec="utf-8", exclude_characters="/", exclude_categories=["Cc"]), min_size=1).filter(
    lambda level: "${" not in level
)


@given(st.lists(_LEVEL, min_size=1, max_size=3))
def test_any_level_can_be_written_in_backticks(levels: list[str]) -> None:
    name = ".".join(map(names.quoted, levels))
    assert names.levels(name) == tuple(levels)
    assert names.sql_name(name) == name
    place, last = names.split(name)
    assert names.sql_name(names.inside(place, last)) == name


@given(st.text())
def test_no_text_becomes_sql_that_is_substituted(name: str) -> None:
    try:
        assert "${" not in names.sql_name(name)
        names.check_table(name, "outbox")
    except InvalidInput:
        return
    assert "\n" not in names.sql_name(name)


@pytest.mark.parametrize("field", ["into: a..b", "into: labels\nprefix: a.b", "into: labels\nruns: a.b.c.d"])
def test_a_job_with_a_name_that_is_refused(tmp_path: Path, field: str) -> None:
    (tmp_path / "sync.yml").write_text(f"job: sync\nproject: 1\n{field}\n")
    with pytest.raises(InvalidInput, match=r"(into|prefix|runs).* is nothing that a table can be called"):
        load(str(tmp_path / "sync.yml"))


@pytest.mark.one_kind
@pytest.mark.parametrize("name", ["a..b", "a.b.c.d", "${env:HOME}", "a/b"])
def test_nothing_is_done_under_a_name_that_is_refused(spark: SparkSession, sandbox: Sandbox, name: str) -> None:
    rows = spark.createDataFrame([("u",)], "url string")
    with Client(sandbox.api_key, base_url=sandbox.base_url) as client:
        calls = {
            "into": (
                lambda: client.sync(spark, "1", name),
                lambda: client.purge_synced(spark, "1", name),
                lambda: client.reject_task("1", "t", ["r"], spark=spark, into=name),
            ),
            "outbox": (
                lambda: client.create_task_batch_from_table(rows, "1", outbox=name, row_key="url"),
                lambda: client.resume(spark, outbox=name),
                lambda: client.purge(spark, outbox=name),
            ),
            "rejected_table": (
                lambda: client.create_task_batch_from_table(rows, "1", on_invalid="reject", rejected_table=name),
                lambda: client.purge(spark, outbox="/data/outbox", rejected_table=name),
            ),
        }
        for argument, tried in calls.items():
            for call in tried:
                with pytest.raises(InvalidInput, match=f"^{argument}="):
                    call()
    assert sum(sandbox.calls().values()) == 0


@pytest.mark.one_kind
def test_names_that_have_to_be_quoted(spark: SparkSession, sandbox: Sandbox) -> None:
    """Spark's own catalog takes digits and words of SQL; hyphens and blanks only Unity Catalog does."""
    project = sandbox.create_project({"url": "string"}, {"weather": "text"})
    sandbox.deliver(
        project,
        [{"id": "0" * 24, "data": {}, "answers": {"weather": "sun"}, "delivered_at": "2026-01-02T00:00:00Z"}],
    )
    rows = spark.createDataFrame([("https://assets.invalid/1.jpg",), (None,)], "url string")
    try:
        with Client(sandbox.api_key, base_url=sandbox.base_url) as client:
            client.sync(spark, str(project), "2024", prefix="1_", views=True)
            assert client.sync(spark, str(project), "`spark_catalog`.`2024`", prefix="1_").feeds[0].unchanged == 1
            assert spark.table("`2024`.`1_labels_current`").count() == 1
            named = {"outbox": "2024.order", "row_key": "url"}
            client.create_task_batch_from_table(rows.limit(1), project, **named).wait()
            assert client.create_task_batch_from_table(rows.limit(1), project, **named).outbox.known == 1
            purged = client.purge_synced(spark, str(project), "2024", prefix="1_", task_ids=["0" * 24])
            assert purged.rows["2024.`1_tasks`"] == 1
            assert "VACUUM `2024`.`1_tasks`" in purged.vacuum
            with pytest.raises(SyncError, match=r"my-labels.*Take a name that this catalog accepts"):
                client.sync(spark, str(project), "my-labels")
    finally:
        spark.sql("DROP SCHEMA IF EXISTS `2024` CASCADE").collect()


def test_a_path_with_all_that_a_path_can_have(spark: SparkSession, tmp_path: Path) -> None:
    table = DeltaTable(spark, f"{tmp_path}/my labels/ü 100%25 it's `x` $5 [1] {{a}}")
    table.create("id STRING", "it's a test", {"sama_spark.x": "it's \\u0024 ${env:HOME}"})
    table.append(spark.createDataFrame([("a",), ("b",)], "id string"))
    table.replace(spark.createDataFrame([("${env:HOME}",)], "id string"), "id", ["a", "${env:HOME}", "it's"])
    assert sorted(row.id for row in table.read().collect()) == ["${env:HOME}", "b"]
    assert (table.properties() or {})["sama_spark.x"] == "it's \\u0024 ${env:HOME}"
    keys = spark.createDataFrame([("b",)], "key string")
    assert table.delete(keys, "id") == 1
