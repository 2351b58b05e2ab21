"""Where text waits between Spark and HTTP: a folder that the driver and Spark's workers share.

It holds customer data. Each run has a folder of its own, `<staging>/sama-spark/<kind>-<UTC time>-<id>`, removed
when the run ends or by `close()`, and swept after `ttl`. Whether a folder is shared is tried with a token in
each direction, never inferred: a single-node cluster is "local" too.
"""

from __future__ import annotations

import atexit
import getpass
import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse
from weakref import WeakKeyDictionary

from sama_spark.errors import StagingError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("sama_spark")

STAGING_TTL = timedelta(days=7)
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_tried: WeakKeyDictionary[SparkSession, dict[Path, str | None]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Stage:
    """A shared folder. `path` is the driver's view of it."""

    path: Path
    ttl: timedelta = STAGING_TTL

    def new_run(self, kind: str) -> Path:
        """A fresh folder for one run."""
        run = self.path / run_name(kind)
        run.mkdir(parents=True, mode=0o700)
        return run

    @contextmanager
    def run(self, kind: str) -> Iterator[Path]:
        """A fresh folder that is gone when the block ends, however it ends."""
        folder = self.new_run(kind)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, kind: str = "*") -> None:
        """Remove run folders (of one kind) older than `ttl`, which dead processes left behind."""
        self._remove_before(datetime.now(timezone.utc) - self.ttl, kind)

    def clear(self) -> int:
        """Remove all run folders; gives their number."""
        return self._remove_before(datetime.max.replace(tzinfo=timezone.utc), "*")

    def _remove_before(self, oldest: datetime, kind: str) -> int:
        removed = 0
        for folder in self.path.glob(f"{kind}-*Z-*"):
            try:
                begun = datetime.strptime(folder.name.split("-")[-2], _TIME_FORMAT).replace(tzinfo=timezone.utc)
            except ValueError:
                continue
            if begun < oldest:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed


class Staging:
    """The stages of one client, and what it left in them."""

    def __init__(self, ttl: timedelta = STAGING_TTL) -> None:
        self._ttl = ttl
        self._found: WeakKeyDictionary[SparkSession, dict[str | None, Stage | None]] = WeakKeyDictionary()
        self._runs: list[Path] = []

    def stage(self, spark: SparkSession, folder: str | None) -> Stage | None:
        """The stage in `folder`, or in a temporary folder where that is None and Spark's workers see it too.

        Raises:
            StagingError: `folder` was named and is not shared both ways.
        """
        found = self._found.setdefault(spark, {})
        if folder not in found:
            base = _temporary_folder() if folder is None else local_path(folder)
            stage = Stage(base / "sama-spark", self._ttl)
            problem = _problem_of(spark, stage)
            if problem and folder is not None:
                raise StagingError(
                    f"staging folder {folder!r} is not shared by driver and workers: {problem}",
                    remedy="name a Unity Catalog volume (/Volumes/catalog/schema/volume/...) that both may write, "
                    "or leave `staging` out: text then streams through the driver",
                )
            if problem:
                log.debug("no shared folder, text streams through the driver: %s", problem)
            else:
                stage.sweep()
            found[folder] = None if problem else stage
        return found[folder]

    def keep(self, run: Path) -> Path:
        """Remember a run's folder that outlives the call, until `close()`."""
        self._runs.append(run)
        return run

    def close(self) -> None:
        """Remove the folders of this client's runs: DataFrames that read from them cannot be read any more."""
        while self._runs:
            shutil.rmtree(self._runs.pop(), ignore_errors=True)


def text_lines(spark: SparkSession, lines: Iterable[bytes], file: Path | None) -> DataFrame:
    """Lines of text as a DataFrame of one column, `value`: through `file`, which driver and workers share, or
    without one through the driver's memory."""
    if file is None:
        return spark.createDataFrame([(line.decode(),) for line in lines], "value string")
    with file.open("xb") as stream:
        stream.writelines(line + b"\n" for line in lines)
    return spark.read.text(spark_uri(file))


def run_name(kind: str) -> str:
    """A name for a run's folder, which says when it was begun."""
    return f"{kind}-{datetime.now(timezone.utc).strftime(_TIME_FORMAT)}-{uuid.uuid4().hex[:8]}"


def spark_uri(path: Path) -> str:
    """`path` as Spark has to be told it: bare local paths mean another place on a Databricks cluster.

    Nothing is percent-encoded: Spark takes paths as they are written.
    """
    return str(path) if path.parts[:2] == ("/", "Volumes") else f"file:{path.absolute()}"


def driver_path(uri: str) -> Path:
    """The driver's path of a file that Spark listed (`file:/...`, `dbfs:/Volumes/...`)."""
    return Path(unquote(urlparse(uri).path))


def local_path(folder: str) -> Path:
    """The driver's path of a folder that the user names.

    Raises:
        StagingError: it is no path of the file system.
    """
    parsed = urlparse(folder)
    if parsed.scheme in ("", "file") or folder.startswith("dbfs:/Volumes/"):
        return Path(unquote(parsed.path) if parsed.scheme else folder)
    raise StagingError(
        f"folder {folder!r} cannot be written by the driver",
        remedy="name a Unity Catalog volume (/Volumes/catalog/schema/volume/...) or a local folder",
    )


@cache
def _temporary_folder() -> Path:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no user name for this id, as in some containers
        user = "user"
    base = Path(tempfile.gettempdir()) / f"sama-spark-{user}-{uuid.uuid4().hex[:8]}"
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    return base


def _problem_of(spark: SparkSession, stage: Stage) -> str | None:
    # Tried once in a process: a client is made in many a notebook cell, and the trial costs two Spark jobs.
    tried = _tried.setdefault(spark, {})
    if stage.path not in tried or not stage.path.is_dir():
        tried[stage.path] = _not_shared(spark, stage)
    return tried[stage.path]


def _not_shared(spark: SparkSession, stage: Stage) -> str | None:
    """Why driver and workers do not share the folder, or None."""
    from pyspark.sql import functions as F

    token = uuid.uuid4().hex
    try:
        stage.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with stage.run("probe") as folder:
            (folder / "from-driver").write_text(token)
            seen = spark.read.text(spark_uri(folder / "from-driver")).first()
            if seen is None or seen[0] != token:
                return "workers do not see what the driver writes"
            spark.range(1).select(F.lit(token)).write.text(spark_uri(folder / "from-workers"))
            written = [f.read_text().strip() for f in (folder / "from-workers").glob("part-*")]
            return None if token in written else "the driver does not see what workers write"
    except Exception as error:  # Spark, the file system and the catalog each have errors of their own
        return f"{type(error).__name__}: {str(error)[:300]}"
