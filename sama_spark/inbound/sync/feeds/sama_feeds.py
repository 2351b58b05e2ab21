"""Sama's feeds of deliveries, and the list of feeds for one sync."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sama_spark.inbound.sync.feeds.batch_feed import BatchFeed
from sama_spark.inbound.sync.feeds.stats_feed import StatsFeed
from sama_spark.inbound.sync.feeds.status_feed import StatusFeed

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient
    from sama_spark.api.task_text import Page
    from sama_spark.inbound.sync.sync_result import FeedName
    from sama_spark.inbound.sync.sync_run import TableFeed
    from sama_spark.vendors.seam import Feed, Resume


@dataclass(frozen=True)
class DeliveredFeed:
    """The deliveries by time. This feed can be read again, so it loses nothing."""

    name: ClassVar[str] = "delivered"
    resume: ClassVar[Resume] = "time"
    api: ApiClient
    project_id: str
    filters: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The name, with the filters."""
        return _source(self.name, self.filters)

    def pages(self, since: str | None) -> Iterator[Page]:
        """Yield what was delivered from `since` on."""
        return self.api.delivered_pages(self.project_id, from_timestamp=since, **self.filters)

    def cursor(self) -> None:
        """Return None: the times of the rows tell where the next sync begins."""


@dataclass(frozen=True)
class SinceLastCallFeed:
    """What Sama has not yet served to `consumer`. Sama keeps the place and serves each page once."""

    name: ClassVar[str] = "since_last_call"
    resume: ClassVar[Resume] = "vendor"
    api: ApiClient
    project_id: str
    consumer: str | None
    filters: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The name, with the filters."""
        return _source(self.name, self.filters)

    def pages(self, since: str | None) -> Iterator[Page]:  # noqa: ARG002 - Sama knows
        """Yield what has not been served yet."""
        return self.api.since_last_call_pages(self.project_id, consumer=self.consumer, **self.filters)

    def cursor(self) -> None:
        """Return None: Sama keeps the place."""


def sama_feeds(
    names: Sequence[FeedName],
    api: ApiClient,
    project_id: str,
    *,
    consumer: str | None,
    batches: Sequence[int],
    max_calls: int | None,
    filters: Mapping[str, Any],
) -> list[Feed | TableFeed]:
    """Return the feeds of these names, in the same order; see `Client.sync` for the arguments."""
    known: dict[FeedName, Feed | TableFeed] = {
        "delivered": DeliveredFeed(api, project_id, filters),
        "since_last_call": SinceLastCallFeed(api, project_id, consumer, filters),
        "status": StatusFeed(api, max_calls),
        "batches": BatchFeed(api, batches, max_calls),
        "stats": StatsFeed(api),
    }
    return [known[name] for name in names]


def _source(name: str, filters: Mapping[str, Any]) -> str:
    written = ", ".join(f"{name}={value}" for name, value in filters.items())
    return f"{name}({written})" if written else name
