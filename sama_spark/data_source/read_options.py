"""The options of `spark.read` and `spark.readStream`, parsed to the parameters of `ApiClient`'s reading methods."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sama_spark.api.api_client import ApiClient
from sama_spark.api.task_text import Page
from sama_spark.arguments import nearest
from sama_spark.data_source.stream_times import micros
from sama_spark.data_source.text_options import (
    BASE_URL,
    Parser,
    bool_of,
    int_of,
    key_in,
    parse_options,
    project_in,
    staging_in,
    text_of,
)
from sama_spark.errors import InvalidInput
from sama_spark.keys import KeyReference
from sama_spark.staging import Stage

LAG = 60
_FEEDS = ("delivered", "status")


@dataclass(frozen=True)
class ReadOptions:
    """What to read. It travels in Spark's plans, so it holds no secret and no connection.

    Attributes:
        project_id, base_url, key: of the API.
        feed: "delivered" or "status".
        filters: by the parameter names of `ApiClient`.
        staging: the folder that driver and workers share, None for a temporary one.
        lag: seconds that a stream stays behind now; None if the option is not given.
    """

    project_id: str
    base_url: str
    key: KeyReference
    feed: str
    filters: Mapping[str, Any]
    staging: Path | None
    lag: int | None

    @property
    def stage(self) -> Stage:
        """The stage in that folder."""
        return Stage(Path(tempfile.gettempdir()) if self.staging is None else self.staging / "sama-spark")

    @contextmanager
    def pages(self, **more: Any) -> Iterator[Iterator[Page]]:
        """Open a client for the block and give it the pages of the feed. `more` replaces filters."""
        with closing(ApiClient(self.key.resolve(), base_url=self.base_url)) as api:
            read = api.status_pages if self.feed == "status" else api.delivered_pages
            yield read(self.project_id, **{**self.filters, **more})

    def of_a_table(self) -> ReadOptions:
        """Return these options after a check for `spark.read`.

        Raises:
            InvalidInput: an option is for streams.
        """
        if self.lag is not None:
            raise InvalidInput("option `lag` is for streams", remedy="leave it out, or use spark.readStream")
        return self

    def of_a_stream(self) -> ReadOptions:
        """Return these options after a check for `spark.readStream`.

        Raises:
            InvalidInput: the feed cannot be a stream.
        """
        if self.feed != "delivered":
            raise InvalidInput(
                f"feed {self.feed!r} is no stream: a task's status changes and tells not when",
                remedy='read it with spark.read, or stream feed "delivered"',
            )
        return self

    def start(self) -> int:
        """Return the time at which a stream begins, in microseconds since 1970."""
        return _micros_of(self.filters.get("from_timestamp", "1970-01-01")) or 0


def read_options(given: Mapping[str, str]) -> ReadOptions:
    """Parse all options. Their names may be in any case, as Spark gives them.

    Raises:
        InvalidInput: an option is unknown, missing, not understood, or not of this feed. The text never repeats a value
            that may be a key.
    """
    values = parse_options(given, _PARSERS, {"answers_schema": _UNTYPED, "consumer": _SINCE_LAST_CALL})
    feed = values.get("feed", "delivered")
    filters = {name: value for name, value in values.items() if name in _STATUS or name in _DELIVERED}
    if others := sorted(set(filters) - set(_STATUS if feed == "status" else _DELIVERED)):
        raise InvalidInput(
            f"feed {feed!r} takes no option `{others[0]}`",
            remedy=f"leave it out, or read feed {'delivered' if feed == 'status' else 'status'!r}",
        )
    return ReadOptions(
        project_id=project_in(values),
        base_url=values.get("base_url", BASE_URL),
        key=key_in(values),
        feed=feed,
        filters=filters,
        staging=staging_in(values),
        lag=values.get("lag"),
    )


_UNTYPED = InvalidInput(
    "`answers_schema` needs a session, which a source does not have",
    remedy="type the JSON text with from_json(answers_raw, ...) or parse_json(answers_raw), or use "
    "client.get_delivered_tasks_to_table",
)
_SINCE_LAST_CALL = InvalidInput(
    "since_last_call is no feed of this source: Spark may plan a read more than once, and Sama never serves a page "
    "of it again",
    remedy="use client.get_delivered_tasks_since_last_call_to_table, or client.sync with it among `feeds`",
)


def _feed(name: str, text: str) -> str:
    feed = text.strip().lower()
    if feed == "since_last_call":
        raise _SINCE_LAST_CALL
    if feed not in _FEEDS:
        meant = nearest(feed, _FEEDS)
        raise InvalidInput(
            f"option `{name}` is {text!r}",
            remedy=f"do you mean {meant!r}?" if meant else f"give one of {_FEEDS}",
        )
    return feed


def _time(name: str, text: str) -> str:
    if _micros_of(text) is None:
        raise InvalidInput(f"option `{name}` is no time", remedy="give RFC 3339, such as 2026-01-31T00:00:00Z")
    return text


def _micros_of(text: str) -> int | None:
    return micros(text if "T" in text else f"{text}T00:00:00Z")  # a day means its midnight


def _seconds(name: str, text: str) -> int:
    seconds = int_of(name, text)
    if seconds < 0:
        raise InvalidInput(f"option `{name}` is {seconds}", remedy="give seconds, 0 or more")
    return seconds


_DELIVERED: Mapping[str, Parser] = {
    "batch_id": text_of,
    "client_batch_id": text_of,
    "client_batch_id_match_type": text_of,
    "from_timestamp": _time,
    "task_id": text_of,
}
_STATUS: Mapping[str, Parser] = {
    **{name: parser for name, parser in _DELIVERED.items() if name != "task_id"},
    "to_timestamp": _time,
    "date_type": text_of,
    "state": text_of,
    "omit_answers": bool_of,
    "same_as_delivery": bool_of,
    "primary_keys": text_of,
    "priority": int_of,
}
_PARSERS: Mapping[str, Parser] = {"feed": _feed, "lag": _seconds, **_DELIVERED, **_STATUS}
