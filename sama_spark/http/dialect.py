"""`Protocol` of what differs between two vendors' APIs over HTTP. `Transport` knows a vendor by this alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sama_spark.errors import ConnectorError
from sama_spark.http.secrets import Secret


@dataclass(frozen=True)
class Problem:
    """What a reply says that went wrong.

    Attributes:
        kind: the kind of error, by the status and the error types.
        types: the server's own error types, such as ("InvalidInputSchema",).
        message: the server's own words, empty where it gave none.
        by: who wrote the reply: the "api"; a "store" for files, whose errors are XML; or somebody in between, such as a
            proxy, whose reply is a "page".
    """

    kind: type[ConnectorError]
    types: tuple[str, ...]
    message: str
    by: Literal["api", "store", "page"] = "api"


class Dialect(Protocol):
    """How one vendor's API is spoken."""

    @property
    def vendor(self) -> str:
        """The vendor's name, for the texts of errors."""

    @property
    def root(self) -> type[ConnectorError]:
        """The root of the vendor's errors. Each error of a call is of this class, too."""

    @property
    def ask_for_less(self) -> str:
        """What to do about a reply that is too large: a sentence that names options of the vendor's client."""

    @property
    def secrets(self) -> Sequence[Secret]:
        """The key first, then each other text that gives the key away, such as the base64 of `user:password`.

        Whatever this package shows, these texts are taken out before.
        """

    def signed(self, url: str) -> tuple[Secret, Mapping[str, Secret]]:
        """Return the URL and the headers of a request to `url`, with the key in one of them."""

    def problem(self, status: int, body: bytes) -> Problem | None:
        """Return what the API says in the body of a failed call, None for a body that the API has not written.

        The status is 2xx where the call's decoder has raised `ErrorsInReply`.
        """


class ErrorsInReply(Exception):
    """A 2xx reply whose body says that the call failed. Decoders raise this."""
