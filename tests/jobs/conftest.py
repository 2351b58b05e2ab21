"""The project that the examples in conf/ fit, and jobs as a shell or a Databricks task runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sama_spark.cli import main
from sama_spark.http.retry import Pacer

if TYPE_CHECKING:
    from sama_spark.sandbox import Sandbox

CONF = Path(__file__).parents[2] / "conf"
PROJECT = 4242
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def project(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> int:
    sandbox.switch(status_calls_per_second=None)
    monkeypatch.setattr(Pacer, "wait", lambda _: None)
    return sandbox.create_project(**yaml.safe_load((CONF / "project.yml").read_text()))


@pytest.fixture
def run(
    sandbox: Sandbox, project: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a job with conf/<job>.yml, and gives its line of JSON."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMA_API_KEY", sandbox.api_key)

    def one(job: str, *overrides: str, config: str | None = None, fails: type[BaseException] | None = None) -> Any:
        arguments = [job, str(CONF / f"{config or job}.yml"), f"base_url={sandbox.base_url}", *overrides]
        if fails is None:
            assert main(arguments) == 0
        else:
            with pytest.raises(fails) as caught:
                main(arguments)
            assert caught.value.args[0] not in (0, None)
        said = capsys.readouterr()
        assert sandbox.api_key not in said.out + said.err
        line = json.loads(said.out.splitlines()[-1])
        assert (line["job"], line["status"]) == (job, "succeeded" if fails is None else "failed")
        return line

    return one


@pytest.fixture
def command() -> str:
    return str(Path(sys.executable).with_name("sama-spark"))


@pytest.fixture
def run_afresh(run: Run, command: str, server: str | None, sandbox: Sandbox, tmp_path: Path) -> Run:
    """As `run`, for a job that succeeds: in a process of its own that finds the session's server, where it has one."""
    if server is None:
        return run

    def one(job: str, *overrides: str, config: str | None = None) -> Any:
        done = subprocess.run(
            [command, job, str(CONF / f"{config or job}.yml"), f"base_url={sandbox.base_url}", *overrides],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "SPARK_REMOTE": server, "SAMA_API_KEY": sandbox.api_key},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert sandbox.api_key not in done.stdout + done.stderr
        line = json.loads(done.stdout.splitlines()[-1])
        assert (line["job"], line["status"]) == (job, "succeeded")
        return line

    return one
