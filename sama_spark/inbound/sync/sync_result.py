"""The result of a sync, as a user sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

FeedName = Literal["delivered", "since_last_call", "status", "batches", "stats"]
# The feeds that keep a table of their own, and what they count.
_CHANGES = {"status": "states changed", "batches": "batches changed", "stats": "changed"}


@dataclass
class FeedSync:
    """What a sync has done in one feed. While the sync runs, it counts here.

    Attributes:
        feed: name of the feed.
        pages: pages that were read; of "status", "batches" and "stats", calls that were made.
        landed: deliveries that `deliveries_raw` did not have yet.
        new, updated, unchanged: tasks, among those of which the sync read a delivery. Of "status", `updated` counts
            the tasks whose `current_state` changed.
        rejected: all deliveries in `deliveries_raw`, also of earlier syncs, that cannot be read as tasks and of whose
            task no later delivery could be read. Of "status", tasks in its lists that could not be read.
        unfit: new and updated tasks with a value that does not fit its type.
        contract_changes: fields that `tasks` has gained.
        masks_copied: masks that were fetched.
        masks_failed: masks that could not be fetched; their `mask_path` is null.
        watermark_from: the sync read deliveries from this time on; None means all.
        watermark_to: the next sync reads from this time on, less its overlap. Both times are None where the feed does
            not go on by time.
        changes: states, batches or statistics that were recorded.
        goes_on: what `max_calls` left to the next sync.
        notes: what somebody should look at, in words: rejected deliveries and why, masks that failed, a `label` that
            no shape has.
        seconds: how long it took.
    """

    feed: str
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
        times = f"\n    from {_shown(self.watermark_from)} to {_shown(self.watermark_to)}"
        return (
            f"{self.feed}: {self.pages:,} pages, {self.landed:,} deliveries landed, {self.seconds:.1f} s\n"
            f"    tasks: {self.new:,} new, {self.updated:,} updated, {self.unchanged:,} unchanged"
            f"{rejected}{unfit}{gained}"
            f"{masks if self.masks_copied or self.masks_failed else ''}"
            f"{times if self.watermark_to else ''}{notes}"
        )


@dataclass
class SyncResult:
    """What one sync has done, feed by feed.

    Attributes:
        project_id: the project.
        tables: where its tables lie, with `*` for the table's name.
        feeds: one result for each feed, in the order in which they were read.
    """

    project_id: str
    tables: str
    feeds: list[FeedSync] = field(default_factory=list)

    @property
    def new(self) -> int:
        """Return the number of tasks that were new, over all feeds."""
        return sum(feed.new for feed in self.feeds)

    @property
    def updated(self) -> int:
        """Return the number of tasks that were updated, over all feeds."""
        return sum(feed.updated for feed in self.feeds)

    @property
    def contract_changes(self) -> list[str]:
        """Return the fields that `tasks` has gained."""
        return [change for feed in self.feeds for change in feed.contract_changes]

    @property
    def landed(self) -> int:
        """Return the number of deliveries that landed, over all feeds."""
        return sum(feed.landed for feed in self.feeds)

    @property
    def rejected(self) -> int:
        """Return the number of rejected deliveries and tasks.

        Each feed of deliveries counts all that lies in `deliveries_raw`, so only the last of them counts here.
        """
        tables = {feed.feed if feed.feed in _CHANGES else "deliveries": feed.rejected for feed in self.feeds}
        return sum(tables.values())

    @property
    def notes(self) -> list[str]:
        """Return what somebody should look at, each note once."""
        return list(dict.fromkeys(note for feed in self.feeds for note in feed.notes))

    @property
    def masks_copied(self) -> int:
        """Return the number of masks that were copied."""
        return sum(feed.masks_copied for feed in self.feeds)

    @property
    def masks_failed(self) -> int:
        """Return the number of masks that could not be copied."""
        return sum(feed.masks_failed for feed in self.feeds)

    def __repr__(self) -> str:
        feeds = "".join(f"\n  {feed}" for feed in self.feeds)
        return f"<project {self.project_id} into {self.tables}{feeds}>"


def _shown(time: datetime | None) -> str:
    return "the beginning" if time is None else f"{time:%F %T} UTC"
