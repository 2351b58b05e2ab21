"""The options of `spark.read.format("sama")`, parsed to parameters of the reading methods of `ApiClient`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, structs

from sama_spark.api.api_client import ApiClient
from sama_spark.api.task_text import Page
from sama_spark.data_source.text_options import read_text
from sama_spark.errors import InvalidInput
from sama_spark.inbound.times import micros
from sama_spark.keys import KeyReference
from sama_spark.options import Text, about
from sama_spark.staging import Stage

LAG = 60


class ReadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options that only reading takes. The filters are parameters of `ApiClient`."""

    feed: Annotated[Literal["delivered", "status"], about("what to read; `status` is no stream")] = "delivered"
    lag: Annotated[
        Annotated[int, Meta(ge=0)],
        about("streams: whole seconds to stay behind now, and to wait at least between two calls"),
    ] = LAG
    batch_id: Annotated[Text | None, about("only tasks of this batch")] = None
    client_batch_id: Annotated[Text | None, about("only tasks of the batch with this name of your own")] = None
    client_batch_id_match_type: Annotated[Text | None, about("how these names are compared: `exact` or `contains`")] = (
        None
    )
    from_timestamp: Annotated[
        Text | None, about("only tasks since this time, in RFC 3339, or this day; a stream begins there")
    ] = None
    task_id: Annotated[Text | None, about("feed `delivered`: only this task")] = None
    to_timestamp: Annotated[Text | None, about("feed `status`: only tasks until this time")] = None
    date_type: Annotated[Text | None, about("feed `status`: which date these two are compared with")] = None
    state: Annotated[Text | None, about("feed `status`: only tasks in this state")] = None
    omit_answers: Annotated[bool, about("feed `status`: leave the answers out")] = True
    same_as_delivery: Annotated[
        bool | None, about("feed `status`: tasks in the shape of deliveries; by default as Sama gives them")
    ] = None
    primary_keys: Annotated[Text | None, about("feed `status`: only tasks with these keys")] = None
    priority: Annotated[int | None, about("feed `status`: only tasks of this priority")] = None

    def __post_init__(self) -> None:
        for name in ("from_timestamp", "to_timestamp"):
            if (text := getattr(self, name)) is not None and _micros_of(text) is None:
                raise InvalidInput(f"option `{name}` is no time", remedy="give RFC 3339, such as 2026-01-31T00:00:00Z")


_BOTH = ("batch_id", "client_batch_id", "client_batch_id_match_type", "from_timestamp")
FILTERS: Mapping[str, tuple[str, ...]] = {
    name: ("delivered", "status") if name in _BOTH else ("delivered",) if name == "task_id" else ("status",)
    for name in ReadOptions.__struct_fields__
    if name not in ("feed", "lag")
}
"""The feeds that take each filter."""


@dataclass(frozen=True)
class SourceOptions:
    """What to read. It holds no secret and no connection, because Spark's plans carry it.

    Attributes:
        filters: by the parameter names of `ApiClient`.
        stage: where fetched text waits.
        lag: seconds that a stream stays behind now; None where the option was not given.
    """

    project_id: str
    base_url: str
    key: KeyReference
    feed: str
    filters: Mapping[str, Any]
    stage: Stage
    lag: int | None

    @contextmanager
    def pages(self, **more: Any) -> Iterator[Iterator[Page]]:
        """Open the feed and give its pages, while the block lasts. `more`: filters that replace given ones."""
        with closing(ApiClient(self.key.resolve(), base_url=self.base_url)) as api:
            read = api.status_pages if self.feed == "status" else api.delivered_pages
            yield read(self.project_id, **{**self.filters, **more})

    def of_a_table(self) -> SourceOptions:
        """Return these options, for `spark.read`.

        Raises:
            InvalidInput: an option is for streams.
        """
        if self.lag is not None:
            raise InvalidInput("option `lag` is for streams", remedy="leave it out, or use spark.readStream")
        return self

    def of_a_stream(self) -> SourceOptions:
        """Return these options, for `spark.readStream`.

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


def read_options(given: Mapping[str, str]) -> SourceOptions:
    """Parse all options. Their names may be in any case, as Spark gives them.

    Raises:
        InvalidInput: an option is unknown, missing, not understood, or not of this feed. The text never repeats a
            value, which may be a key.
    """
    named = {name.lower(): text for name, text in given.items()}
    if named.get("feed", "").strip().lower() == "since_last_call":
        raise _SINCE_LAST_CALL
    shared, options = read_text(named, ReadOptions, {"answers_schema": _UNTYPED, "consumer": _SINCE_LAST_CALL})
    filters = {name: value for name, value in structs.asdict(options).items() if name in named and name in FILTERS}
    if others := sorted(name for name in filters if options.feed not in FILTERS[name]):
        raise InvalidInput(
            f"feed {options.feed!r} takes no option `{others[0]}`",
            remedy=f"leave it out, or read feed {FILTERS[others[0]][0]!r}",
        )
    return SourceOptions(
        project_id=shared.the_project(),
        base_url=shared.base_url,
        key=shared.key(),
        feed=options.feed,
        filters=filters,
        stage=shared.stage(),
        lag=options.lag if "lag" in named else None,
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


def _micros_of(text: str) -> int | None:
    return micros(text if "T" in text else f"{text}T00:00:00Z")  # a day is its midnight
