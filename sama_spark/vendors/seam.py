"""What the engine asks of a vendor, as protocols: a vendor writes classes of this shape, and no base class is needed.

Nothing here imports Spark, and nothing imports another part of the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

Resume = Literal["time", "cursor", "vendor"]
"""How a sync knows where to go on in a feed.

- "time": from the latest `delivered_at` in `tasks`, less an overlap.
- "cursor": from the text that the feed's `cursor()` returned when the rows landed, such as a version number.
- "vendor": the vendor keeps the place and serves each page once.
"""


class DeliveryText(Protocol):
    """One delivery of a task.

    Attributes:
        id: The task's id, text or a number; None where it has none.
        delivered_at: When the task was delivered or last changed, as the vendor writes times; None where unknown.
        text: The task's whole JSON text, to the byte.
        data, answers: The JSON texts of inputs and outputs, or `null`. They are views into the memory of `text`, as
            `msgspec.Raw` fields of a decoded text are: the engine takes their places in `text` from their addresses.
        problem: Why the delivery cannot be read as a task; None where it can.
    """

    id: Any
    delivered_at: Any
    data: msgspec.Raw
    answers: msgspec.Raw
    text: msgspec.Raw
    problem: Any


Page = Sequence[DeliveryText]


class Field(NamedTuple):
    """A column of the table `tasks` that is read from a task's JSON text.

    Attributes:
        name: The column's name.
        spark_type: STRING, BIGINT, INT or TIMESTAMP; or JSON, a text that holds an object or array as the vendor
            wrote it. Columns of type JSON come last. A value that does not fit its type is null.
        json_path: The member of the task's text, with dots between levels, as in `metadata.dataset`.
        comment: What the column holds, as the table says it.
    """

    name: str
    spark_type: Literal["STRING", "BIGINT", "INT", "TIMESTAMP", "JSON"]
    json_path: str
    comment: str = ""


class Feed(Protocol):
    """A list of deliveries, read page by page."""

    @property
    def name(self) -> str:
        """The feed's name in results and in the table `runs`."""
        ...

    @property
    def source(self) -> str:
        """The feed's name in the column `feed`: `name`, with the filters if there are any.

        A filtered feed leaves deliveries out, so it must not move the place of the whole feed.
        """
        ...

    @property
    def resume(self) -> Resume:
        """How a sync knows where to go on."""
        ...

    def pages(self, since: str | None) -> Iterator[Page]:
        """Yield the pages, in the vendor's order.

        Args:
            since: Where to begin: a time in RFC 3339 (UTC) or a cursor, as `resume` says. None means all.
        """
        ...

    def cursor(self) -> str | None:
        """Return where the next sync begins, once all pages have been read; None unless `resume` is "cursor".

        The cursor lands in one commit with the last rows of the pages, so it is never ahead of them.
        """
        ...


class AnnotationReader(Protocol):
    """Turns a task's answers into annotations. It is pickled and runs on workers, without a network."""

    def rows(self, answers: bytes) -> Iterator[msgspec.Struct]:
        """Yield one struct for each annotation, with a field for each column that follows the task's own."""
        ...
