"""The server as an ASGI application: Sama's API, the upload and asset stores beside it, the control interface."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sama_spark.sandbox import control, png_masks, requests
from sama_spark.sandbox.annotators import mask_boxes
from sama_spark.sandbox.endpoints import Api, answer
from sama_spark.sandbox.faults import CALLS, CONTROL, PROJECT, FaultLayer
from sama_spark.sandbox.guard import check_control
from sama_spark.sandbox.hub import Hub
from sama_spark.sandbox.project import Project
from sama_spark.sandbox.refusals import ApiError, StoreError, bad_request
from sama_spark.sandbox.signing import ASSETS, UPLOADS


class TaskId(StringConvertor):
    """Paths that hold the id of a task."""

    regex = "[0-9a-f]{24}"


register_url_convertor("task", TaskId())
Handler = Callable[[Request, Project], Awaitable[Response]]


def build(hub: Hub) -> ASGIApp:
    """Return the whole server as an ASGI application."""
    routes = [*_api_routes(hub), *_store_routes(hub), *_control_routes(hub)]
    handlers = {ApiError: _refused, StoreError: _refused, HTTPException: _refused}
    return FaultLayer(Starlette(routes=routes, exception_handlers=handlers), hub.traffic)


async def _refused(_: Request, error: Any) -> Response:
    if isinstance(error, HTTPException):
        error = ApiError(error.status_code, error.detail, headers=dict(error.headers or {}))
    reply: Response = error.response()
    return reply


def _api_routes(hub: Hub) -> list[Route]:
    api = Api(hub)
    by_path: dict[str, dict[str, Handler]] = {}
    for name, (method, path) in CALLS.items():
        by_path.setdefault(path, {})[method] = getattr(api, f"on_{name}")

    def route(path: str, handlers: dict[str, Handler]) -> Route:
        async def endpoint(request: Request) -> Response:
            key = requests.check_key(hub, request)
            project = requests.find_project(hub, request, key)
            method = "GET" if request.method == "HEAD" else request.method
            return await handlers[method](request, project)

        return Route(PROJECT + path, endpoint, methods=list(handlers))

    return [route(path, handlers) for path, handlers in by_path.items()]


def _store_routes(hub: Hub) -> list[Route]:
    """Return the upload store and the assets, which are S3's with Sama. A signed URL takes the place of a key."""

    async def put(request: Request) -> Response:
        path = request.url.path
        hub.signer.check("PUT", path, request.scope["query_string"])
        if "content-length" not in request.headers:
            raise StoreError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        content = await request.body()
        project_id, batch_id = path.removeprefix(UPLOADS).removesuffix(".json").split("/")
        project = hub.projects.get(int(project_id))
        batch = project.batches.get(int(batch_id)) if project is not None else None
        if batch is None:
            raise StoreError(404, "NoSuchBucket", "The bucket does not exist.")
        batch.stored = content
        return Response(status_code=200)

    async def asset(request: Request) -> Response:
        path = request.url.path
        hub.signer.check("GET", path, request.scope["query_string"])
        name = path.removeprefix(ASSETS)
        if name.startswith("masks/") and name.endswith(".png"):
            task_id = name.removesuffix(".png").rsplit("/", 1)[-1]
            return Response(png_masks.png(mask_boxes(task_id)), media_type="image/png")
        if name not in hub.assets:
            raise StoreError(404, "NoSuchKey", "The key does not exist.")
        content, kind = hub.assets[name]
        return Response(content, media_type=kind)

    return [
        Route(UPLOADS + "{rest:path}", put, methods=["PUT"]),
        Route(ASSETS + "{rest:path}", asset, methods=["GET"]),
    ]


def _control_routes(hub: Hub) -> list[Route]:
    def route(name: str, obey: Callable[[Request, bytes], Any], kind: str | None = None) -> Route:
        async def endpoint(request: Request) -> Response:
            check_control(request, hub.api_key, kind)
            content = await request.body()
            try:
                return answer(obey(request, content))
            except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
                # A call that makes no sense is the caller's mistake, wherever it shows.
                raise bad_request(f"{name}: {str(error) or type(error).__name__}") from None

        return Route(CONTROL + name, endpoint, methods=["POST"])

    def seed(request: Request, content: bytes) -> int:
        project_id = requests.whole(request, "project_id", range(2**63))
        if project_id is None:
            raise bad_request("seed: say which project: ?project_id=4242")
        return control.seed(hub, project_id, content)

    def add_asset(request: Request, content: bytes) -> str:
        kind = request.headers.get("content-type", "application/octet-stream")
        return control.add_asset(hub, requests.text(request, "name") or "", content, kind)

    return [
        route("command", lambda _, content: control.obey(hub, content), requests.JSON),
        route("seed", seed, control.SEEDS),
        route("asset", add_asset),
    ]
