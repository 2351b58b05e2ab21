"""One call to a vendor's API, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from sama_spark.errors import InvalidInput
from sama_spark.http.retry import Safety
from sama_spark.http.turns import Turns
from sama_spark.http.wire import Body


def quoted_path(*parts: str | int) -> str:
    """Return a path below the base URL, each part quoted: `quoted_path("projects", 4242)`.

    Raises:
        InvalidInput: a part is empty, "None", "." or "..".
    """
    texts = [str(part) for part in parts]
    if not {"", ".", "..", "None"}.isdisjoint(texts):
        raise InvalidInput("an id is missing or is none", remedy="Nothing was sent.")
    return "/".join(quote(text, safe="") for text in texts)


@dataclass(frozen=True)
class Call:
    """One call to an API. It holds no secret.

    Attributes:
        what: the call in words, for errors and logs, such as "get delivered tasks".
        method: "GET", "POST" or "PUT".
        path: the path below the base URL, quoted.
        safety: what a repeat would do.
        query: the parameters; those that are None are left out.
        body: the JSON to send, None for none.
        project_id, batch_id: ids for errors.
        paced: True for a list that the server allows to be read once per second.
        deadline: seconds for the call with all its retries, where that is not the client's own.
        turns: which calls this call takes turns with; None for a call that waits for no other.
    """

    what: str
    method: str
    path: str
    safety: Safety
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Body | None = field(default=None, repr=False)
    project_id: str | int | None = None
    batch_id: str | int | None = None
    paced: bool = False
    deadline: float | None = None
    turns: Turns | None = None

    def path_and_query(self) -> str:
        """Return the path with the query as it is sent: booleans in lower case, None left out.

        Raises:
            InvalidInput: a parameter has half a surrogate pair.
        """
        given = {name: value for name, value in self.query.items() if value is not None}
        try:
            query = urlencode({name: str(v).lower() if isinstance(v, bool) else str(v) for name, v in given.items()})
            return f"{self.path}?{query}" if query else self.path
        except UnicodeEncodeError:
            pass
        raise InvalidInput(f"a filter of {self.what} has half a character", remedy="Nothing was sent.")
