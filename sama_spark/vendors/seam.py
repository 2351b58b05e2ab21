"""Protocols that a vendor implements: a vendor writes classes of this shape, and no base class is needed.

Nothing here imports Spark, and nothing imports another part of the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

Frames = Literal["key", "all"]
Label = str | Mapping[str, str] | None
Tags = dict[str, list[str]]
Points = Sequence[Sequence[float]]
Triple = tuple[float | None, ...]

Resume = Literal["time", "cursor", "vendor"]
"""The place where a sync goes on in a feed.

- "time": from the latest `delivered_at` in `tasks`, less an overlap.
- "cursor": from the text that the feed's `cursor()` returned when the rows landed, such as a version number.
- "vendor": the vendor keeps the place and serves each page once.
"""


class DeliveryText(Protocol):
    """One delivery of a task.

    Attributes:
        id: the task's id, text or a number; None where it has none.
        delivered_at: when the task was delivered or last changed, as the vendor writes times; None where unknown.
        text: the task's whole JSON text, to the byte.
        data, answers: the JSON texts of inputs and outputs, or `null`. They are views into the memory of `text`, as
            `msgspec.Raw` fields of a decoded text are: a sync takes their places in `text` from their addresses.
        problem: why the delivery cannot be read as a task; None where it can.
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
        name: the column's name.
        spark_type: STRING, BIGINT, INT or TIMESTAMP; or JSON, a text that holds an object or array as the vendor
            wrote it. Columns of type JSON come last. A value that does not fit its type is null.
        json_path: the member of the task's text, with dots between levels, as in `metadata.dataset`.
        comment: what the column holds, as the table says it.
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
            since: where to begin: a time in RFC 3339 (UTC) or a cursor, as `resume` says. None means all.
        """
        ...

    def cursor(self) -> str | None:
        """Return where the next sync begins, once all pages have been read; None unless `resume` is "cursor".

        The cursor lands in one commit with the last rows of the pages, so it is never ahead of them.
        """
        ...


class ImageAnnotation(msgspec.Struct, gc=False):
    """One row of the table `annotations` for a shape in an image, as most are; `ANNOTATIONS` says what columns hold.

    The columns `vendor`, `task_id` and `delivered_at` come from the task. The engine counts `ordinal`, and computes
    `x_min`, `y_min`, `x_max` and `y_max` from `points`. All other columns without a field here are null. `raw` is JSON
    text in UTF-8.
    """

    output: str | None
    kind: str
    raw: bytes
    type: str | None = None
    object_id: str | None = None
    group_id: int | None = None
    group_type: str | None = None
    response: int = 0
    label: str | None = None
    tags: Tags | None = None
    points: Points | None = None


class Annotation(ImageAnnotation):
    """One row of the table `annotations` of any kind, with fields also for columns that the shape of an image lacks."""

    annotation_id: str | None = None
    refers_to: list[str] | None = None
    annotator: str | None = None
    annotated_at: datetime | None = None
    seconds: float | None = None
    frame: int | None = None
    frame_end: int | None = None
    time_start: float | None = None
    time_end: float | None = None
    page: int | None = None
    sensor: str | None = None
    key_frame: bool | None = None
    visible: bool | None = None
    value: str | None = None
    values: list[str] | None = None
    score: float | None = None
    model: str | None = None
    rings: list[list[list[float]]] | None = None
    rotation: float | None = None
    text_start: int | None = None
    text_end: int | None = None
    position: Triple | None = None
    dimensions: Triple | None = None
    direction: Triple | None = None
    mask_url: str | None = None
    mask_path: str | None = None
    mask_value: str | None = None
    status: str | None = None


class AnnotationReader(Protocol):
    """Turns the answers of one task into annotations. Spark pickles the reader to workers, which have no network."""

    def rows(self, answers: bytes) -> Iterator[ImageAnnotation]:
        """Yield the annotations in a task's answers (JSON text), in its order; raise no error, whatever its form.

        `Annotation` does for every row. `ImageAnnotation` takes less time where its fields are enough.
        """
        ...
