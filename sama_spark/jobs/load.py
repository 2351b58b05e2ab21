"""From a YAML file and overrides to the configuration of a job, or an error that names the field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import yaml

from sama_spark.api.errors import InvalidInput
from sama_spark.jobs.config import JOBS, AnyJob, Job, Source
from sama_spark.keys import KEY_ENV, KeyReference

_UNKNOWN = re.compile("Object contains unknown field `(.+?)`")
_AT = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_TIMESTAMP, _BOOL = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"

_TABLES = ("into", "outbox", "rejected_table", "runs")


class _Loader(yaml.SafeLoader):
    """Plain YAML: `off` and 2026-01-01 are texts, and a key that comes twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"`{name}` comes twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_TIMESTAMP, _BOOL)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$", re.IGNORECASE), list("tTfF"))


def load(path: str, overrides: Iterable[str] = (), job: str | None = None) -> AnyJob:
    """The configuration in the YAML file `path`, with overrides such as "max_tasks=10" or "source.table=images".

    An override's value is YAML too, and what it names is replaced as a whole. `job`: what the file must be for.

    Raises:
        InvalidInput: the file cannot be read, or a field is unknown, missing or of a wrong type. Nothing was sent.
            Values are not repeated: one of them may be the key.
    """
    try:
        document = _parse(Path(path).read_text(), path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InvalidInput(
            f"{path} cannot be read: {reason}", remedy="name a YAML file, such as conf/sync.yml"
        ) from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} holds no fields", remedy="see conf/ in the repository for an example of each job")
    for override in overrides:
        _override(document, override)
    document = {name: _absolute(name, value) for name, value in document.items() if value is not None}
    named = document.get("job")
    if job is not None and named != job and named in JOBS:
        raise InvalidInput(f"{path} is for `{named}`, not for `{job}`", remedy=f"run sama-spark {named} {path}")
    try:
        loaded: AnyJob = msgspec.convert(document, AnyJob)
        return loaded
    except msgspec.ValidationError as error:
        raise _explained(str(error), path, named) from None


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        # Not the error's own text, which shows the line.
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = re.sub(r"(alias|tag) .*", r"\1", str(error.problem))
        raise InvalidInput(f"{where}{line}: {problem}", remedy="write it as YAML: name: value") from None
    except yaml.YAMLError:
        raise InvalidInput(f"{where} is no YAML", remedy="write it as YAML: name: value") from None


def _override(document: dict[str, Any], override: str) -> None:
    name, equals, text = override.removeprefix("--").partition("=")
    if not (name and equals):
        raise InvalidInput("an argument is no override", remedy="say name=value, such as max_tasks=10")
    *outer, last = name.split(".")
    place = document
    for step in outer:
        inner = place.get(step)
        place[step] = place = dict(inner) if isinstance(inner, dict) else {}
    place[last] = _parse(text, f"the value of {name}")


def _absolute(name: str, value: Any) -> Any:
    """A table in a folder is named by the whole path, or Delta does not find it."""
    is_relative = isinstance(value, str) and "/" in value and not re.match(r"/|\w+:", value)
    return str(Path.cwd() / value) if name in _TABLES and is_relative else value


def _explained(said: str, path: str, job: Any) -> InvalidInput:
    found = _AT.search(said)
    field, said = (found[1] if found else ""), said[: found.start()] if found else said
    if field == "job" or "missing required field `job`" in said:
        return InvalidInput(f"{path}: `job` is none of {', '.join(JOBS)}", remedy="say which job it is: job: sync")
    unknown = _UNKNOWN.match(said)
    if unknown:
        fields = _fields(field, job)
        nearest = get_close_matches(unknown[1], fields, n=1)
        within = f" in `{field}`" if field else ""
        return InvalidInput(
            f"{path}: there is no field `{unknown[1]}`{within}",
            remedy=f"do you mean `{nearest[0]}`?" if nearest else f"the fields are {', '.join(fields)}",
        )
    said = re.sub(r"^Invalid enum value .*", f"not one of {_choices(field, job)}", said)
    said = said[0].lower() + said[1:]
    return InvalidInput(
        f"{path}: `{field}`: {said}" if field else f"{path}: {said}",
        remedy=f"conf/{job}.yml in the repository explains each field",
    )


def _fields(field: str, job: Any) -> tuple[str, ...]:
    if field in ("source", "rows"):
        return Source.__struct_fields__
    if field == "api_key":
        return KeyReference.__struct_fields__
    return ("job", *JOBS[job].__struct_fields__)


def _choices(field: str, job: Any) -> str:
    described: Any = {info.name: info.type for info in msgspec.inspect.type_info(JOBS[job]).fields}  # type: ignore[attr-defined]
    kind = described.get(re.split(r"[.\[]", field)[0])
    while kind is not None and not hasattr(kind, "values"):
        kind = getattr(kind, "item_type", None) or getattr(kind, "value_type", None)
    return ", ".join(map(str, kind.values)) if kind else "what is expected"


def key_of(job: Job) -> str:
    """The account's key, now.

    Raises:
        InvalidInput: it is not where the configuration says.
    """
    return job.api_key if isinstance(job.api_key, str) else job.api_key.resolve()


LITERAL_KEY = (
    "WARNING: the API key itself stands in the configuration, where everyone sees it who may read the file, the job's "
    f"parameters or the repository. Put it into a secret and name that: `api_key: {{scope: ..., key: ...}}`, or the "
    f"environment variable {KEY_ENV}; then have Sama replace the key."
)
