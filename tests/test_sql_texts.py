"""SQL that the product makes: names and ids from outside are never a part of it that Spark reads as anything else.

Before Spark parses a text of SQL it puts settings and environment variables in place of `${...}`: a name of Sama's
could pull the key out of the driver's environment.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import functions as F
from pyspark.sql import types as T

import sama_spark
from kit.table_settings import having
from sama_spark import Client
from sama_spark.delta import DeltaTable
from sama_spark.inbound.delivery_types import learnt_type, observed_type
from sama_spark.sql_texts import _encoded, ddl_comment, property_value, sql_in, sql_text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

VALUE = "VALUE-OF-THE-DRIVER-42"
VARIABLE = "${spark.sama.secret.for.test}"
HOSTILE = (
    VARIABLE,
    f"a{VARIABLE}b",
    "${env:HOME}",
    "${system:user.name}",
    "$ {x} $$",
    "it's",
    'a"b',
    "a\\'b\\",
    "\\u0024{env:HOME}",
    "`tick``s`",
    "x'); DROP TABLE tasks; -- /*",
    "line\nend\r\ttab",
    "größe 🚗 漢字",
    "%24{env:HOME}",
)
PACKAGE = Path(sama_spark.__file__).parent
# Where SQL is made: whoever adds one, sees that no text from outside comes in but by `sql_text` or `quoted`.
MAKES_SQL = {
    "delta.py",
    "demo/steps.py",
    "inbound/annotations.py",
    "inbound/sync/changed.py",
    "inbound/sync/feeds/status_feed.py",
    "inbound/sync/landed.py",
    "inbound/sync/tables.py",
    "inbound/sync/views.py",
    "inbound/sync/watermark.py",
    "inbound/table.py",
    "jobs/probes.py",
    "jobs/work.py",
    "outbound/columns.py",
    "outbound/create.py",
    "outbound/encode.py",
    "exact.py",
    "outbound/problems.py",
    "purge.py",
}


@given(st.text() | st.sampled_from(HOSTILE))
def test_no_text_is_read_as_anything_else(text: str) -> None:
    for sql in (sql_text(text), sql_in("id", [text, text]), ddl_comment(text), f"'{_encoded(text)}'"):
        assert "${" not in sql
        assert "\\" not in sql
        assert not any(character < " " for character in sql)
        assert sql.count("'") % 2 == 0
    assert "'" not in _encoded(text) + ddl_comment(text)[1:-1]
    assert property_value(_encoded(text)) == text


def test_plain_texts_stay_readable() -> None:
    assert sql_in("id", ["65e0a1", "a b"]) == "id IN ('65e0a1', 'a b')"
    assert sql_in("batch_id", [7]) == "batch_id IN (7)"
    assert _encoded('{"a": [1]}') == '{"a": [1]}'
    assert ddl_comment("of Sama's") == "'of Sama\u2019s'"


@pytest.mark.parametrize("escaped", ["true", "false"])
def test_spark_reads_each_text_as_it_is(spark: SparkSession, escaped: str) -> None:
    settings = {"spark.sql.parser.escapedStringLiterals": escaped, VARIABLE[2:-1]: VALUE}
    with having(spark, settings):
        row = spark.sql(f"SELECT {', '.join(map(sql_text, HOSTILE))}").collect()[0]
        assert tuple(row) == HOSTILE
        ids = spark.createDataFrame([(text,) for text in HOSTILE], "id string")
        assert ids.where(sql_in("id", HOSTILE)).count() == len(HOSTILE)


def test_spark_says_types_as_they_are_read(spark: SparkSession) -> None:
    """`schema_of_variant_agg` tells the type as a text, with the names that were delivered."""
    names = [*HOSTILE, "VOID", "ARRAY", "a:b", "a<b>", "", "OBJECT<"]
    value = {name: {name: [1, 2.5]} for name in names}
    texts = spark.createDataFrame([(json.dumps(value),)], "text string")
    if hasattr(F, "schema_of_variant_agg"):
        schema = texts.select(F.schema_of_variant_agg(F.parse_json("text"))).collect()[0][0]
        found = observed_type(schema)
        assert isinstance(found, T.StructType)
        assert sorted(found.names) == sorted(value)
        inner = {field.name: field.dataType for field in found.fields}["größe 🚗 漢字"]
        assert inner == T.StructType().add("größe 🚗 漢字", T.ArrayType(T.DoubleType()))


def test_types_of_any_depth() -> None:
    deep = "OBJECT<a: " * 2000 + "BIGINT" + ">" * 2000
    found = learnt_type(deep)
    levels = 0
    while isinstance(found, T.StructType):
        found, levels = found[0].dataType, levels + 1
    assert (found, levels) == (T.StringType(), 30)


def test_sql_is_made_in_known_places() -> None:
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of_spark = node.func.attr in ("sql", "expr", "selectExpr")
                text = node.args and isinstance(node.args[0], ast.JoinedStr)
                if of_spark or (node.func.attr in ("where", "filter", "cast", "fromDDL") and text):
                    found.add(file.relative_to(PACKAGE).as_posix())
    assert found <= MAKES_SQL


class Spy:
    """Every text that Spark is given to parse."""

    def __init__(self, spark: SparkSession, patch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        frame = spark.range(1)
        for owner, method, position in (
            (type(spark), "sql", 1),
            (type(spark), "createDataFrame", 2),
            (type(spark), "table", 1),
            (type(spark.read), "table", 1),
            (type(spark.read), "schema", 1),
            (type(frame), "where", 1),
            (type(frame), "filter", 1),
            (type(frame), "selectExpr", 1),
            (type(frame), "writeTo", 1),
            (type(frame.write), "saveAsTable", 1),
            (type(frame.id), "cast", 1),
            (F, "expr", 0),
            (F, "from_json", 1),
        ):
            self._watch(patch, owner, method, position)

    def _watch(self, patch: pytest.MonkeyPatch, owner: Any, method: str, position: int) -> None:
        real = getattr(owner, method)

        def watched(*args: Any, **named: Any) -> Any:
            given = [*args[position : position + 1], *(named[name] for name in ("schema", "col") if name in named)]
            self.texts += [text for text in given if isinstance(text, str)]
            return real(*args, **named)

        patch.setattr(owner, method, watched)


@pytest.fixture
def spy(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spy]:
    with having(spark, {VARIABLE[2:-1]: VALUE}):
        yield Spy(spark, monkeypatch)


def _told(spark: SparkSession, path: Path) -> str:
    """All that a table says: schema, rows, properties and history."""
    table = DeltaTable(spark, str(path))
    frame = table.read()
    history = spark.sql(f"DESCRIBE HISTORY {table.sql_name}").collect()
    return f"{frame.schema.json()} {frame.collect()} {table.properties()} {history}"


@pytest.mark.one_kind
def test_names_and_ids_from_outside(spark: SparkSession, sandbox: Sandbox, tmp_path: Path, spy: Spy) -> None:
    """Outputs, inputs, tags, answers, ids and keys with all that SQL can be hurt by, through every table."""
    project = sandbox.create_project(
        {"url": "string", **{f"{name}_in": "string" for name in HOSTILE}},
        {**dict.fromkeys(HOSTILE, "text"), "shapes": "image"},
    )
    tags = {name: name for name in HOSTILE}
    shape = {"type": "rectangle", "index": 1, "points": [[0, 0], [9, 0], [0, 5], [9, 5]], "tags": tags}
    shapes = {"layers": {"vector_tagging": [{"shapes": [shape], "group_type": None}]}}
    answers = {**tags, "shapes": shapes, "more": {name: {"deep": [{name: 1.5}]} for name in HOSTILE}}
    deliveries = [
        {"id": text, "data": {"url": text}, "answers": answers, "delivered_at": f"2026-01-02T00:00:{n:02}Z"}
        for n, text in enumerate(HOSTILE)
    ]
    into = str(tmp_path / "labels")

    def deliver(some: list[dict[str, Any]]) -> None:
        """The sandbox takes no such ids, so the next page is these; the one after it is the sandbox's own, empty."""
        sandbox.fail("delivered", times=1, kind="json", body=json.dumps({"tasks": some}))

    with Client(sandbox.api_key, base_url=sandbox.base_url) as client:
        deliver(deliveries[:4])
        client.sync(spark, str(project), into, label=VARIABLE)
        deliver(deliveries)
        client.sync(spark, str(project), into, feeds=["delivered", "status"], views=True, client_batch_id=None)
        tasks = DeltaTable(spark, f"{into}/tasks").read()
        assert {row.id for row in tasks.select("id").collect()} == set(HOSTILE)
        deliver(deliveries)
        frame = client.get_delivered_tasks_to_table(spark, str(project), answers_schema="infer")
        assert {row.id for row in frame.select("id").collect()} == set(HOSTILE)
        told = [_told(spark, path) for path in Path(into).iterdir()]
        purged = client.purge_synced(spark, str(project), into, task_ids=HOSTILE[:7])
        assert purged.rows[f"{into}/tasks"] == 7
        told += [_told(spark, path) for path in Path(into).iterdir()]

        columns = {"url": "https://assets.invalid/1.jpg", **{f"{name}_in": name for name in HOSTILE}}
        rows = spark.createDataFrame(
            [tuple(columns.values())], T.StructType([T.StructField(name, T.StringType()) for name in columns])
        )
        outbox = str(tmp_path / "outbox")
        named = {"outbox": outbox, "row_key": [f"{VARIABLE}_in", "it's_in"], "key_prefix": VARIABLE}
        client.create_task_batch_from_table(
            rows, project, **named, not_sent="größe 🚗 漢字_in", on_invalid="reject", rejected_table=f"{outbox}_no"
        ).wait()
        assert client.create_task_batch_from_table(rows, project, **named).outbox.known == 1
        client.resume(spark, outbox=outbox)
        assert client.purge(spark, outbox=outbox, rows=rows).rows[outbox] == 1
        told.append(_told(spark, Path(outbox)))
    assert spy.texts
    assert [text for text in spy.texts if "${" in text] == []
    assert [text for text in told if VALUE in text] == []
