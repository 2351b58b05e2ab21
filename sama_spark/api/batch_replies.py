"""Sama's replies about a batch: its upload URL, its creation job, and the items of that job."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar, cast

import msgspec

from sama_spark.api import broken_json
from sama_spark.api.replies import decode_object

R = TypeVar("R")


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
        state: as Sama spells it: "waiting", "queued", "processing", "completed", "canceled", "failed" or another one;
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


class _Ids(TypedDict, total=False):
    project_id: Any
    batch_id: Any


_ids = msgspec.json.Decoder(_Ids)


def decode_waiting_batch(body: bytes) -> WaitingBatch:
    """Decode an object with a `batch_id` and a `tasks_put_url`."""
    reply = decode_object(body)
    url = reply.get("tasks_put_url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise msgspec.ValidationError("Expected a URL - at `$.tasks_put_url`")
    return WaitingBatch(_id_in(reply), url)


def decode_batch_reply(body: bytes) -> dict[str, Any]:
    """Decode an object with a `batch_id`."""
    reply = decode_object(body)
    _id_in(reply)
    return reply


def for_ids(decode: Callable[[bytes], R], **asked: str | int) -> Callable[[bytes], R]:
    """Return a decoder like `decode` that rejects a reply with the id of another project or batch.

    Args:
        decode: the decoder.
        **asked: the `project_id` and `batch_id` of the call.
    """

    def checked(body: bytes) -> R:
        decoded = decode(body)
        check_ids(_ids_in(body), **asked)
        return decoded

    return checked


def _ids_in(body: bytes) -> _Ids:
    try:
        return _ids.decode(body)
    except (msgspec.DecodeError, RecursionError):  # `decode` could read the body all the same
        found = broken_json.members(body)
    ids: Any = {name: broken_json.lenient(body[slice(*found[name])]) for name in _Ids.__annotations__ if name in found}
    return cast(_Ids, ids)


def check_ids(reply: Mapping[str, Any], **asked: str | int) -> None:
    """Raise msgspec.ValidationError if a reply names other ids than the call did. A missing id is no error."""
    for name, wanted in asked.items():
        if reply.get(name) is not None and str(reply[name]) != str(wanted):
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
    """Return the job that a reply describes.

    Args:
        reply: the decoded reply.
        batch_id: the id of the call, for a reply that has none.
        counts: items by their state.
        redact: takes secrets out of the texts, which go into errors, logs and tables later.
    """
    created = reply.get("created_count")
    messages = reply.get("messages")
    return BatchJob(
        batch_id=reply.get("batch_id") or batch_id,
        state=redact(str(reply.get("state") or reply.get("status") or "unknown")),
        created_count=created if type(created) is int and 0 <= created < 2**63 else None,
        messages=tuple(
            redact(str(item.get("message", item)) if isinstance(item, dict) else str(item))
            for item in (messages if isinstance(messages, list) else [messages] if messages else [])
        ),
        counts=counts,
    )


def item_from(task: Mapping[str, Any], redact: Callable[[str], str]) -> BatchItem:
    """Return the item that a task of a reply describes.

    Args:
        task: the decoded task.
        redact: takes secrets out of state and errors. `data`, which the caller sent, stays as it is.
    """
    task_id = task.get("id", task.get("task_id"))
    found, data = task.get("errors") or [], task.get("data")
    return BatchItem(
        id=None if task_id is None else str(task_id),
        state=redact(str(task.get("state") or task.get("status") or "unknown")),
        data=data if isinstance(data, dict) else None,
        errors=tuple(_redacted(error, redact) for error in (found if isinstance(found, list) else [found])),
    )


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """Return the same JSON value with `redact` applied to each text in it."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(item, redact) for item in value]
    if isinstance(value, dict):
        return {redact(name): _redacted(item, redact) for name, item in value.items()}
    return value
