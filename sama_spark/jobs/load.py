"""From a YAML file and overrides to the configuration of a job, or an error that names the field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from sama_spark.errors import InvalidInput
from sama_spark.jobs.config import JOBS, AnyJob, Job
from sama_spark.jobs.fields import choices_of, names_in
from sama_spark.keys import KEY_ENV
from sama_spark.plain_yaml import NotYaml, parse_yaml, read_yaml

_UNKNOWN = re.compile("Object contains unknown field `(.*?)`")
_AT = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$")
_PLACE = "name the place of the key, such as api_key: {env: SAMA_API_KEY}"
_TABLES = ("into", "outbox", "rejected_table", "runs")


def load(path: str, overrides: Iterable[str] = (), job: str | None = None) -> AnyJob:
    """The configuration in the YAML file `path`, with overrides such as "max_tasks=10" or "source.table=images".

    An override's value is YAML too, and what it names is replaced as a whole. `job`: what the file must be for.

    Raises:
        InvalidInput: the file cannot be read, or a field is unknown, missing or of a wrong type. Nothing was sent.
            Values are not repeated: one of them may be the key.
    """
    try:
        document = read_yaml(path)
    except NotYaml as error:
        raise _unreadable(path, error) from None
    except (OSError, ValueError) as error:  # ValueError: no file can have such a name
        reason = getattr(error, "strerror", None) or "no file has such a name"
        raise InvalidInput(
            f"{path} cannot be read: {reason}", remedy="name a YAML file, such as conf/sync.yml"
        ) from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} holds no fields", remedy="sama-spark sync --help lists those of a sync")
    for override in overrides:
        _override(document, override)
    document = {name: _tidied(name, value) for name, value in document.items() if value is not None}
    named = document.get("job")
    if not (isinstance(named, str) and named in JOBS):
        raise InvalidInput(f"{path}: `job` is none of {', '.join(JOBS)}", remedy="say which job it is: job: sync")
    if job is not None and named != job:
        raise InvalidInput(f"{path} is for `{named}`, not for `{job}`", remedy=f"run sama-spark {named} {path}")
    try:
        loaded: AnyJob = msgspec.convert(document, AnyJob, str_keys=True)
        return loaded
    except msgspec.ValidationError as error:
        raise _explained(str(error), path, named) from None


def _unreadable(where: str, error: NotYaml) -> InvalidInput:
    line = f", line {error.line}" if error.line else ""
    return InvalidInput(f"{where}{line}: {error.why}", remedy="write it as YAML: name: value")


def _override(document: dict[str, Any], override: str) -> None:
    name, equals, text = override.removeprefix("--").partition("=")
    if not (name.isprintable() and name and equals):  # bytes that are no text are not printable
        raise InvalidInput("an argument is no override", remedy="say name=value, such as max_tasks=10")
    *outer, last = name.split(".")
    place = document
    for step in outer:
        inner = place.get(step)
        place[step] = place = dict(inner) if isinstance(inner, dict) else {}
    try:
        place[last] = parse_yaml(text)
    except NotYaml as error:
        raise _unreadable(f"the value of {name}", error) from None


def _tidied(name: str, value: Any) -> Any:
    """A table in a folder is named by the whole path, or Delta does not find it; blanks around an id mean nothing."""
    if not isinstance(value, str):
        return value
    if name == "project":
        return value.strip()
    is_relative = "/" in value and not re.match(r"/|\w+:", value)
    return str(Path.cwd() / value) if name in _TABLES and is_relative else value


def _explained(said: str, path: str, job: str) -> InvalidInput:
    found = _AT.search(said)
    field, said = (found[1] if found else ""), said[: found.start()] if found else said
    unknown = _UNKNOWN.match(said)
    if unknown:
        fields = names_in(field, job)
        nearest = get_close_matches(unknown[1], fields, n=1)
        within = f" in `{field}`" if field else ""
        # What stands in the place of a field of the key may be the key.
        named = f"there is no field `{unknown[1]}`" if nearest or field != "api_key" else "there is an unknown field"
        return InvalidInput(
            f"{path}: {named}{within}",
            remedy=f"do you mean `{nearest[0]}`?" if nearest else f"the fields are {', '.join(fields)}",
        )
    said = re.sub(r"^Invalid enum value .*", f"not one of {choices_of(re.split(r'[.[]', field)[0], job)}", said)
    said = said[0].lower() + said[1:]
    return InvalidInput(f"{path}: `{field}`: {said}" if field else f"{path}: {said}", remedy=_remedy(field, said, job))


def _remedy(field: str, said: str, job: str) -> str:
    if field == "project":
        return "write the whole number that Sama shows, such as 4242"
    if field == "api_key":
        return _PLACE
    wrong = re.search(r"expected `(.*?)`.*, got `(\w+)`", said)
    due, given = (wrong[1].split(" | "), wrong[2]) if wrong else ([], "")
    if "str" in due and given in ("int", "float", "bool"):
        return "put it in quotes, so that it is a text"
    if "bool" in due and given == "str":
        return "write true or false"
    if given == "str" and {"int", "float"} & set(due):
        return "write a plain number, without quotes"
    if due == ["array"] and given == "str":
        return "write a list, such as [a, b]"
    return f"sama-spark {job} --help lists the fields"


def key_of(job: Job) -> str:
    """The account's key, now.

    Raises:
        InvalidInput: it is not where the configuration says.
    """
    if not isinstance(job.api_key, str):
        return job.api_key.resolve()
    if not job.api_key.strip():
        raise InvalidInput("`api_key` is empty", remedy=_PLACE)
    return job.api_key


LITERAL_KEY = (
    "WARNING: the API key itself stands in the configuration, where everyone sees it who may read the file, the job's "
    f"parameters or the repository. Put it into a secret and name that: `api_key: {{scope: ..., key: ...}}`, or the "
    f"environment variable {KEY_ENV}; then have Sama replace the key."
)
