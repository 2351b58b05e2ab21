"""Secrets and how they stay out of texts: the API key, signed URLs, urllib3's own debug lines."""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn

REDACTED = "<redacted>"

# No expression here looks at a text twice: a server may send a long one that would make it take minutes.
_TOKEN = re.compile(r"""[^\s"'<>]+""")
# Also what JSON makes of a URL: escaped slashes, \u0026 between parameters.
_URL = re.compile(r"https?:\\?/\\?/", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"""(key|sig|signature|token|credential|secret|password|policy)=[^&\s"'<>]+""", re.IGNORECASE
)


class Secret:
    """A text that no repr, str, vars or pickle shows; `reveal()` does."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return REDACTED

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: pass a reference to it and resolve it where it is used")


class Redactor:
    """Replaces secrets, in all the spellings in which a server may echo them, and the queries of URLs."""

    __slots__ = ("_pattern", "_secrets")

    def __init__(self, *secrets: Secret) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._pattern: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        if self._secrets and self._pattern is None:  # made late: few links' patterns are ever needed
            # Longest first: a shorter one may be part of a longer one.
            texts = sorted((secret.reveal() for secret in self._secrets), key=len, reverse=True)
            self._pattern = re.compile("|".join("".join(map(_spelled, text)) for text in texts))
        return redact_urls(self._pattern.sub(REDACTED, text) if self._pattern else text)

    def __repr__(self) -> str:
        return "Redactor()"


def _spelled(char: str) -> str:
    """A pattern of a character as itself, and as URLs (also one in another), JSON and HTML write it."""
    if char.isascii() and char.isalnum():
        return char
    in_url = "".join(f"%{byte:02x}" for byte in char.encode(errors="surrogatepass"))
    in_json = {json.dumps(char)[1:-1], f"\\u{ord(char):04x}", f"\\{char}"}
    in_html = {html.escape(char), f"&#{ord(char)};", f"&#x{ord(char):x};"}
    spellings = {char, in_url, in_url.replace("%", "%25"), *in_json, *in_html, *("+" if char == " " else "")}
    return f"(?i:{'|'.join(sorted(map(re.escape, spellings), key=len, reverse=True))})"


def redact_urls(text: str) -> str:
    """Drop the queries of URLs, and parameters with telling names anywhere."""
    return _SECRET_PARAMETER.sub(rf"\1={REDACTED}", _TOKEN.sub(_without_query, text))


def _without_query(token: re.Match[str]) -> str:
    text = token[0]
    url = _URL.search(text)
    query = text.find("?", url.end()) if url else -1
    return text if query < 0 else f"{text[:query]}?{REDACTED}"


def redactor_for_link(url: str) -> Redactor:
    """Hides a signed URL whole, its path included: stores exist that sign in the path. Takes odd ones too."""
    target = re.sub(r"^\w+://[^/?#]*", "", url).partition("#")[0]
    return Redactor(*(Secret(text) for text in (url, target) if len(text) > 1))


_in_flight: ContextVar[Redactor | None] = ContextVar("sama_spark_in_flight", default=None)


@contextmanager
def hidden_from_logs(redactor: Redactor) -> Iterator[None]:
    """While a request is under way, urllib3's log records of this thread pass through `redactor`."""
    token = _in_flight.set(redactor)
    try:
        yield
    finally:
        _in_flight.reset(token)


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        redact = _in_flight.get() or redact_urls
        record.msg, record.args = redact(record.getMessage()), ()
        return True


def redact_urllib3_logs() -> None:
    """urllib3 writes every request's path and query at DEBUG: filter the loggers that do so."""
    for name in ("connectionpool", "connection", "poolmanager", "response", "util.retry"):
        logger = logging.getLogger(f"urllib3.{name}")
        if not any(isinstance(known, _RedactingFilter) for known in logger.filters):
            logger.addFilter(_RedactingFilter())
