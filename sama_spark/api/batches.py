"""A batch on its way: open -> put -> continue -> wait.

Until `continue` a batch costs nothing and can be thrown away: an orphan creates no tasks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import msgspec

from sama_spark.api import broken_json
from sama_spark.api.interrupted import tell
from sama_spark.api.replies import decode_object
from sama_spark.api.sama_errors import BatchFailed, BatchStateError, BatchUnsure, WaitTimedOut
from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import BadRequestError, RequestTimedOut, UploadUrlRefused
from sama_spark.http.wire import Body

if TYPE_CHECKING:
    from sama_spark.api.creation import Creation

R = TypeVar("R")
_log = logging.getLogger("sama_spark")

STARTED = frozenset({"queued", "processing", "completed"})
ENDED_BADLY = frozenset({"failed", "canceled", "cancelled"})
_UPLOAD_TRIES = 3
_CONTINUE_TRIES = 3
# After a `continue` without any answer: how long the state may take to show that it arrived, in seconds.
_GRACE = (1.0, 2.0, 4.0, 8.0, 15.0)


@dataclass(frozen=True)
class WaitingBatch:
    """A batch that waits for its tasks file.

    Attributes:
        batch_id: Sama's id.
        tasks_put_url: where to PUT the file within 4 hours; a signed URL, so a secret.
    """

    batch_id: int
    tasks_put_url: str = field(repr=False)


@dataclass(frozen=True)
class BatchJob:
    """A batch's creation job as Sama reports it.

    Attributes:
        batch_id: Sama's id.
        state: Sama's word, such as "waiting", "queued", "processing", "completed", "canceled", "failed";
            "unknown" where the reply has none.
        created_count: tasks created so far, None where the reply has no count.
        messages: the job's log messages, without the key and without the queries of URLs.
        counts: items by their state; empty unless the items were read too.
    """

    batch_id: int | str
    state: str
    created_count: int | None = None
    messages: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchItem:
    """One task of a batch's creation job.

    Attributes:
        id: the task's id.
        state: "queued", "preprocessing", "ready", "failed", "created" or "canceled".
        data: what was sent, for failed items only.
        errors: the server's own {"type", "message"} objects, without the key and without the queries of URLs.
    """

    id: str | None
    state: str
    data: Mapping[str, Any] | None = field(default=None, repr=False)
    errors: tuple[Any, ...] = ()


class _About(TypedDict, total=False):
    project_id: Any
    batch_id: Any


_about = msgspec.json.Decoder(_About)


def decode_waiting_batch(body: bytes) -> WaitingBatch:
    reply = decode_object(body)
    url = reply.get("tasks_put_url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise msgspec.ValidationError("Expected a URL - at `$.tasks_put_url`")
    return WaitingBatch(_id_in(reply), url)


def decode_batch_reply(body: bytes) -> dict[str, Any]:
    """An object with a `batch_id`."""
    reply = decode_object(body)
    _id_in(reply)
    return reply


def about(decode: Callable[[bytes], R], **asked: str | int) -> Callable[[bytes], R]:
    """A decoder like `decode` that refuses a reply about another project or batch than was asked for."""

    def checked(body: bytes) -> R:
        decoded = decode(body)
        refuse_others(_named_in(body), **asked)
        return decoded

    return checked


def _named_in(body: bytes) -> _About:
    try:
        return _about.decode(body)
    except (msgspec.DecodeError, RecursionError):  # `decode` has taken it all the same
        found = broken_json.members(body)
    named: Any = {
        name: broken_json.lenient(body[slice(*found[name])]) for name in _About.__annotations__ if name in found
    }
    return cast(_About, named)


def refuse_others(named: Mapping[str, Any], **asked: str | int) -> None:
    """Raise where the ids that a reply names are others than those that were asked for."""
    for name, wanted in asked.items():
        if named.get(name) is not None and str(named[name]) != str(wanted):
            raise msgspec.ValidationError(f"The reply is about another {name} than was asked for - at `$.{name}`")


def _id_in(reply: Mapping[str, Any]) -> int:
    batch_id = reply.get("batch_id")
    # No leading zeros and no digits of other scripts: the id goes into paths as it was given.
    if isinstance(batch_id, str) and re.fullmatch("[1-9][0-9]{0,18}", batch_id):
        batch_id = int(batch_id)
    if isinstance(batch_id, int) and not isinstance(batch_id, bool) and 0 < batch_id < 2**63:
        return batch_id
    raise msgspec.ValidationError("Expected an id, a whole number from 1 to 2**63 - 1 - at `$.batch_id`")


def job_from(
    reply: Mapping[str, Any], batch_id: str | int, counts: Mapping[str, int], redact: Callable[[str], str]
) -> BatchJob:
    """`redact` takes secrets out of the texts, which stand in errors, logs and tables later."""
    created = reply.get("created_count")
    messages = reply.get("messages")
    return BatchJob(
        batch_id=reply.get("batch_id") or batch_id,
        state=redact(str(reply.get("state") or reply.get("status") or "unknown")),
        created_count=created if type(created) is int and created >= 0 else None,
        messages=tuple(
            redact(str(item.get("message", item)) if isinstance(item, dict) else str(item))
            for item in (messages if isinstance(messages, list) else [messages] if messages else [])
        ),
        counts=counts,
    )


def item_from(task: Mapping[str, Any], redact: Callable[[str], str]) -> BatchItem:
    """`redact`: as for `job_from`. What was sent stays as it is."""
    task_id = task.get("id", task.get("task_id"))
    found, data = task.get("errors") or [], task.get("data")
    return BatchItem(
        id=None if task_id is None else str(task_id),
        state=redact(str(task.get("state") or task.get("status") or "unknown")),
        data=data if isinstance(data, dict) else None,
        errors=tuple(_redacted(error, redact) for error in (found if isinstance(found, list) else [found])),
    )


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """The same JSON value with `redact` applied to each text in it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(item, redact) for item in value]
    if isinstance(value, dict):
        return {redact(name): _redacted(item, redact) for name, item in value.items()}
    return value


def upload(
    api: Creation,
    project_id: str | int,
    body: Body,
    *,
    notification_email: str | None = None,
    tasks_file_name: str | None = "python_sdk",
) -> int:
    """Put a tasks file into a batch of its own and return the id of the batch, which waits for `continue`.

    An upload URL that has expired or is refused is answered with a new batch, up to three in all. Every
    batch that is opened here and not returned is cancelled, so far as the server can be reached.

    Raises:
        UploadUrlRefused: the third URL was refused too.
        ConnectorError: opening or uploading failed for good.
    """
    for remaining in reversed(range(_UPLOAD_TRIES)):
        batch = api.open_batch(project_id, notification_email=notification_email, tasks_file_name=tasks_file_name)
        try:
            api.upload_tasks(batch, body)
            return batch.batch_id
        except UploadUrlRefused as error:
            api.discard_batch(project_id, batch.batch_id)
            if not remaining:
                raise
            _log.debug("upload to batch %s refused (HTTP %s): a new batch", batch.batch_id, error.status)
        except BaseException:
            api.discard_batch(project_id, batch.batch_id)
            raise
    raise AssertionError("unreachable")


def start(
    api: Creation, project_id: str | int, batch_id: str | int, permit: Callable[[], float] | None = None
) -> dict[str, Any]:
    """Continue a waiting batch; its tasks are created from here on. Returns an object with `batch_id`.

    `continue` is never repeated blindly. After a lost connection, a server error, an unreadable reply or a
    400 the batch is asked for its state: one that is queued, processing or completed was started; one that
    still waits is continued again, three times in all. Where no answer came in time, the request may be under
    way still: then the state is watched for half a minute, and `continue` is not repeated.

    Sama has no idempotency key. That a repeat creates nothing twice rests on the server refusing to continue
    a batch that no longer waits; a proxy that repeats POSTs by itself is beyond any client.

    Args:
        permit: asked before each `continue`: gives the seconds that it may take, or raises.

    Raises:
        BatchStateError: the batch has failed or was cancelled.
        BatchUnsure: whether it was started cannot be known.
        ConnectorError: it was refused for good and has surely not been started.
    """
    try:
        return _start(api, project_id, batch_id, permit)
    except ConnectorError:
        raise
    except BaseException as error:
        tell(
            error,
            f"interrupted while batch {batch_id} of project {project_id} was being started: its tasks may be created "
            f"and paid for. Look with get_batch_job({project_id!r}, {batch_id!r}) before you send them again.",
        )
        raise


def _start(
    api: Creation, project_id: str | int, batch_id: str | int, permit: Callable[[], float] | None
) -> dict[str, Any]:
    in_doubt, state = False, "not known"
    for _ in range(_CONTINUE_TRIES):
        try:
            return api.continue_batch(project_id, batch_id, deadline=permit() if permit else None)
        except ConnectorError as error:
            failure = error
        in_doubt = in_doubt or failure.maybe_done
        if not in_doubt and not isinstance(failure, BadRequestError):
            raise failure
        timed_out = isinstance(failure, RequestTimedOut)
        state = _state_after_continue(api, project_id, batch_id, watch=timed_out)
        _log.debug("continue of batch %s: %s; its state is %s", batch_id, failure.message, state)
        if state in STARTED:
            return {"batch_id": batch_id}
        if state in ENDED_BADLY:
            raise BatchStateError(
                f"the batch is {state} ({failure.message})",
                call="continue batch",
                project_id=project_id,
                batch_id=batch_id,
                state=state,
                remedy="Look at the messages of get_batch_job().",
            )
        if state != "waiting" or timed_out:
            break
    if state == "waiting" and not in_doubt:
        raise failure
    raise BatchUnsure(
        f"{failure.message}; the batch's state is {state}",
        call="continue batch",
        project_id=project_id,
        batch_id=batch_id,
        state=state,
        maybe_done=True,
        remedy=f"See get_batch_job({project_id!r}, {batch_id!r}): if it still waits after some minutes, "
        "continue or cancel it by hand; do not send its rows again before.",
    )


def _state_after_continue(api: Creation, project_id: str | int, batch_id: str | int, *, watch: bool) -> str:
    """The batch's state, "not known" if it cannot be had; with `watch`, given time to leave "waiting"."""
    for pause in (*_GRACE, 0.0) if watch else (0.0,):
        try:
            state = api.get_batch_job(project_id, batch_id).state.lower()
        except ConnectorError:
            return "not known"
        if state != "waiting" or not pause:
            break
        api.clock.sleep(pause)
    return state


def wait(api: Creation, project_id: str | int, batch_id: str | int, timeout: float) -> BatchJob:
    """Ask for the job's state, ever less often, until it has completed; see `ApiClient.wait_for_batch`."""
    deadline = api.clock.monotonic() + timeout
    pause = 0.5
    while True:
        job = api.get_batch_job(project_id, batch_id)
        if job.state.lower() == "completed":
            return job
        ended_badly = job.state.lower() in ENDED_BADLY
        left = deadline - api.clock.monotonic()
        if ended_badly or left <= 0:
            break
        api.clock.sleep(min(pause, left))
        pause = min(pause * 1.5, 20.0)
    kind = BatchFailed if ended_badly else WaitTimedOut
    said = f": {'; '.join(job.messages)}" if job.messages else ""
    raise kind(
        f"the batch is {job.state}{said}" if ended_badly else f"after {timeout:g} s the batch is {job.state}{said}",
        call="wait for batch",
        project_id=project_id,
        batch_id=batch_id,
        state=job.state,
        messages=job.messages,
        created_count=job.created_count,
        remedy=f"See get_failed_batch_items({project_id!r}, {batch_id!r})."
        if ended_badly
        else f"Look with get_batch_job({project_id!r}, {batch_id!r}), or wait again.",
    )
