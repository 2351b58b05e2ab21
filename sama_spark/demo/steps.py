"""The steps of the demo, each printed as a user would want to read it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sama_spark.client import Client
from sama_spark.demo.photographs import LABELS, PHOTOGRAPHS, Tile, tiles
from sama_spark.inbound.annotations import flatten_annotations
from sama_spark.local import local_session
from sama_spark.pictures.show import show_annotations
from sama_spark.pre_annotations.from_models import boxes_to_output, polygons_to_output
from sama_spark.sandbox import Sandbox

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

INPUTS = {"url": {"type": "string", "required": True}, "tile": "string"}
OUTPUTS = {
    "objects": {"type": "image", "tags": {"label": {"type": "dropdown", "options": LABELS}}},
    "density": {"type": "dropdown", "options": ["sparse", "crowded"]},
}
CHUNK_ROWS = 5
CROWDED_FROM = 12  # objects
PANELS = 6

BY_LABEL = """
SELECT label, kind, count(*) AS objects, count(DISTINCT task_id) AS tasks,
       round(avg((x_max - x_min) * (y_max - y_min))) AS mean_area
FROM labels.labels_current WHERE kind <> 'answer' GROUP BY label, kind ORDER BY objects DESC
"""
CORRECTIONS = """
SELECT d.label, count(*) AS objects, count_if(d.points <> p.points) AS corrected,
       round(avg(hypot(d.x_min - p.x_min, d.y_min - p.y_min)), 2) AS mean_shift
FROM labels.labels_current d JOIN labels.tasks t ON t.id = d.task_id
JOIN pre_annotations p ON p.task_id = t.data.tile AND p.object_id = d.object_id
GROUP BY d.label ORDER BY objects DESC
"""
console = Console(highlight=False)


class DemoError(Exception):
    """The demo cannot run here; the text says why."""


def run_demo(out: Path) -> int:
    """Run the demo, which replaces the folder `out`, and return the exit status."""
    begun = time.monotonic()
    out = out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    console.print("[bold]sama-spark demo[/]: photographs -> tasks -> corrected labels -> Delta tables\n")

    with _step("Spark session with Delta, whose jars are fetched the first time") as say:
        spark = _session(out)
        say(f"Spark {spark.version}")
    with Sandbox() as sandbox:
        console.print(f"[cyan]Sandbox, a local Sama[/], at {sandbox.base_url}")
        project = str(sandbox.create_project(inputs=INPUTS, outputs=OUTPUTS, name="demo"))
        with Client(sandbox.api_key, base_url=sandbox.base_url) as client:
            found = _detect()
            df = _with_pre_annotations(spark, sandbox, found)
            _create(client, project, df, len(found))
            with _step("Simulated annotators move some shapes and deliver") as say:
                say(f"{sandbox.annotate(int(project))} tasks delivered")
            with _step("Deliveries into Delta tables") as say:
                result = client.sync(spark, project, "labels", label="label")
                say(f"{result.new} tasks, {spark.table('labels.annotations').count():,} annotations")

    _print_query(spark, "What the annotators delivered", BY_LABEL)
    _print_query(spark, "How far they moved what the detectors had found, in pixels", CORRECTIONS)
    console.print()
    with _step("Labels on the photographs") as say:
        picture = out / "labels.png"
        images = spark.createDataFrame([(tile.name, tile.png()) for tile in found], "task_id string, png binary")
        show_annotations(_labels_by_tile(spark), images, n=PANELS).savefig(picture, dpi=150, bbox_inches="tight")
        say(str(picture))
    spark.stop()
    _say_what_is_next(out, picture, time.monotonic() - begun)
    return 0


# A few hundred rows: the JVM would optimise code for longer than the code runs.
_JAVA_OPTIONS = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1"}


def _session(out: Path) -> SparkSession:
    log = out / "spark.log"
    with _noise_into(log):
        try:
            return local_session(settings={"spark.sql.warehouse.dir": str(out), **_JAVA_OPTIONS})
        except Exception as error:  # Java too old, no network for the jars: only the log knows
            raise DemoError(
                f"Spark did not start; it needs Java 17 and, the first time, Maven Central: see {log}"
            ) from error


def _detect() -> list[Tile]:
    found: list[Tile] = []
    with _progress() as progress:
        task = progress.add_task("Detectors look for coins and galaxies", total=len(PHOTOGRAPHS))
        for name in PHOTOGRAPHS:
            found += tiles(name)
            progress.advance(task)
    objects = sum(len(tile.detections) for tile in found)
    console.print(f"  {objects} objects on {len(found)} tiles of {len(PHOTOGRAPHS)} photographs", style="dim")
    return found


def _with_pre_annotations(spark: SparkSession, sandbox: Sandbox, found: list[Tile]) -> DataFrame:
    with _step("Findings become pre-annotations in a DataFrame") as say:
        rows = [
            (
                sandbox.add_asset(tile.png(), f"{tile.name.replace(' ', '-')}.png", "image/png"),
                tile.name,
                [list(d.box) for d in tile.detections],
                [list(map(list, d.polygon)) for d in tile.detections if d.polygon],
                [d.label for d in tile.detections],
            )
            for tile in found
        ]
        schema = """url string, tile string,
                    boxes array<array<int>>, polygons array<array<array<double>>>, labels array<string>"""
        has_polygons = F.size("polygons") > 0
        df = spark.createDataFrame(rows, schema).select(
            "url",
            "tile",
            F.when(has_polygons, polygons_to_output("polygons", label="labels"))
            .otherwise(boxes_to_output("boxes", label="labels"))
            .alias("output_objects"),
            F.when(F.size("boxes") >= CROWDED_FROM, "crowded").otherwise("sparse").alias("output_density"),
        )
        # As annotations too, to compare the delivered ones with.
        answers = F.struct(F.col("output_objects").alias("objects")).alias("answers")
        before = df.select(F.col("tile").alias("id"), answers)
        flatten_annotations(before, label="label").write.format("delta").saveAsTable("pre_annotations")
        say(f"columns {', '.join(df.columns)}")
        return df


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


def _labels_by_tile(spark: SparkSession) -> DataFrame:
    """Return the delivered labels with the tile's name as `task_id`, the tiles with most labels first."""
    names = spark.sql("SELECT id AS task_id, data.tile FROM labels.tasks")
    labels = spark.table("labels.labels_current").join(names, "task_id").withColumn("task_id", F.col("tile"))
    counted = labels.withColumn("labels_of_tile", F.count("*").over(Window.partitionBy("task_id")))
    return counted.orderBy(F.desc("labels_of_tile"), "task_id", "ordinal")


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
        "tables": f"{out}/labels.db/{{tasks,annotations,...}}",
        "picture": picture,
        "Spark's log": out / "spark.log",
    }.items():
        console.print(f"  {name:12} {path}", soft_wrap=True)
    console.print("\nTo go on from here:\n")
    snippet = f"""  {sys.executable} -i -c '
from sama_spark.local import local_session
spark = local_session()
spark.read.format("delta").load("{out}/labels.db/annotations").groupBy("label", "kind").count().show()'"""
    console.print(snippet, soft_wrap=True, markup=False)
    sandbox = f"{Path(sys.executable).with_name('sama-spark')} sandbox --port 8080"
    console.print(f"\n  {sandbox}    a local Sama for your own code; see README.md", soft_wrap=True)


@contextmanager
def _step(title: str) -> Iterator[Callable[[str], None]]:
    """Print the title, then what the block says, with the seconds that it took."""
    begun, said = time.monotonic(), list[str]()
    console.print(f"[cyan]{title}[/] ...")
    yield said.append
    for text in said:
        console.print(f"  {text} ({time.monotonic() - begun:.1f} s)", style="dim", soft_wrap=True)


def _progress() -> Progress:
    columns = (TextColumn("[cyan]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


@contextmanager
def _noise_into(log: Path) -> Iterator[None]:
    """Send what the JVM and Ivy print into a file, for as long as that JVM lives."""
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
