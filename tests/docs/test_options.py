"""The pages name every call and every option, with the defaults that the code has, and nothing that is not there."""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec import inspect as inspect_types

import sama_spark
from sama_spark import Client, CreationResult
from sama_spark.api import batches, creation, delivery_blocks, paging
from sama_spark.api.api_client import ApiClient
from sama_spark.inbound import delivery_types as contract
from sama_spark.inbound import lines
from sama_spark.inbound.sync import held
from sama_spark.inbound.sync import table_types as sync_contract
from sama_spark.inbound.sync.feeds import status_round
from sama_spark.inbound.sync.sync_options import SyncOptions
from sama_spark.local import local_session
from sama_spark.options import default as default_of_field
from sama_spark.options import fields_of, kinds, meaning
from sama_spark.outbound import few_rows, rejected
from sama_spark.outbound.creation_options import NEEDS_SESSION, CreationOptions
from sama_spark.pictures.show import _LOOKED_AT, _MOST_ROWS
from sama_spark.sandbox import Sandbox

pytest.importorskip("pyspark.sql.datasource")  # or `format("sama")` has no options

from sama_spark.data_source.read_options import ReadOptions
from sama_spark.data_source.text_options import SharedOptions

DOCS = Path(sama_spark.__file__).parent / "docs"
REQUIRED = inspect.Parameter.empty
NAMED = r"`(\w+)`"


def sections(page: str) -> dict[str, list[list[str]]]:
    """The cells of each row under each heading of a page, and in front of them those of the tables' heads."""
    _, *parts = re.split(r"^#+ (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)
    lines = {
        heading: re.findall(r"^\| .*\|$", body, re.MULTILINE)
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }
    return {heading: [cells(line) for line in found if "---" not in line] for heading, found in lines.items()}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def options_in(heading: str) -> dict[str, list[str]]:
    """The row of each option under a heading of the page of options: names, type, default and what it does."""
    return {name: row for row in OPTIONS[heading] for name in re.findall(NAMED, row[0])}


def default_in(row: list[str]) -> Any:
    cell = row[2].strip("`")
    if cell == "required":
        return REQUIRED
    return eval(cell, {"timedelta": timedelta, "logging": logging})  # noqa: S307 - as Python has it


OPTIONS, CALLS = sections("options.md"), sections("calls.md")
FILTERS = options_in("Filters")
SHARED = options_in("What many calls take") | FILTERS
ROWS = [row for rows in CALLS.values() for row in rows[1:]]
# Whose parameters `**options` are; those of MicroBatches are listed with their function.
PASSED_ON: Mapping[str, Callable[..., Any]] = {
    "Client": ApiClient,
    "get_multi_task_status_to_table": ApiClient.get_multi_task_status,
}


def public(owner: type) -> dict[str, Callable[..., Any]]:
    return {name: call for name, call in inspect.getmembers(owner, inspect.isfunction) if not name.startswith("_")}


def is_call(thing: object) -> bool:
    """Whether users call it: neither an error nor what calls return."""
    return inspect.isfunction(thing) or thing in (Client, sama_spark.MicroBatches)


PUBLIC: dict[str, Callable[..., Any]] = {
    **public(Client),
    **{name: call for name, call in public(CreationResult).items() if name in vars(CreationResult)},
    **{name: getattr(sama_spark, name) for name in sama_spark.__all__ if is_call(getattr(sama_spark, name))},
}


def parameters(name: str) -> dict[str, inspect.Parameter]:
    found = {**inspect.signature(PASSED_ON[name]).parameters} if name in PASSED_ON else {}
    found |= inspect.signature(PUBLIC[name]).parameters
    return {n: p for n, p in found.items() if n != "self" and p.kind is not p.VAR_KEYWORD}


def signature_in(cell: str) -> dict[str, Any] | None:
    """Names and defaults of a call's signature on the page, None where it has none."""
    unlinked = re.sub(r"\[`\w+`\]\([^)]+\)", "", cell).strip("`")
    _, paren, inside = unlinked.partition("(")
    if not paren:
        return None
    for feed in re.findall(r"<(\w+)>", inside):
        filters = [f"{name}={row[2].strip('`')}" for name, row in FILTERS.items() if feed in row[3]]
        inside = inside.replace(f"<{feed}>", ", ".join(filters))
    written = eval(f"lambda {inside.removesuffix(')')}: None")  # noqa: S307 - so that Python reads it
    return {name: (p.default, p.kind) for name, p in inspect.signature(written).parameters.items()}


def row_of(name: str) -> list[str]:
    [row] = [row for row in ROWS if re.match(rf"\[?`{name}\b", row[0])]
    return row


def table_of(name: str) -> dict[str, list[str]]:
    """The options of a call that has a table of them, else nothing."""
    return {
        n: row for heading in OPTIONS if name in re.findall(NAMED, heading) for n, row in options_in(heading).items()
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_every_call_is_listed(name: str) -> None:
    call = row_of(name)[0]
    assert bool(table_of(name)) == ("](options.md#" in call), "a call with a table links to it"
    written = signature_in(call)
    assert written is not None or table_of(name), "a signature, or a table of options"
    if written is not None:
        shown = {n: (p.default, p.kind) for n, p in parameters(name).items()}
        if "<" in call:  # filters are given by name
            assert {n: default for n, (default, _) in written.items()} == {n: d for n, (d, _) in shown.items()}
        else:
            assert list(written.items()) == list(shown.items())


@pytest.mark.parametrize("name", PUBLIC)
def test_every_option_is_listed_with_its_default(name: str) -> None:
    call, *about = row_of(name)
    said_there = re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", " ".join(about))))
    table = table_of(name)
    assert sorted({*parameters(name)} - {*table, *SHARED, *said_there}) == []
    for option, parameter in parameters(name).items():
        if option in table:
            assert default_in(table[option]) == parameter.default, option
            simple = str(parameter.annotation).removesuffix(" | None")
            if re.fullmatch("str|int|bool|float|timedelta|DataFrame", simple):
                assert f"`{simple}`" in table[option][1], option
        elif signature_in(call) is None:
            assert default_in(SHARED[option]) == parameter.default, option


def test_no_call_is_listed_that_is_not_there() -> None:
    listed = [re.findall(r"`(\w+)", row[0])[0] for row in ROWS]
    assert sorted(listed) == sorted(PUBLIC)


@pytest.mark.parametrize("call", [local_session, Sandbox])
def test_what_runs_here_is_listed(call: Callable[..., Any]) -> None:
    bare = [p.replace(annotation=p.empty) for p in inspect.signature(call).parameters.values()]
    signature = str(inspect.Signature(bare)).replace("'", '"')
    assert f"{call.__name__}{signature}`" in (DOCS / "calls.md").read_text()


@pytest.mark.parametrize("heading", [h for h in OPTIONS if h not in ("Both ways", "Reading")])
def test_no_option_is_listed_that_is_not_there(heading: str) -> None:
    there = {option for name in re.findall(NAMED, heading) or PUBLIC for option in parameters(name)}
    assert sorted({*options_in(heading)} - there) == []


@pytest.mark.parametrize("feed", ["delivered", "since_last_call", "status"])
def test_filters_say_which_feeds_take_them(feed: str) -> None:
    takes = inspect.signature(getattr(ApiClient, f"{feed}_pages")).parameters
    listed = [name for name, row in FILTERS.items() if feed in row[3].split(", ")]
    assert sorted(listed) == sorted(set(takes) - {"self", "project_id"})
    assert {name: default_in(FILTERS[name]) for name in listed} == {name: takes[name].default for name in listed}


STRUCTS: dict[str, type[Struct]] = {
    "`create_task_batch_from_table`": CreationOptions,
    "`sync`": SyncOptions,
    "Both ways": SharedOptions,
    "Reading": ReadOptions,
}


@pytest.mark.parametrize("heading", STRUCTS)
def test_tables_say_what_the_structs_say(heading: str) -> None:
    """What is missing is shown as the lines to write."""
    as_text = heading in ("Both ways", "Reading")
    due = [option_row(name, field, as_text=as_text) for name, field in fields_of(STRUCTS[heading]).items()]
    assert [f"| {' | '.join(row)} |" for row in due if row not in OPTIONS[heading]] == []
    more = {"`create_task_batch_from_table`": {"spark_dataframe"}, "`sync`": {"overlap"}}
    assert options_in(heading).keys() - STRUCTS[heading].__struct_fields__ == more.get(heading, set())


PYTHON = {
    inspect_types.IntType: "`int`",
    inspect_types.StrType: "`str`",
    inspect_types.BoolType: "`bool`",
    inspect_types.LiteralType: "`str`",
    inspect_types.DictType: "`dict`",
    inspect_types.VarTupleType: "list",
    inspect_types.CustomType: "callable",
}


def option_row(name: str, field: inspect_types.Field, *, as_text: bool) -> list[str]:
    types = ", ".join(dict.fromkeys(PYTHON[type(kind)] for kind in kinds(field.type)))
    value = default_of_field(field)
    if as_text:
        said = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    else:
        said = json.dumps(value) if isinstance(value, str) else repr(None if value == {} else value)
    return [f"`{name}`", types, "none" if said == "none" else f"`{said}`", meaning(field)]


def test_what_the_writer_does_not_take_is_said() -> None:
    text = re.split("^### ", (DOCS / "options.md").read_text(), flags=re.MULTILINE)
    [writing] = [part for part in text if part.startswith("Writing")]
    assert [name for name in NEEDS_SESSION if f"`{name}`" not in writing] == []


def test_states_are_listed() -> None:
    assert issubclass(sama_spark.TaskStates, Enum)
    assert re.findall(r"`([\w ]+)`", FILTERS["state"][4]) == [state.value for state in sama_spark.TaskStates]


SENDING = CreationOptions()
OF_CLIENT = {name: parameter.default for name, parameter in parameters("Client").items()}
LIMITS = [
    ("tasks in an inline call", f"{creation.INLINE_LIMIT:,}"),
    ("an upload URL", f"a new batch, {batches._UPLOAD_TRIES} in all"),
    ("a page of status lists", f"{OF_CLIENT['status_page_size']} tasks"),
    ("a page of deliveries, or of a batch's tasks", f"{OF_CLIENT['delivered_page_size']:,} tasks"),
    ("a page of deliveries, or of a batch's tasks", f"{OF_CLIENT['batch_page_size']:,} tasks"),
    ("pages of deliveries that are asked for at once", f"{OF_CLIENT['pages_in_flight']}: `pages_in_flight`"),
    ("pages of deliveries that are asked for at once", f"{delivery_blocks.MOST_WAITING >> 20} MiB"),
    ("a batch", f"{SENDING.chunk_rows:,} tasks or {SENDING.chunk_bytes >> 20} MiB"),
    ("a call", f"{OF_CLIENT['deadline']:g} s with its retries"),
    ("a call", f"{OF_CLIENT['read_timeout']:g} s of silence"),
    ("a list that changes while it is read", f"{paging.MAX_PASSES} passes, {paging.MAX_PAGES:,} pages"),
    ("rows of a run that stay on the driver", f"{few_rows.FEW_ROWS:,}, of {few_rows.FEW_BYTES >> 10} KiB each"),
    ("deliveries of a `sync` that stay on the driver", f"{held.MOST:,}, or {held.MOST_BYTES >> 20} MiB"),
    ("a DataFrame of deliveries without a shared folder", f"{lines._MOST_STREAMED_BYTES >> 30} GB of text"),
    ("a DataFrame of deliveries without a shared folder", f"pieces of {lines.TABLE_BYTES >> 20} MB"),
    ("rejected rows without a shared folder", f"{rejected._MOST_IN_MEMORY:,}"),
    ('known tasks that a round of `"status"` asks for by id', f"{status_round._BY_ID:,}"),
    ("an object in `data` or `answers`", f"{contract._MOST_FIELDS} fields"),
    ("what a sync looks at to learn types", f"{sync_contract._MOST_LOOKED_AT:,} tasks"),
    ("`show_annotations`", f"{_MOST_ROWS:,} annotations, of tasks in its first {_LOOKED_AT:,} rows"),
]


@pytest.mark.parametrize(("what", "limit"), LIMITS)
def test_limits_are_those_of_the_code(what: str, limit: str) -> None:
    [row] = [row for row in sections("promises.md")["Limits"] if row[0] == what]
    assert limit in " | ".join(row)
