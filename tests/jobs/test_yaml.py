"""YAML in all its corners: what a user means, or a sentence that names file, line and remedy; never a bare error."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sama_spark import InvalidInput
from sama_spark.jobs.config import JOBS
from sama_spark.jobs.load import load
from sama_spark.plain_yaml import NotYaml, parse_yaml, read_yaml

SYNC = "job: sync\ninto: labels\n"
LAUGHS = "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
MERGES = "\n".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 10)}]}}" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("017", "017"),
        ("0o17", "0o17"),
        ("0x10", "0x10"),
        ("0b1", "0b1"),
        ("1_000", 1000),
        ("1_0", "1_0"),
        ("_1", "_1"),
        ("+5", 5),
        ("-0", 0),
        ("4242.0", 4242.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", -float("inf")),
        ("1.2.3", "1.2.3"),
        ('"4242 "', "4242 "),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("True", True),
        ("false", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("=", "="),
        ("<<", "<<"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("{1: a, true: b, null: c, 1.5: d}", {"1": "a", "true": "b", "null": "c", "1.5": "d"}),
        ("[a, [b], {c: d}]", ["a", ["b"], {"c": "d"}]),
        ("\ufeffa: 1", {"a": 1}),
        ("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}", {"base": {"x": 1, "y": 2}, "one": {"x": 1, "y": 3}}),
        ("{<<: [{x: 1}, {x: 2, y: 2}]}", {"x": 1, "y": 2}),
    ],
)  # fmt: skip
def test_plain_values(text: str, value: Any) -> None:
    read = parse_yaml(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: 1\n[b]: 2", 2, "a list or a mapping stands where a name is due"),
        ("? {b: 1}\n: 2", 1, "a list or a mapping stands where a name is due"),
        (f"a: {'9' * 6000}", 1, "a whole number of 6000 digits"),
        ("[" * 2000, 1, "it nests too deep"),
        ("\n".join(" " * n + "a:" for n in range(2000)), 21, "it nests too deep"),
        ("a: &a [*a]", 1, "aliases make it endless"),
        ("a: &a\n  <<: *a", 1, "aliases make it endless"),
        (f"a: &a [x, x, x, x]\n{LAUGHS}", 1, "aliases make it endless"),
        (f"a: &a {{x: 1}}\n{MERGES}", 1, "aliases make it endless"),
        ("a: *b", 1, "found undefined alias"),
        ("a: &x 1\nb: &x 2", 2, "an anchor comes twice"),
        ("a: 1\nb:\n  a: 1\n  a: 2", 4, "`a` comes twice"),
        ("1: a\n'1': b", 2, "`1` comes twice"),
        ("a: !!binary aGk=", 1, "a tag"),
        ("a: !!timestamp 2020-13-45", 1, "a tag"),
        ("a: !!set {b}", 1, "a tag"),
        ("a: !!python/object/apply:os.system [x]", 1, "a tag"),
        ("a: !mine 1", 1, "a tag"),
        ("a: !!int abc", 1, "a value does not fit its tag"),
        ("a: !!bool yes", 1, "a value does not fit its tag"),
        ("<<: 3", 1, "`<<` takes names with values"),
        ("a: 1\n\tb: 2", 2, "found character '\\t'"),
        ("a: 1\n---\nb: 2", 2, "more than one document"),
        ("a: 1\nb: \x07", 2, "a character that YAML does not allow"),
        ("a: \ud800", 1, "a character that YAML does not allow"),
        ('a: "\\ud800"', 1, "a character that is no text"),
        ('a: "\\0"', 1, "a character that is no text"),
        ("a: 1\nb: [", 2, "expected the node content"),
        ("a: 1\n b: 2", 2, "mapping values are not allowed here"),
    ],
)
def test_what_is_no_configuration_is_told_with_its_line(text: str, line: int, why: str) -> None:
    begun = time.monotonic()
    with pytest.raises(NotYaml, match=re.escape(why)) as caught:
        parse_yaml(text)
    assert abs((caught.value.line or 0) - line) <= (9 if "endless" in why else 1)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"job: sync\n\xff\xfe", "job.yml, line 2: it is not UTF-8 text"),
        ("job: sync".encode("utf-16"), "line 1: it is not UTF-8 text"),
        (b"a" * 1_100_000, "job.yml: it is larger than 1 MB"),
        (b"", "job.yml holds no fields"),
        (b"# nothing\n", "job.yml holds no fields"),
        (b"just text", "job.yml holds no fields"),
        (b"\xef\xbb\xbfjob: sync\nproject: 1:30\ninto: a", "`project` is no id"),
    ],
)
def test_files(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_bytes(content)
    with pytest.raises(InvalidInput, match=re.escape(told)):
        load(str(tmp_path / "job.yml"))


def test_no_file_has_such_a_name() -> None:
    with pytest.raises(InvalidInput, match="no file has such a name"):
        load("a\0b")


def from_file(tmp_path: Path, text: str) -> Any:
    (tmp_path / "job.yml").write_text(text)
    return load(str(tmp_path / "job.yml"))


@pytest.mark.parametrize("text", ["4242", '"4242"', "' 4242 '", '"4242\\n"', "+4242", "4_242", "!!str 4242"])
def test_a_project_as_it_is_meant(text: str, tmp_path: Path) -> None:
    assert str(from_file(tmp_path, f"{SYNC}project: {text}").project) == "4242"
    (tmp_path / "other.yml").write_text(f"{SYNC}project: 1")
    assert str(load(str(tmp_path / "other.yml"), [f"project={text}"]).project) == "4242"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *((text, "`project` is no id: write the whole number that Sama shows, such as 4242") for text in (
            "1:30", "0o17", "0x10", "017", "-1", "0", "1_0", "abc", '""',
            "2024-01-01", "yes", "٤٢", "https://x/4242", "${id}",
        )),
        *((text, "`project`: expected `int | str`, got `float`") for text in ("4242.0", "1e3", ".inf", ".nan")),
        ("true", "`project`: expected `int | str`, got `bool`"),
        ("[4242]", "`project`: expected `int | str`, got `array`"),
        ("{a: 1}", "`project`: expected `int | str`, got `object`"),
        ("null", "missing required field `project`"),
        ("9" * 30, "a whole number of 30 digits"),
    ],
)  # fmt: skip
def test_a_project_that_is_none(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text(f"{SYNC}project: 1")
    for attempt in (
        lambda: from_file(tmp_path, f"{SYNC}project: {text}"),
        lambda: load(str(tmp_path / "other.yml"), [f"project={text}"]),
    ):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("client_batch_id: 20240101", "got `int`. Put it in quotes"),
        ("client_batch_id: 1.5", "got `float`. Put it in quotes"),
        ("prefix: true", "got `bool`. Put it in quotes"),
        ("views: yes", "`views`: expected `bool`, got `str`. Write true or false"),
        ("max_calls: '5'", "`max_calls`: expected `int | null`, got `str`. Write a plain number"),
        ("overlap_seconds: 1:30", "got `str`. Write a plain number"),
        ("overlap_seconds: 99999999999", "`overlap_seconds`: expected `int` <= 31536000"),
        ("overlap_seconds: -1", "`overlap_seconds`: expected `int` >= 0"),
        ("deadline: 0", "`deadline`: expected `float` > 0.0"),
        ("deadline: .inf", "`deadline`: expected `float` <= 86400.0"),
        ("deadline: .nan", "`deadline`: expected `float`"),
        ("deadline: soon", "`deadline`: expected `float`, got `str`"),
        ("feeds: delivered", "`feeds`: expected `array`, got `str`. Write a list, such as [a, b]"),
        ("feeds: [deliverd]", "`feeds[0]`: not one of batches, delivered, since_last_call, stats, status"),
        ("api_key: {n0t-a-field: 1}", "there is an unknown field in `api_key`. The fields are env, file"),
        ("api_key: 5", "`api_key`: expected `str | object`, got `int`. Name the place of the key"),
        ("api_key: []", "got `array`"),
        ("[a]: 1", "line 4: a list or a mapping"),
        ("? ''\n: 1", "there is no field ``"),
    ],
)
def test_fields(line: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_file(tmp_path, f"{SYNC}project: 1\n{line}")
    assert told in str(caught.value)
    assert "n0t-a-field" not in str(caught.value)


@pytest.mark.parametrize("job", ["[a]", "{a: 1}", "5", "true", "null", "''", "Sync"])
def test_the_job_itself(job: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="`job` is none of upload, sync"):
        from_file(tmp_path, f"job: {job}\nproject: 1")


def test_ids_of_batches_are_names_with_values(tmp_path: Path) -> None:
    job = from_file(tmp_path, "job: resume\nproject: 1\noutbox: a\nunsure: {70001: void, '70002': created}")
    assert job.unsure == {70001: "void", 70002: "created"}
    with pytest.raises(InvalidInput, match=r"job.yml: `unsure`: expected `int`, got `str`"):
        from_file(tmp_path, "job: resume\nproject: 1\noutbox: a\nunsure: {x: void}")


FIELDS = sorted({name for job in JOBS.values() for name in job.__struct_fields__} | {"job", "<<", "env", "table"})
SCALARS = st.sampled_from(
    ["1:30", "0o17", "1_000",
     "4242.0", "'4242 '", "2024-01-01", "yes", "null", ".nan", "-.inf", "!!int x", "!!binary a",
     "*a", "&a 1", "<<", "\t", "'", '"', "[", "{", "|", ">", "%", "@", "9" * 40, "1e999", "", "upload", "sync", "purge",
     '"\\ud800"', "-", "?", ": :", "# x", "!", "delivered", "true", "\x00", "\udc80", "\ufeff"]
)  # fmt: skip
LINES = st.one_of(
    st.tuples(st.sampled_from(["", " ", "  ", "\t", "- ", "? ", "? [a]\n: "]), st.sampled_from(FIELDS), SCALARS).map(
        lambda parts: f"{parts[0]}{parts[1]}: {parts[2]}"
    ),
    st.tuples(st.sampled_from(FIELDS), SCALARS, SCALARS).map(lambda p: f"{p[0]}: {{{p[1]}: {p[2]}}}"),
    st.tuples(st.sampled_from(FIELDS), SCALARS, SCALARS).map(lambda p: f"{p[0]}: [{p[1]}, {p[2]}]"),
    SCALARS,
    st.text(max_size=20),
)
TEXTS = st.tuples(
    st.sampled_from(["", *(f"job: {job}\nproject: 1\n" for job in JOBS)]), st.lists(LINES, max_size=6).map("\n".join)
).map("".join)


@settings(max_examples=600, deadline=None)
@given(TEXTS, st.lists(st.tuples(st.sampled_from(FIELDS), SCALARS | st.text(max_size=8)).map("=".join), max_size=2))
@example("job: sync\nproject: 1\ninto: a", ["source.a=1", "into.b=2"])
@example('job: upload\nproject: 1\n<<: {"\\uD800": 0}', [])
def test_whatever_stands_there_only_our_errors_come_out(
    tmp_path_factory: pytest.TempPathFactory, text: str, overrides: list[str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(str(file), overrides)
    except InvalidInput as error:
        assert str(error)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_bytes_a_file_has(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yml"
    file.write_bytes(content)
    try:
        read_yaml(file)
    except NotYaml as error:
        assert error.why
