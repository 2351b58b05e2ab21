"""Declares options as struct fields.

Repeat a new one in the call's signature, docs/options.md and conf/<job>.yml; tests compare them.

A field holds an option's name, type, bounds and default, and its description says what the option does. From the fields
follow the checks of a call's arguments (`from_arguments`) and the call's docstring (`documented`), options as text for
`format("sama")` (`from_text`), the fields of job files and their help (`jobs.config`).
"""

from __future__ import annotations

import inspect as python
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec
from msgspec import Meta, inspect

from sama_spark.arguments import LONGEST, nearest, shown
from sama_spark.errors import InvalidInput

Options = TypeVar("Options", bound=msgspec.Struct)
Call = TypeVar("Call", bound=Callable[..., Any])

Text = Annotated[str, Meta(pattern=r"\S", max_length=LONGEST)]
"""A text with something in it."""
Count = Annotated[int, Meta(ge=1)]


def about(text: str) -> Meta:
    """Return the description of a field."""
    return Meta(description=text)


def from_arguments(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Return the options among the arguments `given` of a call, such as its `locals()`.

    Raises:
        InvalidInput: an option has a value that it does not take. The text shows the value if it is short.
    """
    given = {name: given[name] for name in kind.__struct_fields__ if name in given}
    return _read(kind, given, _listed, lambda name: f"{name}={shown(given[name])}")


def from_text(kind: type[Options], given: Mapping[str, str]) -> Options:
    """Return options that are given as text: "5000", "true", "a,b" or JSON for lists and mappings.

    Raises:
        InvalidInput: an option has a value that it does not take. The text never repeats the value.
    """
    return _read(kind, given, _parsed, lambda name: f"option `{name}`", text=True)


def refuse_unknown(kind: type[msgspec.Struct], given: Iterable[str], *more: str) -> None:
    """Refuse names that are neither options of `kind` nor among `more`."""
    known = [*kind.__struct_fields__, *more]
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"there is no option `{name}`", remedy=remedy_for(name, sorted(known), otherwise="the options are ")
            )


def remedy_for(name: str, known: Iterable[str], *, quote: str = "`", otherwise: str = "") -> str:
    """Return a remedy for a misspelt name: "do you mean ...?", or all known names after `otherwise`."""
    known = list(known)
    if found := nearest(name, known):
        return f"do you mean {quote}{found}{quote}?"
    return f"{otherwise}{', '.join(known)}"


def documented(kind: type[msgspec.Struct]) -> Callable[[Call], Call]:
    """Add the options of `kind` to the docstring of a call, which `help()` and `make docs` show."""

    def add(call: Call) -> Call:
        if call.__doc__:  # none with python -OO
            fields = fields_of(kind).items()
            lines = [f"    {name}: {meaning(field)}. Default: {default(field)!r}." for name, field in fields]
            call.__doc__ = "\n".join([python.cleandoc(call.__doc__), "", "Args:", *lines])
        return call

    return add


def fields_of(kind: type[msgspec.Struct]) -> dict[str, inspect.Field]:
    """Return the fields of a struct by name."""
    described: Any = inspect.type_info(kind)
    return {field.encode_name: field for field in described.fields}


def meaning(field: inspect.Field) -> str:
    """Return what an option does."""
    described = field.type if isinstance(field.type, inspect.Metadata) else None
    return str(((described and described.extra_json_schema) or {}).get("description", ""))


def default(field: inspect.Field) -> Any:
    """Return an option's default."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def kinds(type_: Any) -> Iterator[Any]:
    """Yield what an option takes, None aside: one kind, or several of a union."""
    if isinstance(type_, inspect.Metadata):
        yield from kinds(type_.type)
    elif isinstance(type_, inspect.UnionType):
        for part in type_.types:
            yield from kinds(part)
    elif not isinstance(type_, inspect.NoneType):
        yield type_


def choices(type_: Any) -> tuple[str, ...]:
    """Return the words that an option takes, itself or as items of a list or values of a mapping; () for any."""
    for kind in kinds(type_):
        if isinstance(kind, inspect.LiteralType):
            return tuple(map(str, kind.values))
        for part in ("item_type", "value_type"):
            if words := choices(getattr(kind, part, inspect.NoneType())):
                return words
    return ()


def _read(
    kind: type[Options],
    given: Mapping[str, Any],
    prepared: Callable[[inspect.Field, Any], Any],
    label: Callable[[str], str],
    *,
    text: bool = False,
) -> Options:
    fields, types, values = fields_of(kind), get_type_hints(kind, include_extras=True), {}
    for name, value in given.items():
        try:
            values[name] = msgspec.convert(prepared(fields[name], value), types[name], strict=not text)
            continue
        except Exception:  # noqa: S110 - msgspec's, or of a strange value's own methods
            pass
        # Outside of the `except`: the other error's text can hold the value.
        problem, remedy = _refusal(fields[name].type, value, text=text)
        raise InvalidInput(f"{label(name)} {problem}", column=name, remedy=remedy)
    return kind(**values)


def _listed(field: inspect.Field, value: Any) -> Any:
    """Return a list of names as a tuple; one name too, where the option takes nothing but a list."""
    lists = [kind for kind in kinds(field.type) if isinstance(kind, inspect.VarTupleType)]
    if not lists or isinstance(value, (bytes, Mapping)):
        return value
    if isinstance(value, str):
        is_name = isinstance(lists[0].item_type, inspect.StrType) and len(list(kinds(field.type))) == 1
        return (value,) if is_name else value
    return tuple(value) if isinstance(value, Iterable) else value


def _parsed(field: inspect.Field, text: str) -> Any:
    """Return what a text means for an option, as far as its kind says; the text itself where it cannot be read."""
    found = {type(kind) for kind in kinds(field.type)}
    if inspect.VarTupleType in found and not text.lstrip().startswith("["):
        return tuple(part for part in map(str.strip, text.split(",")) if part)
    if found & {inspect.VarTupleType, inspect.DictType}:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    if inspect.LiteralType in found:
        return text.strip().lower()
    return text if inspect.StrType in found else text.strip()


def _refusal(type_: Any, value: Any, *, text: bool) -> tuple[str, str]:
    """Return what is wrong with a value, and what to give."""
    kind = next(kinds(type_))
    words = choices(type_)
    if isinstance(kind, inspect.IntType):
        least = "" if kind.ge is None else f" of {kind.ge} or more"
        is_number = re.fullmatch(r"[-+]?\d+", str(value)) is not None
        return "is out of range" if is_number else "is no whole number", f"give a whole number{least}"
    if isinstance(kind, inspect.BoolType):
        return "is neither true nor false", f"give {'true or false' if text else 'True or False'}"
    if isinstance(kind, inspect.LiteralType):
        return "is not understood", remedy_for(str(value), map(repr, words), quote="", otherwise="give one of ")
    if isinstance(kind, inspect.DictType):
        takes = " or ".join(f'"{word}"' for word in words) or "a text"
        return "is not understood", f"give names, each with {takes}: " + '{"name": ...}'
    if isinstance(kind, inspect.CustomType):
        return "is no function", "give a function"
    if any(isinstance(part, inspect.VarTupleType) for part in kinds(type_)):
        of = f"give a list of {', '.join(map(repr, words))}" if words else "give a name, or a list of names"
        return "is not understood", of
    empty = isinstance(value, str) and not value.strip()
    return "is empty" if empty else "is not understood", f"give a text of 1 to {LONGEST:,} characters"
