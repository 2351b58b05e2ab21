"""Sama's conventions for calls: the key in the query as `access_key`, errors as JSON under `errors` or `message`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

import msgspec

from sama_spark.api.sama_errors import InvalidInputSchema, SamaError
from sama_spark.errors import ConnectorError
from sama_spark.http.call import quoted_path
from sama_spark.http.call_errors import kind_of_status
from sama_spark.http.dialect import Problem
from sama_spark.http.secrets import Secret

_MOST_MESSAGES = 20  # of one reply


class SamaDialect:
    """The dialect of one account.

    Args:
        key: the account's API key.
    """

    vendor = "Sama"
    root: type[ConnectorError] = SamaError
    ask_for_less = "Ask for less at a time: delivered_page_size, status_page_size and batch_page_size."

    def __init__(self, key: Secret) -> None:
        self._key = key
        self.secrets: Sequence[Secret] = (key,)

    def signed(self, url: str) -> tuple[Secret, Mapping[str, Secret]]:
        """Return the URL with the key as its first parameter, and no headers."""
        address, _, query = url.partition("?")
        return Secret(f"{address}?access_key={quote_plus(self._key.reveal())}{query and '&'}{query}"), {}

    def problem(self, status: int, body: bytes) -> Problem | None:
        """Return the types and messages of `errors`, else `message`; None for a body without both."""
        try:
            types, messages = _types_and_messages(msgspec.json.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return Problem(_kind(status, types), tuple(types), "; ".join(messages)) if messages else None


def project_path(project_id: str | int, *parts: str | int) -> str:
    """Return a path below the base URL: `project_path(4242, "stats")` is `projects/4242/stats.json`."""
    return f"{quoted_path('projects', project_id, *parts)}.json"


def _types_and_messages(reply: Any) -> tuple[list[str], list[str]]:
    found = reply.get("errors") if isinstance(reply, dict) else None
    items = [item for item in (found if isinstance(found, list) else [found]) if item][:_MOST_MESSAGES]
    types = [str(item["type"]) for item in items if isinstance(item, dict) and item.get("type")]
    messages = [str(item.get("message") or item) if isinstance(item, dict) else str(item) for item in items]
    if not messages and isinstance(reply, dict) and reply.get("message"):
        messages = [str(reply["message"])]
    return types, messages


def _kind(status: int, types: Sequence[str]) -> type[ConnectorError]:
    """Return the kind of error. "InvalidInputSchema" decides, else the status; of a 2xx, a type such as "404"."""
    if "InvalidInputSchema" in types:
        return InvalidInputSchema
    statuses = [int(kind) for kind in types if re.fullmatch("[1-5][0-9]{2}", kind)]
    return kind_of_status(statuses[0] if status < 300 and statuses else status)
