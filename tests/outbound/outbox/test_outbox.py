"""A run with an outbox sends what is missing, and says what it knew already."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.outbox_runs import images, numbers, once, send
from sama_spark import (
    ChangedRows,
    Client,
    ContractError,
    InvalidInput,
    InvalidRowsError,
    OutboxError,
    RepeatedKeys,
    TooManyTasks,
    process_folder,
)

pytestmark = pytest.mark.one_kind

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.outbound.creation_result import CreationResult
    from sama_spark.sandbox import Sandbox


# --- what is sent


def test_a_dry_run_counts_what_is_known_and_makes_nothing(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    plan = send(client, images(spark, 0, 9), project, outbox, dry_run=True)
    assert (plan.task_count, plan.outbox, Path(outbox).exists()) == (9, None, False)
    send(client, images(spark, 0, 9), project, outbox)
    before = spark.read.format("delta").load(outbox).count()
    sandbox.forget_calls()
    plan = send(client, images(spark, 5, 20), project, outbox, dry_run=True)
    assert (plan.task_count, plan.outbox and plan.outbox.known) == (11, 4)
    assert "4 rows were known to the outbox" in repr(plan)
    assert set(sandbox.calls()) <= {"create_schema", "deliver_schema"}
    assert spark.read.format("delta").load(outbox).count() == before


def test_only_what_is_sent_counts_against_max_tasks(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    send(client, images(spark, 0, 20), project, outbox)
    with pytest.raises(TooManyTasks):
        send(client, images(spark, 0, 26), project, outbox, max_tasks=5)
    assert numbers(sandbox, project) == once(range(20))
    assert send(client, images(spark, 0, 25), project, outbox, max_tasks=5).task_count == 5


def test_rejected_rows_are_not_known(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    bad = images(spark, 0, 6).selectExpr("image", "if(n = 3, null, url) AS url", "n", "output_shapes")
    result = send(client, bad, project, outbox, on_invalid="reject")
    assert (result.task_count, result.rejected_rows) == (5, 1)
    mended = send(client, images(spark, 0, 6), project, outbox, on_invalid="reject")
    assert (mended.task_count, mended.outbox and mended.outbox.known) == (1, 5)
    assert numbers(sandbox, project) == once(range(6))


def test_without_a_shared_folder_it_works_alike_and_nothing_stays_behind(
    spark: SparkSession,
    sandbox: Sandbox,
    project: int,
    outbox: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client(sandbox.api_key, base_url=sandbox.base_url, staging=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process_folder.process_folder.cache_clear()
    assert send(client, images(spark, 0, 20), project, outbox).task_count == 20
    more = send(client, images(spark, 10, 35), project, outbox)
    assert (more.task_count, more.staged, more.outbox and more.outbox.known) == (15, False, 10)
    assert numbers(sandbox, project) == once(range(35))
    with pytest.raises(RepeatedKeys):
        send(client, images(spark, 30, 40).unionAll(images(spark, 39, 41)), project, outbox)
    process_folder.process_folder.cache_clear()
    left = [file for file in tmp_path.rglob("sama-spark*/**/*") if file.is_file()]
    assert [file.suffix for file in left] == [".lock"]  # of the process, which lives


# --- rows that have changed


def test_a_row_has_changed_when_a_value_has_and_not_when_a_url_is_signed_anew(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    send(client, images(spark, 0, 5), project, outbox)
    changed = images(spark, 0, 5, version="v2/").unionAll(images(spark, 5, 6))
    skipped = send(client, changed, project, outbox)
    assert skipped.outbox is not None
    assert (skipped.task_count, skipped.outbox.known, skipped.outbox.changed) == (1, 5, 5)
    assert "of which 5 have changed since" in repr(skipped)
    with pytest.raises(ChangedRows, match=r'5 rows have changed.*"image":"image 0"'):
        send(client, changed, project, outbox, on_changed="error")
    assert numbers(sandbox, project) == once(range(6))


def test_ignored_columns_are_the_outboxs_own_from_its_first_run_on(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    send(client, images(spark, 0, 3), project, outbox, ignore_changes="url")
    changed = images(spark, 0, 3, version="v2/")
    assert send(client, changed, project, outbox, on_changed="error").task_count == 0
    with pytest.raises(OutboxError, match=r"made with ignore_changes=\['url'\], not \['n'\]"):
        send(client, changed, project, outbox, ignore_changes="n")
    more = changed.withColumn("n", changed.n + 100)
    with pytest.raises(ChangedRows, match="3 rows have changed"):
        send(client, more, project, outbox, on_changed="error")
    assert numbers(sandbox, project) == once(range(3))


def test_a_content_is_sent_once_even_when_it_comes_back(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    for version in ("", "v2/", "", "v2/"):
        send(client, images(spark, 0, 3, version=version), project, outbox, on_changed="resend")
    assert numbers(sandbox, project) == Counter({0: 2, 1: 2, 2: 2})


@pytest.mark.long
def test_order_of_columns_nulls_and_integer_types_are_no_change(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    send(client, images(spark, 0, 3), project, outbox)
    same = images(spark, 0, 3).selectExpr("output_shapes", "cast(n AS bigint) AS n", "url", "image")
    assert send(client, same, project, outbox, on_changed="error").task_count == 0


@pytest.mark.long
def test_an_integer_key_is_the_same_key_as_its_text(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    rows = images(spark, 0, 4)
    for kind in ("int", "bigint", "string", "decimal(20,0)"):
        send(
            client,
            rows.selectExpr(f"cast(n AS {kind}) AS key", "url", "n"),
            project,
            outbox,
            row_key="key",
            not_sent="key",
        )
    assert numbers(sandbox, project) == once(range(4))


# --- rows that cannot be told apart


def test_repeated_and_missing_keys_are_errors_that_show_some(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    with pytest.raises(RepeatedKeys, match=r'2 row keys stand more than once.*\{"image":"image 3"} stands 2 times'):
        send(client, images(spark, 0, 5).unionAll(images(spark, 3, 8)), project, outbox)
    unnamed = images(spark, 0, 5).selectExpr("if(n = 2, null, image) AS image", "url", "n")
    with pytest.raises(InvalidRowsError, match="column 'image' is null, and a row key of an outbox must not"):
        send(client, unnamed, project, outbox)
    assert sandbox.batches(project) == []
    rejected = send(client, unnamed, project, outbox, on_invalid="reject")
    assert (rejected.task_count, rejected.rejected_rows) == (4, 1)


@pytest.mark.long
def test_keys_of_several_columns(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    rows = images(spark, 0, 6).selectExpr("n % 2 AS camera", "n div 2 AS frame", "url", "n")
    options = {"not_sent": ["camera", "frame"]}
    send(client, rows, project, outbox, row_key=["camera", "frame"], **options)
    again = send(client, rows, project, outbox, row_key=["frame", "camera"], **options)
    assert (again.task_count, numbers(sandbox, project)) == (0, once(range(6)))


def test_by_content_equal_rows_are_counted(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    def rows(count: int) -> DataFrame:
        return spark.range(count, numPartitions=3).selectExpr(
            "concat('https://a/', id % 4) AS url", "cast(id % 4 AS int) AS n"
        )

    def send_by_content(df: DataFrame) -> CreationResult:
        return client.create_task_batch_from_table(df, str(project), outbox=outbox, row_key="content", chunk_rows=3)

    assert send_by_content(rows(10)).task_count == 10
    again = send_by_content(rows(10).repartition(2))
    assert (again.task_count, again.outbox and again.outbox.known) == (0, 10)
    assert send_by_content(rows(13)).task_count == 3
    assert numbers(sandbox, project) == Counter({0: 4, 1: 3, 2: 3, 3: 3})


# --- what is refused


def test_an_outbox_belongs_to_one_project_and_one_key(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str, tmp_path: Path
) -> None:
    send(client, images(spark, 0, 3), project, outbox)
    other = sandbox.create_project({"url": "string", "n": "integer"}, {"shapes": "image"})
    with pytest.raises(OutboxError, match=f"belongs to project {project}, not to {other}"):
        send(client, images(spark, 0, 3), other, outbox)
    with pytest.raises(OutboxError, match=r"rows apart by \['image'\], not by \['n'\]"):
        send(client, images(spark, 0, 3), project, outbox, row_key="n")
    with pytest.raises(OutboxError, match="not by 'content'"):
        send(client, images(spark, 0, 3), project, outbox, row_key="content")
    spark.range(3).write.format("delta").save(str(tmp_path / "numbers"))
    with pytest.raises(OutboxError, match="is no outbox"):
        send(client, images(spark, 0, 3), project, str(tmp_path / "numbers"))
    spark.sql(f"ALTER TABLE delta.`{outbox}` SET TBLPROPERTIES ('sama_spark.layout' = '2')").collect()
    with pytest.raises(OutboxError, match="layout 2"):
        send(client, images(spark, 0, 3), project, outbox)
    with pytest.raises(OutboxError, match="there is no outbox"):
        client.resume(spark, outbox=str(tmp_path / "nowhere"))
    assert sandbox.tasks(other) == []


def test_options_that_do_not_go_together_are_refused(
    spark: SparkSession, client: Client, project: int, outbox: str
) -> None:
    df = images(spark, 0, 3)
    for options, said in (
        ({"row_key": ()}, "needs to know what tells one row from another"),
        ({"on_changed": "overwrite"}, "on_changed='overwrite' is not understood"),
        ({"row_key": "content", "on_changed": "resend"}, "no row can have changed"),
        ({"outbox": None, "on_changed": "resend"}, "none is named"),
        ({"outbox": None, "row_key": "content"}, "none is named"),
    ):
        with pytest.raises(InvalidInput, match=said):
            send(client, df, project, **{"outbox": outbox, **options})  # type: ignore[arg-type]
    for options, said in (
        ({"row_key": "picture"}, "`row_key` names 'picture'"),
        ({"ignore_changes": "picture"}, "`ignore_changes` names 'picture'"),
    ):
        with pytest.raises(ContractError, match=said):
            send(client, df, project, outbox, **options)
    times = df.selectExpr("current_timestamp() AS image", "url", "n")
    with pytest.raises(ContractError, match="'image' is timestamp, which cannot be a row key"):
        send(client, times, project, outbox)


def test_a_restored_table_is_no_outbox_any_more(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, outbox: str
) -> None:
    send(client, images(spark, 0, 3), project, outbox)
    spark.sql(f"RESTORE TABLE delta.`{outbox}` TO VERSION AS OF 0").collect()
    with pytest.raises(OutboxError, match="was not written") as caught:
        send(client, images(spark, 0, 3), project, outbox)
    assert "restored" in caught.value.remedy
    assert numbers(sandbox, project) == once(range(3))
    assert Counter(batch["state"] for batch in sandbox.batches(project))["waiting"] == 0
