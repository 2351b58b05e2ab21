"""Sama over HTTP: every endpoint, retried as far as it is safe. Imports no Spark."""

from . import batches, errors
from .batches import BatchItem, BatchJob, WaitingBatch
from .client import ApiClient
from .errors import *  # noqa: F403 - the tree of errors is public as a whole
from .errors import RetryableError
from .projects import TemporaryCredentials
from .retry import Clock, SystemClock
from .states import TaskStates

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
