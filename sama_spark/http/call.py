"""One call to Sama, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from sama_spark.errors import InvalidInput
from sama_spark.http.retry import Safety
from sama_spark.http.wire import Body


def path_of(*parts: str | int) -> str:
    """A path below the base URL, each part quoted: `path_of("projects", 4242)`."""
    texts = [str(part) for part in parts]
    if not {"", ".", "..", "None"}.isdisjoint(texts):
        raise InvalidInput("an id is missing or is none", remedy="Nothing was sent.")
    return "/".join(quote(text, safe="") for text in texts) + ".json"


@dataclass(frozen=True)
class Call:
    """One call to Sama, in words and on the wire. It holds no secret.

    Attributes:
        what: the call in words, for errors and logs.
        path: below the base URL, ids quoted.
        query: values as the wire has them; None is left out.
        paced: True for the list that Sama limits to one call per second.
        deadline: seconds, where it is not the client's own.
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

    def query_text(self) -> str:
        """The query as the wire has it: booleans in lower case, None left out."""
        given = {name: value for name, value in self.query.items() if value is not None}
        try:
            return urlencode({name: str(v).lower() if isinstance(v, bool) else str(v) for name, v in given.items()})
        except UnicodeEncodeError:
            pass
        raise InvalidInput(f"a filter of {self.what} has half a character", remedy="Nothing was sent.")
