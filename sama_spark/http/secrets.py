"""Secrets, and how they stay out of texts: API keys, signed URLs, urllib3's own debug lines."""

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

# No expression here backtracks: a server may send a long text, on which that would take minutes.
_TOKEN = re.compile(r"""[^\s"'<>]+""")
# JSON may write a URL with escaped slashes, and \u0026 between parameters.
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
        """Return the text."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return REDACTED

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: pass a reference to it and resolve it where it is used")


class Redactor:
    """Replaces secrets, in every spelling that a server may echo, and the queries of URLs, with `<redacted>`."""

    __slots__ = ("_pattern", "_secrets")

    def __init__(self, *secrets: Secret) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._pattern: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        if self._secrets and self._pattern is None:  # made late: most links never need their pattern
            # Longest first: a shorter one may be part of a longer one.
            texts = sorted((secret.reveal() for secret in self._secrets), key=len, reverse=True)
            self._pattern = re.compile("|".join("".join(map(_spelled, text)) for text in texts))
        return redact_urls(self._pattern.sub(REDACTED, text) if self._pattern else text)


def _spelled(char: str) -> str:
    """Return a pattern for a character as itself, and as URLs (also nested ones), JSON and HTML write it."""
    if char.isascii() and char.isalnum():
        return char
    in_url = "".join(f"%{byte:02x}" for byte in char.encode(errors="surrogatepass"))
    in_json = {json.dumps(char)[1:-1], f"\\u{ord(char):04x}", f"\\{char}"}
    in_html = {html.escape(char), f"&#{ord(char)};", f"&#x{ord(char):x};"}
    spellings = {char, in_url, in_url.replace("%", "%25"), *in_json, *in_html, *("+" if char == " " else "")}
    return f"(?i:{'|'.join(sorted(map(re.escape, spellings), key=len, reverse=True))})"


def redact_urls(text: str) -> str:
    """Replace the queries of URLs, and anywhere the values of parameters such as `token=`."""
    return _SECRET_PARAMETER.sub(rf"\1={REDACTED}", _TOKEN.sub(_without_query, text))


def _without_query(token: re.Match[str]) -> str:
    text = token[0]
    url = _URL.search(text)
    query = text.find("?", url.end()) if url else -1
    return text if query < 0 else f"{text[:query]}?{REDACTED}"


def redactor_for_link(url: str) -> Redactor:
    """Return a redactor that hides a signed URL with its path, since some stores sign in the path."""
    target = re.sub(r"^\w+://[^/?#]*", "", url).partition("#")[0]
    return Redactor(*(Secret(text) for text in (url, target) if len(text) > 1))


_in_flight: ContextVar[Redactor | None] = ContextVar("sama_spark_in_flight", default=None)


@contextmanager
def hidden_from_logs(redactor: Redactor) -> Iterator[None]:
    """Redact urllib3's log records of this thread while the block runs."""
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
    """Put a filter on urllib3's loggers, which write every request's path and query at DEBUG."""
    for name in ("connectionpool", "connection", "poolmanager", "response", "util.retry"):
        logger = logging.getLogger(f"urllib3.{name}")
        if not any(isinstance(known, _RedactingFilter) for known in logger.filters):
            logger.addFilter(_RedactingFilter())
