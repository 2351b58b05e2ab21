"""What a sync has done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Feed = Literal["delivered", "since_last_call", "status", "batches", "stats"]
_OF_DELIVERIES = ("delivered", "since_last_call")
_CHANGES = {"status": "states changed", "batches": "batches changed", "stats": "changed"}


@dataclass
class FeedSync:
    """One feed.

    Attributes:
        landed: deliveries that had not been seen before. new, updated, unchanged: tasks, of those that came into
            question. unfit: those of the new and updated that have a value which does not fit its type.
        rejected: all deliveries, also of earlier syncs, that lie in `deliveries_raw` and cannot be read as tasks,
            until a later delivery of the same task can.
        notes: what somebody should look at, in words: which deliveries are rejected and why, which masks failed, a
            `label` that no shape has.
        contract_changes: fields that `tasks` has gained.
        masks_copied: masks that were fetched. masks_failed: those that could not be had, whose `mask_path` is null.
        watermark_from: deliveries were asked for from here on; None is all. watermark_to: where the next sync begins,
            less its overlap. Both None for since_last_call, where Sama keeps the place.

    Of status, batches and stats only these count: `pages`, the calls made; `changes`, the states, batches or statistics
    that were noted; `rejected`, the tasks of the status lists that could not be read; `updated`, the tasks whose
    `current_state` changed; `goes_on`, what `max_calls` left to the next sync.
    """

    feed: Feed
    run_id: str
    pages: int = 0
    landed: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    unfit: int = 0
    contract_changes: list[str] = field(default_factory=list)
    masks_copied: int = 0
    masks_failed: int = 0
    watermark_from: datetime | None = None
    watermark_to: datetime | None = None
    changes: int = 0
    goes_on: str | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        notes = "".join(f"\n    {note}" for note in self.notes)
        if self.feed in _CHANGES:
            goes_on = f", goes on: {self.goes_on}" if self.goes_on else ""
            current = f"\n    tasks: {self.updated:,} with another current_state" if self.updated else ""
            passed = f"\n    {self.rejected:,} tasks could not be read" if self.rejected else ""
            return (
                f"{self.feed}: {self.pages:,} calls, {self.changes:,} {_CHANGES[self.feed]}{goes_on}, "
                f"{self.seconds:.1f} s{current}{passed}{notes}"
            )
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        unfit = f"\n    {self.unfit:,} tasks with a value that does not fit: see _rescued_data" if self.unfit else ""
        gained = f"\n    contract gained {', '.join(self.contract_changes)}" if self.contract_changes else ""
        masks = f"\n    masks: {self.masks_copied:,} copied, {self.masks_failed:,} failed"
        by_time = f"\n    from {_shown(self.watermark_from)} to {_shown(self.watermark_to)}"
        return (
            f"{self.feed}: {self.pages:,} pages, {self.landed:,} deliveries landed, {self.seconds:.1f} s\n"
            f"    tasks: {self.new:,} new, {self.updated:,} updated, {self.unchanged:,} unchanged"
            f"{rejected}{unfit}{gained}"
            f"{masks if self.masks_copied or self.masks_failed else ''}"
            f"{by_time if self.feed == 'delivered' else ''}{notes}"
        )


@dataclass
class SyncResult:
    """What one call of `Client.sync` has done, feed by feed."""

    project_id: str
    tables: str
    feeds: list[FeedSync] = field(default_factory=list)

    @property
    def new(self) -> int:
        return sum(feed.new for feed in self.feeds)

    @property
    def updated(self) -> int:
        return sum(feed.updated for feed in self.feeds)

    @property
    def contract_changes(self) -> list[str]:
        return [change for feed in self.feeds for change in feed.contract_changes]

    @property
    def landed(self) -> int:
        return sum(feed.landed for feed in self.feeds)

    @property
    def rejected(self) -> int:
        """What cannot be read as tasks; the two feeds of deliveries each count all that lies in `deliveries_raw`."""
        tables = {"deliveries" if feed.feed in _OF_DELIVERIES else feed.feed: feed.rejected for feed in self.feeds}
        return sum(tables.values())

    @property
    def notes(self) -> list[str]:
        """What somebody should look at, each once."""
        return list(dict.fromkeys(note for feed in self.feeds for note in feed.notes))

    @property
    def masks_copied(self) -> int:
        return sum(feed.masks_copied for feed in self.feeds)

    @property
    def masks_failed(self) -> int:
        return sum(feed.masks_failed for feed in self.feeds)

    def __repr__(self) -> str:
        feeds = "".join(f"\n  {feed}" for feed in self.feeds)
        return f"<project {self.project_id} into {self.tables}{feeds}>"


def _shown(time: datetime | None) -> str:
    return "the beginning" if time is None else f"{time:%F %T} UTC"
