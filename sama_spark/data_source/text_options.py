"""Options of `format("sama")`: which project, where the key is, and how Spark's texts become options."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from sama_spark.errors import InvalidInput
from sama_spark.ids import id_of
from sama_spark.keys import KEY_ENV, KeyReference
from sama_spark.options import Text, about, from_text, refuse_unknown
from sama_spark.staging import Stage, local_path

More = TypeVar("More", bound=msgspec.Struct)

BASE_URL = "https://api.sama.com/v2"
_KEYS = ("api_key", "apikey", "api-key", "access_key", "key", "token", "secret", "password")
_OF_SPARK = ("checkpointlocation",)


class SharedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options that reading and writing share."""

    project: Annotated[Text | None, about("Sama's project")] = None
    project_id: Annotated[Text | None, about("the same, by the function's name for it; one of the two is required")] = (
        None
    )
    base_url: Annotated[Text, about("address of Sama's API up to its version, for a sandbox or proxy")] = BASE_URL
    api_key_env: Annotated[
        Text | None, about(f"environment variable on the driver's machine that holds the key; by default `{KEY_ENV}`")
    ] = None
    api_key_file: Annotated[Text | None, about("a file on the driver's machine that holds the key, instead")] = None
    staging: Annotated[
        Text | None,
        about("whole path of a folder that driver and workers share; by default a temporary one, for a single machine"),
    ] = None

    def the_project(self) -> str:
        """Return the project, by either name of the option."""
        project = self.project or self.project_id
        if not project or (self.project_id or project) != project:
            raise InvalidInput("the project is not named once", remedy='say .option("project", "4242")')
        return str(id_of(project, "option `project`"))

    def key(self) -> KeyReference:
        """Return where the key is."""
        if self.api_key_env is not None and self.api_key_file is not None:
            raise InvalidInput("`api_key_env` and `api_key_file` are both named", remedy="name one of them")
        return KeyReference(env=self.api_key_env, file=self.api_key_file)

    def stage(self) -> Stage:
        """Return where text waits: in the shared folder, or in a temporary one."""
        if self.staging is None:
            return Stage(Path(tempfile.gettempdir()))
        folder = local_path(self.staging)
        if not folder.is_absolute():
            raise InvalidInput(
                "option `staging` is a relative path, which means one folder here and another in Spark's own processes",
                remedy="give the whole path, such as /Volumes/catalog/schema/volume",
            )
        return Stage(folder / "sama-spark")


def read_text(
    given: Mapping[str, str], more: type[More], refused: Mapping[str, InvalidInput], without: Collection[str] = ()
) -> tuple[SharedOptions, More]:
    """Return the options that all uses share, and those of the struct `more`.

    Args:
        given: texts by name; names in any case, as Spark gives them.
        more: the struct of the other options.
        refused: errors for names that have one of their own.
        without: fields of `more` that are no options here.

    Raises:
        InvalidInput: an option is unknown or not understood. The text never repeats a value, which may be a key.
    """
    names = [name for name in more.__struct_fields__ if name not in without]
    options = {name.lower(): text for name, text in given.items() if name.lower() not in _OF_SPARK}
    for name in options:
        if name in _KEYS:
            raise InvalidInput(
                f"option `{name}` would show the key in plans and logs",
                remedy=f"name an environment variable in `api_key_env` (by default {KEY_ENV}) or a file in "
                "`api_key_file`, on the driver's machine, and change the key, which Spark may have logged",
            )
        if name in refused:
            raise refused[name]
        if name == "path":
            raise InvalidInput("load(), save() and start() take no path here", remedy='say .option("project", "4242")')
    refuse_unknown(SharedOptions, options, *names)
    shared = {name: text for name, text in options.items() if name in SharedOptions.__struct_fields__}
    others = {name: text for name, text in options.items() if name in names}
    return from_text(SharedOptions, shared), from_text(more, others)
