"""Error replies that no API has written: the XML of a store for files, and the page of a proxy."""

from __future__ import annotations

from sama_spark.http.call_errors import kind_of_status
from sama_spark.http.dialect import Problem
from sama_spark.http.secrets import REDACTED, Redactor

_LONGEST_EXCERPT = 500  # characters
_LONGEST_TEXT = 20_000  # characters of a page that are read
_LONGEST_TYPE = 100  # characters
_REDACTED_SIZE = 1 << 16  # bytes or characters, from the beginning, that are redacted; the rest is dropped


def read_page(status: int, body: bytes, redact: Redactor) -> Problem:
    """Return what a page or a store's XML says, redacted."""
    # Redacted before it is cut: half a key would not be found.
    # Without NULs UTF-16 reads as text, in which the key is found too.
    text = redact(body[:_REDACTED_SIZE].replace(b"\0", b"").decode(errors="replace"))[:_LONGEST_TEXT]
    kind = kind_of_status(status)
    if "<Error>" in text:  # of a store's XML only code and message: the rest repeats what was signed
        code, message = _within("Code", text), _within("Message", text)
        return Problem(kind, (redact(code)[:_LONGEST_TYPE],) if code else (), message or "refused", "store")
    return Problem(kind, (), " ".join(_without_tags(text).split()), "page")


def redacted(problem: Problem, redact: Redactor) -> Problem:
    """Return an API's own problem without secrets, and not longer than an error should be."""
    return Problem(
        problem.kind,
        tuple(redact(name[:_REDACTED_SIZE])[:_LONGEST_TYPE] for name in problem.types),
        redact(problem.message[:_REDACTED_SIZE]),
        problem.by,
    )


def excerpt(text: str) -> str:
    """Return the start of a text that others wrote, short enough for a log line."""
    return text if len(text) <= _LONGEST_EXCERPT else text[:_LONGEST_EXCERPT] + "..."


def _within(tag: str, xml: str) -> str:
    return xml.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


def _without_tags(html: str) -> str:
    """Return the text between tags, less scripts and styles."""
    first, *parts = html.split("<")
    texts, within = [first], ""
    for part in parts:
        tag, closed, text = part.partition(">")
        name = tag[:8].lower()
        if within:
            within = "" if name.startswith(f"/{within}") else within
        else:
            within = next((kind for kind in ("script", "style") if name.startswith(kind)), "")
        if not within:
            texts.append(text if closed and not part.startswith(REDACTED[1:]) else f"<{part}")
    return " ".join(texts)
