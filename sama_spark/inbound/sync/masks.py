"""Copies of masks, whose links expire: the driver fetches them into a folder, and `mask_path` names the copies.

The name of a copy is made of its task, delivery and output, not of its link: Sama signs links anew at every reading.
The driver writes a copy under another name, checks it and renames it. So a file of the final name is whole, and a later
sync does not fetch it again.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pyspark.sql import functions as F

from sama_spark.api.time_windows import sort_key
from sama_spark.driver_rows import local_values
from sama_spark.http.call_errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailed,
    InvalidResponse,
    LinkRefused,
    NotFoundError,
    RedirectRefused,
    RequestTimedOut,
    RetryableError,
)
from sama_spark.inbound.annotations import flatten_annotations
from sama_spark.staging import Stage
from sama_spark.vendors.sama.reader import SamaReader
from sama_spark.vendors.seam import Annotation

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from sama_spark.api.api_client import ApiClient
    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.sync_result import FeedSync

log = logging.getLogger("sama_spark")

_IN_FLIGHT = 8
_SECONDS = 60.0  # for each mask
_TRIED = 2  # masks, before a host counts as one that cannot be reached
# Failures to fetch a mask or a new link for it. They are counted and do not stop the sync.
_FAILURES = (
    AuthenticationError,
    BadRequestError,
    InvalidResponse,
    LinkRefused,
    NotFoundError,
    RedirectRefused,
    RetryableError,
)
_LINK = "mask_url"
_UNSAFE, _LONGEST_NAME = r"[^A-Za-z0-9_-]", 80  # characters in names of files
_PNG_BEGINS, _PNG_ENDS = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Mask:
    """A mask to copy to `path`. `delivered_at` is in microseconds since 1970."""

    task_id: str
    output: str
    delivered_at: int
    url: str = field(repr=False)
    path: str


@dataclass(frozen=True)
class Masks:
    """The copies of a project's masks in `folder`, which the driver can write. A sync makes one object.

    The object remembers the masks and hosts that failed, and does not try them again.
    """

    api: ApiClient
    project_id: str
    folder: Path
    _failed: set[str] = field(default_factory=set, repr=False)
    _unreachable: Counter[str | None] = field(default_factory=Counter, repr=False)

    def copy_and_name(self, tasks: DataFrame, rows: DataFrame, progress: FeedSync) -> DataFrame:
        """Copy the masks of `tasks` and return `rows`, the annotations of these tasks, with `mask_path`.

        `mask_path` stays null where a mask cannot be fetched. `tasks` has the columns id, delivered_at, answers_raw.
        """
        # Few projects have masks: to search the text for the word costs less than to parse every answer.
        self._copy(flatten_annotations(tasks.where(F.col("answers_raw").contains(_LINK))), progress)
        return self._with_paths(rows)

    def fill(self, annotations: DeltaTable, progress: FeedSync, most: int | None) -> None:
        """Copy the masks that have no `mask_path` in the table `annotations`, and set it.

        These masks failed in an earlier sync, or were delivered before the first sync with `masks`. `most` limits the
        rows, the latest deliveries first; None takes all.
        """
        lacking = annotations.read().where("mask_url IS NOT NULL AND mask_path IS NULL")
        some = lacking if most is None else lacking.orderBy(F.col("delivered_at").desc()).limit(most)
        there = self._copy(some, progress)
        if there:
            found = self._with_paths(lacking).where("mask_path IS NOT NULL")
            if most is not None:
                found = found.where(F.col("mask_path").isin(there))
            annotations.merge(
                found.select("task_id", "delivered_at", "ordinal", "mask_path"),
                "t.task_id = s.task_id AND t.delivered_at = s.delivered_at AND t.ordinal = s.ordinal",
                "WHEN MATCHED THEN UPDATE SET mask_path = s.mask_path",
            )

    def _with_paths(self, rows: DataFrame) -> DataFrame:
        named = rows.withColumn("mask_path", self._path())
        if self._failed:
            failed = local_values(
                rows.sparkSession, [(path, True) for path in self._failed], "mask_path string, has_failed boolean"
            )
            named = named.join(F.broadcast(failed), "mask_path", "left")
            named = named.withColumn("mask_path", F.when(F.col("has_failed").isNull(), F.col("mask_path")))
        return named.select(rows.columns)

    def _path(self) -> Column:
        """Return the path for the copy of a row's mask; null for rows without a mask."""
        key = F.concat_ws("\x1f", "task_id", F.unix_micros("delivered_at"), "output")
        name = F.concat(_file_name_of("output"), F.lit("-"), F.substring(F.sha2(key, 256), 1, 16), F.lit(".png"))
        path = F.concat_ws("/", F.lit(f"{self.folder}/{self.project_id}"), _file_name_of("task_id"), name)
        return F.when(F.col("mask_url").isNotNull() & F.col("raw").contains(_LINK), path)

    def _copy(self, annotations: DataFrame, progress: FeedSync) -> list[str]:
        """Copy the masks of these rows, a few at a time; return the paths at which there is a copy now."""
        wanted = annotations.withColumn("path", self._path()).where("path IS NOT NULL")
        wanted = wanted.select("task_id", "output", F.unix_micros("delivered_at"), "mask_url", "path")
        stage = Stage(self.folder / "sama-spark")
        stage.sweep("masks")
        there: list[str] = []
        failed: list[tuple[Mask, str]] = []
        pending: deque[tuple[Mask, Future[bool]]] = deque()

        def collect(limit: int) -> None:
            while len(pending) > limit:
                mask, copied = pending.popleft()
                try:
                    progress.masks_copied += copied.result()
                    there.append(mask.path)
                except _FAILURES as error:
                    failed.append((mask, error.message))
                    self._failed.add(mask.path)

        with stage.run("masks") as unfinished, ThreadPoolExecutor(_IN_FLIGHT, "sama-masks") as pool:
            for row in wanted.toLocalIterator(prefetchPartitions=True):
                collect(_IN_FLIGHT - 1)
                mask = Mask(*row)
                if mask.path not in self._failed:
                    pending.append((mask, pool.submit(self._copy_one, mask, unfinished)))
            collect(0)
        progress.masks_failed += len(failed)
        if failed:
            shown = "; ".join(f"task {mask.task_id}, output {mask.output}: {why}" for mask, why in failed[:3])
            note = f"{len(failed):,} masks have no copy ({shown}): the next sync with masks=... tries them again"
            progress.notes.append(note)
            log.warning("%s", note)
        return there

    def _copy_one(self, mask: Mask, unfinished: Path) -> bool:
        """Copy a mask, unless its host could not be reached for earlier masks."""
        host = _host(mask.url)
        if self._unreachable[host] >= _TRIED and not Path(mask.path).exists():
            raise LinkRefused(f"host {host} could not be reached, and was not tried again")
        try:
            return copy(self.api, self.project_id, mask, unfinished)
        except (ConnectionFailed, RequestTimedOut):
            self._unreachable[host] += 1
            raise


def copy(api: ApiClient, project_id: str, mask: Mask, unfinished: Path) -> bool:
    """Copy a mask unless its copy exists; return whether it was fetched.

    If the link has expired, read the task once more for a new link: GET tasks/{id}.json.

    Args:
        api: the client of the project, which fetches the mask without the API key.
        project_id: Sama's project.
        mask: what to copy, and where to.
        unfinished: folder for the file until it is whole, in the same file system as the copies.

    Raises:
        LinkRefused: the new link is refused or leads to no PNG, or Sama has no new link for this delivery.
    """
    if Path(mask.path).exists():
        return False
    try:
        _fetch(api, project_id, mask, unfinished)
    except LinkRefused:
        _fetch(api, project_id, replace(mask, url=_new_link(api, project_id, mask)), unfinished)
    return True


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _fetch(api: ApiClient, project_id: str, mask: Mask, unfinished: Path) -> None:
    file = unfinished / uuid.uuid4().hex
    try:
        api.download_mask(project_id, mask.url, file, deadline=_SECONDS)
    except RedirectRefused as error:
        raise LinkRefused(error.message) from None
    with file.open("rb") as content:
        begins = content.read(len(_PNG_BEGINS))
        content.seek(max(file.stat().st_size - len(_PNG_ENDS), 0))
        ends = content.read()
    if (begins, ends) != (_PNG_BEGINS, _PNG_ENDS):
        raise LinkRefused(f"what came is no PNG, or not the whole of one: it begins with {begins!r}")
    path = Path(mask.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.replace(path)


def _new_link(api: ApiClient, project_id: str, mask: Mask) -> str:
    try:
        task = api.task_status_text(project_id, mask.task_id, same_as_delivery=True)
    except NotFoundError as error:
        raise LinkRefused(f"the task cannot be read any more: {error.message}") from None
    delivered = f"{_EPOCH + timedelta(microseconds=mask.delivered_at):%FT%T%f}"
    if (sort_key(task.delivered_at) or "")[: len(delivered)] != delivered:
        raise LinkRefused("the link has expired, and the task is not as it was delivered then")
    rows = [row for row in SamaReader().rows(bytes(task.answers)) if isinstance(row, Annotation)]
    url = next((row.mask_url for row in rows if row.output == mask.output and row.mask_url), None)
    if url is None:
        raise LinkRefused("the link has expired, and the task has no mask any more")
    return url


def file_name_of(name: str) -> str:
    """Return the name with `_` for each character that is unsafe in a file's name, cut at 80 characters."""
    return re.sub(_UNSAFE, "_", name)[:_LONGEST_NAME]


def _file_name_of(name: str) -> Column:
    """Return the same for a column of names."""
    return F.substring(F.regexp_replace(name, _UNSAFE, "_"), 1, _LONGEST_NAME)
