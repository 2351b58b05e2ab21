"""No setting of a session changes what is sent, what an outbox knows a row by, and what counts as changed.

Each setting of Spark's whose name says that it may touch values is tried, and so are settings that come with later
versions: booleans the other way round, the rest by the values in `VALUES`. Rows of every type are read from a file, so
that the settings reach what this package does and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark import exact
from sama_spark.outbound import columns
from sama_spark.outbound.creation_schema import CreationSchema, Rule
from sama_spark.outbound.encode import encode
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.outbound.task_fields import TaskFields

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


pytestmark = pytest.mark.one_kind  # a Connect session here refuses to set most of them, as serverless compute does

TOUCHES_VALUES = re.compile(
    r"json|ansi|cast|zone|decimal|case|collat|time|date|pars|codegen|arrow|legacy|literal|char|map|binary|string|null|"
    r"variant|pyspark|python|optimizer|regex|escape|substit|size|icu|precision|subexpression",
    re.IGNORECASE,
)
# These stop a query, or are about how one is run.
NOT_TRIED = re.compile(
    r"streaming|hive|thrift|warehouse|metastore|\.ui\.|cbo|broadcast|bucketing|profiler|faulthandler|daemon|"
    r"failOnError|debug|extensions|connect|^spark\.databricks|inMemoryColumnar|cache|artifact|planChangeValidation"
    r"|stateStore|lockedFiles|checkpoint|repl\.|scripttransform|logging|operatorPipe|maxRecordsPerFile"
    r"|parquet\.binaryAsString",  # with it Spark cannot read the rows' own file
    re.IGNORECASE,
)
VALUES = {
    "spark.sql.session.timeZone": ["Asia/Kolkata", "Pacific/Apia", "-11:30"],
    "spark.sql.legacy.timeParserPolicy": ["LEGACY", "CORRECTED", "EXCEPTION"],
    "spark.sql.timestampType": ["TIMESTAMP_NTZ"],
    "spark.sql.mapKeyDedupPolicy": ["LAST_WIN"],
    "spark.sql.codegen.factoryMode": ["FALLBACK", "CODEGEN_ONLY"],
    "spark.sql.codegen.maxFields": ["1"],
    "spark.sql.codegen.methodSplitThreshold": ["1"],
    "spark.sql.binaryOutputStyle": ["BASE64", "HEX", "BASIC"],
    "spark.sql.storeAssignmentPolicy": ["LEGACY", "STRICT"],
    "spark.sql.execution.arrow.maxRecordsPerBatch": ["1"],
    "spark.sql.execution.arrow.compression.codec": ["zstd"],
    "spark.sql.optimizer.maxIterations": ["1"],
    "spark.sql.optimizer.excludedRules": [
        "org.apache.spark.sql.catalyst.optimizer.OptimizeJsonExprs,"
        "org.apache.spark.sql.catalyst.optimizer.ConstantFolding,"
        "org.apache.spark.sql.catalyst.optimizer.CollapseProject"
    ],
    "spark.sql.jsonGenerator.ignoreNullFields": ["false"],
}
# What used to change something, and its kin: tried in every run of the tests.
TELLING = [
    "spark.sql.jsonGenerator.ignoreNullFields",
    "spark.sql.ansi.enabled",
    "spark.sql.session.timeZone",
    "spark.sql.legacy.timeParserPolicy",
    "spark.sql.timestampType",
    "spark.sql.caseSensitive",
    "spark.sql.decimalOperations.allowPrecisionLoss",
    "spark.sql.legacy.castComplexTypesToString.enabled",
    "spark.sql.parser.escapedStringLiterals",
    "spark.sql.ansi.doubleQuotedIdentifiers",
    "spark.sql.legacy.allowNegativeScaleOfDecimal",
    "spark.sql.optimizer.collapseProjectAlwaysInline",
    "spark.sql.codegen.wholeStage",
]

TYPES = {
    "text": "'a\"b\\u00e9\\n\U0001f697'",
    "url": "'https://a/b.jpg?Signature=1'",
    "yes": "true",
    "tiny": "7Y",
    "small": "7S",
    "whole": "7",
    "big": "9007199254740993L",
    "amount": "1.50BD",
    "least": "cast(0.00000015 AS decimal(20,10))",
    "zero": "cast(0 AS decimal(20,10))",
    "huge": "12345678901234567890123456789012345678BD",
    "single": "0.1F",
    "double": "1.0E-5D",
    "minus": "-0.0D",
    "day": "date'2024-02-29'",
    "old": "date'1582-10-10'",
    "first": "date'0001-01-01'",
    "moment": "timestamp'2024-03-10 07:30:00.1234Z'",
    "early": "timestamp'1500-02-28 23:59:59.000001Z'",
    "wall": "timestamp_ntz'2024-03-10 02:30:00.12'",
    "list": "array('x', null)",
    "days": "array(date'1582-10-10', null)",
    "struct": "named_struct('a', 1, 'b', 0.5D, 'n', cast(null AS string), 'in', named_struct('x', cast(null AS int)))",
    "map": "map('k', cast(null AS string), 'K', 'v')",
    "moments": "map('k', array(named_struct('t', timestamp'1500-01-01 00:00:00Z', 'd', 0.00000015BD)))",
    "none": "cast(null AS string)",
    "void": "null",
}
BAD = {
    "single": "float('NaN')",
    "double": "double('-Infinity')",
    "day": "date'+12024-01-31'",
    "moment": "timestamp'+42024-01-31 00:00:00Z'",
    "url": "'DBFS:/a'",
}
# Before 4.0 Spark asks how to write days before 1582.
AS_IT_IS = dict.fromkeys(
    ("spark.sql.parquet.int96RebaseModeInWrite", "spark.sql.parquet.datetimeRebaseModeInWrite"), "CORRECTED"
)
NOT_SENT = ("bytes", "since")


def variants() -> dict[str, str]:
    if not hasattr(T, "VariantType"):
        return {}
    stamp = (
        "to_variant_object(named_struct('t', timestamp'2024-03-10 07:30:00.1234Z', 'd', date'1582-10-10', 'x', 1.5BD))"
    )
    return {"variant": 'parse_json(\'{"b": 12345678901234567890, "a": [null, 1.10]}\')', "stamp": stamp}


@pytest.fixture(scope="module")
def rows(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    """Good rows, nulls, and a bad row for each way to be bad, in a file."""
    types = {**TYPES, **variants(), "bytes": "X'00ff'", "since": "timestamp'1500-01-01 00:00:00Z'"}
    lines = [{**types}, dict.fromkeys(types, "null"), *({**types, name: value} for name, value in BAD.items())]
    of_types = spark.sql(f"SELECT {', '.join(f'{sql} AS `{name}`' for name, sql in types.items())}").schema
    frames = [
        spark.sql(f"SELECT {', '.join(f'{sql} AS `{name}`' for name, sql in line.items())}").select(
            [F.col(field.name).cast(exact.plain_type(field.dataType)).alias(field.name) for field in of_types]
        )
        for line in lines
    ]
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.union(frame)
    folder = str(tmp_path_factory.mktemp("grid") / "rows")
    with setting(spark, AS_IT_IS):
        whole.coalesce(1).write.parquet(folder)
    with_void = spark.read.schema(whole.schema).parquet(folder)
    return with_void.withColumn("void", F.lit(None))


TEXTS = CreationSchema(
    inputs={name: Rule("string") for name, sql in TYPES.items() if not re.match("array|named|map", sql)}, known=False
)
NUMBERS = CreationSchema(
    inputs=dict.fromkeys(("yes", "day"), Rule()) | dict.fromkeys(("tiny", "amount", "whole"), Rule("integer"))
)


def encoded(df: DataFrame) -> list[Any]:
    """All that comes of the rows: tasks, problems, keys and contents."""
    found: list[Any] = []
    by_name = OutboxKeys(("text", "least", "old", "yes"), ("list",))
    for contract, keys in ((CreationSchema(), OutboxKeys()), (TEXTS, by_name), (NUMBERS, None)):
        fields = TaskFields(not_sent=NOT_SENT, row_key=by_name.names if keys is by_name else ("moment", "moments"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(columns, "FEW", 0 if keys is by_name else columns.FEW)  # both ways
            plan = encode(df, contract, {}, fields, outbox_keys=keys)
        found += [[bytes(value) if value is not None else None for value in row] for row in plan.rows.collect()]
    return found


@contextmanager
def setting(spark: SparkSession, values: dict[str, str]) -> Iterator[None]:
    before = {name: spark.conf.get(name, None) for name in values}
    try:
        for name, value in values.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, usual in before.items():
            spark.conf.unset(name) if usual is None or usual.startswith("<") else spark.conf.set(name, usual)


def all_settings(spark: SparkSession) -> Iterator[tuple[str, str]]:
    """Name and value of every setting to be tried, Spark's internal ones too."""
    java: Any = spark._jvm
    entries = getattr(getattr(java.org.apache.spark.sql.internal, "SQLConf$"), "MODULE$").getConfigEntries()
    usual = {entry.key(): entry.defaultValueString() for entry in java.java.util.ArrayList(entries)}
    usual |= {row["key"]: row["value"] for row in spark.sql("SET -v").collect()}
    for name in sorted(usual):
        if name in VALUES:
            yield from ((name, value) for value in VALUES[name])
        elif _is_tried(spark, name, usual[name]):
            yield name, "false" if spark.conf.get(name, usual[name]) == "true" else "true"


def _is_tried(spark: SparkSession, name: str, usual: str) -> bool:
    told = TOUCHES_VALUES.search(name) and not NOT_TRIED.search(name)
    return bool(told) and usual in ("true", "false") and bool(spark.conf.isModifiable(name))


@pytest.fixture(scope="module")
def by_default(rows: DataFrame) -> list[Any]:
    return encoded(rows)


def test_the_rows_say_something(by_default: list[Any]) -> None:
    good, problems = [row for row in by_default if row[1] is None], [row[1] for row in by_default if row[1] is not None]
    assert len(good) >= 3
    assert {reason.split(b'"reason":"')[1][:12] for reason in problems} >= {b"is NaN or in", b"has a year o"}
    assert b'"old":"1582-10-10"' in good[0][0]


def changed_by(spark: SparkSession, rows: DataFrame, tried: list[tuple[str, str]], by_default: list[Any]) -> list[str]:
    """Those of the settings under which something else comes of the rows, or nothing."""
    return [why for name, value in tried if (why := _changed(spark, rows, name, value, by_default))]


def _changed(spark: SparkSession, rows: DataFrame, name: str, value: str, by_default: list[Any]) -> str:
    try:
        with setting(spark, {name: value}):
            return "" if encoded(rows) == by_default else f"{name}={value}"
    except Exception as error:
        return f"{name}={value}: {str(error)[:300]}"


def test_what_used_to_change_something_changes_nothing(
    spark: SparkSession, rows: DataFrame, by_default: list[Any]
) -> None:
    tried = [(name, value) for name, value in all_settings(spark) if name in TELLING]
    assert len({name for name, _ in tried}) > 10
    with setting(spark, dict(reversed(tried))):  # all at once: one by one they take minutes
        found = encoded(rows)
    if found != by_default:
        assert changed_by(spark, rows, tried, by_default) == [], "all of them at once change something"
    assert found == by_default


@pytest.mark.long
def test_no_setting_changes_anything(spark: SparkSession, rows: DataFrame, by_default: list[Any]) -> None:
    tried = list(all_settings(spark))
    assert len(tried) > 100
    assert changed_by(spark, rows, tried, by_default) == []
