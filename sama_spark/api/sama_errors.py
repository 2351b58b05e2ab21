"""One tree of errors, rooted at `SamaError`.

Every error says what failed, where, whether a retry can help and what to do, and survives pickling.
None of them holds the API key or a signed URL: texts are redacted before an error is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "BatchFailed",
    "BatchStateError",
    "BatchUnsure",
    "ConnectionFailed",
    "ContractError",
    "ExperimentalCallError",
    "InvalidInput",
    "InvalidInputSchema",
    "InvalidResponse",
    "InvalidRowsError",
    "LinkRefused",
    "NotFoundError",
    "RateLimitedError",
    "RedirectRefused",
    "RequestTimedOut",
    "RetryableError",
    "SamaError",
    "ServerError",
    "UploadUrlRefused",
    "WaitTimedOut",
]


class SamaError(Exception):
    """Anything that goes wrong between this library and Sama.

    Attributes:
        message: what happened; the server's own words where it gave any.
        call: the call that failed, in words, such as "get delivered tasks".
        status: HTTP status of the reply, None where there was none.
        error_types: the server's own error types, such as ("InvalidInputSchema",).
        request_id: the server's request id, None where it gave none.
        project_id, batch_id: where it failed, None where that does not apply.
        retryable: True if the same call may succeed later, with nothing changed and nothing done twice.
        maybe_done: True if the server may have carried the call out although it failed here.
        remedy: what to do about it.
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
            return "Sama may have carried the call out all the same: look before you repeat it."
        return "A retry can help." if self.retryable else "A retry does not help."


def _sentence(text: str) -> str:
    """With a capital, unless it begins with a name of code, and a full stop."""
    plain = re.match(r"[a-z]+(?=[ ,:]|$)", text)
    return _ended(text[0].upper() + text[1:] if plain else text)


def _ended(text: str) -> str:
    return text if not text or text[-1] in ".!?:" else f"{text}."


class InvalidInput(SamaError, ValueError):
    """What the caller gave cannot be sent. Nothing was sent.

    Attributes:
        column: the input, column or record key at fault, None where it is none of these.
    """

    def __init__(self, message: str, *, column: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.column = column

    def _prospect(self) -> str:
        return ""


class ContractError(InvalidInput):
    """Columns or values do not fit what the project declares."""


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


class ExperimentalCallError(InvalidInput):
    """The call rests on a guess about Sama's API, and the client was not made with `experimental=True`."""


class BadRequestError(SamaError):
    """Sama refused the request (400, 422 and other 4xx)."""

    remedy = "Change what is sent; the message above is Sama's own."


class InvalidInputSchema(BadRequestError):
    """Task data does not match the project's inputs."""

    remedy = "Compare the data with get_creation_task_schema()."


class AuthenticationError(SamaError):
    """401 or 403: the key is wrong, or API access is not enabled for the project."""

    remedy = "Check the API key, and that API access is enabled for this project."


class NotFoundError(SamaError):
    """404: it does not exist, or this key may not see it."""

    remedy = "Check the ids; 404 also means that this API key may not see the object."


class RedirectRefused(SamaError):
    """A redirect, which is not followed because the API key would travel to another address."""

    remedy = "Check base_url."


class InvalidResponse(SamaError):
    """A reply that is not what Sama's API gives here: HTML, truncated, empty or of another shape."""

    remedy = "Look for a proxy in between, and check base_url."


class UploadUrlRefused(SamaError):
    """The signed upload URL has expired or is refused; a new batch gives a new URL."""

    remedy = "Open a new batch and upload again."


class LinkRefused(SamaError):
    """A link in a delivery has expired, or does not lead to what it should."""

    remedy = "Read the task again: that gives a new link."


class RetryableError(SamaError):
    """Failures that pass: rate limits, server errors, lost connections, time-outs."""

    retryable = True


class RateLimitedError(RetryableError):
    """429, for longer than the call's deadline."""

    remedy = "Call less often; the limit is per API key."


class ServerError(RetryableError):
    """Sama, or a gateway before it, answers 5xx."""


class ConnectionFailed(RetryableError):
    """No connection, or it was lost before the whole reply had arrived."""

    remedy = "Check base_url, proxy settings and that this machine may reach it."


class RequestTimedOut(RetryableError):
    """The server did not answer in time, or not before the call's deadline."""


class BatchStateError(SamaError):
    """The batch is in a state in which this cannot be done.

    Attributes:
        state: the batch's state, in Sama's word.
        messages: the job's own log messages.
        created_count: tasks that exist already, None if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        call: str | None = None,
        project_id: str | int | None = None,
        batch_id: str | int | None = None,
        maybe_done: bool = False,
        remedy: str | None = None,
        state: str | None = None,
        messages: Sequence[str] = (),
        created_count: int | None = None,
    ) -> None:
        super().__init__(
            message,
            call=call,
            project_id=project_id,
            batch_id=batch_id,
            maybe_done=maybe_done,
            remedy=remedy,
        )
        self.state = state
        self.messages = tuple(messages)
        self.created_count = created_count


class BatchFailed(BatchStateError):
    """The creation job ended as failed or cancelled."""


class BatchUnsure(BatchStateError):
    """Whether the batch was started cannot be known from here. Never send its rows again unseen."""


class WaitTimedOut(BatchStateError):
    """The batch had not ended when the time was up. It goes on; waiting again is safe."""

    retryable = True
