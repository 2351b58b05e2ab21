"""What each vendor implements, as types. Nothing here imports Spark, HTTP or a vendor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal, Protocol

import msgspec

Frames = Literal["key", "all"]
Label = str | Mapping[str, str] | None
Tags = dict[str, list[str]]
Triple = tuple[float | None, ...]


class Annotation(msgspec.Struct, gc=False):
    """One row of the table `annotations`; `ANNOTATIONS` says what each column holds.

    The columns `vendor`, `task_id` and `delivered_at` come from the task. `raw` is JSON text in UTF-8.
    """

    output: str | None
    kind: str
    raw: bytes
    ordinal: int = 0
    type: str | None = None
    annotation_id: str | None = None
    object_id: str | None = None
    refers_to: list[str] | None = None
    group_id: int | None = None
    group_type: str | None = None
    response: int = 0
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
    label: str | None = None
    tags: Tags | None = None
    value: str | None = None
    values: list[str] | None = None
    score: float | None = None
    model: str | None = None
    points: list[list[float]] | None = None
    rings: list[list[list[float]]] | None = None
    x_min: float | None = None
    y_min: float | None = None
    x_max: float | None = None
    y_max: float | None = None
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

    def rows(self, answers: bytes) -> Iterator[Annotation]:
        """Yield the annotations in a task's answers (JSON text), in its order; raise nothing on odd answers."""
