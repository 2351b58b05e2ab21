"""Sama over HTTP: every endpoint, retried as far as it is safe. Imports no Spark."""

from sama_spark.api import batches
from sama_spark.api.api_client import ApiClient
from sama_spark.api.batches import BatchItem, BatchJob, WaitingBatch
from sama_spark.api.projects import TemporaryCredentials
from sama_spark.api.states import TaskStates
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
