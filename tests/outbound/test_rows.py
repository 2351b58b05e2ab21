"""Rows are rendered in Python as in the JVM: the same texts, refusals and invalid rows, from Arrow and from values."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark import cloudpickle
from pyspark.sql import functions as F
from pyspark.sql import types as T
from test_encode import (
    DATE,
    INTEGER,
    INVALID,
    REFUSALS,
    RENDERINGS,
    STRING,
    contract_of,
    known,
    pieces_of,
    split,
    tasks_of,
)

from sama_spark.data_source.arrow_values import column_batches
from sama_spark.errors import ContractError
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.creation_schema import CreationSchema, Rule
from sama_spark.outbound.cut import InvalidRow, PieceCutter
from sama_spark.outbound.encode import encode
from sama_spark.outbound.encode_values import Columns, plan_rows
from sama_spark.outbound.few_rows import can_be_fetched, fetch_rows
from sama_spark.outbound.pieces import ChunkBuffer, StreamedPiece, cutter_for, invalid_rows_in, stream_pieces
from sama_spark.outbound.task_fields import TaskFields

pytestmark = pytest.mark.one_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark.sql import DataFrame, SparkSession

PLAIN = TaskFields()
Found = tuple[list[str], list[InvalidRow]]


def by_the_function(df: DataFrame, contract: CreationSchema, fields: TaskFields = PLAIN) -> Found:
    encoded = encode(df, contract, {}, fields)
    return _read(stream_pieces(encoded.rows, cutter_for(encoded, CreationOptions())))


def by_the_writer(df: DataFrame, schema: CreationSchema, fields: TaskFields = PLAIN) -> Found:
    return _encoded(df.schema, schema, fields, column_batches(_batches(df)))


def by_values(df: DataFrame, rows: list[tuple[Any, ...]], schema: CreationSchema, fields: TaskFields = PLAIN) -> Found:
    """What the rows that `df` was made of become, without Spark."""
    return _encoded(df.schema, schema, fields, [list(zip(*rows, strict=True))])


def by_the_driver(df: DataFrame, schema: CreationSchema, fields: TaskFields = PLAIN) -> Found:
    """What becomes of few rows, which the driver fetches."""
    assert can_be_fetched(df.schema, fields)
    return _encoded(df.schema, schema, fields, fetch_rows(df, fields) or [])


def _encoded(columns: T.StructType, schema: CreationSchema, fields: TaskFields, batches: Iterable[Columns]) -> Found:
    rows = cloudpickle.loads(cloudpickle.dumps(plan_rows(columns, schema, {}, fields)))
    pieces = PieceCutter(rows.task_start, rows.spliced).pieces(rows.encode(batches))
    return _read(StreamedPiece(header, body) for header, body in pieces)


def _batches(df: DataFrame) -> list[pa.RecordBatch]:
    """What Spark hands to workers, to the byte."""

    def packed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield pa.RecordBatch.from_pydict({"ipc": [sink.getvalue().to_pybytes()]})

    return [batch for row in df.mapInArrow(packed, "ipc binary").collect() for batch in pa.ipc.open_stream(row.ipc)]


def _read(pieces: Iterable[Any]) -> Found:
    tasks: list[str] = []
    invalid: list[InvalidRow] = []
    for piece in pieces:
        if piece.header.invalid_rows:
            invalid += invalid_rows_in(piece)
        else:
            tasks += split(bytes(ChunkBuffer().body([piece])).decode())
    return tasks, invalid


CASES = [*RENDERINGS, *INVALID]
_CASE = re.compile(r'"data":\{"case":"(\d+)"')


@pytest.fixture(scope="module")
def both(spark: SparkSession) -> list[tuple[Found, Found]]:
    """What the writer and the function make of each case: one Spark job for each of the two."""
    values = [f"'{number}' AS c{number}, {sql} AS v{number}" for number, (sql, _, _) in enumerate(CASES)]
    wide = spark.sql(f"SELECT 'a.jpg' AS url, {', '.join(values)}")
    [batch] = _batches(wide)
    found: list[tuple[Found, Found]] = []
    encoded = []
    for number, (_, rule, _) in enumerate(CASES):
        columns = {"case": f"c{number}", "url": "url", "v": f"v{number}"}
        schema = T.StructType([T.StructField(name, wide.schema[c].dataType) for name, c in columns.items()])
        narrow = pa.RecordBatch.from_arrays([batch.column(c) for c in columns.values()], names=list(columns))
        found.append((_encoded(schema, contract_of(rule), PLAIN, column_batches([narrow])), ([], [])))
        one = wide.select([F.col(c).alias(name) for name, c in columns.items()])
        encoded.append(encode(one, contract_of(rule), {}))
    tasks, invalid = _read(pieces_of(encoded, CreationOptions(on_invalid="reject")))
    for task in tasks:
        found[int(_CASE.search(task)[1])][1][0].append(task)  # type: ignore[index]
    for row in invalid:
        found[int(json.loads(row.row)["case"])][1][1].append(row)
    return found


@pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join(map(str, case))[:80] for case in CASES])
def test_what_the_function_is_known_to_do(both: list[tuple[Found, Found]], number: int) -> None:
    writer, function = both[number]
    assert writer == function
    assert function != ([], [])


@pytest.mark.parametrize(("sql", "rule"), REFUSALS, ids=lambda value: str(value)[:40])
def test_what_the_function_refuses(spark: SparkSession, sql: str, rule: Rule) -> None:
    df = spark.sql(f"SELECT {sql} AS v")
    contract = CreationSchema() if rule == Rule() else known(v=rule)
    with pytest.raises(ContractError) as function:
        tasks_of(df, contract)
    with pytest.raises(ContractError) as writer:
        plan_rows(df.schema, contract, {}, TaskFields())
    assert str(writer.value) == str(function.value)


@pytest.mark.skipif(not hasattr(T, "VariantType"), reason="VARIANT came with Spark 4.0")
def test_variant_is_refused_with_the_two_ways_to_send_it(spark: SparkSession) -> None:
    schema = spark.sql("SELECT array(parse_json('1')) AS output_o").schema
    with pytest.raises(ContractError, match=r"'output_o\[\]' is variant.*to_json\(\).*create_task_batch_from_table"):
        plan_rows(schema, known(), {}, TaskFields())


# --- any rows

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
floats = st.floats(width=32) | st.sampled_from([0.0, -0.0, 0.5, 1e7, 1e-3])
doubles = st.floats() | st.sampled_from([1e16, 0.1, 1e7, 9999999.0, 0.001, 0.00099, -0.0, 5e-324, 1e22, 2**53 + 0.0])
zoned = st.datetimes(datetime(1902, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone.utc))
decimals = st.decimals(-(10**10), 10**10, places=6)


def integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def nullable(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


FLAT: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "text": ("string", texts),
    "tiny": ("tinyint", integers(8)),
    "small": ("smallint", integers(16)),
    "whole": ("int", integers(32)),
    "big": ("bigint", integers(64)),
    "yes": ("boolean", st.booleans()),
    "amount": ("decimal(18,6)", decimals),
    "float": ("float", floats),
    "double": ("double", doubles),
    "day": ("date", st.dates()),
    "moment": ("timestamp", zoned),
    "wall": ("timestamp_ntz", moments),
}
DIGITS = ["0", "-0", "007", "2147483647", "2147483648", "-2147483648", "99999999999", "1\n", "\u0661", " 1", "1.0", ""]
DAYS = ["2024-02-29", "2023-02-29", "0000-01-01", "0001-01-01", "9999-12-31", "2024-1-1", "2024-01-01\n", "20240101"]
ROWS = settings(
    max_examples=6, deadline=None, phases=(Phase.reuse, Phase.generate), suppress_health_check=list(HealthCheck)
)


def frame(
    spark: SparkSession, columns: dict[str, tuple[str, st.SearchStrategy[Any]]], data: st.DataObject
) -> tuple[DataFrame, list[tuple[Any, ...]]]:
    """A DataFrame, and the rows that it was made of."""
    row = st.tuples(*(nullable(values) for _, values in columns.values()))
    rows = data.draw(st.lists(row, min_size=20, max_size=60))
    schema = ", ".join(f"`{name}` {kind}" for name, (kind, _) in columns.items())
    return spark.createDataFrame(rows, schema).coalesce(1), rows


FRACTION = re.compile(r"-?\d+\.\d+(?:E-?\d+)?")
SHORT = re.compile(r"-?\d+\.(?:0|\d*[1-9])(?:E-?\d+)?")


def same(one: str, other: str) -> bool:
    """Whether two texts are the same to the byte, but for a digit too many of Java's; see `exact_values`."""
    if one == other:
        return True
    fractions = zip(FRACTION.findall(one), FRACTION.findall(other), strict=False)
    return FRACTION.sub("#", one) == FRACTION.sub("#", other) and all(a == b or read_alike(a, b) for a, b in fractions)


def read_alike(one: str, other: str) -> bool:
    """Whether two texts, neither with zeros at its end, are one double, or one float where both are so short."""
    if not (SHORT.fullmatch(one) and SHORT.fullmatch(other)) or ("E" in one) != ("E" in other):
        return False
    digits = max(len(Decimal(text).as_tuple().digits) for text in (one, other))
    return float(one) == float(other) or (digits <= 9 and np.float32(one) == np.float32(other))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ('{"a":2.0E23}', '{"a":1.9999999999999998E23}', True),
        ('["1.0E10"]', '["1.00000001E10"]', True),
        ('{"a":1.5}', '{"a":1.50}', False),
        ('{"a":1.0E7}', '{"a":10000000.0}', False),
        ('{"a":0.1}', '{"b":0.1}', False),
        ("[1]", "[1.0]", False),
        ("[0.1]", "[0.1,0.1]", False),
    ],
)
def test_what_counts_as_the_same(one: str, other: str, alike: bool) -> None:
    assert same(one, other) is alike


def assert_same(python: Found, function: Found) -> None:
    assert sorted(map(_told, python[1])) == sorted(map(_told, function[1]))
    assert len(python[0]) == len(function[0])
    for one, other in zip(python[0], function[0], strict=True):
        assert same(one, other), (one, other)


def _told(row: InvalidRow) -> tuple[str, ...]:
    return row.column, row.reason, json.dumps(json.loads(row.row_key or "null"))


@ROWS
@given(st.data())
def test_any_flat_rows_without_a_schema(spark: SparkSession, data: st.DataObject) -> None:
    df, rows = frame(spark, FLAT, data)
    fields = TaskFields(row_key=("whole", "text"))
    function = by_the_function(df, CreationSchema(), fields)
    assert_same(by_the_writer(df, CreationSchema(), fields), function)
    assert_same(by_values(df, rows, CreationSchema(), fields), function)


@ROWS
@given(st.data())
def test_any_rows_as_text(spark: SparkSession, data: st.DataObject) -> None:
    df, rows = frame(spark, FLAT, data)
    contract = known(**{name: Rule("string", required=name == "big") for name in FLAT})
    function = by_the_function(df, contract)
    assert_same(by_the_writer(df, contract), function)
    assert_same(by_values(df, rows, contract), function)


@ROWS
@given(st.data())
def test_any_rows_as_integers_dates_and_options(spark: SparkSession, data: st.DataObject) -> None:
    numbers = ("tiny", "small", "whole", "big", "amount", "float", "double")
    columns = {
        **{name: FLAT[name] for name in numbers},
        "digits": ("string", st.sampled_from(DIGITS) | integers(33).map(str)),
        "double 2": ("double", integers(33).map(float)),
        "amount 2": ("decimal(18,6)", integers(33).map(Decimal)),
        "day": ("date", st.dates()),
        "day text": ("string", st.sampled_from(DAYS) | st.dates().map(date.isoformat)),
        "option": ("string", st.sampled_from(["red", "green", "blue"])),
        "url": ("string", st.sampled_from(["https://a/b", "/Volumes/x", "dbfs:/x", "file:x", "s3://x"])),
        "priority": ("double", integers(32).map(float)),
        "agent": ("bigint", integers(64)),
    }
    one = data.draw(st.sampled_from(list(columns)))  # most rows would be invalid in some column
    columns = {name: column for name, column in columns.items() if name in (one, "option", "priority", "agent")}
    df, rows = frame(spark, columns, data)
    rules = dict.fromkeys((*numbers, "digits", "double 2", "amount 2"), INTEGER)
    rules |= {"day": DATE, "day text": DATE, "option": Rule("string", options=("red", "green", "blue")[:2])}
    fields = TaskFields(priority=3, submit=True, priority_column="priority", reserve_for_column="agent")
    contract = known(**rules, url=STRING)
    function = by_the_function(df, contract, fields)
    assert_same(by_the_driver(df, contract, fields), function)
    assert_same(by_the_writer(df, contract, fields), function)
    assert_same(by_values(df, rows, contract, fields), function)


STRUCT = 'struct<`a b`:int, day:date, t:timestamp, n:timestamp_ntz, x:array<float>, `"`:string>'
struct = st.tuples(*map(nullable, (integers(32), st.dates(), zoned, moments, st.lists(nullable(floats)), texts)))
NESTED: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "output_o": (STRUCT, struct),
    "output_list": (f"array<{STRUCT}>", st.lists(nullable(struct), max_size=3)),
    "map": (
        "map<string, array<array<double>>>",
        st.dictionaries(texts, nullable(st.lists(nullable(st.lists(nullable(doubles), max_size=3)), max_size=3))),
    ),
    "numbered": (f"map<bigint, {STRUCT}>", st.dictionaries(integers(64), nullable(struct), max_size=3)),
    "output_text": ("string", st.sampled_from(['{"a": 1.10}', "[1", "[]", "null", "x", ' {"b": "\\u00e9"}'])),
    "plain": ("array<decimal(18,6)>", st.lists(nullable(decimals), max_size=3)),
    "yes": ("array<boolean>", st.lists(nullable(st.booleans()), max_size=3)),
}


@settings(ROWS, max_examples=2)
@given(st.data())
def test_any_nested_rows(spark: SparkSession, data: st.DataObject) -> None:
    df, rows = frame(spark, NESTED, data)
    function = by_the_function(df, CreationSchema())
    assert_same(by_the_writer(df, CreationSchema()), function)
    assert_same(in_order(by_values(df, rows, CreationSchema())), in_order(function))


PLAIN_ROWS = {name: column for name, column in FLAT.items() if name != "wall"}
PLAIN_ROWS["output_text"] = NESTED["output_text"]


@ROWS
@given(st.data())
@pytest.mark.both_kinds
def test_any_rows_that_the_driver_fetches(spark: SparkSession, data: st.DataObject) -> None:
    df, _ = frame(spark, PLAIN_ROWS, data)
    fields = TaskFields(row_key=("whole", "moment"))
    assert_same(by_the_driver(df, CreationSchema(), fields), by_the_function(df, CreationSchema(), fields))


@pytest.mark.parametrize(
    "sql",
    [
        "timestamp_ntz'2026-01-02 03:04:05'",
        "array(1)",
        "named_struct('a', 1)",
        "map('a', 1)",
        "interval '1' month",
        "binary('a')",
    ],
)
def test_what_the_driver_does_not_fetch(spark: SparkSession, sql: str) -> None:
    """Python has such values otherwise than Spark, or has none for them, or they take much memory."""
    assert not can_be_fetched(spark.sql(f"SELECT 'a' AS url, {sql} AS v").schema, PLAIN)


def in_order(found: Found) -> Found:
    """With sorted keys: on its way to Spark a dict loses its order. Digits stay as they are."""
    tasks = (json.loads(task, parse_float=lambda t: [t], parse_int=lambda t: [t]) for task in found[0])
    return [json.dumps(task, sort_keys=True) for task in tasks], found[1]


def test_slices_of_many_rows(spark: SparkSession) -> None:
    """More rows than are encoded at a time: what lies before a slice must not count."""
    x = "if(id = 1600, double('NaN'), id)"
    df = spark.range(0, 1700, numPartitions=1).selectExpr(
        "id",
        f"array_repeat(named_struct('t', timestamp_micros(id), 'x', {x}), int(id % 3)) AS list",
        "map(string(id), if(id % 7 = 0, null, array(id)), 'z', array()) AS map",
        "if(id % 5 = 0, null, struct(id)) AS struct",
    )
    function = by_the_function(df, CreationSchema())
    assert_same(by_the_writer(df, CreationSchema()), function)
    assert len(function[0]) == 1699


def test_a_schema_beside_spark_is_the_same_object(spark: SparkSession) -> None:
    """Spark hands the writer a schema that was read from JSON."""
    schema = spark.sql("SELECT 1 AS a, array(named_struct('x', 1.5F)) AS output_b").schema
    again = T.StructType.fromJson(json.loads(schema.json()))
    planned = [cloudpickle.dumps(plan_rows(s, CreationSchema(), {}, TaskFields())) for s in (schema, again)]
    assert planned[0] == planned[1]
