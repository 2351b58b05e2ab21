"""The steps of the demo, each printed as a user would want to read it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sama_spark.client import Client
from sama_spark.demo.photographs import LABELS, PHOTOGRAPHS, Detection, Tile, tiles
from sama_spark.demo.picture import draw
from sama_spark.local import local_session
from sama_spark.pre_annotations.from_models import boxes_to_output
from sama_spark.sandbox import Sandbox

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

INPUTS = {"url": {"type": "string", "required": True}, "tile": "string", "photograph": "string"}
OUTPUTS = {
    "objects": {"type": "image", "tags": {"label": {"type": "dropdown", "options": LABELS}, "contrast": "text"}},
    "density": {"type": "dropdown", "options": ["sparse", "crowded"]},
}
CHUNK_ROWS = 20
CROWDED_FROM = 5  # objects

BY_LABEL = """
SELECT photograph, o.label, count(*) AS objects, count_if(o.x_min <> p.x_min OR o.y_min <> p.y_min) AS moved,
       round(avg(hypot(o.x_min - p.x_min, o.y_min - p.y_min)), 2) AS mean_shift
FROM objects o JOIN predictions p USING (photograph, tile, index)
GROUP BY photograph, o.label ORDER BY objects DESC
"""
MOST_CHANGED = """
SELECT tile, t.answers.density, count(*) AS objects,
       count_if(o.x_min <> p.x_min OR o.y_min <> p.y_min) AS moved
FROM tasks t JOIN objects o USING (id) JOIN predictions p USING (tile, index)
GROUP BY tile, t.answers.density ORDER BY moved DESC, tile LIMIT 5
"""

console = Console(highlight=False)


class DemoError(Exception):
    """The demo cannot run here; the text says why."""


def run_demo(out: Path) -> int:
    """Run the demo into folder `out`, which is made anew. Returns the exit status."""
    begun = time.monotonic()
    out = out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    tables = {name: str(out / name) for name in ("predictions", "tasks", "objects")}
    console.print("[bold]sama-spark demo[/]: photographs -> tasks -> corrected labels -> Delta tables\n")

    with _step("Spark session with Delta, whose jars are fetched the first time") as say:
        spark = _session(out / "spark.log")
        say(f"Spark {spark.version}")
    with Sandbox() as sandbox:
        console.print(f"[cyan]Sandbox, a local Sama[/], at {sandbox.base_url}")
        project = str(sandbox.create_project(inputs=INPUTS, outputs=OUTPUTS, name="demo"))
        client = Client(sandbox.api_key, base_url=sandbox.base_url)
        found = _detect()
        df = _with_predictions(spark, sandbox, found, tables["predictions"])
        _create(client, project, df, len(found))
        with _step("Simulated annotators move some boxes and deliver") as say:
            say(f"{sandbox.annotate(int(project))} tasks delivered")
        _deliveries_into_delta(spark, client, project, tables)
        client.close()

    for name, path in tables.items():
        spark.read.format("delta").load(path).createOrReplaceTempView(name)
    _print_query(spark, "How far annotators moved what the detectors found, in pixels", BY_LABEL)
    _print_query(spark, "The tiles that they changed most", MOST_CHANGED)
    console.print()
    with _step("Labels on a photograph") as say:
        picture = out / "labels.png"
        _draw_coins(spark, found, tables["objects"], picture)
        say(str(picture))
    spark.stop()
    _say_what_is_next(out, picture, time.monotonic() - begun)
    return 0


def _session(log: Path) -> SparkSession:
    with _noise_into(log):
        try:
            return local_session(settings={"spark.sql.warehouse.dir": str(log.with_name("warehouse"))})
        except Exception as error:  # Java too old, no network for the jars: only the log knows
            raise DemoError(
                f"Spark did not start; it needs Java 17 and, the first time, Maven Central: see {log}"
            ) from error


def _detect() -> list[Tile]:
    found: list[Tile] = []
    with _progress() as progress:
        task = progress.add_task("Detectors look for coins, faces, words and galaxies", total=len(PHOTOGRAPHS))
        for name in PHOTOGRAPHS:
            found += tiles(name)
            progress.advance(task)
    objects = sum(len(tile.detections) for tile in found)
    console.print(f"  {objects} objects on {len(found)} tiles of {len(PHOTOGRAPHS)} photographs", style="dim")
    return found


def _with_predictions(spark: SparkSession, sandbox: Sandbox, found: list[Tile], table: str) -> DataFrame:
    with _step("Findings become pre-annotations in a DataFrame") as say:
        rows = [
            (
                sandbox.add_asset(tile.png(), f"{tile.name}.png", "image/png"),
                tile.name,
                tile.photograph,
                [list(map(int, d.box)) for d in tile.detections],
                [d.label for d in tile.detections],
                [d.contrast for d in tile.detections],
            )
            for tile in found
        ]
        schema = """url string, tile string, photograph string,
                    boxes array<array<int>>, labels array<string>, contrasts array<double>"""
        detections = spark.createDataFrame(rows, schema)
        _predictions(detections).write.format("delta").mode("overwrite").save(table)
        say("columns url, tile, photograph, output_objects, output_density")
        return detections.select(
            "url",
            "tile",
            "photograph",
            boxes_to_output("boxes", label="labels", tags={"contrast": "contrasts"}).alias("output_objects"),
            F.when(F.size("boxes") >= CROWDED_FROM, "crowded").otherwise("sparse").alias("output_density"),
        )


def _predictions(detections: DataFrame) -> DataFrame:
    """A row for each object that was found, to compare the delivered ones with."""
    found = detections.selectExpr(
        "tile", "photograph", "posexplode(arrays_zip(boxes, labels, contrasts)) AS (position, found)"
    )
    return found.selectExpr(
        "tile",
        "photograph",
        "CAST(position + 1 AS BIGINT) AS index",
        "found.labels AS label",
        "found.contrasts AS contrast",
        "found.boxes[0] AS x_min",
        "found.boxes[1] AS y_min",
        "found.boxes[2] AS x_max",
        "found.boxes[3] AS y_max",
    )


def _create(client: Client, project: str, df: DataFrame, tasks: int) -> None:
    with _progress() as progress:
        task = progress.add_task("Tasks go out in chunks, through signed URLs", total=tasks)
        result = client.create_task_batch_from_table(
            df, project, chunk_rows=CHUNK_ROWS, on_progress=lambda done: progress.update(task, completed=done)
        )
    console.print(str(result), style="dim", markup=False)
    with _progress() as progress:
        task = progress.add_task("Sama creates the tasks", total=result.task_count)
        outcome = result.wait(timeout=120, on_progress=lambda done, _: progress.update(task, completed=done))
    console.print(str(outcome), style="dim", markup=False)


def _deliveries_into_delta(spark: SparkSession, client: Client, project: str, tables: dict[str, str]) -> None:
    with _step("Deliveries into Delta tables") as say:
        delivered = client.get_delivered_tasks_to_table(spark, project)
        delivered.write.format("delta").mode("overwrite").save(tables["tasks"])
        _objects(spark, tables["tasks"]).write.format("delta").mode("overwrite").save(tables["objects"])
        counts = [spark.read.format("delta").load(tables[name]).count() for name in ("tasks", "objects")]
        say(f"{counts[0]} tasks, {counts[1]:,} objects")


def _objects(spark: SparkSession, tasks: str) -> DataFrame:
    return spark.sql(
        f"""
        SELECT id, data.tile, data.photograph, shape.index, shape.tags.label,
               CAST(shape.tags.contrast AS DOUBLE) AS contrast,
               shape.points[0][0] AS x_min, shape.points[0][1] AS y_min, -- corners: top-left, top-right,
               shape.points[3][0] AS x_max, shape.points[3][1] AS y_max  -- bottom-left, bottom-right
        FROM delta.`{tasks}`
        LATERAL VIEW explode(answers.objects.layers.vector_tagging) AS grp LATERAL VIEW explode(grp.shapes) AS shape
        """
    )


def _draw_coins(spark: SparkSession, found: list[Tile], objects: str, picture: Path) -> None:
    [coins] = [tile for tile in found if tile.photograph == "coins"]
    rows = spark.read.format("delta").load(objects).where("photograph = 'coins'").orderBy("index").collect()
    delivered = [Detection((r.x_min, r.y_min, r.x_max, r.y_max), r.label or "no label") for r in rows]
    by_index = {r["index"]: d for r, d in zip(rows, delivered, strict=True)}
    pairs = [(d, by_index[i]) for i, d in enumerate(coins.detections, 1) if i in by_index]
    draw(coins.pixels, [p[0] for p in pairs], [p[1] for p in pairs], "Delivered labels, read from Delta", picture)


def _print_query(spark: SparkSession, title: str, sql: str) -> None:
    df = spark.sql(sql)
    table = Table()
    for name, kind in df.dtypes:
        table.add_column(name, justify="left" if kind == "string" else "right")
    for row in df.collect():
        table.add_row(*(str(value) for value in row))
    console.print(f"\n[bold]{title}[/]")
    console.print(sql.strip(), style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print(table)


def _say_what_is_next(out: Path, picture: Path, seconds: float) -> None:
    console.print(f"\n[bold green]Done[/] in {seconds:.0f} s.\n")
    for name, path in {
        "tables": f"{out}/{{tasks,objects,predictions}}",
        "picture": picture,
        "Spark's log": out / "spark.log",
    }.items():
        console.print(f"  {name:12} {path}", soft_wrap=True)
    console.print("\nTo go on from here:\n")
    snippet = f"""  {sys.executable} -i -c '
from sama_spark.local import local_session
spark = local_session()
spark.read.format("delta").load("{out}/objects").show()'"""
    console.print(snippet, soft_wrap=True, markup=False)
    sandbox = f"{Path(sys.executable).with_name('sama-spark')} sandbox --port 8080"
    console.print(f"\n  {sandbox}    a local Sama for your own code; see README.md", soft_wrap=True)


@contextmanager
def _step(title: str) -> Iterator[_Say]:
    begun, said = time.monotonic(), _Say()
    console.print(f"[cyan]{title}[/] ...")
    yield said
    if said.text:
        console.print(f"  {said.text} ({time.monotonic() - begun:.1f} s)", style="dim", soft_wrap=True)


class _Say:
    text = ""

    def __call__(self, text: str) -> None:
        self.text = text


def _progress() -> Progress:
    columns = (TextColumn("[cyan]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


@contextmanager
def _noise_into(log: Path) -> Iterator[None]:
    """What the JVM and Ivy print goes into a file, for as long as that JVM lives."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            for target, descriptor in zip((1, 2), saved, strict=True):
                os.dup2(descriptor, target)
                os.close(descriptor)
