"""Every Spark type has one rendering or a refusal that names the column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from kit.serverless import unguarded
from sama_spark.errors import ContractError
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.creation_schema import CreationSchema, Rule
from sama_spark.outbound.cut import InvalidRow, PieceCutter
from sama_spark.outbound.encode import EncodedRows, encode
from sama_spark.outbound.pieces import ChunkBuffer, Piece, cutter_for, invalid_rows_in, stream_pieces

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.one_kind


Outcome = tuple[list[str], list[InvalidRow]]
Case = tuple["DataFrame", CreationSchema, dict[str, Any]]


def tasks_of(df: DataFrame, contract: CreationSchema | None = None, outputs: dict[str, Any] | None = None) -> Outcome:
    """The `data` texts of the tasks, and the rows that cannot become one."""
    return _read(pieces_of([encode(df, contract or CreationSchema(), outputs or {})], CreationOptions(chunk_rows=2)))


def outcomes(cases: Sequence[Case]) -> list[Outcome]:
    """What becomes of each case, all in one Spark job or two: a case has one row, with its number in `case`."""
    found: list[Outcome] = [([], []) for _ in cases]
    encoded = [encode(df, contract, outputs) for df, contract, outputs in cases]
    texts, invalid = _read(pieces_of(encoded, CreationOptions(chunk_rows=2, on_invalid="reject")))
    for text in texts:
        number, rest = _CASE.fullmatch(text).groups()  # type: ignore[union-attr]
        found[int(number)][0].append("{" + rest)
    for row in invalid:
        found[int(json.loads(row.row)["case"])][1].append(row)
    return found


_CASE = re.compile(r'\{"case":"(\d+)",?(.*)', re.DOTALL)


def pieces_of(encoded: Iterable[EncodedRows], options: CreationOptions) -> Iterator[Piece]:
    """The pieces of several encodings, in one Spark job for all that splice the same texts."""
    together: dict[Any, list[EncodedRows]] = {}
    for rows in encoded:
        together.setdefault((rows.task_start, rows.spliced), []).append(rows)
    for alike in together.values():
        yield from stream_pieces(union([rows.rows for rows in alike]), cutter_for(alike[0], options))


def union(frames: list[DataFrame]) -> DataFrame:
    """All rows, by a tree of unions: a chain of them would be too deep for Connect."""
    while len(frames) > 1:
        frames = [reduce(lambda one, other: one.unionAll(other), frames[i : i + 2]) for i in range(0, len(frames), 2)]
    return frames[0].coalesce(1)


def _read(pieces: Iterable[Piece]) -> Outcome:
    texts, invalid = [], []
    for piece in pieces:
        if piece.header.invalid_rows:
            invalid += invalid_rows_in(piece)
        else:
            body = bytes(ChunkBuffer().body([piece])).decode()
            assert isinstance(json.loads(body), list)
            texts += [t.split('"data":', 1)[1][:-1] for t in split(body)]
    return texts, invalid


def split(body: str) -> list[str]:
    decoder, position, found = json.JSONDecoder(), 1, []
    while position < len(body) - 1:
        _, end = decoder.raw_decode(body, position)
        found.append(body[position:end])
        position = end + 1
    return found


def known(**inputs: Rule) -> CreationSchema:
    return CreationSchema(inputs=inputs, outputs={"o": Rule("json"), "note": Rule("string")}, known=True)


STRING, INTEGER, DATE = Rule("string"), Rule("integer"), Rule("date")

RENDERINGS = [
    ("'a\"b\\n\\u00e9\\u001f🚗'", STRING, r'"a\"b\né\u001F🚗"'),
    ("''", STRING, '""'),
    ("7Y", STRING, '"7"'),
    ("9223372036854775807L", STRING, '"9223372036854775807"'),
    ("true", STRING, '"true"'),
    ("1.50BD", STRING, '"1.50"'),
    ("0.000000000000000001BD", STRING, '"0.000000000000000001"'),
    ("0.1f", STRING, '"0.1"'),
    ("0.1D", STRING, '"0.1"'),
    ("date'2024-02-29'", STRING, '"2024-02-29"'),
    ("timestamp'2024-03-10 02:30:00.123456Z'", STRING, '"2024-03-10T02:30:00.123456Z"'),
    ("timestamp'1901-01-01 00:00:00Z'", STRING, '"1901-01-01T00:00:00Z"'),
    ("timestamp_ntz'2024-03-10 02:30:00'", STRING, '"2024-03-10T02:30:00"'),
    ("2147483647", INTEGER, "2147483647"),
    ("-2147483648L", INTEGER, "-2147483648"),
    ("12.00BD", INTEGER, "12"),
    ("3.0D", INTEGER, "3"),
    ("'-17'", INTEGER, "-17"),
    ("date'0001-01-01'", DATE, '"0001-01-01"'),
    ("'2024-02-29'", DATE, '"2024-02-29"'),
    # without a schema
    ("9007199254740993L", Rule(), "9007199254740993"),
    ("true", Rule(), "true"),
    ("array(1, null)", Rule(), "[1,null]"),
    ("map('k', array(date'2024-01-31'))", Rule(), '{"k":["2024-01-31"]}'),
    ("map(1, 'one')", Rule(), '{"1":"one"}'),
    ("named_struct('a', 1, 'b', cast(null as string))", Rule(), '{"a":1}'),
    ("named_struct('d', date'2024-01-31', 'D', 0.5D, 'n', 1)", Rule(), '{"d":"2024-01-31","D":0.5,"n":1}'),
    ("timestamp'1582-10-10 00:00:00.000100Z'", STRING, '"1582-10-10T00:00:00.0001Z"'),
    ("date'1582-10-10'", STRING, '"1582-10-10"'),
    ("12.000000BD", INTEGER, "12"),
    (
        "array(named_struct('t', timestamp'2024-01-01 00:00:00Z'), null)",
        Rule(),
        '[{"t":"2024-01-01T00:00:00Z"},null]',
    ),
]


def contract_of(rule: Rule) -> CreationSchema:
    return CreationSchema() if rule == Rule() else known(case=STRING, url=STRING, v=rule)


@pytest.fixture(scope="module")
def rendered(spark: SparkSession) -> list[Outcome]:
    rows = [f"SELECT '{number}' AS case, {sql} AS `v`" for number, (sql, _, _) in enumerate(RENDERINGS)]
    return outcomes(
        [(spark.sql(row), contract_of(rule), {}) for row, (_, rule, _) in zip(rows, RENDERINGS, strict=True)]
    )


@pytest.mark.parametrize(
    ("number", "expected"),
    [(number, expected) for number, (_, _, expected) in enumerate(RENDERINGS)],
    ids=[f"{r[0]}-{r[1].kind}" for r in RENDERINGS],
)
def test_rendering(rendered: list[Outcome], number: int, expected: str) -> None:
    [text], invalid = rendered[number]
    assert invalid == []
    assert text.removeprefix('{"v":')[:-1].lower() == expected.lower()
    assert json.loads(text) == {"v": json.loads(expected)}


REFUSALS = [
    ("X'00'", STRING),
    ("X'00'", Rule()),
    ("interval '1' day", STRING),
    ("interval '1' day", Rule()),
    ("array(X'00')", Rule()),
    ("array(1)", STRING),
    ("named_struct('a', 1)", STRING),
    ("true", INTEGER),
    ("date'2024-01-31'", INTEGER),
    ("timestamp'2024-01-31 00:00:00'", DATE),
    ("20240131", DATE),
    ("map(date'2024-01-31', 1)", Rule()),
    ("named_struct('a', 1, 'a', 2)", Rule()),
]


@pytest.mark.parametrize(("sql", "rule"), REFUSALS, ids=[f"{r[0]}-{r[1].kind}" for r in REFUSALS])
def test_refusal_names_the_column_and_the_remedy(spark: SparkSession, sql: str, rule: Rule) -> None:
    contract = CreationSchema() if rule == Rule() else known(v=rule)
    with pytest.raises(ContractError, match=r"'v") as caught:
        tasks_of(spark.sql(f"SELECT {sql} AS v"), contract)
    assert caught.value.remedy.startswith("give ")


INVALID = [
    ("double('NaN')", STRING, "NaN"),
    ("float('-Infinity')", Rule(), "NaN or infinite"),
    ("array(named_struct('x', array(double('NaN'))))", Rule(), "NaN"),
    ("map('a', double('Infinity'))", Rule(), "NaN or infinite"),
    ("2147483648L", INTEGER, "2147483647"),
    ("1.5D", INTEGER, "whole number"),
    ("double('NaN')", INTEGER, "whole number"),
    ("'99999999999999999999999'", INTEGER, "32-bit integer"),
    ("'3000000000'", INTEGER, "outside"),
    ("'007'", INTEGER, "32-bit integer"),
    ("'2023-02-29'", DATE, "YYYY-MM-DD"),
    ("'20240131'", DATE, "YYYY-MM-DD"),
    ("'0000-01-01'", DATE, "YYYY-MM-DD"),
    ("'2024-01-31\\n'", DATE, "YYYY-MM-DD"),
    ("'7\\n'", INTEGER, "32-bit integer"),
    ("date'+12024-01-31'", DATE, "year"),
    ("timestamp'+42024-01-31 00:00:00Z'", STRING, "year"),
    ("cast('12345678901234567890123456789012.000001' AS decimal(38,6))", INTEGER, "whole number"),
    ("cast('12.000001' AS decimal(38,6))", INTEGER, "whole number"),
    ("cast(null as string)", Rule("string", required=True), "is null"),
    ("'blue'", Rule("string", options=("red", "green")), "none of the project's options: red, green"),
]


@pytest.fixture(scope="module")
def refused(spark: SparkSession) -> list[Outcome]:
    rows = [f"SELECT '{number}' AS case, 'a.jpg' AS url, {sql} AS v" for number, (sql, _, _) in enumerate(INVALID)]
    return outcomes([(spark.sql(row), contract_of(rule), {}) for row, (_, rule, _) in zip(rows, INVALID, strict=True)])


@pytest.mark.parametrize(
    ("number", "reason"),
    [(number, reason) for number, (_, _, reason) in enumerate(INVALID)],
    ids=[f"{r[0]}-{r[1].kind}" for r in INVALID],
)
def test_invalid_row_names_column_reason_and_row(refused: list[Outcome], number: int, reason: str) -> None:
    texts, invalid = refused[number]
    assert texts == []
    assert [row.column for row in invalid] == ["v"]
    assert reason in invalid[0].reason
    assert "a.jpg" in invalid[0].row


@pytest.mark.both_kinds
def test_a_null_leaves_its_key_out(spark: SparkSession) -> None:
    df = spark.createDataFrame(
        [(None, None, None, None), (1, "x", [1.5], '{"a": null}')],
        "n int, s string, l array<double>, output_o string",
    )
    texts, invalid = tasks_of(df)
    assert (texts, invalid) == (["{}", '{"n":1,"s":"x","l":[1.5],"output_o":{"a": null}}'], [])


NULLS = [
    (spark_type, kind)
    for spark_type in ("string", "int", "double", "decimal(9,2)", "date")
    for kind in ("string", "integer", "date")
    # refused, see above
    if not ((kind == "date" and spark_type not in ("string", "date")) or (kind, spark_type) == ("integer", "date"))
]


@pytest.fixture(scope="module")
def nulls(spark: SparkSession) -> list[Outcome]:
    rows = [f"SELECT '{n}' AS case, cast(null AS {spark_type}) AS v" for n, (spark_type, _) in enumerate(NULLS)]
    rules: list[Any] = [Rule(kind) for _, kind in NULLS]  # type: ignore[arg-type]
    return outcomes([(spark.sql(row), contract_of(rule), {}) for row, rule in zip(rows, rules, strict=True)])


@pytest.mark.parametrize("number", range(len(NULLS)), ids=["-".join(null) for null in NULLS])
def test_a_null_is_valid_in_any_optional_input(nulls: list[Outcome], number: int) -> None:
    assert nulls[number] == (["{}"], [])


@pytest.mark.both_kinds
def test_names_with_dots_backticks_and_other_cases(spark: SparkSession) -> None:
    df = spark.createDataFrame([("1", "2", "3", '"4"')], ["a.b", "`t`", "Url", "output_My Out.put"])
    df = df.toDF("a.b", "`t`", "Url", "output_My Out.put").select("*")
    texts, _ = tasks_of(df.toDF("a.b", "`t`", "Url", 'output_"q"'), outputs={'"q"': "text"})
    assert json.loads(texts[0]) == {"a.b": "1", "`t`": "2", "Url": "3", 'output_"q"': '"4"'}


OUTPUT_TEXTS = [
    ('{"a": [1.10, 1e400]}', "json", '{"a": [1.10, 1e400]}'),
    ("\n[\n 1\n]\n", "json", "\n[\n 1\n]\n"),
    ("1", "text", '"1"'),
    ('{"a": 1}', "text", r'"{\"a\": 1}"'),
    ("1", None, '"1"'),
    ("true", None, '"true"'),
    ("null", None, '"null"'),
    ("NaN", None, '"NaN"'),
    ("001", None, '"001"'),
    ("", None, '""'),
    ("{not json", None, '"{not json"'),
    ('{"a": 1}', None, '{"a": 1}'),
]


@pytest.fixture(scope="module")
def output_texts(spark: SparkSession) -> list[Outcome]:
    cases: list[Case] = []
    for number, (text, how, _) in enumerate(OUTPUT_TEXTS):
        df = spark.createDataFrame([(str(number), text)], "case string, output_o string")
        cases.append((df, CreationSchema(), {"o": how} if how else {}))
    return outcomes(cases)


@pytest.mark.parametrize(
    ("number", "expected"), [(number, expected) for number, (_, _, expected) in enumerate(OUTPUT_TEXTS)]
)
def test_output_text(output_texts: list[Outcome], number: int, expected: str) -> None:
    assert output_texts[number] == (['{"output_o":' + expected + "}"], [])


@pytest.mark.both_kinds
def test_output_text_follows_the_schema(spark: SparkSession) -> None:
    df = spark.createDataFrame([('{"a": 1}', "1"), ("oops", "2")], "output_o string, output_note string")
    texts, invalid = tasks_of(df, known())
    assert [json.loads(t) for t in texts] == [{"output_o": {"a": 1}, "output_note": "1"}]
    assert [(row.column, row.value) for row in invalid] == [("output_o", "oops")]


def test_structured_output_refuses_json_scalars(spark: SparkSession) -> None:
    df = spark.createDataFrame([("1",), ("null",), ('{"a":}',)], "output_o string")
    texts, invalid = tasks_of(df, known())
    assert texts == []
    assert len(invalid) == 3


@pytest.mark.skipif(not hasattr(T, "VariantType"), reason="VARIANT came with Spark 4.0")
@pytest.mark.both_kinds
def test_variant_is_sent_as_json(spark: SparkSession) -> None:
    df = spark.sql("""SELECT parse_json('{"b": 12345678901234567890, "a": [null]}') AS output_o""")
    texts, _ = tasks_of(df, known())
    assert json.loads(texts[0]) == {"output_o": {"b": 12345678901234567890, "a": [None]}}


@pytest.mark.parametrize("ansi", ["true", "false"])
def test_decimals_as_text_have_no_exponent(spark: SparkSession, ansi: str) -> None:
    usual = spark.conf.get("spark.sql.ansi.enabled")
    try:
        spark.conf.set("spark.sql.ansi.enabled", ansi)
        for scale in (0, 1, 6, 7, 19, 38):
            decimals = [Decimal(f"{n}E-{scale}") for n in (0, 1, -10, 250, -12345678901234567890, 10**38 - 1)]
            df = spark.createDataFrame([(d,) for d in decimals], f"v decimal(38,{scale})").coalesce(1)
            texts, _ = tasks_of(df, known(v=STRING))
            assert [json.loads(text)["v"] for text in texts] == [f"{d:f}" for d in decimals]
    finally:
        spark.conf.set("spark.sql.ansi.enabled", usual)


@pytest.mark.both_kinds
def test_streaming_leaves_the_sessions_settings_as_they_were(spark: SparkSession) -> None:
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    usual = spark.conf.get(name)
    rows = spark.range(5)
    bad = rows.select(F.assert_true(rows.id < 0).cast("string").alias("url"))
    good = rows.select(rows.id.cast("string").alias("url"))
    cutter = PieceCutter(b"{", ())
    with unguarded(spark):  # serverless compute lets nobody change it
        assert next(stream_pieces(encode(good, CreationSchema(), {}).rows, cutter)).header.tasks
    assert spark.conf.get(name) == usual
    with unguarded(spark), pytest.raises(Exception, match="is not true"):
        next(stream_pieces(encode(bad, CreationSchema(), {}).rows, cutter))
    assert spark.conf.get(name) == usual
