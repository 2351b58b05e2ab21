"""`make bench`: Sama's own connector and this one, in one process, against one server, on the same rows.

200,000 rows out (about 850 bytes, one `output_` column of JSON text) and 100,000 delivered tasks back (about
3 KB), each fully consumed, and the JVM alone as the limit; each way and kind of session in a process of its own.
Then those deliveries into Delta tables, by `sync` and as one table; 20,000 from a server that takes 0.5 s a page; and
what an outbox costs, in a heap of 1 GB:
200,000 and 1,000,000 rows on a new one, the same rows again, and 100,000 rows on one that knows 5,000,000.
`sama` 0.5.12 cannot read on Connect: its figure there is the classic one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import Figure, consume, reference_client, timed
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table
from samples import PROJECT, deliveries, rows_out
from tables import sync_figures

from sama_spark import Client
from sama_spark.local import local_session
from sama_spark.outbound.creation_schema import CreationSchema
from sama_spark.outbound.encode import encode
from sama_spark.outbound.outbox.ledger import Ledger
from sama_spark.outbound.outbox.ledger_rows import KEYS_IN_ROW, BatchEvent
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.sandbox import Sandbox

HEAP_GB = {"out": 6, "back": 6, "sync": 6, "outbox": 1}  # the last to show that a million rows need no more
WARM_UP = 5  # runs until the JVM has compiled what is hot
GOALS = {
    "staged": 18.0,
    "streamed": 11.0,
    "back": 10.0,
    "outbox": 5.0,
    "outbox, five times the rows": 9.0,
    "sync, saved as one table": 7.0,
    "sync, three tables": 2.4,
    "slow sync, 0.5 s a page, three tables": 1.5,
}
OLD_BATCHES, OLD_ROWS = 1000, 5000  # what a long-used outbox holds: 5 million rows


class Bench:
    """One server and one session for both sides. Ours comes first: the reference leaves its memory behind."""

    def __init__(self, spark: SparkSession, sandbox: Sandbox, folder: Path, repeat: int) -> None:
        self.spark, self.sandbox, self.folder, self.repeat = spark, sandbox, str(folder), repeat
        self.ours = Client(sandbox.api_key, base_url=sandbox.base_url)
        self.streaming = Client(sandbox.api_key, base_url=sandbox.base_url, staging=False)

    def out(self, df: DataFrame, twice: DataFrame, rows: int) -> list[Figure]:
        fresh = self.sandbox.reset  # the server forgets what it was sent, untimed
        for client in (self.ours, self.streaming) * WARM_UP:
            fresh()
            self._create(client, df)
        return [
            timed("out, staged", rows, self.repeat, lambda: self._create(self.ours, df), fresh),
            timed("out, streamed", rows, self.repeat, lambda: self._create(self.streaming, df), fresh),
            timed("out, staged, twice the rows", 2 * rows, 1, lambda: self._create(self.ours, twice), fresh),
            timed("out, streamed, twice the rows", 2 * rows, 1, lambda: self._create(self.streaming, twice), fresh),
            timed(
                "out, JVM alone (to_json)", rows, self.repeat, lambda: consume(encode(df, CreationSchema(), {}).rows)
            ),
        ]

    def encoded(self, df: DataFrame) -> DataFrame:
        return encode(df, CreationSchema(), {}).rows

    def outbox(self, half: DataFrame, df: DataFrame, more: DataFrame, rows: int) -> list[Figure]:
        for number in range(WARM_UP):
            self._new_outbox(f"warm-{number}")
            self._send(df)
        figures = []
        for name, count, rows_of in (
            ("half the rows", rows // 2, half),
            ("", rows, df),
            ("five times the rows", 5 * rows, more),
        ):
            name = f"out, outbox, {name}".rstrip(", ")  # noqa: PLW2901
            numbers = iter(range(self.repeat))
            repeat = self.repeat if count <= rows else 1
            begin = lambda: self._new_outbox(f"{count}-{next(numbers)}")  # noqa: E731, B023
            figures.append(timed(name, count, repeat, lambda: self._send(rows_of), begin))  # noqa: B023
            self.result.wait()
            figures.append(timed(f"{name}, again", count, repeat, lambda: self._send(rows_of)))  # noqa: B023
            assert self.result.task_count == 0, self.result
        numbers = iter(range(self.repeat))
        old = lambda: self._old_outbox(f"old-{next(numbers)}")  # noqa: E731
        figures.append(
            timed("out, outbox of 5,000,000, half the rows", rows // 2, self.repeat, lambda: self._send(half), old)
        )
        return figures

    def _new_outbox(self, name: str) -> None:
        self.sandbox.reset()
        self.project, self.table = self._project(), f"{self.folder}/outboxes/{name}"

    def _old_outbox(self, name: str) -> None:
        """As years of runs leave it: every batch has ended."""
        self._new_outbox(name)
        ledger = Ledger.open(self.spark, self.table, self.project, OutboxKeys(("name",)))
        place = F.sequence(F.lit(0), F.lit(KEYS_IN_ROW - 1))
        number = F.col("id") * KEYS_IN_ROW
        keys = F.transform(place, lambda i: F.concat(F.lit('{"name":"old '), number + i, F.lit('"}')))
        claims = self.spark.range(OLD_BATCHES * OLD_ROWS // KEYS_IN_ROW).select(
            (F.floor(number / OLD_ROWS) + 10**9).alias("batch_id"),
            F.lit("old").alias("run_id"),
            F.lit(OLD_ROWS).alias("tasks"),
            keys.alias("keys"),
            place.alias("contents"),
        )
        assert ledger.bind(claims.select(F.to_json(F.struct("*")).alias("value")), 1, "old", 0.0, 0.0)
        ids = range(10**9, 10**9 + OLD_BATCHES)
        ledger.record([BatchEvent("done", i, "old", OLD_ROWS, created=OLD_ROWS) for i in ids], 0.0)

    def _send(self, df: DataFrame) -> None:
        self.result = self.ours.create_task_batch_from_table(
            df, self.project, staging=self.folder, outbox=self.table, row_key="name"
        )

    def back(self, project: str, twice: str, tasks: int) -> list[Figure]:
        for _ in range(WARM_UP):
            self.read(project)
        typed = self.streaming.get_delivered_tasks_to_table(self.spark, project, staging=self.folder)
        return [
            timed("back", tasks, self.repeat, lambda: self.read(project)),
            timed("back, twice the tasks", 2 * tasks, 1, lambda: self.read(twice)),
            timed("back, JVM alone (from_json)", tasks, self.repeat, lambda: consume(typed)),
        ]

    def reference_out(self, df: DataFrame, rows: int) -> Figure:
        sama = reference_client(self.sandbox)
        self.sandbox.reset()
        project = self._project()
        return timed("out, sama 0.5.12", rows, 1, lambda: sama.create_task_batch_from_table(df, project))

    def reference_back(self, project: str, tasks: int) -> Figure:
        sama = reference_client(self.sandbox)
        action = lambda: consume(sama.get_delivered_tasks_to_table(self.spark, project))  # noqa: E731
        return timed("back, sama 0.5.12", tasks, 1, action)

    def delivered(self, tasks: int) -> str:
        project = self._project({"type": "image", "tags": {"kind": "text", "color": "text"}})
        self.sandbox.deliver(int(project), deliveries(range(tasks)))
        return project

    def _project(self, image: Any = "image") -> str:
        return str(self.sandbox.create_project(inputs=PROJECT, outputs={"objects": image, "weather": "text"}))

    def _create(self, client: Client, df: DataFrame) -> None:
        folder = self.folder if client is self.ours else None
        result = client.create_task_batch_from_table(df, self._project(), staging=folder)
        assert result.staged == (client is self.ours), result

    def read(self, project: str) -> None:
        consume(self.ours.get_delivered_tasks_to_table(self.spark, project, staging=self.folder))
        self.ours.close()


def run(kind: str, way: str, rows: int, tasks: int, repeat: int, dlt_python: str) -> list[Figure]:
    """One way on one kind of session."""
    # The heap is there from the start: where memory is dear to get, a heap that grows is what would be measured.
    heap = HEAP_GB[way]
    settings = {"spark.driver.memory": f"{heap}g", "spark.driver.extraJavaOptions": f"-Xms{heap}g -XX:+AlwaysPreTouch"}
    spark = local_session(connect=kind == "connect", settings=settings)
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as folder:
        bench = Bench(spark, sandbox, Path(folder), repeat)
        if way == "out":
            df, twice = (rows_out(spark, n, Path(folder)) for n in (rows, 2 * rows))
            return [*bench.out(df, twice, rows), bench.reference_out(df, rows)]
        if way == "outbox":
            half, df, more = (rows_out(spark, n, Path(folder)) for n in (rows // 2, rows, 5 * rows))
            return bench.outbox(half, df, more, rows)
        if way == "sync":
            return sync_figures(spark, sandbox, folder, repeat, tasks, dlt_python)
        project, project_twice = bench.delivered(tasks), bench.delivered(2 * tasks)
        figures = bench.back(project, project_twice, tasks)
        if kind == "connect":  # which sama 0.5.12 cannot read on
            return figures
        reference = bench.reference_back(project, tasks)
        # Its one run takes a minute, in which a shared machine changes: ours stand before and after it.
        again = timed("back", tasks, repeat, lambda: bench.read(project))
        figures[0].seconds += again.seconds
        return [*figures, reference]


def report(kind: str, figures: list[Figure], classic: list[Figure]) -> None:
    rate = {f.name: f.rate for f in [*classic, *figures]}
    table = Table(title=f"{kind} session", title_justify="left")
    for heading in ("", "rows/s", "times sama 0.5.12", "goal", "best to worst s", "driver Python MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for figure in figures:
        way = figure.name.split(",")[0]
        ratio = f"{figure.rate / rate[f'{way}, sama 0.5.12']:.1f}"
        goal = GOALS.get(figure.name)
        spread = f"{min(figure.seconds):.2f} to {max(figure.seconds):.2f}"
        table.add_row(
            figure.name, f"{figure.rate:,.0f}", ratio, f"{goal:g}" if goal else "", spread, f"{figure.python_mb:,.0f}"
        )
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=2, metavar=("SESSION", "WAY"), help="one part, as JSON (used by itself)")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--dlt", default="", metavar="PYTHON", help="an interpreter that has dlt; without, none")
    args = parser.parse_args()
    if args.only:
        print(json.dumps([vars(f) for f in run(*args.only, args.rows, args.tasks, args.repeat, args.dlt)]))
        return
    results: dict[str, list[Figure]] = {}
    sizes = ["--rows", str(args.rows), "--tasks", str(args.tasks), "--repeat", str(args.repeat), "--dlt", args.dlt]
    for kind in ("classic", "connect"):
        results[kind] = []
        for way in ("out", "outbox", "back", "sync"):
            print(f"{way} on a {kind} session ...", file=sys.stderr, flush=True)
            part = [sys.executable, __file__, "--only", kind, way, *sizes]
            done = subprocess.run(part, check=True, stdout=subprocess.PIPE)
            results[kind] += [Figure(**f) for f in json.loads(done.stdout.splitlines()[-1])]
        report(kind, results[kind], results["classic"])


if __name__ == "__main__":
    main()
