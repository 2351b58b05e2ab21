"""Configurations: every field is documented, and what is wrong is told by field, before anything is sent."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sama_spark import Client, InvalidInput
from sama_spark.jobs.config import JOBS, Purge, Source, Status, Upload
from sama_spark.jobs.fields import names_in
from sama_spark.jobs.load import LITERAL_KEY, key_of, load
from sama_spark.keys import KeyReference

if TYPE_CHECKING:
    from collections.abc import Sequence

CONF = Path(__file__).parents[2] / "conf"
FIELD = re.compile(r"^(#?)(\w+):")
KEY = "s3cr3t-key"
OF_JOBS = {"project", "api_key", "base_url", "deadline", "runs"}


@pytest.mark.parametrize("job", JOBS)
def test_every_field_is_explained_and_each_example_loads(job: str, tmp_path: Path) -> None:
    lines = (CONF / f"{job}.yml").read_text().splitlines()
    found = {match[2]: number for number, line in enumerate(lines) if (match := FIELD.match(line))}
    assert set(found) == {*names_in("", job)}
    for name, number in found.items():
        if name != "job":
            assert lines[number - 1].startswith("# "), f"{name} is not explained"
    assert type(load(str(CONF / f"{job}.yml"), job=job)).__name__.lower() == job
    optional = [name for name, number in found.items() if lines[number].startswith("#")]
    for name in optional:
        if name == "everything":
            continue
        with_it = tmp_path / f"{name}.yml"
        with_it.write_text("\n".join([*lines, lines[found[name]].removeprefix("#")]))
        plain = load(str(with_it), ["on_invalid=reject"] if (job, name) == ("upload", "rejected_table") else [])
        assert plain.value_of(name) not in (None, [], (), {}, ""), name


@pytest.mark.parametrize("job", JOBS)
def test_lines_that_say_production_make_a_valid_config(job: str, tmp_path: Path) -> None:
    lines = []
    for line in (CONF / f"{job}.yml").read_text().splitlines():
        match = re.match(r"(\w+):.*  # PRODUCTION: (.*)$", line)
        if match is None:
            if not line.startswith(" "):  # the example's query
                lines.append(line)
        elif match[2].startswith(("{", "catalog")):
            lines.append(f"{match[1]}: {match[2]}")
        elif match[2] != "leave out":
            lines.append(line)
    file = tmp_path / "production.yml"
    file.write_text("\n".join(lines))
    config = load(str(file))
    assert config.base_url == "https://api.sama.com/v2"
    assert config.api_key == KeyReference(scope="sama", key="api_key")
    assert "sama-data" not in "".join(line for line in file.read_text().splitlines() if not line.startswith("#"))


def test_jobs_know_every_parameter_of_the_client() -> None:
    def parameters(method: object) -> set[str]:
        return {*inspect.signature(method).parameters} - {"self", "spark", "project_id"}  # type: ignore[arg-type]

    upload = parameters(Client.create_task_batch_from_table) - {"spark_dataframe", "on_progress"}
    assert {*names_in("", "upload")} ^ upload == {"job", *OF_JOBS, "source", "wait_seconds"}
    sync = parameters(Client.sync) - {"overlap"}
    assert {*names_in("", "sync")} ^ sync == {"job", *OF_JOBS, "overlap_seconds"}
    purge = (parameters(Client.purge) | parameters(Client.purge_synced)) - {"task_ids"}
    assert {*Purge.__struct_fields__} - purge == {*OF_JOBS, "everything", "tasks"}


def write(tmp_path: Path, *lines: str) -> str:
    file = tmp_path / "job.yml"
    file.write_text("\n".join(["job: upload", "project: 4242", "max_tasks: 1_000", "source: {table: images}", *lines]))
    return str(file)


def test_values_arrive_as_they_are_meant(tmp_path: Path) -> None:
    path = write(tmp_path, "contract: off", "staging:", "key_prefix: 2026-01-01", "outputs: {weather: text}")
    given = ["--chunk_rows=7", "source={query: SELECT 1}", "row_key=[a, b]", "submit=true", "batch_priority=-1"]
    job = load(path, given, "upload")
    assert isinstance(job, Upload)
    options = job.options
    assert (options.contract, job.staging, options.key_prefix, job.max_tasks) == ("off", None, "2026-01-01", 1000)
    assert (options.chunk_rows, job.source, options.row_key) == (7, Source(query="SELECT 1"), ("a", "b"))
    assert (options.submit, options.batch_priority, options.outputs) == (True, -1, {"weather": "text"})
    assert load(path, ["api_key.env=OTHER"]).api_key == KeyReference(env="OTHER")
    assert load(path, ["api_key={scope: a, key: b}"]).api_key == KeyReference(scope="a", key="b")


@pytest.mark.parametrize(
    ("lines", "given", "told"),
    [
        ((), ["max_taks=1"], "there is no field `max_taks`. Do you mean `max_tasks`?"),
        ((), ["zzzz=1"], "there is no field `zzzz`. The fields are job, source, max_tasks"),
        (("max_tasks: 1",), [], "line 5: `max_tasks` comes twice"),
        ((), ["max_tasks="], "missing required field `max_tasks`"),
        ((), ["max_tasks=many"], "`max_tasks`: expected `int`, got `str`"),
        ((), ["submit=yes"], "`submit`: expected `bool`, got `str`"),
        ((), ["row_key=[1]"], "`row_key[0]`: expected `str`, got `int`"),
        ((), ["contract=lax"], "`contract`: not one of lenient, off, strict"),
        ((), ["outputs={weather: xml}"], "not one of json, text"),
        ((), ["source.tabel=x"], "there is no field `tabel` in `source`. Do you mean `table`?"),
        ((), ["source.path=x"], "`source`: name one of table, query and path"),
        ((), ["source={path: x}"], "`source`: path and format go together"),
        ((), ["api_key={evn: A}"], "there is no field `evn` in `api_key`. Do you mean `env`?"),
        ((), ["api_key.scope=a"], "`api_key`: name one place"),
        ((), ["api_key={env: a, file: b}"], "`api_key`: name one place"),
        ((), ["api_key={secret: a.b}"], "`api_key`: `secret` has three parts"),
        ((), ["job=synk"], "`job` is none of upload, sync, status, resume, purge"),
        ((), ["job=sync"], "is for `sync`, not for `upload`. Run sama-spark sync"),
        ((), ["nonsense"], "an argument is no override"),
        ((), ["\udcff=1"], "an argument is no override"),
        (("a: [",), [], "line 5"),
        ((), ["max_tasks=[1"], "the value of max_tasks, line 1"),
    ],
)
def test_what_is_wrong_is_told_by_field(lines: Sequence[str], given: Sequence[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(write(tmp_path, *lines), given, "upload")
    assert told in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    for path, told in ((tmp_path / "none.yml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InvalidInput, match=told):
            load(str(path))
    (tmp_path / "list.yml").write_text("- a")
    with pytest.raises(InvalidInput, match="holds no fields"):
        load(str(tmp_path / "list.yml"))


def test_a_purge_says_what_it_is_about(tmp_path: Path) -> None:
    file = tmp_path / "purge.yml"
    for fields, told in (
        ("everything: true", "name the tables"),
        ("into: a", "everything: true, or name tasks"),
        ("into: a\neverything: true\ntasks: ['1']", "leaves no choice"),
        ("outbox: a\ntasks: ['1']", "name tasks of the tables"),
        ("into: a\noutbox: b\ntasks: ['1']", "rows of the `outbox`"),
    ):
        file.write_text(f"job: purge\nproject: 1\n{fields}")
        with pytest.raises(InvalidInput, match=told):
            load(str(file))


def test_the_key_is_in_no_error_and_no_repr(tmp_path: Path) -> None:
    for lines in (
        [f"api_key: {KEY}", "oops: 1"],
        [f"api_key: [{KEY}]"],
        [f"api_key: {{file: [{KEY}]}}"],
        [f"api_key: {KEY}: {KEY}"],
        [f"api_key: !{KEY}"],
        [f"api_key: *{KEY}"],
    ):
        with pytest.raises(InvalidInput) as caught:
            load(write(tmp_path, *lines))
        assert KEY not in str(caught.value)
        assert caught.value.__suppress_context__
    job = load(write(tmp_path), [f"api_key={KEY}"])
    assert key_of(job) == KEY
    assert KEY not in f"{job} {job!r} {LITERAL_KEY}"
    assert KEY not in repr(KeyReference(env=KEY)) + repr(KeyReference(file=KEY)) + repr(
        KeyReference(scope=KEY, key=KEY)
    )


def test_tables_in_folders_are_named_by_the_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "status.yml"
    file.write_text("job: status\nproject: 1\ninto: data/labels\noutbox: main.labels.outbox\nruns: s3://bucket/runs")
    job = load(str(file))
    assert isinstance(job, Status)
    assert (job.into, job.outbox, job.runs) == (f"{tmp_path}/data/labels", "main.labels.outbox", "s3://bucket/runs")


def test_the_sandbox_project_fits_the_upload() -> None:
    project = yaml.safe_load((CONF / "project.yml").read_text())
    assert project["project_id"] == load(str(CONF / "upload.yml")).project
