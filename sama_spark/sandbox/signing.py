"""Signed URLs that expire, for uploads and for assets."""

from __future__ import annotations

import hmac
import re
import secrets
from hashlib import sha256
from urllib.parse import parse_qs

from sama_spark.sandbox.clock import NS, HubClock
from sama_spark.sandbox.refusals import StoreError

UPLOADS = "/_uploads/"
ASSETS = "/_assets/"


class Signer:
    """Signs paths of the sandbox's own stores with a secret that lives as long as the process."""

    def __init__(self, clock: HubClock, origin: str) -> None:
        self.clock, self.origin = clock, origin
        self._secret = secrets.token_bytes(32)
        self._asset = re.compile(re.escape((origin + ASSETS).encode()) + rb'([^"?\\\s]+)(?:\?[^"\\\s]*)?')
        self._asset_prefix = (origin + ASSETS).encode()

    def url(self, method: str, path: str, life: float) -> str:
        """Return the URL of `path` on this server, good for `method` during `life` seconds."""
        until = (self.clock.now() + int(life * NS)) // 1_000_000
        return f"{self.origin}{path}?Expires={until}&Signature={self._signature(method, path, until)}"

    def check(self, method: str, path: str, query: bytes) -> None:
        """Raise StoreError (403) unless `path` was signed for `method`, is untouched and not expired."""
        values = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        if set(values) != {"Expires", "Signature"} or any(len(value) != 1 for value in values.values()):
            raise StoreError(403, "SignatureDoesNotMatch", "The query does not match what was signed.")
        until, given = values["Expires"][0], values["Signature"][0]
        if not until.isascii() or not until.isdigit() or len(until) > 18:
            raise StoreError(403, "AccessDenied", "Invalid date.")
        if not hmac.compare_digest(given.encode(), self._signature(method, path, int(until)).encode()):
            raise StoreError(403, "SignatureDoesNotMatch", "The signature does not match the request.")
        if self.clock.now() // 1_000_000 >= int(until):
            raise StoreError(403, "AccessDenied", "Request has expired")

    def sign_assets(self, page: bytes, life: float) -> bytes:
        """Return `page` with each asset URL of this sandbox signed anew."""
        if self._asset_prefix not in page:
            return page
        return self._asset.sub(lambda match: self.url("GET", ASSETS + match.group(1).decode(), life).encode(), page)

    def _signature(self, method: str, path: str, until: int) -> str:
        return hmac.new(self._secret, f"{method}\n{path}\n{until}".encode(), sha256).hexdigest()
