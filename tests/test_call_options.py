"""Options are written down once: signatures agree with the structs, and each way in checks by the same fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from msgspec import Struct

from sama_spark import Client, InvalidInput, MicroBatches
from sama_spark.inbound.sync.sync_options import SyncOptions
from sama_spark.options import default, fields_of, from_arguments, from_text
from sama_spark.outbound.creation_options import NEEDS_SESSION, CreationOptions

KEY = "s3cr3t-key"
CALLS: list[tuple[Callable[..., Any], type[Struct], set[str]]] = [
    (Client.create_task_batch_from_table, CreationOptions, {"self", "spark_dataframe", "project_id", "staging"}),
    (Client.sync, SyncOptions, {"self", "spark", "project_id", "into", "overlap", "staging"}),
]


@pytest.mark.parametrize(("call", "kind", "besides"), CALLS, ids=["create", "sync"])
def test_the_signature_is_the_struct(call: Callable[..., Any], kind: type[Struct], besides: set[str]) -> None:
    parameters = inspect.signature(call).parameters
    assert {*parameters} == {*kind.__struct_fields__} | besides
    for name, field in fields_of(kind).items():
        assert parameters[name].default == default(field) or (parameters[name].default, default(field)) == (None, {})
        assert f"\n    {name}: " in str(call.__doc__), "the docstring has it"


def test_arguments_arrive_as_they_are_meant() -> None:
    assert from_arguments(CreationOptions, {}) == CreationOptions()
    given = {"not_sent": "a", "row_key": ["k"], "ignore_changes": iter(["b"]), "outbox": "t", "self": 1}
    options = from_arguments(CreationOptions, given)
    assert (options.not_sent, options.row_key, options.ignore_changes) == (("a",), ("k",), ("b",))
    found = options.outbox_options
    assert found is not None
    assert (found.table, found.keys.names, found.keys.ignored) == ("t", ("k",), ("b",))
    assert from_arguments(CreationOptions, {"row_key": "image"}).fields.row_key == ("image",)
    by_content = from_arguments(CreationOptions, {"row_key": "content", "outbox": "t"}).outbox_options
    assert by_content is not None
    assert by_content.keys.names == ()
    assert from_arguments(CreationOptions, {"row_key": ["content"]}).fields.row_key == ("content",)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("chunk_rows", 0, "chunk_rows=0 is out of range. Give a whole number of 1 or more."),
        ("chunk_rows", "many", "chunk_rows='many' is no whole number"),
        ("in_flight", 2.0, "in_flight=2.0 is no whole number"),
        ("max_tasks", -1, "give a whole number of 0 or more"),
        ("max_tasks", True, "max_tasks=True is no whole number"),
        ("batch_priority", 2**31, "beyond 32 bits"),
        ("submit", 1, "submit=1 is neither true nor false. Give True or False"),
        ("contract", "lenent", "contract='lenent' is not understood. Do you mean 'lenient'?"),
        ("contract", None, "contract=None is not understood. Give one of 'lenient', 'off', 'strict'"),
        ("outputs", {"a": "xml"}, 'give names, each with "json" or "text"'),
        ("outputs", ["a"], "outputs=a list is not understood"),
        ("not_sent", [1], "give a name, or a list of names"),
        ("row_key", {"a": 1}, "give a name, or a list of names"),
        ("priority_column", " ", "is empty"),
        ("notification_email", 7, "notification_email=7 is not understood. Give a text"),
        ("on_progress", 3, "is no function"),
        ("rejected_table", "t", 'say on_invalid="reject" too'),
        ("outbox", "t", "name columns in row_key"),
    ],
)
def test_arguments_that_are_refused(name: str, value: Any, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_arguments(CreationOptions, {name: value})
    assert told.lower() in str(caught.value).lower()


class Strange:
    """As Spark's Column."""

    def __iter__(self) -> Any:
        raise TypeError("Column is not iterable")


STRANGE = [object(), 10**30, "\udc80", ["\udc80"], {"a": "\udc80"}, {1: 2}, range(3), Strange(), b"x", [["a"]]]


@pytest.mark.parametrize("kind", [CreationOptions, SyncOptions])
def test_whatever_is_given_is_taken_or_refused(kind: type[Struct]) -> None:
    for name in kind.__struct_fields__:
        for value in STRANGE:
            with suppress(InvalidInput):
                from_arguments(kind, {name: value})


@pytest.mark.parametrize("name", [name for name in CreationOptions.__struct_fields__ if name not in NEEDS_SESSION])
def test_an_error_about_a_text_never_repeats_it(name: str) -> None:
    given = f'{{"a": "{KEY}"}}' if name == "outputs" else f'["{KEY}", 1]'
    try:
        from_text(CreationOptions, {name: given})
    except InvalidInput as error:
        assert f"option `{name}` " in str(error)
        assert KEY not in str(error)
        assert error.__context__ is None
    else:
        assert fields_of(CreationOptions)[name].default in (None, "databricks_connector"), "it takes any text"


def test_micro_batches_refuse_an_unknown_option_at_once() -> None:
    MicroBatches(lambda: Client(KEY), 1, outbox="t", row_key="k", staging="/tmp", chunk_rows=5)  # noqa: S108
    with pytest.raises(InvalidInput, match=r"no option `chunk_row`\. Do you mean `chunk_rows`"):
        MicroBatches(lambda: Client(KEY), 1, outbox="t", row_key="k", chunk_row=5)


def test_feeds_are_a_list() -> None:
    assert from_arguments(SyncOptions, {"feeds": ["stats"], "batches": [7]}).feeds == ("stats",)
    for wrong in ("delivered", ["deliverd"], 7):
        with pytest.raises(InvalidInput, match="Give a list of 'batches', 'delivered'") as caught:
            from_arguments(SyncOptions, {"feeds": wrong})
        assert "feeds=" in str(caught.value)
