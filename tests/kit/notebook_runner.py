"""Runs a notebook in Databricks' source format, cell by cell, with stand-ins for what a workspace gives it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from multiprocessing import get_context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from sama_spark.sql_texts import sql_text

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

FIRST_LINE = "# Databricks notebook source"
BETWEEN, MAGIC = "# COMMAND ----------", "# MAGIC"
MOST_ROWS = 1_000


class NotebookError(Exception):
    """A cell failed; the text says which, and shows it."""


class Exit(BaseException):
    """What `dbutils.notebook.exit` raises."""


@dataclass
class Run:
    """What a notebook has done.

    Attributes:
        shown: by `display` and `%sql`: rows, or the PNG of a figure. printed: all the rest. result: what it exits with.
    """

    shown: list[list[Any] | bytes] = field(default_factory=list)
    printed: str = ""
    result: str | None = None

    @property
    def pictures(self) -> list[bytes]:
        return [content for content in self.shown if isinstance(content, bytes)]

    @property
    def tables(self) -> list[list[Any]]:
        return [content for content in self.shown if isinstance(content, list)]


def cells(notebook: Path) -> list[str]:
    """The text of each cell; those of magic commands begin with %."""
    first, _, rest = notebook.read_text().partition("\n")
    assert first == FIRST_LINE, f"{notebook.name} does not begin with {FIRST_LINE!r}"
    found = []
    for cell in rest.split(BETWEEN):
        lines = cell.strip().splitlines()
        is_magic = all(line.startswith(MAGIC) for line in lines)
        assert is_magic or not any(line.startswith(MAGIC) for line in lines), f"magic and code in one cell:\n{cell}"
        found.append("\n".join(line.removeprefix(MAGIC).strip() for line in lines) if is_magic else "\n".join(lines))
    return found


def run(
    notebook: Path,
    spark: SparkSession,
    parameters: Mapping[str, str],
    secrets: Mapping[tuple[str, str], str],
    events: Mapping[str, Callable[[], object]] | None = None,
) -> Run:
    """Run all cells, as a job does.

    parameters: of the job, in place of the widgets' defaults.
    events: what happens elsewhere before the cells under a heading run, by the heading.

    Raises:
        NotebookError: a cell failed, a parameter has no widget, or the last cell does not exit.
    """
    done = Run()
    widgets = _Widgets(parameters)
    happening = dict(events or {})
    names: dict[str, Any] = {}
    _restart(names, _workspace(done, spark, widgets, secrets, names))
    output = StringIO()
    for number, cell in enumerate(cells(notebook), 1):
        if done.result is not None:
            raise NotebookError(f"{notebook.name} goes on in cell {number} after its exit")
        try:
            with redirect_stdout(output):
                _run(cell, f"{notebook.name}, cell {number}", names, widgets, happening)
        except Exit as exit_:
            done.result = str(exit_)
        except Exception as error:
            raise NotebookError(f"{notebook.name}, cell {number}: {type(error).__name__}: {error}\n\n{cell}") from error
    done.printed = output.getvalue()
    for fault, where in {
        "parameters without widget": set(parameters) - set(widgets.defaults),
        "headings that are not there": set(happening),
        "no exit": {notebook.name} if done.result is None else set(),
    }.items():
        if where:
            raise NotebookError(f"{notebook.name}: {fault}: {sorted(where)}")
    return done


def run_afresh(
    notebook: Path, server: str, parameters: Mapping[str, str], secrets: Mapping[tuple[str, str], str], **more: Any
) -> Run:
    """As `run`, in a new process on a new session of the Connect server there, under serverless' guard."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_run_on_server, notebook, server, parameters, secrets, **more).result()


def _run_on_server(notebook: Path, server: str, *arguments: Any, **more: Any) -> Run:
    from pyspark.sql import SparkSession

    from kit.serverless import guard

    session = SparkSession.builder.remote(server).getOrCreate()
    guard(session)
    return run(notebook, session, *arguments, **more)


def _run(
    cell: str, name: str, names: dict[str, Any], widgets: _Widgets, happening: dict[str, Callable[[], object]]
) -> None:
    if not cell.startswith("%"):
        exec(compile(cell, name, "exec"), names)  # noqa: S102
        return
    magic, _, text = cell.partition("\n")
    if magic.startswith("%pip install /Volumes/"):  # it is there
        return
    if magic == "%md":
        for heading in [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]:
            happening.pop(heading, lambda: None)()
    elif magic == "%sql":
        # Delta's parser drops the parameters of `spark.sql` from Spark 4.1 on: delta-io/delta issue 7640.
        bound = re.sub(r"(?<!:):(\w+)", lambda marker: sql_text(widgets.get(marker[1])), text)
        names["display"](names["spark"].sql(bound))
    else:
        raise ValueError(f"{magic} is not known here")


def _restart(names: dict[str, Any], workspace: dict[str, Any]) -> None:
    """Python forgets all variables; what the workspace gives is there again."""
    names.clear()
    names.update(workspace)


def _workspace(
    done: Run,
    spark: SparkSession,
    widgets: _Widgets,
    secrets: Mapping[tuple[str, str], str],
    names: dict[str, Any],
) -> dict[str, Any]:
    def display(content: Any) -> None:
        if isinstance(content, Figure):
            png = BytesIO()
            content.savefig(png, format="png")
            done.shown.append(png.getvalue())
        else:
            done.shown.append(content.limit(MOST_ROWS).collect())

    def exit_(value: str) -> None:
        raise Exit(value)

    dbutils = SimpleNamespace(
        widgets=widgets,
        secrets=SimpleNamespace(get=lambda scope, key: secrets[scope, key]),
        library=SimpleNamespace(restartPython=lambda: _restart(names, workspace)),
        notebook=SimpleNamespace(exit=exit_),
    )
    workspace = {"__name__": "__main__", "spark": spark, "dbutils": dbutils, "display": display}
    return workspace


class _Widgets:
    """`dbutils.widgets`: parameters of the job, else the defaults."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters
        self.defaults: dict[str, str] = {}

    def text(self, name: str, default: str, _label: str = "") -> None:
        self.defaults[name] = default

    def dropdown(self, name: str, default: str, choices: list[str], _label: str = "") -> None:
        assert {default, self._parameters.get(name, default)} <= set(choices), f"{name} is none of {choices}"
        self.defaults[name] = default

    def get(self, name: str) -> str:
        assert name in self.defaults, f"there is no widget {name}"
        return self._parameters.get(name, self.defaults[name])
