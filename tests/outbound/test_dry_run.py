"""A dry run tells what a run would do, and does nothing."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from sama_spark import Client, ContractError, DryRun

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

ROWS = 25


@pytest.fixture
def project(sandbox: Sandbox) -> str:
    inputs = {"url": {"type": "string", "required": True}, "n": "integer"}
    return str(sandbox.create_project(inputs=inputs, outputs={"objects": "image", "note": "text"}))


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    return spark.range(ROWS, numPartitions=3).selectExpr(
        "concat('https://assets.invalid/', id, '.jpg') AS url",
        "cast(id AS int) AS n",
        """concat('{"layers":{"vector_tagging":[', repeat(' ', cast(id AS int)), ']}}') AS output_objects""",
        "cast(id AS string) AS output_note",
        "cast(id AS int) AS urgency",
        "'train' AS split",
    )


@pytest.mark.both_kinds
def test_it_says_what_the_run_then_does(df: DataFrame, sandbox: Sandbox, client: Client, project: str) -> None:
    options = {"chunk_rows": 7, "priority_column": "urgency", "not_sent": ["split"]}
    plan = client.create_task_batch_from_table(df, project, dry_run=True, max_tasks=ROWS - 1, **options)  # type: ignore[arg-type]
    assert isinstance(plan, DryRun)
    assert {request["method"] for request in sandbox.requests()} == {"GET"}
    assert sandbox.batches(int(project)) == []

    result = client.create_task_batch_from_table(df, project, **options)  # type: ignore[arg-type]
    assert not isinstance(result, DryRun)
    assert plan.staged == result.staged
    assert (plan.task_count, plan.bytes, plan.batch_count) == (ROWS, result.bytes, len(result.batches))
    assert (plan["batch_id"], plan["batch_ids"], plan["task_count"], plan.calls) == (
        None,
        [],
        ROWS,
        3 * plan.batch_count,
    )
    assert plan.columns == {
        "url": "required input, text",
        "n": "input, 32-bit integer",
        "output_objects": "pre-annotation, " + result.output_rules["objects"],
        "output_note": "pre-annotation, " + result.output_rules["note"],
        "urgency": "the task's `priority`",
        "split": "not sent",
    }
    assert "nothing was sent: 25 tasks" in repr(plan)
    assert pickle.loads(pickle.dumps(plan)).columns == plan.columns  # noqa: S301
    assert plan.wait().created == 0


def test_it_shows_the_rows_that_cannot_become_tasks(
    df: DataFrame, sandbox: Sandbox, client: Client, project: str
) -> None:
    bad = df.selectExpr("if(n % 5 = 0, null, url) AS url", "if(n = 7, 'x', output_objects) AS output_objects")
    plan = client.create_task_batch_from_table(bad, project, dry_run=True)
    assert isinstance(plan, DryRun)
    assert (plan.task_count, plan.invalid_rows) == (ROWS - 6, 6)
    assert {row.column for row in plan.invalid} == {"url", "output_objects"}
    assert "cannot become a task" in repr(plan)
    assert sandbox.batches(int(project)) == []


@pytest.mark.both_kinds
def test_an_empty_dataframe_is_reported_too(df: DataFrame, client: Client, project: str) -> None:
    plan = client.create_task_batch_from_table(df.select("url").limit(0), project, dry_run=True)
    assert isinstance(plan, DryRun)
    assert (plan.task_count, plan.bytes, plan.batch_count, plan.invalid_rows) == (0, 0, 0, 0)
    assert list(plan.columns) == ["url"]


def test_all_columns_that_have_no_rendering_are_named_at_once(df: DataFrame, client: Client, project: str) -> None:
    bad = df.selectExpr("array(url) AS url", "true AS n")
    with pytest.raises(ContractError) as caught:
        client.create_task_batch_from_table(bad, project, dry_run=True)
    assert "'url'" in str(caught.value)
    assert "'n'" in str(caught.value)
