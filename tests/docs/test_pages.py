"""The pages' Python and SQL run as they stand: on this machine's session, with the sandbox in Sama's place.

Their links lead somewhere, and nothing public is missing: no error, no column of a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt
from pyspark.sql import types as T

import sama_spark
from kit.serverless import unguarded
from sama_spark import ANNOTATIONS, Client
from sama_spark.http.retry import Pacer
from sama_spark.inbound.sync import tables
from sama_spark.inbound.sync.feeds import batch_feed as batches
from sama_spark.inbound.sync.feeds import stats_feed as stats
from sama_spark.inbound.sync.feeds import status_feed as states
from sama_spark.inbound.sync.table_types import TableTypes
from sama_spark.sandbox.png_masks import png
from sama_spark.vendors.sama.envelope import TABLE_ENVELOPE

if TYPE_CHECKING:
    from markdown_it.token import Token
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

TEXTS = TableTypes(T.StringType(), T.StringType())
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "sama_spark" / "docs").glob("*.md"))]


def fences(page: Path, language: str) -> list[Token]:
    return [
        token
        for token in MarkdownIt().parse(page.read_text())
        if token.type == "fence" and token.info.strip() == language
    ]


BLOCKS = [
    pytest.param(
        token.content,
        id=f"{page.stem}-line-{(token.map or [0])[0] + 1}",
        marks=pytest.mark.one_kind,
    )
    for page in PAGES
    for token in fences(page, "python")
]
QUERIES = "".join(token.content for page in PAGES for token in fences(page, "sql"))
BOX = (
    '{"layers": {"vector_tagging": [{"shapes": [{"type": "rectangle", "index": 1, '
    '"points": [[1, 2], [5, 2], [1, 9], [5, 9]], "tags": {"kind": "car"}}]}]}}'
)


@pytest.fixture
def databricks(
    code: str, spark: SparkSession, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """What a Databricks notebook has: `spark`, `dbutils`, a client, tables; Sama is project 4242."""
    sandbox.create_project(
        inputs={"url": "string", "name": "string"},
        outputs={"objects": "image", "weather": "dropdown"},
        project_id=4242,
    )
    if "show_" in code:  # elsewhere the tables may be empty, which is quicker
        task = {"data": {"name": "image 0"}, "answers": {"objects": json.loads(BOX), "weather": "sun"}}
        sandbox.deliver(4242, [task | {"id": "0" * 24, "delivered_at": "2026-01-02T00:00:00.000Z"}])
    # All that differs from production: where the API is, and that nobody waits for its pace.
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "base_url", sandbox.base_url)
    sandbox.switch(status_calls_per_second=None)
    monkeypatch.setattr(Pacer, "wait", lambda _: None)
    rows = [(f"https://assets.invalid/{i}.jpg", f"image {i}", BOX) for i in range(20)]
    spark.createDataFrame(rows, "url string, name string, output_objects string").createOrReplaceTempView("images")
    spark.sql("CREATE SCHEMA IF NOT EXISTS labels").collect()
    spark.table("images").write.format("delta").saveAsTable("arrivals")
    (tmp_path / "photo.png").write_bytes(png([(1, 2, 5, 9)]))
    photos = spark.createDataFrame([("image 0", str(tmp_path / "photo.png"))], "name string, path string")
    photos.createOrReplaceTempView("photos")
    (tmp_path / "key").write_text(sandbox.api_key)
    secrets = SimpleNamespace(get=lambda *_: sandbox.api_key)
    yield {
        "spark": spark,
        "dbutils": SimpleNamespace(secrets=secrets),
        "display": lambda shown: shown.show() if hasattr(shown, "toPandas") else shown,
        "__name__": "page",
        "Client": Client,
        "client": Client(sandbox.api_key),
        "checkpoint": str(tmp_path / "checkpoint"),
        # Elsewhere a volume and a file on it.
        "place": {
            "base_url": sandbox.base_url,
            "api_key_file": str(tmp_path / "key"),
            "staging": str(tmp_path / "stage"),
        },
    }
    for view in ("images", "photos", "labels", "delivered"):
        spark.catalog.dropTempView(view)
    spark.sql("DROP TABLE IF EXISTS arrivals").collect()
    spark.sql("DROP SCHEMA IF EXISTS labels CASCADE").collect()  # tables, and views over them


@pytest.mark.parametrize("code", BLOCKS)
def test_block_runs(
    code: str, databricks: dict[str, Any], tmp_path: Path, session_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if 'format("sama")' in code:
        pytest.importorskip("pyspark.sql.datasource")
    if "MicroBatches" in code and session_kind == "connect":
        return  # the function runs in another process, which knows nothing of these stand-ins; its own tests do
    monkeypatch.chdir(tmp_path)
    with unguarded(databricks["spark"]) if "local_session" in code else nullcontext():
        exec(compile(code, "page", "exec"), databricks)  # noqa: S102
    if code.rstrip().endswith("views=True)"):
        for query in QUERIES.split(";")[:-1]:
            databricks["spark"].sql(query).collect()


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 12


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def test_every_error_is_explained() -> None:
    text = (ROOT / "sama_spark/docs/errors.md").read_text()
    errors = [name for name in sama_spark.__all__ if isinstance(getattr(sama_spark, name), type)]
    errors = [name for name in errors if issubclass(getattr(sama_spark, name), Exception)]
    assert len(errors) > 20
    assert [name for name in errors if f"`{name}" not in text] == []


@pytest.mark.parametrize(
    ("table", "columns"),
    {
        "annotations": ANNOTATIONS.names,
        "tasks": re.findall(r"(?i)(\w+)`? (?:string|bigint|int|timestamp)", tables.tasks_ddl(TABLE_ENVELOPE, TEXTS)),
        "deliveries_raw": re.findall(r"(\w+) (?:STRING|TIMESTAMP)", tables.RAW),
        "task_states": re.findall(r"(\w+) (?:STRING|BIGINT|INT|TIMESTAMP)", states._TASK_STATES),
        "batches": re.findall(r"(\w+) (?:STRING|BIGINT|ARRAY|TIMESTAMP)", batches._BATCHES),
        "project_stats": re.findall(r"(\w+) (?:STRING|BIGINT|MAP|TIMESTAMP)", stats._STATS),
        "runs": re.findall(r"(\w+) (?:STRING|BIGINT|DOUBLE|ARRAY|TIMESTAMP)", tables.RUNS),
    }.items(),
)
def test_every_column_is_listed(table: str, columns: list[str]) -> None:
    text = (ROOT / "sama_spark/docs/tables.md").read_text()
    [section] = re.findall(rf"^`{table}`.*?:\n\n(\|.*?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    listed = re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in section.splitlines()))
    assert sorted(listed) == sorted(set(columns))
