"""Sama over HTTP: every endpoint, retried as far as it is safe. Imports no Spark."""

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
