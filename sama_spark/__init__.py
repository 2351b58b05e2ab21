"""Spark and Databricks connector for Sama: rows become annotation tasks, labels come back as tables."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sama_spark import errors
from sama_spark.api import RetriableHTTPExceptions, sama_errors
from sama_spark.api.sama_errors import *  # noqa: F403 - the errors are public as a whole
from sama_spark.api.states import TaskStates
from sama_spark.errors import *  # noqa: F403
from sama_spark.http import call_errors
from sama_spark.http.call_errors import *  # noqa: F403

if TYPE_CHECKING:
    from sama_spark.client import Client
    from sama_spark.data_source.datasource import register
    from sama_spark.inbound.annotations import ANNOTATIONS, flatten_annotations
    from sama_spark.inbound.sync.sync_result import SyncResult
    from sama_spark.outbound.creation_result import CreationResult
    from sama_spark.outbound.dry_run import DryRun
    from sama_spark.outbound.micro_batches import MicroBatches
    from sama_spark.outbound.outbox.report import OutboxReport
    from sama_spark.outbound.wait import Outcome
    from sama_spark.pictures.charts import show_label_counts, show_progress
    from sama_spark.pictures.show import show_annotations
    from sama_spark.pre_annotations.from_answers import to_pre_annotations
    from sama_spark.pre_annotations.from_models import (
        boxes_to_output,
        checkbox_to_output,
        menu_to_output,
        points_to_output,
        polygons_to_output,
        polylines_to_output,
    )

__all__ = [
    "ANNOTATIONS",
    "Client",
    "CreationResult",
    "DryRun",
    "MicroBatches",
    "OutboxReport",
    "Outcome",
    "RetriableHTTPExceptions",
    "SyncResult",
    "TaskStates",
    "boxes_to_output",
    "checkbox_to_output",
    "flatten_annotations",
    "menu_to_output",
    "points_to_output",
    "polygons_to_output",
    "polylines_to_output",
    "register",
    "show_annotations",
    "show_label_counts",
    "show_progress",
    "to_pre_annotations",
]
__all__ += errors.__all__
__all__ += call_errors.__all__
__all__ += sama_errors.__all__

# Loaded when first used: `sama_spark.api` works without Spark.
_SPARK_NAMES = {
    "ANNOTATIONS": "sama_spark.inbound.annotations",
    "Client": "sama_spark.client",
    "CreationResult": "sama_spark.outbound.creation_result",
    "DryRun": "sama_spark.outbound.dry_run",
    "MicroBatches": "sama_spark.outbound.micro_batches",
    "OutboxReport": "sama_spark.outbound.outbox.report",
    "Outcome": "sama_spark.outbound.wait",
    "SyncResult": "sama_spark.inbound.sync.sync_result",
    "boxes_to_output": "sama_spark.pre_annotations.from_models",
    "checkbox_to_output": "sama_spark.pre_annotations.from_models",
    "flatten_annotations": "sama_spark.inbound.annotations",
    "menu_to_output": "sama_spark.pre_annotations.from_models",
    "points_to_output": "sama_spark.pre_annotations.from_models",
    "polygons_to_output": "sama_spark.pre_annotations.from_models",
    "polylines_to_output": "sama_spark.pre_annotations.from_models",
    "register": "sama_spark.data_source.datasource",
    "show_annotations": "sama_spark.pictures.show",
    "show_label_counts": "sama_spark.pictures.charts",
    "show_progress": "sama_spark.pictures.charts",
    "to_pre_annotations": "sama_spark.pre_annotations.from_answers",
}


def __getattr__(name: str) -> Any:
    if name in _SPARK_NAMES:
        return getattr(import_module(_SPARK_NAMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
