from sama_spark.api import RetriableHTTPExceptions as RetriableHTTPExceptions
from sama_spark.api.sama_errors import *  # noqa: F403
from sama_spark.api.states import TaskStates as TaskStates
from sama_spark.client import Client as Client
from sama_spark.data_source.datasource import register as register
from sama_spark.errors import *  # noqa: F403
from sama_spark.http.call_errors import *  # noqa: F403
from sama_spark.inbound.annotation_columns import ANNOTATIONS as ANNOTATIONS
from sama_spark.inbound.annotations import flatten_annotations as flatten_annotations
from sama_spark.inbound.sync.sync_result import SyncResult as SyncResult
from sama_spark.outbound.creation_result import CreationResult as CreationResult
from sama_spark.outbound.dry_run import DryRun as DryRun
from sama_spark.outbound.micro_batches import MicroBatches as MicroBatches
from sama_spark.outbound.outbox.report import OutboxReport as OutboxReport
from sama_spark.outbound.wait import Outcome as Outcome
from sama_spark.pictures.charts import show_label_counts as show_label_counts
from sama_spark.pictures.charts import show_progress as show_progress
from sama_spark.pictures.show import show_annotations as show_annotations
from sama_spark.pre_annotations.from_answers import to_pre_annotations as to_pre_annotations
from sama_spark.pre_annotations.from_models import boxes_to_output as boxes_to_output
from sama_spark.pre_annotations.from_models import checkbox_to_output as checkbox_to_output
from sama_spark.pre_annotations.from_models import menu_to_output as menu_to_output
from sama_spark.pre_annotations.from_models import points_to_output as points_to_output
from sama_spark.pre_annotations.from_models import polygons_to_output as polygons_to_output
from sama_spark.pre_annotations.from_models import polylines_to_output as polylines_to_output
