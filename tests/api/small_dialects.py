"""Three small dialects, each with another way to send the key; together they are every way that vendors use."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from sama_spark.errors import ConnectorError
from sama_spark.http.call_errors import kind_of_status
from sama_spark.http.dialect import Problem
from sama_spark.http.secrets import Secret


class OtherError(ConnectorError):
    """The root of a vendor's errors."""


class NameTaken(ConnectorError):
    """409, a kind that this vendor alone has."""


@dataclass(frozen=True)
class _Small:
    key: Secret
    vendor: str = "Other"
    root: type[ConnectorError] = OtherError
    ask_for_less: str = "Ask for smaller pages."

    @property
    def secrets(self) -> Sequence[Secret]:
        return (self.key,)

    def problem(self, status: int, body: bytes) -> Problem | None:
        try:
            reply: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if not isinstance(reply, dict) or "error" not in reply:
            return None
        kind = NameTaken if status == 409 else kind_of_status(status)
        return Problem(kind, (str(reply.get("code", "")),), str(reply["error"]))


class InQuery(_Small):
    """The key is a parameter."""

    def signed(self, url: str) -> tuple[Secret, Mapping[str, Secret]]:
        return Secret(f"{url}{'&' if '?' in url else '?'}token={quote(self.key.reveal(), safe='')}"), {}


class Bearer(_Small):
    """The key is a bearer token."""

    def signed(self, url: str) -> tuple[Secret, Mapping[str, Secret]]:
        return Secret(url), {"Authorization": Secret(f"Bearer {self.key.reveal()}")}


class Basic(_Small):
    """The key is the password of a user."""

    @property
    def secrets(self) -> Sequence[Secret]:
        token = base64.b64encode(f"user:{self.key.reveal()}".encode()).decode()
        return (self.key, Secret(token))

    def signed(self, url: str) -> tuple[Secret, Mapping[str, Secret]]:
        return Secret(url), {"Authorization": Secret(f"Basic {self.secrets[1].reveal()}")}


DIALECTS = {"query": InQuery, "bearer": Bearer, "basic": Basic}
