"""How a job begins and ends: what is wrong is told before Spark starts, and the line of JSON comes whatever happens."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sama_spark.cli import main
from sama_spark.http.secrets import Redactor, Secret
from sama_spark.jobs import process, work
from sama_spark.jobs.config import JOBS
from sama_spark.jobs.fields import names_in
from sama_spark.jobs.record import as_text, in_short
from sama_spark.jobs.run import error_as_json

CONF = Path(__file__).parents[2] / "conf"
COMMAND = str(Path(sys.executable).with_name("sama-spark"))
KEY = "s3cr3t-key"


@pytest.fixture
def no_spark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Spark would not start here: an error that is told comes before that."""
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("SAMA_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    """The line of JSON of a job that fails, and what else it says."""
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    said = capsys.readouterr()
    line: dict[str, Any] = json.loads(said.out.splitlines()[-1])
    assert caught.value.code == f"sama-spark {arguments[0]}: {line['error']['message']}"
    assert "Spark starts" not in said.err
    return line, said.err


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(
    ("api_key", "told"),
    [
        ("", "the environment variable SAMA_API_KEY does not give a key"),
        ("{env: MY_SAMA_KEY}", "the environment variable MY_SAMA_KEY does not give a key"),
        ("{file: /nowhere/sama/key.txt}", "the file /nowhere/sama/key.txt does not give a key (FileNotFoundError)"),
        ("{scope: sama-prod, key: api_key}", "the secret api_key in the scope sama-prod does not give a key"),
        ("{secret: main.labels.sama_key}", "the Unity Catalog secret main.labels.sama_key does not give a key"),
        ("' '", "`api_key` is empty"),
        ("schlüssel", "api_key is no text that a key can be"),
    ],
)
def test_a_job_without_its_key_says_so_by_name(
    job: str, api_key: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line, _ = ended(capsys, job, str(CONF / f"{job}.yml"), f"api_key={api_key}")
    assert (line["job"], line["status"], line["project"]) == (job, "failed", "4242")
    assert told in line["error"]["message"]


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize(
    "place", ["{env: s3cr3t-key}", "{file: s3cr3t-key}", "{scope: a, key: s3cr3t-key}", "{secret: a.b.s3cr3t-key}"]
)
def test_what_looks_like_a_key_is_not_told(place: str, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    line, said = ended(capsys, "sync", str(CONF / "sync.yml"), f"api_key={place}")
    assert KEY not in str(line) + said
    assert "does not give a key" in line["error"]["message"]


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize("base_url", ["ftp://sama.invalid", "sama.invalid/v2", "http://", "''"])
def test_an_address_that_is_none(base_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    line, _ = ended(capsys, "sync", str(CONF / "sync.yml"), f"base_url={base_url}", f"api_key={KEY}")
    assert (line["error"]["type"], "base_url" in line["error"]["message"]) == ("InvalidInput", True)


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize("base_url", ["ftp://sama.invalid", "http://", "''", "'http://[::1'", "'http://a:b'"])
def test_the_doctor_ends_with_its_line_whatever_the_address(base_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="checks failed: "):
        main(["doctor", str(CONF / "sync.yml"), f"base_url={base_url}", f"api_key={KEY}"])
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["status"] == "failed"
    assert "Traceback" not in said.err


@pytest.mark.usefixtures("no_spark")
def test_the_doctor_asks_sama_before_spark_starts(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    with pytest.raises(SystemExit):
        main(["doctor", str(CONF / "sync.yml"), "base_url=http://127.0.0.1:9/v2", f"api_key={KEY}", "deadline=0.5"])
    said = capsys.readouterr()
    checks = {check["check"]: check for check in json.loads(said.out.splitlines()[-1])["checks"]}
    names = list(checks)
    assert names.index("egress of the driver") < names.index("session")
    assert "127.0.0.1" in checks["egress of the driver"]["said"]
    assert checks["project"]["result"] == "skipped"
    assert KEY not in said.out + said.err
    assert time.monotonic() - begun < 15


@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize(
    ("proxies", "told"),
    [
        ({}, "open it in the driver's firewall, or set HTTPS_PROXY"),
        ({"http_proxy": "http://user:pass@127.0.0.1:9"}, "goes through the proxy that HTTP_PROXY names"),
        ({"all_proxy": "http://user:pass@127.0.0.1:9"}, "goes through the proxy"),
        ({"http_proxy": "http://127.0.0.1:9", "no_proxy": "sama.invalid"}, "open it in the driver's firewall"),
    ],
    ids=str,
)
def test_the_doctor_knows_the_proxy(
    proxies: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["doctor", str(CONF / "sync.yml"), "base_url=http://sama.invalid/v2", f"api_key={KEY}", "deadline=0.2"])
    said = capsys.readouterr().out
    [egress] = [check for check in json.loads(said.splitlines()[-1])["checks"] if "egress" in check["check"]]
    assert (egress["result"], told in egress["said"]) == ("failed", True)
    assert "pass@" not in said


def waiting_job(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A sync whose key is in a pipe that nobody writes to: it waits."""
    os.mkfifo(folder / "key")
    return subprocess.Popen(
        [COMMAND, "sync", str(CONF / "sync.yml"), f"api_key={{file: {folder}/key}}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("twice", [False, True])
def test_who_ends_a_job_gets_its_line(sent: signal.Signals, twice: bool, tmp_path: Path) -> None:
    job = waiting_job(tmp_path)
    try:
        writer = waits_for_reader(tmp_path / "key")
        job.send_signal(sent)
        if twice:
            job.send_signal(sent)
        out, err = job.communicate(timeout=60)
    finally:
        job.kill()
    os.close(writer)
    line = json.loads(out.splitlines()[-1])
    assert (line["status"], line["project"]) == ("cancelled", "4242")
    assert job.returncode == (143 if sent == signal.SIGTERM else 130)
    assert "Traceback" not in err
    assert err.startswith("sama-spark sync: ")


def test_no_signal_disturbs_the_end(tmp_path: Path) -> None:
    job = waiting_job(tmp_path)
    assert job.stdout is not None and job.stderr is not None
    try:
        writer = waits_for_reader(tmp_path / "key")
        job.send_signal(signal.SIGTERM)
        line = json.loads(job.stdout.readline())
        while job.poll() is None:
            job.send_signal(signal.SIGTERM)
            job.send_signal(signal.SIGINT)
            time.sleep(0.001)
        err = job.stderr.read()
    finally:
        job.kill()
    os.close(writer)
    assert (line["status"], job.returncode) == ("cancelled", 143)
    assert (err.startswith("sama-spark sync: "), err.count("\n")) == (True, 1)


def test_on_databricks_what_ends_a_job_is_raised(tmp_path: Path) -> None:
    """A task of Databricks that returns has succeeded, whatever it returns."""
    job = waiting_job(tmp_path, DATABRICKS_RUNTIME_VERSION="17.3", JAVA_HOME="/nowhere", PATH="/nowhere")
    try:
        writer = waits_for_reader(tmp_path / "key")
        job.send_signal(signal.SIGTERM)
        out, err = job.communicate(timeout=60)
    finally:
        job.kill()
    os.close(writer)
    assert json.loads(out.splitlines()[-1])["status"] == "cancelled"
    assert "Terminated: ended by SIGTERM" in err.splitlines()[-1]
    assert job.returncode not in (0, 143)


def test_without_spark_a_job_is_a_line() -> None:
    code = "import sys; sys.modules['pyspark'] = None; from sama_spark.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (["sync", "a.yml"], ["doctor", "a.yml"], ["upload", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("sama-spark: pyspark is not installed: install the wheel with what `local` needs")
        assert done.stderr.count("\n") == 1


def waits_for_reader(pipe: Path) -> int:
    """Opens the pipe for writing, as soon as somebody reads it."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.1)
    raise AssertionError("nobody reads the key")


def test_notes_of_an_error_are_told() -> None:
    for error, begins in ((KeyboardInterrupt(), "cancelled "), (ValueError("a" * 5000), "a" * 100)):
        error.__notes__ = ["batches 70001, 70002 were started", f"and {KEY}"]  # type: ignore[attr-defined]
        said = error_as_json(error, Redactor(Secret(KEY)))["message"]
        assert said.startswith(begins)
        assert "batches 70001, 70002 were started" in said
        assert KEY not in said


def test_any_line_comes_through() -> None:
    line = {"job": "sync", "odd": "\udcff", "path": "straße", "at": Path("a")}
    assert as_text(line).isascii()
    assert json.loads(as_text(line))["path"] == "straße"


def test_an_error_of_the_jvm_in_short() -> None:
    error = RuntimeError("it  broke\n\nhere\n\tat org.apache.Spark(X.scala:1)\n\tat y")
    assert in_short(error) == "RuntimeError: it broke here"
    assert in_short(RuntimeError("a\n\nJVM stacktrace:\norg.apache")) == "RuntimeError: a"


def test_what_a_job_logs_is_seen_with_its_time() -> None:
    code = "from sama_spark.jobs.process import as_a_job, log\n"
    code += "with as_a_job(): log.warning('w'); log.info('i')\nlog.info('n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    warning, info = done.stderr.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING sama_spark: w", warning)
    assert info.endswith(" INFO sama_spark: i")


def test_handlers_of_the_process_are_kept() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with process.as_a_job():
        assert process.log.handlers == []  # pytest has some at the root
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("job", JOBS)
def test_help_lists_every_field(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([job, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    listed = dict(re.findall(r"^  (\w+) +(\S.*)$", said.partition("fields of")[2], re.MULTILINE))
    assert {"job", *listed} == {*names_in("", job)}
    for name, meaning in listed.items():
        assert re.fullmatch(r"\S.{5,}\(.+\)", meaning), name
    assert ", required)" in listed["project"]
    assert listed["deadline"].endswith("(number; 300.0)")


def test_help_of_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    assert "sama-spark JOB --help lists its fields" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "arguments are required: command"),
        (["synk"], "invalid choice: 'synk'"),
        (["sync"], "arguments are required: config"),
        (["--job=sync"], "arguments are required: command"),
        (["sandbox", "--port", "99999"], "'99999' is no port: say a number from 0 to 65535"),
        (["sandbox", "--port", "-1"], "is no port"),
        (["sandbox", "--port", "٣"], "is no port"),
        (["sandbox", "x"], "unrecognized arguments: x"),
        (["demo", "--uot", "x"], "unrecognized arguments"),
        (["sync", "a.yml", "-h=1"], "ignored explicit argument"),
    ],
)
def test_odd_arguments_end_with_a_sentence(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert (caught.value.code, told in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["demo", "--out", "/proc/x"], "/proc/x cannot be made"),
        (["demo", "--out", "a" * 300], "cannot be made (File name too long)"),
        (["sandbox", "--host", "300.1.1.1"], "Port 0 on 300.1.1.1 cannot be used"),
        (["sandbox", "--project", "/nowhere.yml"], "/nowhere.yml describes no project: No such file"),
        (["sandbox", "--project", "a\0"], "describes no project"),
        (["sandbox", "--project", str(CONF)], "describes no project: Is a directory"),
        (["sandbox", "--project", str(CONF / "sync.yml")], "describes no project: Object contains unknown field"),
        (["sandbox", "--project", str(CONF / "trial.py")], "describes no project: line"),
    ],
)
def test_what_cannot_be_used_is_a_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert (told in said, said.count("\n")) == (True, 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([*JOBS, "doctor"]),
    st.lists(
        st.sampled_from(["--", "-x", "--x=1", "=", "a=", "a.b.c=1", "project=1:30", "\udcff", "\udcff=1", "@f"])
        | st.text(max_size=5),
        min_size=1,
        max_size=3,
    ).filter(lambda more: not {"-h", "--help", "--h"} & set(more)),
)  # fmt: skip
def test_whatever_follows_a_job(no_spark: None, job: str, more: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([job, *more])
    assert caught.value.code == 2 or str(caught.value.code).startswith(f"sama-spark {job}: ")


@pytest.mark.long
@pytest.mark.jvm
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_an_upload_that_is_ended_tells_and_leaves_no_open_batch(sent: signal.Signals, tmp_path: Path) -> None:
    from sama_spark.sandbox import Sandbox

    with Sandbox() as sandbox:
        project = sandbox.create_project(**yaml.safe_load((CONF / "project.yml").read_text()))
        sandbox.fail("put", kind="slow", seconds=8, times=None)
        job = subprocess.Popen(
            [COMMAND, "upload", str(CONF / "upload.yml"), f"base_url={sandbox.base_url}", f"project={project}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "SAMA_API_KEY": sandbox.api_key},
        )
        try:
            until = time.monotonic() + 120
            while not sandbox.calls().get("put") and time.monotonic() < until:
                time.sleep(0.2)
            job.send_signal(sent)
            out, err = job.communicate(timeout=100)
        finally:
            job.kill()
        line = json.loads(out.splitlines()[-1])
        assert (line["status"], job.returncode) == ("cancelled", 143 if sent == signal.SIGTERM else 130)
        assert "Traceback" not in err
        assert "INFO sama_spark: Spark starts" in err
        assert sandbox.tasks(project) == []


def test_progress_is_logged_now_and_then(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    tell = work._now_and_then("%s of %s tasks created")
    with caplog.at_level(logging.INFO, "sama_spark"):
        tell(1, 5000)
        monkeypatch.setattr(work, "_SILENCE", 0.0)
        tell(4000, 5000)
    assert caplog.messages == ["4,000 of 5,000 tasks created"]
