"""The stage: who may read it, what killed processes leave, how it is tried, and what a full one says."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sama_spark import Client, process_folder, staging
from sama_spark.errors import InvalidInput, StagingError
from sama_spark.staging import Stage, Staging, stage_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, SparkSession


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of this process."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    process_folder.process_folder.cache_clear()
    yield folder
    process_folder.process_folder.cache_clear()


@pytest.mark.parametrize("wrong", [True, "", 0, 7])
def test_staging_is_a_folder_none_or_false(wrong: object) -> None:
    Client("key", staging=False).close()
    with pytest.raises(InvalidInput, match="staging is"):
        Client("key", staging=wrong)  # type: ignore[arg-type]


def _mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


# It waits with a run's folder that holds a task's text, until it is told to end or is killed.
_PROCESS = """
import sys
from sama_spark.staging import private_stage
with private_stage().run("out") as folder:
    (folder / "tasks.txt").write_text("a task of a customer")
    print(folder, flush=True)
    sys.stdin.readline()
"""


def _begun(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_gone_with_the_next_one(temporary: Path) -> None:
    killed, left = _begun(temporary)
    living, in_use = _begun(temporary)
    assert left.is_dir()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    process_folder.process_folder()
    assert not left.exists()
    assert not left.parents[1].exists()
    assert (in_use / "tasks.txt").exists()  # another process that is at work keeps what it has
    living.communicate("\n")
    assert living.returncode == 0
    users = in_use.parents[2]
    assert [path.name for path in users.iterdir() if in_use.parents[1].name in path.name] == []


def test_the_temporary_stage_is_the_users_alone(temporary: Path) -> None:
    run = staging.private_stage().new_run("out")
    for folder in (run, *run.parents):
        if folder == temporary:
            break
        assert _mode(folder) == 0o700


@pytest.mark.parametrize("there", ["open", "link", "file"])
def test_a_temporary_folder_of_somebody_else_is_not_used(temporary: Path, tmp_path: Path, there: str) -> None:
    theirs = process_folder._users_folder()
    theirs.rmdir()
    if there == "open":
        theirs.mkdir()
        theirs.chmod(0o777)
    elif there == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        theirs.symlink_to(tmp_path / "theirs")
    else:
        theirs.touch()
    mine = process_folder.process_folder()
    assert theirs not in mine.parents
    assert _mode(mine.parent) == 0o700
    assert mine.parent.parent == temporary


def test_a_stage_that_was_removed_is_made_anew_for_its_owner(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "sama-spark")
    stage.new_run("out")
    for folder in [*stage.path.iterdir(), stage.path]:
        folder.rmdir()
    run = stage.new_run("out")
    assert (_mode(stage.path), _mode(run)) == (0o700, 0o700)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left on device"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/elsewhere"), "no space left on device"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/elsewhere"), "read-only file system"),
        (
            RuntimeError("Job aborted: java.io.IOException: No space left on device\n\tat org.apache..."),
            "no space left",
        ),
    ],
)
def test_a_refusal_is_told_with_the_stage(tmp_path: Path, error: Exception, said: str) -> None:
    with pytest.raises(StagingError) as raised, Stage(tmp_path).run("out"):
        raise error
    assert said in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert raised.value.__cause__ is error
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    for error in (ValueError("a bug"), FileNotFoundError(errno.ENOENT, "no such file", "/of/the/user")):
        with pytest.raises(type(error)), stage_errors(tmp_path):
            raise error


def test_a_stage_that_is_gone_or_takes_no_more(tmp_path: Path) -> None:
    with pytest.raises(StagingError, match="No such file"), Stage(tmp_path).run("out") as folder:
        folder.rmdir()
        (folder / "page.txt").write_text("a task")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(StagingError, match="no space left on device"), Stage(tmp_path).run("out") as folder:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            (folder / "page.txt").write_bytes(b"a task" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    (tmp_path / "file").touch()
    with pytest.raises(StagingError, match="Not a directory"):
        Stage(tmp_path / "file" / "stage").new_run("out")


def test_a_temporary_folder_that_cannot_be_used_is_no_error(
    spark: SparkSession, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert Staging().stage(spark, None) is None


class Asked(BaseException):
    """Spark was asked to read."""


class SessionOf:
    """A session that shows its settings, and raises when it is asked to read."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.conf = SimpleNamespace(get=settings.__getitem__)

    @property
    def read(self) -> Any:
        raise Asked


@pytest.mark.parametrize("master", ["spark://host:7077", "yarn", "k8s://https://host", None])
def test_a_temporary_folder_is_for_workers_on_one_machine(temporary: Path, master: str | None) -> None:
    """A trial would not tell: one worker may run on the driver's machine and another elsewhere."""
    session: Any = SessionOf({"spark.master": master} if master else {})
    assert Staging().stage(session, None) is None


def test_a_local_master_is_not_believed_without_a_trial(temporary: Path) -> None:
    session: Any = SessionOf({"spark.master": "local[*, 4]"})
    with pytest.raises(Asked):
        Staging().stage(session, None)


@pytest.mark.one_kind
def test_the_trial_fails_no_task_where_workers_see_another_folder(
    spark: SparkSession, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster: Spark's driver sees the file when it plans, and a worker does not when it reads."""
    planned = type(spark.read).text

    def unseen(reader: DataFrameReader, path: list[str]) -> DataFrame:
        frame = planned(reader, path)
        staging.driver_path(path[0]).unlink()
        return frame

    monkeypatch.setattr(type(spark.read), "text", unseen)
    context = spark.sparkContext
    context.setJobGroup("trial", "trial")
    try:
        assert Staging().stage(spark, None) is None
        tracker = context.statusTracker()
        found = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup("trial")]
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)
    assert [job.status for job in found if job is not None] == ["SUCCEEDED"]
