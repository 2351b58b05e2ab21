"""The README's Python and SQL run as they stand: on this machine's session, with the sandbox in Sama's place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt
from serverless import unguarded

from sama_spark import Client
from sama_spark.api.retry import Pacer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

README = Path(__file__).parents[2] / "README.md"
FENCES = [token for token in MarkdownIt().parse(README.read_text()) if token.type == "fence"]
BLOCKS = [
    pytest.param(token.content, id=f"line-{(token.map or [0])[0] + 1}")
    for token in FENCES
    if token.info.strip() == "python"
]
QUERIES = "".join(token.content for token in FENCES if token.info.strip() == "sql")
BOX = (
    '{"layers": {"vector_tagging": [{"shapes": [{"type": "rectangle", "index": 1, '
    '"points": [[1, 2], [5, 2], [1, 9], [5, 9]], "tags": {"kind": "car"}}]}]}}'
)


@pytest.fixture
def databricks(
    spark: SparkSession, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """What a Databricks notebook has: `spark`, `dbutils`, a client, tables; Sama is project 4242."""
    sandbox.create_project(
        inputs={"url": "string", "name": "string"},
        outputs={"objects": "image", "weather": "dropdown"},
        project_id=4242,
    )
    # All that differs from production: where the API is, and that nobody waits for its pace.
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "base_url", sandbox.base_url)
    sandbox.switch(status_calls_per_second=None)
    monkeypatch.setattr(Pacer, "wait", lambda _: None)
    rows = [(f"https://assets.invalid/{i}.jpg", f"image {i}", BOX) for i in range(20)]
    spark.createDataFrame(rows, "url string, name string, output_objects string").createOrReplaceTempView("images")
    spark.sql("CREATE SCHEMA IF NOT EXISTS labels").collect()
    spark.table("images").write.format("delta").mode("overwrite").saveAsTable("arrivals")
    (tmp_path / "key").write_text(sandbox.api_key)
    secrets = SimpleNamespace(get=lambda *_: sandbox.api_key)
    yield {
        "spark": spark,
        "dbutils": SimpleNamespace(secrets=secrets),
        "display": lambda df: df.show(),
        "__name__": "readme",
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
    for view in ("images", "labels", "delivered"):
        spark.catalog.dropTempView(view)
    spark.sql("DROP TABLE IF EXISTS arrivals").collect()
    spark.sql("DROP SCHEMA IF EXISTS labels CASCADE").collect()  # tables, and views over them


@pytest.mark.parametrize("code", BLOCKS)
def test_block_runs(
    code: str, databricks: dict[str, Any], tmp_path: Path, session_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "MicroBatches" in code and session_kind == "connect":
        return  # the function runs in another process, which knows nothing of these stand-ins; its own tests do
    monkeypatch.chdir(tmp_path)
    with unguarded(databricks["spark"]) if "local_session" in code else nullcontext():
        exec(compile(code, str(README), "exec"), databricks)  # noqa: S102
    if "views=True" in code:
        for query in QUERIES.split(";")[:-1]:
            databricks["spark"].sql(query).collect()


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 4
