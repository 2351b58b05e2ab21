"""Refusals in the form in which Sama words them."""

from __future__ import annotations

import msgspec
from starlette.responses import Response


class ApiError(Exception):
    """A call that the API refuses with `status` and an `errors` body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: int | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers
        self.type = status if type_ is None else type_

    def response(self) -> Response:
        """Return the reply: JSON."""
        body = msgspec.json.encode({"errors": [{"type": self.type, "message": self.message}]})
        return Response(body, self.status, self.headers, "application/json")


class StoreError(Exception):
    """A refusal by the upload or asset store, which speaks XML as S3 does."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> Response:
        """Return the reply: XML."""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{self.message}</Message>"
            "<RequestId>SANDBOX0000000000</RequestId></Error>"
        )
        return Response(body, self.status, media_type="application/xml")


def bad_request(message: str) -> ApiError:
    """Return a 400."""
    return ApiError(400, message)


def not_found(what: str) -> ApiError:
    """Return a 404."""
    return ApiError(404, f"{what} not found")
