"""Masks lie behind links that expire: the driver copies them to a folder, and `annotations` names the copies.

A copy's name follows from its task, delivery and output, since its link is another one at every reading. The driver
writes a copy elsewhere, checks it and renames it. So a file of that name is whole, and is not fetched again.
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

from sama_spark.api.paging import sort_key
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
from sama_spark.vendors.sama.reader import Flattener

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from sama_spark.api.api_client import ApiClient
    from sama_spark.delta import DeltaTable
    from sama_spark.inbound.sync.sync_result import FeedSync

log = logging.getLogger("sama_spark")

_IN_FLIGHT = 8
_SECONDS = 60.0  # for each
_TRIED = 2  # most masks to try of a host that cannot be reached
# Failures of a mask, or of the call for its new link. The labels arrive all the same.
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
_ODD, _LONGEST = r"[^A-Za-z0-9_-]", 80  # in names of files
_PNG_BEGINS, _PNG_ENDS = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Mask:
    """A mask that is to be copied to `path`; `delivered_at` counts microseconds since 1970."""

    task_id: str
    output: str
    delivered_at: int
    url: str = field(repr=False)
    path: str


@dataclass(frozen=True)
class Masks:
    """The copies of a project's masks in `folder`, which the driver can write.

    An object is for one sync, since it remembers which masks failed.
    """

    api: ApiClient
    project_id: str
    folder: Path
    _failed: set[str] = field(default_factory=set, repr=False)
    _unreachable: Counter[str | None] = field(default_factory=Counter, repr=False)

    def named(self, tasks: DataFrame, rows: DataFrame, progress: FeedSync) -> DataFrame:
        """Copy the masks of `tasks` (id, delivered_at, answers_raw).

        Returns:
            `rows`, their annotations, with `mask_path`: null where the mask could not be fetched.
        """
        # Few projects have masks at all: to look for the member's name costs less than to flatten every answer.
        self._copy(flatten_annotations(tasks.where(F.col("answers_raw").contains(_LINK))), progress)
        return self._with_paths(rows)

    def fill(self, annotations: DeltaTable, progress: FeedSync, most: int | None) -> None:
        """Copy and name the masks that `annotations` lacks: they failed, or came before a sync with `masks`.

        Args:
            annotations: the table.
            progress: counts the masks.
            most: most rows to look at, the latest deliveries first; None means all.
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
            gone = rows.sparkSession.createDataFrame(
                [(path, True) for path in self._failed], "mask_path string, gone boolean"
            )
            named = named.join(F.broadcast(gone), "mask_path", "left")
            named = named.withColumn("mask_path", F.when(F.col("gone").isNull(), F.col("mask_path")))
        return named.select(rows.columns)

    def _path(self) -> Column:
        """Return the path of a row's copy; null for rows in which `named` does not look for a mask."""
        key = F.concat_ws("\x1f", "task_id", F.unix_micros("delivered_at"), "output")
        name = F.concat(_plain("output"), F.lit("-"), F.substring(F.sha2(key, 256), 1, 16), F.lit(".png"))
        path = F.concat_ws("/", F.lit(f"{self.folder}/{self.project_id}"), _plain("task_id"), name)
        return F.when(F.col("mask_url").isNotNull() & F.col("raw").contains(_LINK), path)

    def _copy(self, annotations: DataFrame, progress: FeedSync) -> list[str]:
        """Copy the masks of these rows, a few in flight. Return the paths at which there is a copy now."""
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
                if mask.path not in self._failed:  # in this sync
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
        """Copy a mask, unless its host could not be reached before: that costs a minute each time."""
        host = _host(mask.url)
        if self._unreachable[host] >= _TRIED and not Path(mask.path).exists():
            raise LinkRefused(f"host {host} could not be reached, and was not tried again")
        try:
            return copy(self.api, self.project_id, mask, unfinished)
        except (ConnectionFailed, RequestTimedOut):
            self._unreachable[host] += 1
            raise


def copy(api: ApiClient, project_id: str, mask: Mask, unfinished: Path) -> bool:
    """Copy a mask unless there is a copy. If its link has expired, ask Sama once for a new one.

    Args:
        api: how to call Sama.
        project_id: the project.
        mask: the mask.
        unfinished: a folder beside the copies, for files that are not whole yet.

    Returns:
        Whether the mask was fetched.

    Raises:
        LinkRefused: The new link leads nowhere or to no PNG, or this delivery has no new link.
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
    rows = Flattener().rows(bytes(task.answers))
    url = next((row.mask_url for row in rows if row.output == mask.output and row.mask_url), None)
    if url is None:
        raise LinkRefused("the link has expired, and the task has no mask any more")
    return url


def plain(name: str) -> str:
    """Return a name that a file may have."""
    return re.sub(_ODD, "_", name)[:_LONGEST]


def _plain(name: str) -> Column:
    """Do the same with a column."""
    return F.substring(F.regexp_replace(name, _ODD, "_"), 1, _LONGEST)
