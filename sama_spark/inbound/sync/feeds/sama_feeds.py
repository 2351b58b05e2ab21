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
class _Deliveries:
    """What the feeds of deliveries share."""

    name: ClassVar[str]
    api: ApiClient
    project_id: str
    filters: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The name, with the filters."""
        written = ", ".join(f"{name}={value}" for name, value in self.filters.items())
        return f"{self.name}({written})" if written else self.name

    def cursor(self) -> None:
        """Return None: times of rows, or Sama, tell where the next sync begins."""


class DeliveredFeed(_Deliveries):
    """The deliveries by time. This feed can be read again, so it loses nothing."""

    name: ClassVar[str] = "delivered"
    resume: ClassVar[Resume] = "time"

    def pages(self, since: str | None) -> Iterator[Page]:
        """Yield what was delivered from `since` on."""
        return self.api.delivered_pages(self.project_id, from_timestamp=since, **self.filters)


@dataclass(frozen=True)
class SinceLastCallFeed(_Deliveries):
    """What Sama has not yet served to `consumer`. Sama keeps the place and serves each page once."""

    name: ClassVar[str] = "since_last_call"
    resume: ClassVar[Resume] = "vendor"
    consumer: str | None

    def pages(self, since: str | None) -> Iterator[Page]:  # noqa: ARG002 - Sama knows
        """Yield what has not been served yet."""
        return self.api.since_last_call_pages(self.project_id, consumer=self.consumer, **self.filters)


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
        "since_last_call": SinceLastCallFeed(api, project_id, filters, consumer),
        "status": StatusFeed(api, max_calls),
        "batches": BatchFeed(api, batches, max_calls),
        "stats": StatsFeed(api),
    }
    return [known[name] for name in names]
