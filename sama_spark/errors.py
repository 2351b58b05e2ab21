"""The root of all errors, and the errors about rows, folders and tables.

Every error says what failed, where, whether a retry can help and what to do, and can be pickled. No error holds an API
key or a signed URL: texts are redacted before an error is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = [
    "ChangedRows",
    "ConnectorError",
    "ContractError",
    "FeedInterrupted",
    "InvalidInput",
    "InvalidRowsError",
    "OutboxError",
    "RepeatedKeys",
    "StagingError",
    "SyncError",
    "TableError",
    "TooManyTasks",
]


class ConnectorError(Exception):
    """The root of all errors that this package raises on purpose.

    Attributes:
        message: what happened; the server's own words where it gave any.
        call: the call that failed, in words, such as "get delivered tasks".
        status: HTTP status of the reply, None where there was none.
        error_types: the server's own error types, such as ("InvalidInputSchema",).
        request_id: the server's request id, None where it gave none.
        project_id, batch_id: where the call failed, None where that does not apply.
        retryable: True if the same call may succeed later, with nothing changed and nothing done twice.
        maybe_done: True if the server may have carried the call out although it failed here.
        remedy: what to do about the error.
    """

    remedy: str = ""
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        call: str | None = None,
        status: int | None = None,
        error_types: Sequence[str] = (),
        request_id: str | None = None,
        project_id: str | int | None = None,
        batch_id: str | int | None = None,
        retryable: bool | None = None,
        maybe_done: bool = False,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.call = call
        self.status = status
        self.error_types = tuple(error_types)
        self.request_id = request_id
        self.project_id = project_id
        self.batch_id = batch_id
        self.maybe_done = maybe_done
        if retryable is not None:
            self.retryable = retryable
        if remedy is not None:
            self.remedy = remedy

    @property
    def error_type(self) -> str | None:
        """The server's first error type, None where it gave none."""
        return self.error_types[0] if self.error_types else None

    def __str__(self) -> str:
        where = [
            f"HTTP {self.status}" if self.status else "",
            ", ".join(self.error_types),
            f"project {self.project_id}" if self.project_id is not None else "",
            f"batch {self.batch_id}" if self.batch_id is not None else "",
            f"request id {self.request_id}" if self.request_id else "",
        ]
        place = ", ".join(part for part in where if part)
        what = f"{self.call} failed: {self.message}" if self.call else self.message
        sentences = _ended(f"{what} ({place})" if place else what), self._prospect(), _sentence(self.remedy)
        return " ".join(sentence for sentence in sentences if sentence)

    def _prospect(self) -> str:
        if self.maybe_done:
            return "The call may have been carried out all the same: look before you repeat it."
        return "A retry can help." if self.retryable else "A retry does not help."


def _sentence(text: str) -> str:
    """Return a sentence: with a capital, unless it begins with a name of code, and a full stop."""
    plain = re.match(r"[a-z]+(?=[ ,:]|$)", text)
    return _ended(text[0].upper() + text[1:] if plain else text)


def _ended(text: str) -> str:
    return text if not text or text[-1] in ".!?:" else f"{text}."


class InvalidInput(ConnectorError, ValueError):
    """An argument, column or value cannot be used. Nothing was sent.

    Attributes:
        column: the input, column or record key at fault, None where it is none of these.
    """

    def __init__(self, message: str, *, column: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.column = column

    def _prospect(self) -> str:
        return ""


class ContractError(InvalidInput):
    """Columns or values do not fit the project's schema."""


class InvalidRowsError(InvalidInput):
    """Rows that cannot become tasks.

    Attributes:
        rows: one readable line for each row at fault, or for the first of them.
    """

    def __init__(
        self, message: str, *, column: str | None = None, remedy: str | None = None, rows: Sequence[str] = ()
    ) -> None:
        super().__init__(message, column=column, remedy=remedy)
        self.rows = tuple(rows)


class StagingError(ConnectorError):
    """The folder for driver and workers is not shared between them, or has lost files."""


class TableError(ConnectorError):
    """A table cannot be created, read or written. `__cause__` is the error of Spark or of the catalog."""


class TooManyTasks(InvalidInput):
    """More rows would be sent than `max_tasks` allows. Nothing was created."""


class OutboxError(ConnectorError):
    """The outbox cannot be used, or a claim on it was not written. Nothing was created."""


class RepeatedKeys(InvalidRowsError):
    """Rows of one DataFrame have the same row key. Nothing was created."""


class ChangedRows(InvalidRowsError):
    """Rows that the outbox knows have other content now, and `on_changed` is "error". Nothing was created."""


class SyncError(ConnectorError):
    """The tables of a project cannot be synced as they are."""


class FeedInterrupted(ConnectorError):
    """A feed that serves each task only once failed. The tasks that were received before are not lost.

    Attributes:
        received: a DataFrame of the tasks that were received before the error; None after pickling.

    `details` are the other arguments of `ConnectorError`.
    """

    def __init__(
        self,
        message: str,
        *,
        received: DataFrame | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.received = received

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "received": None}

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message,), self.__getstate__())
