"""Reads requests strictly: key, numbers, times, JSON bodies. Anything else is refused with a 400."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from sama_spark.sandbox import clock
from sama_spark.sandbox.batch import CreationJob
from sama_spark.sandbox.definitions import INT32
from sama_spark.sandbox.guard import check_kind
from sama_spark.sandbox.hub import Hub
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.reading import DATE_TYPES, MATCHES, Filter, ids
from sama_spark.sandbox.refusals import ApiError, bad_request, not_found
from sama_spark.sandbox.task import STATES

Body = TypeVar("Body")
JSON = "application/json"


def check_key(hub: Hub, request: Request) -> str:
    """Return the access key from the query.

    Raises:
        ApiError: 401 where the key is missing or wrong, 406 where the client accepts no JSON.
    """
    key = request.query_params.get("access_key")
    if key is None or key not in hub.keys:
        raise ApiError(401, "You are not authorised: the access key is missing or wrong")
    accept = request.headers.get("accept", "*/*")
    kinds = {part.split(";")[0].strip().lower() for part in accept.split(",")}
    if not kinds & {JSON, "application/*", "*/*", ""}:
        raise ApiError(406, f"Format not available: {accept[:80]}")
    hub.limit(key, "any", hub.switches.calls_per_second)
    return key


def find_project(hub: Hub, request: Request, key: str) -> Project:
    """Return the project in the path, as the key sees it.

    Raises:
        ApiError: 404 where the key sees no such project, 401 where the project has no API access.
    """
    project = hub.project(_path_id(request, "project_id"))
    if project.api_key != key:
        raise not_found(f"project {project.id}")
    if not project.switches.api_access:
        raise ApiError(401, "You are not authorised: API access is not enabled for this project")
    return project


def find_batch(request: Request, project: Project) -> CreationJob:
    """Return the batch in the path. Raises ApiError (404) where there is none."""
    return project.batch(_path_id(request, "batch_id"))


def _path_id(request: Request, name: str) -> int:
    text: str = request.path_params[name]
    return int(text) if _is_id(text) else -1  # which nothing has


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


async def body(request: Request, type_: type[Body]) -> Body:
    """Return the JSON body. Unknown fields and wrong types are a 400."""
    content = await request.body()
    check_kind(request, JSON)
    try:
        return msgspec.json.decode(content, type=type_)
    except ValueError as error:
        raise bad_request(str(error)) from None


def text(request: Request, name: str) -> str | None:
    """Return a query parameter, None where it is absent or empty. Twice is a 400."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise bad_request(f"{name} is given more than once")
    return values[0] if values and values[0] else None


def whole(request: Request, name: str, allowed: range) -> int | None:
    """Return a query parameter that is a whole number."""
    value = text(request, name)
    if value is None:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18 and int(value) in allowed):
        raise bad_request(f"{name} is not a whole number from {allowed.start} to {allowed.stop - 1}: {value[:40]!r}")
    return int(value)


def flag(request: Request, name: str) -> bool:
    """Return a query parameter that is `true` or `false`, which is the default."""
    value = text(request, name)
    if value not in (None, "true", "false"):
        raise bad_request(f"{name} is neither true nor false: {value[:40]!r}")
    return value == "true"


def moment(request: Request, name: str) -> int | None:
    """Return a query parameter that is a time, in nanoseconds since 1970."""
    value = text(request, name)
    try:
        return None if value is None else clock.from_text(value)
    except ValueError as error:
        raise bad_request(f"{name}: {error}") from None


def page(request: Request, project: Project, *, most: int, default: int, least: int = 1) -> tuple[int, int]:
    """Return page number and size. A size above `most` becomes `most`, or a 400 where the switch says so."""
    number = whole(request, "page", range(1, 2**31)) or 1
    size = whole(request, "page_size", range(least, 2**31))
    return number, limit(project, size, most, default)


def limit(project: Project, size: int | None, most: int, default: int) -> int:
    """Return how many rows a page gets."""
    if size is not None and size > most and project.switches.oversize_page == "refuse":
        raise bad_request(f"page size {size} is above the maximum of {most}")
    return min(default if size is None else size, most)


def match_type(value: str | None) -> str:
    """Return how client batch ids are compared, `exact` by default."""
    if value is not None and value not in MATCHES:
        raise bad_request(f"client_batch_id_match_type {value[:40]!r} is none of {', '.join(MATCHES)}")
    return value or "exact"


def batch_ids(value: str | None, *, lists: bool) -> frozenset[int] | None:
    """Return the batch ids of a comma list."""
    parts = ids(value, lists=lists, name="batch_id")
    if parts is None:
        return None
    if not all(map(_is_id, parts)):
        raise bad_request("batch_id is not a whole number")
    return frozenset(map(int, parts))


def status_filter(request: Request, project: Project) -> Filter:
    """Return which tasks a read of multi status wants."""
    state, date_type = text(request, "state"), text(request, "date_type")
    if state is not None and state not in STATES:
        raise bad_request(f"state {state[:40]!r} is none of {', '.join(STATES)}")
    if date_type is not None and date_type not in DATE_TYPES:
        raise bad_request(f"date_type {date_type[:40]!r} is none of {', '.join(DATE_TYPES)}")
    client_batch_id = text(request, "client_batch_id")
    keys = ids(text(request, "primary_keys"), lists=True, name="primary_keys")
    return Filter(
        batch_ids=batch_ids(text(request, "batch_id"), lists=False),
        client_batch_ids=None if client_batch_id is None else (client_batch_id,),
        match_type=match_type(text(request, "client_batch_id_match_type")),
        primary_keys=None if keys is None else frozenset(keys),
        state=state,
        priority=whole(request, "priority", INT32),
        date_type=date_type or "created",
        start=moment(request, "from"),
        end=moment(request, "to"),
        start_inclusive=project.switches.from_inclusive,
    )


def delivered_filter(request: Request, project: Project) -> Filter:
    """Return which tasks a read of the delivered list wants."""
    lists = project.switches.id_lists
    task_ids = ids(text(request, "task_id"), lists=lists, name="task_id")
    return Filter(
        batch_ids=batch_ids(text(request, "batch_id"), lists=lists),
        client_batch_ids=ids(text(request, "client_batch_id"), lists=lists, name="client_batch_id"),
        match_type=match_type(text(request, "client_batch_id_match_type")),
        task_ids=None if task_ids is None else frozenset(task_ids),
        start=moment(request, "from"),
        start_inclusive=project.switches.from_inclusive,
    )
