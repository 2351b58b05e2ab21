"""Sama's API: every endpoint, with calls repeated as far as that is safe. Imports no Spark.

The client, and the modules that its calls meet in this order:

- `api_client`: `ApiClient`, one method per endpoint; its groups are `creation`, `progress`, `tasks`, `feeds`,
  `projects`.
- `calls`: builds calls and checks their arguments, for all groups.
- `records`, `marked_values`: Python records as Sama's JSON, and values that could not be made.
- `sama_dialect`: where a call to Sama carries the key, and what Sama's error replies mean.
- `batches`, `job_state`: the steps of a batch, what happens where `continue` gets no reply, how often a creation job
  is polled, and what its states mean.
- `paging`: reads lists to the end although tasks move between pages. `http.retry.Pacer` paces calls of the status list.
- `delivered_scan`: reads deliveries by time, in `time_windows`, of which `delivery_blocks` reads several at once; or by
  page number.
- `replies`, `batch_replies`: replies, decoded to the shape that a call expects.
- `task_text`, `states`: a task as the server wrote it, and the states of a task.
- `broken_json`, `broken_replies`: what can be read of JSON that a strict parser rejects.
- `interruption_notes`: notes what an interrupted run leaves at Sama.
- `sama_errors`: errors that only Sama's API and batches have.
"""

from sama_spark import errors
from sama_spark.api import batches, sama_errors
from sama_spark.api.api_client import ApiClient
from sama_spark.api.batch_replies import BatchItem, BatchJob, WaitingBatch
from sama_spark.api.projects import TemporaryCredentials
from sama_spark.api.sama_errors import *  # noqa: F403 - the errors are public as a whole
from sama_spark.api.states import TaskStates
from sama_spark.errors import *  # noqa: F403
from sama_spark.http import call_errors
from sama_spark.http.call_errors import *  # noqa: F403
from sama_spark.http.call_errors import RetryableError
from sama_spark.http.retry import Clock, SystemClock

RetriableHTTPExceptions = RetryableError
"""The name that Sama's own SDK exports."""

__all__ = [
    "ApiClient",
    "BatchItem",
    "BatchJob",
    "Clock",
    "RetriableHTTPExceptions",
    "SystemClock",
    "TaskStates",
    "TemporaryCredentials",
    "WaitingBatch",
    "batches",
]
__all__ += errors.__all__
__all__ += call_errors.__all__
__all__ += sama_errors.__all__
