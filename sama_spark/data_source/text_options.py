"""Parsing of the options of `format("sama")`, and the options that reading and writing share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sama_spark.arguments import nearest
from sama_spark.errors import InvalidInput
from sama_spark.ids import id_of
from sama_spark.keys import KEY_ENV, KeyReference
from sama_spark.staging import local_path

Parser = Callable[[str, str], Any]
"""Takes an option's name and text and returns its value."""

BASE_URL = "https://api.sama.com/v2"
_KEYS = ("api_key", "apikey", "api-key", "access_key", "key", "token", "secret", "password")
_OF_SPARK = ("checkpointlocation",)


def parse_options(
    given: Mapping[str, str], parsers: Mapping[str, Parser], refused: Mapping[str, InvalidInput]
) -> dict[str, Any]:
    """Return the values of all options.

    Args:
        given: names (in any case) and texts, as Spark gives them.
        parsers: the options that are known, beside those of `COMMON`.
        refused: for some names the error to raise.

    Raises:
        InvalidInput: an option is unknown or not understood. The text never repeats a value that may be a key.
    """
    known = {**COMMON, **parsers}
    options = {name.lower(): text for name, text in given.items() if name.lower() not in _OF_SPARK}
    for name in options:
        if name in _KEYS:
            raise InvalidInput(
                f"option `{name}` would show the key in plans and logs",
                remedy=f"name an environment variable in `api_key_env` (by default {KEY_ENV}) or a file in "
                "`api_key_file`; both are read beside the driver; and change the key, which Spark may have logged",
            )
        if name in refused:
            raise refused[name]
        if name == "path":
            raise InvalidInput("load(), save() and start() take no path here", remedy='say .option("project", "4242")')
        if name not in known:
            meant = nearest(name, known)
            raise InvalidInput(
                f"there is no option `{name}`",
                remedy=f"do you mean `{meant}`?" if meant else f"the options are {', '.join(sorted(known))}",
            )
    return {name: known[name](name, text) for name, text in options.items()}


def project_in(values: Mapping[str, Any]) -> str:
    """Return the project, by either name of the option.

    Raises:
        InvalidInput: it is missing, named twice, or no id.
    """
    project = values.get("project", values.get("project_id"))
    if not project or values.get("project_id", project) != project:
        raise InvalidInput("the project is not named once", remedy='say .option("project", "4242")')
    return str(id_of(project, "option `project`"))


def key_in(values: Mapping[str, Any]) -> KeyReference:
    """Return where the key is.

    Raises:
        InvalidInput: both options are given.
    """
    if "api_key_env" in values and "api_key_file" in values:
        raise InvalidInput("`api_key_env` and `api_key_file` are both named", remedy="name one of them")
    return KeyReference(env=values.get("api_key_env"), file=values.get("api_key_file"))


def staging_in(values: Mapping[str, Any]) -> Path | None:
    """Return the folder that driver and workers share, None for a temporary one.

    Raises:
        InvalidInput: it is a relative path.
        StagingError: it is no path of the file system.
    """
    if "staging" not in values:
        return None
    folder = local_path(values["staging"])
    if not folder.is_absolute():
        raise InvalidInput(
            "option `staging` is a relative path, which means one folder here and another in Spark's own processes",
            remedy="give the whole path, such as /Volumes/catalog/schema/volume",
        )
    return folder


def text_of(name: str, text: str) -> str:
    """Return a text, which must not be empty."""
    if not text.strip():
        raise InvalidInput(f"option `{name}` is empty", remedy="give a value, or leave the option out")
    return text


def int_of(name: str, text: str) -> int:
    """Return a whole number."""
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"option `{name}` is no whole number", remedy="give one, such as 5000") from None


def bool_of(name: str, text: str) -> bool:
    """Return whether the text is "true" and not "false"."""
    if text.lower() not in ("true", "false"):
        raise InvalidInput(f"option `{name}` is neither true nor false", remedy="give one of them")
    return text.lower() == "true"


COMMON: Mapping[str, Parser] = {
    "project": text_of,
    "project_id": text_of,
    "base_url": text_of,
    "api_key_env": text_of,
    "api_key_file": text_of,
    "staging": text_of,
}
