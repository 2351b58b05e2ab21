"""Each notebook runs from top to bottom, in a process of its own, with the sandbox in Sama's place.

A new process needs a Spark to talk to: the Connect session's server. On the classic session the notebooks share the
tests' process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("pyspark")
pytest.importorskip("matplotlib")

from PIL import Image

from kit.notebook_runner import NotebookError, Run, cells, run, run_afresh
from sama_spark.http.retry import Pacer
from sama_spark.pictures.colours import colour_of
from sama_spark.sandbox import Sandbox

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
SECRETS = ("sama", "api_key")
LABELS = ["car", "object", "speck"]
CATALOG, SCHEMA = "spark_catalog", "noted"


@dataclass
class Place:
    """A workspace: a project at the sandbox, a table of images, and what notebooks have done."""

    spark: SparkSession
    server: str | None
    sandbox: Sandbox
    project: int

    def run(self, name: str, images: bool = True, **more: Any) -> Run:
        [notebook] = [path for path in NOTEBOOKS if path.stem.endswith(name)]
        parameters = {
            "project": str(self.project),
            "catalog": CATALOG,
            "schema": SCHEMA,
            "base_url": self.sandbox.base_url,
            **({"images": "noted_images"} if images else {}),
            **more.pop("parameters", {}),
        }
        secrets = {SECRETS: self.sandbox.api_key}
        if self.server:
            done = run_afresh(notebook, self.server, parameters, secrets, **more)
        else:
            done = run(notebook, self.spark, parameters, secrets, **more)
        assert self.sandbox.api_key not in f"{done} {notebook.read_text()}"
        return done

    @property
    def annotate(self) -> partial[object]:
        """What people do, to be called in any process."""
        return partial(annotate, self.sandbox.base_url, self.project)


def annotate(base_url: str, project: int) -> None:
    Sandbox.at(base_url).annotate(project)


@pytest.fixture(scope="module")
def place(
    spark: SparkSession, server: str | None, running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Eight images; two tasks are delivered already, one of them with a box that is hardly there."""
    running_sandbox.reset()
    running_sandbox.switch(status_calls_per_second=None)
    project = running_sandbox.create_project(
        inputs={"url": "string", "name": "string"},
        outputs={
            "objects": {"type": "image", "tags": {"label": {"type": "dropdown", "options": LABELS}}},
            "weather": "dropdown",
        },
    )
    folder = tmp_path_factory.mktemp("images")
    rows = []
    for n in range(8):
        path = folder / f"{n}.png"
        Image.fromarray(np.full((480, 640, 3), 20 * n, np.uint8)).save(path)
        rows.append((f"https://assets.invalid/{n}.png", f"image {n}", str(path)))
    images = spark.createDataFrame(rows, "url string, name string, path string")
    images.write.mode("overwrite").saveAsTable("noted_images")
    running_sandbox.deliver(project, [delivery(6, 60), delivery(7, 9)])
    # Nobody waits for Sama's pace.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pacer, "wait", lambda _: None)
        yield Place(spark, server, running_sandbox, project)
    spark.sql("DROP TABLE IF EXISTS noted_images").collect()
    spark.sql(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE").collect()


def delivery(n: int, size: int) -> dict[str, Any]:
    corners = [[40, 30], [40 + size, 30], [40, 30 + size], [40 + size, 30 + size]]
    shape = {"type": "rectangle", "index": 1, "points": corners, "tags": {"label": "speck"}}
    return {
        "id": f"{n:024x}",
        "data": {"url": f"https://assets.invalid/{n}.png", "name": f"image {n}"},
        "answers": {"objects": {"layers": {"vector_tagging": [{"shapes": [shape]}]}}, "weather": "sun"},
    }


def has_colour(png: bytes, label: str) -> bool:
    colour = [int(colour_of(label)[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.asarray(Image.open(BytesIO(png)).convert("RGB")) == colour).all(axis=2).sum() > 100)


@pytest.mark.afresh
def test_rows_out_labels_back(place: Place) -> None:
    done = place.run("quickstart", parameters={"max_tasks": "3"}, events={"When people have delivered": place.annotate})
    assert json.loads(done.result or "") == {"sent": 3, "new": 5, "updated": 0}
    assert "3 of 3 tasks created" in done.printed
    sent, by_label = done.tables
    assert {row.name for row in sent} <= {f"image {n}" for n in range(8)}
    assert sum(row.annotations for row in by_label if row.output == "weather") == 5
    assert len(done.pictures) == 1
    assert has_colour(done.pictures[0], "speck")


@pytest.mark.afresh
def test_pre_annotations(place: Place) -> None:
    known = len(place.sandbox.tasks(place.project))
    done = place.run("pre_annotations", parameters={"max_tasks": "5"})
    sent = json.loads(done.result or "")["sent"]
    assert len(place.sandbox.tasks(place.project)) == known + sent
    assert sent in (2, 5), "three of the five were sent by the quickstart, where that has run"
    text = str(place.sandbox.tasks(place.project)[-1]["data"]["output_objects"])
    assert "object" in text
    assert "speck" not in text, "the model is not sure of it"
    assert has_colour(done.pictures[0], "object")


@pytest.mark.afresh
def test_scheduled_sync(place: Place) -> None:
    place.annotate()
    done = place.run("scheduled_sync_and_sql", images=False)
    assert set(json.loads(done.result or "")) == {"new", "updated", "contract_changes"}
    boxes, tags, open_work, turnaround, rework = done.tables
    assert boxes
    assert {row.tag for row in tags} == {"label"}
    assert open_work == []
    assert sum(row.tasks for row in turnaround) == sum(row.tasks for row in rework) >= 2
    assert len(done.pictures) == 2
    assert has_colour(done.pictures[0], "speck")


@pytest.mark.afresh
def test_quality_review(place: Place) -> None:
    done = place.run(
        "quality_review",
        parameters={"reject": "all that are shown", "least_pixels": "10"},
        events={"When they are delivered again": place.annotate},
    )
    small, rework = done.tables
    rejected = {row.task_id for row in small}
    assert f"{7:024x}" in rejected
    assert json.loads(done.result or "") == {"rejected": len(rejected), "delivered_again": len(rejected)}
    reasons = [request for request in place.sandbox.requests("reject") if request["status"] == 200]
    assert len(reasons) == len(rejected)
    assert sum(row.delivered_again for row in rework) == len(rejected)
    assert len(done.pictures) == 2


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_a_notebook_that_databricks_takes(notebook: Path) -> None:
    intro, install, restart, widgets, *_, last = cells(notebook)
    assert intro.startswith("%md\n# ")
    assert install == f"%pip install /Volumes/main/default/wheels/sama_spark-{version('sama-spark')}-py3-none-any.whl"
    assert restart == "dbutils.library.restartPython()"
    assert widgets.startswith("dbutils.widgets.")
    assert "dbutils.notebook.exit(" in last
    assert "dbutils.secrets.get(" in notebook.read_text()


def test_there_are_four() -> None:
    assert len(NOTEBOOKS) == 4


def test_a_cell_that_fails_is_named(tmp_path: Path) -> None:
    notebook = tmp_path / "bad.py"
    notebook.write_text("# Databricks notebook source\nx = 1\n\n# COMMAND ----------\n\nx / 0\n")
    with pytest.raises(NotebookError, match=r"bad.py, cell 2: ZeroDivisionError.*\n\nx / 0"):
        run(notebook, None, {}, {})  # type: ignore[arg-type]


def test_a_restart_forgets_variables(tmp_path: Path) -> None:
    notebook = tmp_path / "bad.py"
    code = ["x = 1", "dbutils.library.restartPython()", "x"]
    notebook.write_text("# Databricks notebook source\n" + "\n# COMMAND ----------\n".join(code))
    with pytest.raises(NotebookError, match="cell 3: NameError"):
        run(notebook, None, {}, {})  # type: ignore[arg-type]
