"""A YAML file and overrides become the configuration of a job, or an error that names the field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from sama_spark.errors import InvalidInput
from sama_spark.jobs.config import JOBS, AnyJob, Job, options_of
from sama_spark.jobs.fields import choices_of, names_in
from sama_spark.keys import KEY_ENV
from sama_spark.names import check_place, check_table
from sama_spark.options import remedy_for
from sama_spark.plain_yaml import NotYaml, parse_yaml, read_yaml

_UNKNOWN = re.compile("Object contains unknown field `(.*?)`")
_AT = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$")
_PLACE = "name the place of the key, such as api_key: {env: SAMA_API_KEY}"
_TABLES = ("into", "outbox", "rejected_table", "runs")


def load(path: str, overrides: Iterable[str] = (), job: str | None = None) -> AnyJob:
    """Read the YAML file `path`, with overrides such as "max_tasks=10" or "source.table=images".

    An override's value is YAML too, and replaces what it names as a whole. `job`: the job that the file must be for.

    Raises:
        InvalidInput: the file cannot be read, or a field is unknown, missing or of a wrong type. Nothing was sent.
            The text repeats no value, because one of them may be the key.
    """
    try:
        document = read_yaml(path)
    except NotYaml as error:
        raise _unreadable(path, error) from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
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
    _check_names(document, path)
    try:
        loaded: AnyJob = msgspec.convert(_with_options(document, named), AnyJob, str_keys=True)
        return loaded
    except msgspec.ValidationError as error:
        if isinstance(wrong := error.__cause__, InvalidInput):  # of the options' own checks
            raise InvalidInput(f"{path}: {wrong.message}", column=wrong.column, remedy=wrong.remedy) from None
        raise _explained(str(error), path, named) from None


def _with_options(document: dict[str, Any], job: str) -> dict[str, Any]:
    """Move the options of the call into the field `options`."""
    options = options_of(JOBS[job])
    if not options:
        return document
    if "options" in document:
        raise msgspec.ValidationError("Object contains unknown field `options`")
    own = {name: value for name, value in document.items() if name not in options}
    return own | {"options": {name: value for name, value in document.items() if name in options}}


def _check_names(document: dict[str, Any], path: str) -> None:
    """Refuse what cannot name a table, without repeating it: it may be the key at the wrong place."""
    texts = {name: value for name, value in document.items() if isinstance(value, str)}
    for name in _TABLES:
        if name not in texts:
            continue
        try:
            if name == "into":
                check_place(texts[name], texts.get("prefix", ""))
            else:
                check_table(texts[name], name)
        except InvalidInput as error:
            what = "into, or prefix," if name == "into" else name
            raise InvalidInput(f"{path}: {what} is nothing that a table can be called", remedy=error.remedy) from None


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
    """Complete the path of a table in a folder, or Delta does not find it; strip blanks around the project's id."""
    if not isinstance(value, str):
        return value
    if name == "project":
        return value.strip()
    is_relative = "/" in value and not re.match(r"/|\w+:", value)
    return str(Path.cwd() / value) if name in _TABLES and is_relative else value


def _explained(said: str, path: str, job: str) -> InvalidInput:
    found = _AT.search(said)
    field, said = (found[1].removeprefix("options.") if found else ""), said[: found.start()] if found else said
    unknown = _UNKNOWN.match(said)
    if unknown:
        fields = names_in(field, job)
        # A wrong name in `api_key` may be the key itself.
        remedy = remedy_for(unknown[1], fields, otherwise="the fields are ")
        is_known = field != "api_key" or remedy.startswith("do you mean")
        named = f"there is no field `{unknown[1]}`" if is_known else "there is an unknown field"
        return InvalidInput(f"{path}: {named}{f' in `{field}`' if field else ''}", remedy=remedy)
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
    """Return the account's key, from where the configuration says.

    Raises:
        InvalidInput: the key is not there.
    """
    if not isinstance(job.api_key, str):
        return job.api_key.resolve()
    if not (key := job.api_key.strip()):
        raise InvalidInput("`api_key` is empty", remedy=_PLACE)
    return key


LITERAL_KEY = (
    "WARNING: the API key itself stands in the configuration, where everyone sees it who may read the file, the job's "
    f"parameters or the repository. Put it into a secret and name that: `api_key: {{scope: ..., key: ...}}`, or the "
    f"environment variable {KEY_ENV}; then have Sama replace the key."
)
