"""Builds calls and checks their arguments, for every group of endpoints."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

from sama_spark.api.interruption_notes import note
from sama_spark.api.records import to_json
from sama_spark.api.replies import decode_object
from sama_spark.api.sama_dialect import project_path
from sama_spark.api.sama_errors import ExperimentalCallError
from sama_spark.api.task_text import Page
from sama_spark.arguments import ARGUMENTS, shown
from sama_spark.errors import ConnectorError, InvalidInput
from sama_spark.http.call import Call
from sama_spark.http.call_errors import InvalidResponse
from sama_spark.http.retry import Clock, Safety
from sama_spark.http.transport import Transport

P = ParamSpec("P")
R = TypeVar("R")
Id = str | int


class Endpoints:
    """Base of the groups of endpoints. `ApiClient` sets the attributes."""

    _transport: Transport
    clock: Clock
    _experimental: bool
    _status_page_size: int
    _delivered_page_size: int
    _pages_in_flight: int
    _batch_page_size: int

    def _project_call(
        self,
        what: str,
        method: str,
        project_id: Id,
        *path: Id,
        safety: Safety = Safety.FREE,
        decode: Callable[[bytes], R],
        body: Any = None,
        **details: Any,
    ) -> R:
        try:
            json = None if body is None else to_json(body)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{what}: {error}", remedy="Nothing was sent.") from None
        call = Call(
            what,
            method,
            project_path(project_id, *path),
            safety,
            body=json,
            project_id=project_id,
            **details,
        )
        try:
            return self._transport.send(call, decode)
        except ConnectorError:
            raise
        except BaseException as error:
            if safety is not Safety.FREE:
                what = f"{what} of project {project_id}" + (f", batch {call.batch_id}" if call.batch_id else "")
                note(
                    error, f"interrupted in the call: {what}. Sama may have carried it out: look before you repeat it."
                )
            raise

    def _get(
        self, what: str, project_id: Id, *path: Id, query: Mapping[str, Any] | None = None, **details: Any
    ) -> dict[str, Any]:
        return self._project_call(what, "GET", project_id, *path, query=query or {}, decode=decode_object, **details)

    def _only_if_experimental(self, what: str, assumed: str) -> None:
        if not self._experimental:
            raise ExperimentalCallError(
                f"{what} is a call whose path Sama does not publish; {assumed} is an assumption",
                remedy="Make the client with experimental=True to send it. Nothing was sent.",
            )


def checks_arguments(method: Callable[P, R]) -> Callable[P, R]:
    """Return a method that checks its arguments by their names, as `ARGUMENTS` says, before anything is sent.

    The method also takes the keyword `proj_id` for `project_id`, as Sama's own README spells it.
    """
    parameters = inspect.signature(method).parameters
    names = list(parameters)

    def checked(name: str, value: Any) -> Any:
        is_default = value is None and parameters[name].default is None
        is_free = name not in ARGUMENTS or is_default or hasattr(value, "mapInArrow")
        return value if is_free else ARGUMENTS[name](value, name)

    @functools.wraps(method)
    def accepting(*args: P.args, **kwargs: P.kwargs) -> R:
        if "proj_id" in kwargs:
            if "project_id" in kwargs:
                raise TypeError(f"{method.__name__}() got both project_id and its alias proj_id")
            kwargs["project_id"] = kwargs.pop("proj_id")
        given = [checked(name, value) for name, value in zip(names, args, strict=False)]
        named = {name: checked(name, value) for name, value in kwargs.items()}
        return method(*given, *args[len(names) :], **named)  # type: ignore[arg-type]

    return accepting


def located(pages: Iterator[Page], what: str, project_id: Id) -> Iterator[Page]:
    """Yield the pages, and name the list in an error about the list as a whole."""
    try:
        yield from pages
    except InvalidResponse as error:
        error.call = error.call or what
        error.project_id = project_id if error.project_id is None else error.project_id
        raise


def number_up_to(asked: int, least: int, most: int, name: str) -> int:
    """Return a number from `least` to `most`; a larger one counts as `most`."""
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < least:
        raise InvalidInput(f"{name} is {shown(asked)}: an integer from {least} to {most} is due", column=name)
    return min(asked, most)
