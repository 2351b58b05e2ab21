"""The bundle in conf/, held against Databricks' own models of jobs and pipelines, and against this package."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from copy import deepcopy
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
import tomllib
import yaml
from databricks.bundles.jobs import Job
from databricks.bundles.pipelines import Pipeline

from sama_spark.cli import main
from sama_spark.jobs.load import load
from sama_spark.keys import KEY_ENV

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
Files = dict[Path, dict[str, Any]]

# What the workspace fills in.
GIVEN = {
    "workspace.file_path": str(ROOT),
    "workspace.current_user.userName": "someone@example.com",
    "bundle.name": "sama_spark",
    "bundle.target": "prod",
}


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of databricks.yml that are in use; those of resources are in `databricks-bundles`."""


class Named(Strict):
    name: str


class Sync(Strict):
    paths: list[str]


class Artifact(Strict):
    type: Literal["whl"]
    path: str
    build: str


class Variable(Strict):
    description: str
    default: str


class Presets(Strict):
    artifacts_dynamic_version: bool


class Workspace(Strict):
    root_path: str


class Resources(Strict):
    jobs: dict[str, dict[str, Any]] = {}
    pipelines: dict[str, dict[str, Any]] = {}


class Target(Strict):
    mode: Literal["development", "production"]
    default: bool = False
    presets: Presets | None = None
    workspace: Workspace | None = None
    variables: dict[str, str] = {}
    resources: Resources = msgspec.field(default_factory=Resources)


class Bundle(Strict):
    bundle: Named
    include: list[str]
    sync: Sync
    artifacts: dict[str, Artifact]
    variables: dict[str, Variable]
    targets: dict[str, Target]


class Included(Strict):
    resources: Resources


class Deployed:
    """What a target deploys: each resource with the file that it stands in, variables filled in."""

    def __init__(self, files: Files, target: str) -> None:
        root, *more = files
        bundle = msgspec.convert(files[root], Bundle)
        chosen = bundle.targets[target]
        assert set(chosen.variables) <= set(bundle.variables)
        self._values = {name: variable.default for name, variable in bundle.variables.items()} | chosen.variables
        self.used: set[str] = set()
        written = [
            (root, chosen.resources),
            *((file, msgspec.convert(files[file], Included).resources) for file in more),
        ]
        self.jobs = {
            name: (file, Job.from_dict(self._filled(job)))  # type: ignore[arg-type]
            for file, resources in written
            for name, job in resources.jobs.items()
        }
        self.pipelines = {
            name: (file, Pipeline.from_dict(self._filled(pipeline)))  # type: ignore[arg-type]
            for file, resources in written
            for name, pipeline in resources.pipelines.items()
        }
        wheel = bundle.artifacts["wheel"]
        self.wheels = str((CONF / wheel.path / wheel.build.split("--wheel-dir ")[1].split()[0]).resolve() / "*.whl")

    def _filled(self, part: Any) -> Any:
        if isinstance(part, dict):
            return {name: self._filled(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [self._filled(inner) for inner in part]
        return re.sub(r"\$\{(.*?)\}", self._value, part) if isinstance(part, str) else part

    def _value(self, found: re.Match[str]) -> str:
        kind, _, name = found[1].partition(".")
        if kind != "var":
            return GIVEN[found[1]]
        self.used.add(name)
        return re.sub(r"\$\{(.*?)\}", self._value, self._values[name])

    def tasks(self) -> Iterator[tuple[Path, Any, Any]]:
        for file, job in self.jobs.values():
            for task in job.tasks:
                yield file, job, task


def read() -> Files:
    root = CONF / "databricks.yml"
    files = [file for pattern in yaml.safe_load(root.read_text())["include"] for file in sorted(CONF.glob(pattern))]
    assert files == sorted((CONF / "resources").iterdir())
    return {file: yaml.safe_load(file.read_text()) for file in (root, *files)}


@pytest.fixture(params=["dev", "prod"])
def deployed(request: pytest.FixtureRequest) -> Deployed:
    return Deployed(read(), request.param)


def test_each_variable_is_used_and_told_of() -> None:
    both = [Deployed(read(), target) for target in ("dev", "prod")]
    assert both[0].used | both[1].used == set(yaml.safe_load((CONF / "databricks.yml").read_text())["variables"])


# Below these the names are anybody's.
FREE = {"jobs", "pipelines", "targets", "artifacts", "variables", "configuration", "spark_env_vars"}


def names(part: Any, free: bool = False) -> Iterator[tuple[dict[str, Any], str]]:
    for name, inner in part.items() if isinstance(part, dict) else ():
        if not free:
            yield part, name
        yield from names(inner, name in FREE)
    for inner in part if isinstance(part, list) else ():
        yield from names(inner)


def test_no_misspelt_name_passes() -> None:
    files = {file: deepcopy(document) for file, document in read().items()}
    tried = 0
    for file, document in files.items():
        whole = msgspec.yaml.decode(msgspec.yaml.encode(document))  # each part is its own, without YAML's anchors
        files[file] = whole
        for part, name in list(names(whole)):
            original = dict(part)
            part.clear()
            part.update({f"{name}s" if key == name else key: value for key, value in original.items()})
            with pytest.raises((ValueError, TypeError, KeyError)):
                for target in ("dev", "prod"):
                    Deployed(files, target)
            part.clear()
            part.update(original)
            tried += 1
        Deployed(files, "dev"), Deployed(files, "prod")
    assert tried > 200


def test_tasks_of_the_wheel(deployed: Deployed) -> None:
    reached = "http://127.0.0.1:8080/v2" if "trial" in deployed.jobs else "https://api.sama.com/v2"
    ran = []
    for _, _, task in deployed.tasks():
        if task.python_wheel_task is None:
            continue
        wheel = task.python_wheel_task
        assert PROJECT["project"]["scripts"][wheel.entry_point] == "sama_spark.cli:main"
        (script,) = distribution(wheel.package_name).entry_points.select(name=wheel.entry_point)
        assert script.load() is main
        job, config, *overrides = wheel.parameters
        loaded = load(config, overrides, None if job == "doctor" else job)
        assert loaded.base_url == reached
        assert repr(loaded.api_key) == "the secret scope and key"
        assert loaded.staging == "/Volumes/main/sama/staging"
        tables = [getattr(loaded, name, None) for name in ("into", "outbox", "runs", "rejected_table")]
        assert all(table is None or table.startswith("main.sama") for table in tables)
        ran.append(job)
    assert sorted(ran) == ["doctor", "doctor", "sync", "sync", "upload", "upload"]


def test_compute_and_files_are_there(deployed: Deployed) -> None:
    def is_the_wheel(file: Path, dependency: str) -> bool:
        return dependency.endswith(".whl") and str((file.parent / dependency).resolve()) == deployed.wheels

    extras = PROJECT["project"]["optional-dependencies"]["sandbox"]
    for file, job, task in deployed.tasks():
        if task.job_cluster_key is not None:
            assert task.environment_key is None
            (cluster,) = [one.new_cluster for one in job.job_clusters if one.job_cluster_key == task.job_cluster_key]
            assert float(re.match(r"\d+\.\d+", cluster.spark_version)[0]) >= 17.3
            assert [is_the_wheel(file, library.whl) for library in task.libraries] == [True]
            continue
        (environment,) = [one.spec for one in job.environments if one.environment_key == task.environment_key]
        wheel, *more = environment.dependencies
        assert is_the_wheel(file, wheel)
        if task.spark_python_task is None:
            assert not more
        else:
            assert (file.parent / task.spark_python_task.python_file).is_file()
            assert more == [extra.partition(";")[0] for extra in extras]
    for file, pipeline in deployed.pipelines.values():
        assert all((file.parent / library.file.path).is_file() for library in pipeline.libraries)
        assert [is_the_wheel(file, dependency) for dependency in pipeline.environment.dependencies] == [True]
        assert [list(cluster.spark_env_vars) for cluster in pipeline.clusters] == [[KEY_ENV]]


def test_runs_by_the_clock(deployed: Deployed) -> None:
    running = []
    for name, (_, job) in deployed.jobs.items():
        assert job.max_concurrent_runs == 1
        if job.schedule is not None:
            assert job.email_notifications.on_failure == ["someone@example.com"]
            assert all(task.max_retries == 2 for task in job.tasks)
            if job.schedule.pause_status.value == "UNPAUSED":
                running.append(name)
    assert running == ([] if "trial" in deployed.jobs else ["upload", "sync"])


class Declared:
    """What a pipeline's file declares to Spark; anything else than tables and their queries is an error."""

    def __init__(self) -> None:
        self.flows: dict[str, Any] = {}
        self.outputs: dict[str, str] = {}

    def register_output(self, output: Any) -> None:
        self.outputs[output.name] = type(output).__name__

    def register_flow(self, flow: Any) -> None:
        self.flows[flow.target] = flow.func


@pytest.mark.one_kind
def test_the_pipeline_reads_the_stream(spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path) -> None:
    registry = pytest.importorskip("pyspark.pipelines.graph_element_registry", reason="needs Spark 4.1")
    file, pipeline = Deployed(read(), "dev").pipelines["deliveries"]
    given = {"sama.project": str(project), "sama.base_url": sandbox.base_url, "sama.staging": str(tmp_path / "stage")}
    assert set(pipeline.configuration) == set(given)
    (tmp_path / "key").write_text(sandbox.api_key)
    given["sama.api_key_file"] = str(tmp_path / "key")
    words = {"2026-01-02T00:00:01.000Z": "sun", "2026-01-02T00:00:02.000Z": "rain"}
    for name, value in given.items():
        spark.conf.set(name, value)
    declared = Declared()
    try:
        with registry.graph_element_registration_context(declared):
            runpy.run_path(str(file.parent / pipeline.libraries[0].file.path))
        assert declared.outputs == {"deliveries": "StreamingTable", "labels": "MaterializedView"}
        for at, word in words.items():
            task = {"id": f"{1:024x}", "data": {"url": "u"}, "answers": {"weather": word}, "delivered_at": at}
            sandbox.deliver(project, [task])
            arrived = declared.flows["deliveries"]().writeStream.format("delta").trigger(availableNow=True)
            arrived = arrived.option("checkpointLocation", str(tmp_path / "checkpoint")).toTable("deliveries")
            assert arrived.awaitTermination(120)
        assert spark.read.table("deliveries").count() == 2
        labels = declared.flows["labels"]()
        assert [(row.output, row.value) for row in labels.collect()] == [("weather", "rain")]
    finally:
        spark.sql("DROP TABLE IF EXISTS deliveries")
        for name in given:
            spark.conf.unset(name)


@pytest.mark.long
@pytest.mark.one_kind
def test_the_trial_of_dev(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = Deployed(read(), "dev").jobs["trial"][1].tasks
    conf, schema, *overrides = task.spark_python_task.parameters
    assert (conf, schema) == (str(CONF), "main.sama")
    assert overrides == ["staging=/Volumes/main/sama/staging"]
    monkeypatch.setenv(KEY_ENV, "")  # so that it is put back
    monkeypatch.setattr(sys, "argv", ["trial.py", conf, str(tmp_path / "labels"), f"staging={tmp_path}"])
    runpy.run_path(str(CONF / task.spark_python_task.python_file), run_name="__main__")
    assert spark.read.format("delta").load(str(tmp_path / "labels" / "trial_tasks")).count() == 10
