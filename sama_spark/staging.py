"""Where text waits between Spark and HTTP: a folder that the driver and Spark's workers share.

The stage holds customer data. Each run has a folder of its own, `<staging>/sama-spark/<kind>-<UTC time>-<id>`. It is
removed when the run ends or by `close()`, and swept after `ttl`. Files in each direction show whether driver and
workers share a folder: a "local" master alone does not tell, since a single-node cluster has it too. Without `staging`
each process has a stage in the temporary folder, until it ends, if all workers run on one machine.
"""

from __future__ import annotations

import logging
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlparse
from weakref import WeakKeyDictionary

from sama_spark.errors import ConnectorError, StagingError
from sama_spark.process_folder import TIME_FORMAT, process_folder, run_name

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("sama_spark")

# In the driver's errors, and in Spark's, which hold those of a worker.
_REFUSALS = (
    ("No space left on device|Disk quota exceeded|File too large", "no space left on device"),
    ("Read-only file system", "read-only file system"),
)
STAGING_TTL = timedelta(days=7)
_TRIAL_READS = 32
_tried: WeakKeyDictionary[SparkSession, dict[Path, str | None]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Stage:
    """A shared folder; `path` is the driver's path of it, and `ttl` how long folders of dead processes are kept."""

    path: Path
    ttl: timedelta = STAGING_TTL

    def new_run(self, kind: str) -> Path:
        """Create a folder for one run.

        Raises:
            StagingError: the folder cannot be created.
        """
        run = self.path / run_name(kind)
        self.create()
        with stage_errors(self.path):
            run.mkdir(mode=0o700)
        return run

    def create(self) -> None:
        """Create the folder when absent.

        Raises:
            StagingError: the folder cannot be created.
        """
        with stage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def run(self, kind: str) -> Iterator[Path]:
        """Create a folder, and remove it when the block ends, however it ends.

        Raises:
            StagingError: the folder cannot be created, or the block could not write to it.
        """
        folder = self.new_run(kind)
        try:
            with stage_errors(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, kind: str = "*") -> None:
        """Remove the runs' folders (of one kind) that are older than `ttl`: dead processes left them."""
        self._remove_before(datetime.now(timezone.utc) - self.ttl, kind)

    def clear(self) -> int:
        """Remove the folders of all runs. Return their number."""
        return self._remove_before(datetime.max.replace(tzinfo=timezone.utc), "*")

    def _remove_before(self, before: datetime, kind: str) -> int:
        removed = 0
        for folder in self.path.glob(f"{kind}-*Z-*"):
            try:
                begun = datetime.strptime(folder.name.split("-")[-2], TIME_FORMAT).replace(tzinfo=timezone.utc)
            except ValueError:
                continue
            if begun < before:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed


class Staging:
    """The stages of one client, and the folders that it left in them."""

    def __init__(self, ttl: timedelta = STAGING_TTL) -> None:
        self._ttl = ttl
        self._found: WeakKeyDictionary[SparkSession, dict[str | None, Stage | None]] = WeakKeyDictionary()
        self._runs: list[Path] = []

    def stage(self, spark: SparkSession, folder: str | Literal[False] | None) -> Stage | None:
        """Return the stage in `folder`; for None in a temporary folder, or None if the workers do not see that one.

        False means that nothing is staged: the result is None.

        Raises:
            StagingError: `folder` was named, and driver and workers do not share it in both directions.
        """
        if folder is False:
            return None
        found = self._found.setdefault(spark, {})
        if folder not in found:
            stage, problem = None, None
            try:
                base = process_folder() if folder is None else local_path(folder)
                stage = Stage(base / "sama-spark", self._ttl)
                problem = (_other_machines(spark) if folder is None else None) or _problem_of(spark, stage)
            except OSError as error:  # there is no temporary folder, or none to write to
                problem = str(error)
            if problem and folder is not None:
                raise StagingError(
                    f"staging folder {folder!r} is not shared by driver and workers: {problem}",
                    remedy="name a Unity Catalog volume (/Volumes/catalog/schema/volume/...) that both may write, "
                    "or leave `staging` out: text then streams through the driver",
                )
            if problem:
                log.debug("no shared folder, text streams through the driver: %s", problem)
            elif stage is not None:
                stage.sweep()
            found[folder] = None if problem else stage
        return found[folder]

    def check(self, folder: str | Literal[False] | None) -> None:
        """Check, without Spark, that the driver can write to a folder that is named.

        Raises:
            StagingError: it cannot.
        """
        if isinstance(folder, str):
            Stage(local_path(folder) / "sama-spark").create()

    def keep(self, run: Path) -> Path:
        """Remember the folder of a run, which outlives the call until `close()`."""
        self._runs.append(run)
        return run

    def close(self) -> None:
        """Remove the folders of this client's runs. DataFrames that read from them can no longer be read."""
        while self._runs:
            shutil.rmtree(self._runs.pop(), ignore_errors=True)


@contextmanager
def stage_errors(folder: Path) -> Iterator[None]:
    """Raise what the file system refuses in the block, to the driver or to Spark, as StagingError."""
    try:
        yield
    except Exception as error:
        problem = next((said for words, said in _REFUSALS if re.search(words, str(error))), None)
        if problem is None and isinstance(error, OSError) and isinstance(error.filename, str):
            problem = error.strerror if Path(error.filename).is_relative_to(folder) else None
        if problem is None or isinstance(error, ConnectorError):
            raise
        raise StagingError(
            f"{'the driver' if isinstance(error, OSError) else 'Spark'} cannot write to the stage {str(folder)!r}: "
            f"{problem}",
            remedy="make room there, or name in `staging` a folder that driver and workers may write, such as "
            "/Volumes/catalog/schema/volume",
        ) from error


def spark_uri(path: Path) -> str:
    """Return `path` as Spark needs it: a bare local path means another place on Databricks, and nothing is encoded."""
    return str(path) if path.parts[:2] == ("/", "Volumes") else f"file:{path.absolute()}"


def driver_path(uri: str) -> Path:
    """Return the driver's path of a file that Spark listed (`file:/...`, `dbfs:/Volumes/...`)."""
    return Path(unquote(urlparse(uri).path))


def local_path(folder: str) -> Path:
    """Return the driver's path of a folder that the user names.

    Raises:
        StagingError: `folder` is no path of the file system.
    """
    parsed = urlparse(folder)
    if parsed.scheme in ("", "file") or folder.startswith("dbfs:/Volumes/"):
        return Path(unquote(parsed.path) if parsed.scheme else folder)
    raise StagingError(
        f"folder {folder!r} cannot be written by the driver",
        remedy="name a Unity Catalog volume (/Volumes/catalog/schema/volume/...) or a local folder",
    )


def private_stage() -> Stage:
    """Return a stage of the driver alone, for what need not be shared."""
    return Stage(process_folder() / "driver")


def _other_machines(spark: SparkSession) -> str | None:
    """Return a problem unless Spark says that its workers run on one machine, whose temporary folder they share."""
    try:
        master = str(spark.conf.get("spark.master"))
    except Exception as error:  # compute that does not show its settings
        return f"Spark does not say where its workers run: {type(error).__name__}"
    return None if master.startswith("local") else f"workers of {master} may run on other machines"


def _problem_of(spark: SparkSession, stage: Stage) -> str | None:
    # One trial for a process: notebooks create many clients, and a trial costs two Spark jobs.
    tried = _tried.setdefault(spark, {})
    if stage.path not in tried or not stage.path.is_dir():
        tried[stage.path] = _not_shared(spark, stage)
    return tried[stage.path]


def _not_shared(spark: SparkSession, stage: Stage) -> str | None:
    """Return why driver and workers do not share the folder; None if they do."""
    token = uuid.uuid4().hex
    try:
        with stage.run("probe") as folder:
            (folder / "from-driver").write_text(token)
            # A worker that does not see the file returns no rows: a failure would be retried three times, and logged.
            reader = spark.read.option("ignoreMissingFiles", "true").option("ignoreCorruptFiles", "true")
            # Many reads of one file: one worker may run on the driver's machine and another elsewhere.
            seen = reader.text([spark_uri(folder / "from-driver")] * _TRIAL_READS)
            if [row[0] for row in seen.collect()] != [token] * _TRIAL_READS:
                return "not all workers see what the driver writes"
            seen.write.text(spark_uri(folder / "from-workers"))
            written = [line for f in (folder / "from-workers").glob("part-*") for line in f.read_text().split()]
            return None if len(written) == _TRIAL_READS else "the driver does not see what all workers write"
    except Exception as error:  # Spark, the file system and the catalog each raise kinds of their own
        return f"{type(error).__name__}: {str(error)[:300]}"
