"""Names of tables: as users write them, and as SQL does.

A user writes a name of one to three levels, such as `labels.tasks`, or a path, which has a slash. Backticks around a
level are allowed and not needed, because each level is quoted here. A bad name is rejected before anything is done.
"""

from __future__ import annotations

import re

from sama_spark.arguments import shown
from sama_spark.errors import InvalidInput

_LEVEL = r"\s*(?:`(?:[^`]|``)+`|[^`.]+)\s*"
_NAME = re.compile(rf"{_LEVEL}(?:\.{_LEVEL})*")
_EACH_LEVEL = re.compile(_LEVEL)
_PLAIN = re.compile(r"[A-Za-z_]\w*|\*", re.ASCII)
_LONGEST = 255  # characters of a level, as Unity Catalog has it
_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*:/")
# Spark puts settings and environment variables in place of ${...} in all SQL, between backticks too.
_NEVER = re.compile(r"\$\{|[\x00-\x1f\x7f]")


def is_path(name: str) -> bool:
    """Return True if `name` is a path, which has a slash."""
    return "/" in name


def levels(name: str, argument: str = "the table", most: int = 3) -> tuple[str, ...]:
    """Return the levels of a name, such as catalog, schema and table, without backticks.

    Args:
        name: the name, as a user writes it.
        argument: the argument's name, for the error.
        most: the largest number of levels.

    Raises:
        InvalidInput: this is no such name.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"{argument}={shown(name)} is no name", remedy="give a name such as 'labels', or a path")
    found: list[str] = []
    if not is_path(name) and _NAME.fullmatch(name):
        found = [_bare(level) for level in _EACH_LEVEL.findall(name)]
    if not found or not all(found) or any(map(_NEVER.search, found)) or max(map(len, found)) > _LONGEST:
        raise InvalidInput(
            f"{argument}={shown(name)} is no name that a table can have",
            remedy="give one to three levels with dots between them, such as my-catalog.labels, with backticks around "
            "a level that has a dot itself, without ${, slashes and line ends, and 255 characters a level at most",
        )
    if len(found) > most:
        example = "catalog.schema.table" if most == 3 else "catalog.schema"
        raise InvalidInput(
            f"{argument}={shown(name)} has {len(found)} levels, where at most {most} are known ({example})",
            remedy="put a level that has a dot itself in backticks",
        )
    return tuple(found)


def check_table(name: str, argument: str) -> None:
    """Check that `name` can be a table's name or path.

    Raises:
        InvalidInput: `name` cannot; the message names the `argument`.
    """
    _check(name, argument, 3)


def check_place(into: str, prefix: str) -> None:
    """Check that `into` can be a schema's name or a folder's path, and that `prefix` can begin a table's name.

    Raises:
        InvalidInput: one of them cannot; the message names it.
    """
    _check(into, "into", 2)
    if not isinstance(prefix, str) or _NEVER.search(prefix) or re.search(r"[/`]", prefix) or len(prefix) > _LONGEST:
        raise InvalidInput(
            f"prefix={shown(prefix)} cannot begin a table's name",
            remedy="give text without slashes, backticks, ${ and line ends, such as 'proj-1_'",
        )
    if not is_path(into) and "." in prefix:
        raise InvalidInput(
            f"prefix={shown(prefix)} has a dot, which separates levels of a name",
            remedy="name the schema in `into`, and begin the tables' names without a dot, as in 'proj-1_'",
        )


def _check(name: str, argument: str, most: int) -> None:
    if not isinstance(name, str) or not is_path(name):
        levels(name, argument, most)
    elif _NEVER.search(name) or not _ABSOLUTE.match(name):
        raise InvalidInput(
            f"{argument}={shown(name)} is no path of a table",
            remedy="give an absolute path such as /Volumes/catalog/schema/volume/labels or s3://bucket/labels, without "
            "backticks around it, ${ and line ends. A name of a table has no slash",
        )


def sql_name(name: str) -> str:
    """Return a table's name, or its path, as SQL writes it."""
    return f"delta.{quoted(name)}" if is_path(name) else ".".join(map(quoted, levels(name)))


def quoted(name: str) -> str:
    """Quote one level of a name, or the name of a column or view, as SQL writes it.

    Raises:
        InvalidInput: Spark would replace a part of the name, because it has "${".
    """
    if "${" in name:
        raise InvalidInput(f"{name!r} cannot be a name in SQL: it has ${{", remedy="take another name")
    return in_backticks(name)


def in_backticks(name: str) -> str:
    """Return the name of a column as `functions.col` takes it, whatever is in the name."""
    return f"`{name.replace('`', '``')}`"


def inside(place: str, name: str) -> str:
    """Return the name of a table in a schema, or its path in a folder; just `name` where `place` is empty."""
    if is_path(place):
        return f"{place.rstrip('/')}/{name}"
    return ".".join([place, _written(name)]) if place else _written(name)


def split(name: str) -> tuple[str, str]:
    """Return a table's schema or folder, empty for none, and its name in there."""
    if is_path(name):
        place, _, last = name.rstrip("/").rpartition("/")
        return f"{place}/", last
    *above, last = levels(name)
    return ".".join(map(_written, above)), last


def with_suffix(name: str, suffix: str) -> str:
    """Return the name of a table in the same schema or folder, with a suffix."""
    place, last = split(name)
    return inside(place, f"{last}{suffix}")


def _written(level: str) -> str:
    """Return a level as a user has to write it."""
    return level if _PLAIN.fullmatch(level) else in_backticks(level)


def _bare(level: str) -> str:
    level = level.strip()
    return level[1:-1].replace("``", "`") if level.startswith("`") else level
