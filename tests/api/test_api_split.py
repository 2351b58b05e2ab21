"""A page with odd tasks: the others come to the byte, whatever the odd ones are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sama_spark.api import broken_json, broken_replies
from sama_spark.api.replies import decode_page, decode_single_task
from sama_spark.api.task_text import as_dict
from sama_spark.http.dialect import ErrorsInReply

ODD = [
    b'{"n": NaN}',
    b'{"n": [Infinity, -Infinity]}',
    b'"a raw \x01 and \x1e and \n"',
    b'"caf\xe9"',
    b'"\xed\xa0\xbd"',
    b"[1,]",
    b"[1,,2]",
    b'{,"a": 1}',
    b'{"a": 1,}',
    b"[01, 2]",
    b"+1",
    b"0x1F",
    b".5",
    b"1.",
    b"tru",
    b"None",
    b"",
    b"{'a': 'b'}",
    b"{a: 1}",
    b'{"a": 1 /* why */}',
    b'"a"b"',
    b'"a',
    b'a"',
    b'"\\x"',
    b'"\\u12"',
    b'{"a" 1}',
    b'{"a": {"b": 1}',
    b"[1]]",
    b"[[1]",
    b"[1}",
    b"[" * 20_000 + b"]" * 20_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
]
# Valid JSON, which a strict parser may refuse all the same.
VALID = [
    b'"cut \\ud83d"',
    b'"\\ude00\\ud83d \\\\ud83d"',
    b"1e99999",
    b"1" * 5000,
    b'{"%b": 1}' % (b"x" * 60_000),
    b'{"id": "another", "id": 2}',
]


def good(number: int) -> bytes:
    shapes = [{"id": 7, "index": n, "tags": {"said": 'a "},{" \\'}} for n in range(2)]
    task = {"id": f"{number:024x}", "delivered_at": "2026-01-02T00:00:00Z", "answers": {"s": shapes}, "n": number}
    return json.dumps(task, indent=number % 2 or None).encode()


def odd(answers: bytes) -> bytes:
    return b'{"id": "odd", "delivered_at": "2026-01-02T00:00:01Z", "answers": %b}' % answers


def page_of(*tasks: bytes, tail: bytes = b"}") -> bytes:
    return b'{"page": 1, "tasks": [' + b", ".join(tasks) + b"]" + tail


@pytest.mark.parametrize("tail", [b"}", b', "errors": [], "links": {"next": [null]} }\n'])
@pytest.mark.parametrize("answers", ODD, ids=range(len(ODD)))
def test_what_is_no_json_is_told_and_stands_in_nobodys_way(answers: bytes, tail: bytes) -> None:
    one, two, three = good(1), good(2), good(3)
    bad = odd(answers)
    for tasks in ([one, bad, two], [bad, one, two], [one, two, bad], [one, bad, two, bad, three], [bad]):
        page = decode_page(page_of(*tasks, tail=tail))
        assert len(page) == len(tasks)
        for task, text in zip(page, tasks, strict=True):
            if text == bad:
                assert (task.id, task.delivered_at) == ("odd", "2026-01-02T00:00:01Z")
                assert task.problem
                assert bytes(task.text) == text.decode(errors="replace").encode().replace(b"\x1e", "�".encode())
            else:
                assert (bytes(task.text), task.problem) == (text, None)
    alone = decode_single_task(b'{"task": ' + bad + b"}")
    assert (alone.id, bool(alone.problem)) == ("odd", True)


@pytest.mark.parametrize("answers", VALID, ids=range(len(VALID)))
def test_what_is_json_is_no_problem(answers: bytes) -> None:
    page = decode_page(page_of(good(1), odd(answers), good(2)))
    assert [task.problem for task in page] == [None] * 3
    assert bytes(page[1].text) == odd(answers)
    assert bytes(page[1].answers) == answers
    assert as_dict(page[1])["id"] == "odd"


@pytest.mark.parametrize("task_id", [b"null", b"true", b"1.5", b'""', b"[]", b"{}", b"1e999999"])
def test_a_task_without_an_id_is_told(task_id: bytes) -> None:
    page = decode_page(page_of(good(1), b'{"id": %b, "n": 1}' % task_id, b"{}", b"null", b"5", b'"x"', good(2)))
    assert [task.problem is None for task in page] == [True, *[False] * 5, True]
    assert {task.id for task in page[1:-1]} == {None}


@pytest.mark.parametrize("between", [b",,", b", ,", b" ", b"}, ", b"], ", b", \xef\xbb\xbf", b"\x0c,\n"], ids=repr)
def test_what_stands_between_tasks_hides_none(between: bytes) -> None:
    one, two = good(1), good(2)
    texts = [bytes(task.text) for task in decode_page(page_of(one + between + two)) if task.problem is None]
    assert texts == [one, two]


BROKEN = [b'{"a":1', b"[1,2", b'[{"a":1}', b'"a', b'a"', b'"a\\"', b"1]", b"1]]}", b"1}}", b'{"a":[1}]', b"NaN"]


@pytest.mark.parametrize("is_odd", [lambda n: n < 150, lambda n: n % 4 < 2, lambda n: n % 2], ids=range(3))
@pytest.mark.parametrize("answers", BROKEN, ids=range(len(BROKEN)))
def test_however_many_are_odd_the_others_come(answers: bytes, is_odd: Callable[[int], bool]) -> None:
    tasks = [odd(answers) if is_odd(n) else good(n) for n in range(300)]
    page = decode_page(page_of(*tasks))
    assert [task.id for task in page] == ["odd" if is_odd(n) else f"{n:024x}" for n in range(300)]
    assert [bytes(task.text) for n, task in enumerate(page) if not is_odd(n)] == [
        text for n, text in enumerate(tasks) if not is_odd(n)
    ]


@pytest.mark.parametrize("answers", [b'{"a":1', b"[1,2", b'"a\\"'], ids=range(3))
def test_large_pages_of_odd_tasks_take_no_time(answers: bytes) -> None:
    filler = b'"%b", ' % (b"y" * 90) * 100
    tasks = [b'{"id": "%d", "state": "new", "data": [%b1], "answers": %b}' % (n, filler, answers) for n in range(300)]
    objects = b"[" + b", ".join([b'{"x": 1, "y": "z"}'] * 300_000) + b", NaN]"
    begun = time.process_time()
    page = decode_page(page_of(*tasks))
    assert [task.id for task in page] == [str(n) for n in range(300)]
    assert [task.id for task in decode_page(page_of(good(1), odd(objects)))] == [f"{1:024x}", "odd"]
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "tail", [b"}\0\0", b"} 0\r\n", b"}<!-- cached -->", b",}", b', "n": NaN, }', b', "n": "caf\xe9"}'], ids=repr
)
def test_a_flaw_around_the_list_hides_no_task(tail: bytes) -> None:
    for last in (good(2), odd(b"NaN"), odd(b'{"a": 1'), odd(b"1]")):
        page = decode_page(page_of(good(1), last, tail=tail))
        assert [task.id for task in page] == [f"{1:024x}", f"{2:024x}" if last == good(2) else "odd"]
        assert bytes(page[1].text) == last


@pytest.mark.parametrize("tail", [b', "tasks": [%b]}' % odd(b"NaN"), b"}" + page_of(good(2))], ids=range(2))
def test_a_second_list_is_not_passed_over(tail: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_page(page_of(good(1), tail=tail))


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbf" + page_of(good(1)), page_of(good(1), b"", good(2)), page_of(good(1), b"")]
)
def test_a_page_that_is_no_json_may_have_good_tasks_alone(body: bytes) -> None:
    assert {task.problem for task in decode_page(body)} == {None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{'tasks': []}",
        b'{"tasks": [' + good(1),
        b'{"tasks": [' + good(1) + b", " + good(2)[:40],
        b'{"tasks": NaN}',
        b"[" * 20_000,
    ],
)
def test_what_breaks_off_is_an_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_page(body)


def test_odd_tasks_in_a_row_are_told_apart() -> None:
    row = [odd(answers) for answers in (*ODD, *VALID)]
    page = decode_page(page_of(good(1), *row, good(2)))
    assert [task.id for task in page] == [f"{1:024x}", *["odd"] * len(row), f"{2:024x}"]
    assert sum(task.problem is None for task in page) == 2 + len(VALID)


def test_errors_beside_odd_tasks_are_errors() -> None:
    with pytest.raises(ErrorsInReply):
        decode_page(page_of(odd(b"NaN"), tail=b', "errors": [{"type": 500}]}'))
    with pytest.raises(ErrorsInReply):
        decode_single_task(b'{"errors": "no", "task": {"a": NaN}}')


def test_a_dict_has_what_can_be_read_of_an_odd_task() -> None:
    [task] = decode_page(page_of(b'{"id": 7, "a": NaN, "b": [1,], "c": "\x01", "d": 1%b, "e": [2]}' % (b"0" * 5000)))
    found = as_dict(task)
    assert str(found.pop("a")) == "nan"
    assert found == {"id": 7, "b": "[1,]", "c": "\x01", "d": f"1{'0' * 5000}", "e": [2]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=5), json_values, st.sampled_from([None, 1]), st.booleans())
def test_both_parsers_see_the_same_tasks(tasks: list[Any], more: Any, indent: int | None, ascii_only: bool) -> None:
    for body in ({"more": more, "tasks": tasks}, {"tasks": tasks, "more": more}):
        text = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        try:
            expected = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            texts = [bytes(raw) for raw in msgspec.json.decode(expected["tasks"], type=list[msgspec.Raw])]
        except msgspec.DecodeError:
            continue  # half a surrogate pair
        around, found = broken_replies.split_list(text, "tasks")
        assert found == texts
        assert json.loads(around) == body | {"tasks": []}
        where = broken_json.members(text)
        assert {name: text[begin:end] for name, (begin, end) in where.items()} == {
            name: bytes(raw) for name, raw in expected.items()
        }


@given(st.dictionaries(st.text(), json_values), st.sampled_from([None, 1]), st.booleans())
def test_both_parsers_see_the_same_members(fields: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    where = broken_json.members(text)
    assert {name: json.loads(text[begin:end]) for name, (begin, end) in where.items()} == {
        broken_json.without_surrogates(name): value for name, value in fields.items()
    }


@pytest.mark.parametrize("filler", [b" ", b",", b"\\", b'"', b"[", b"{", b"]", b"}", b"[{", b'{"a":', b'", {"', b"x"])
def test_rubbish_takes_no_time(filler: bytes) -> None:
    rubbish = filler * (300_000 // len(filler))
    begun = time.process_time()
    for body in (page_of(good(1), rubbish, good(2)), page_of(good(1), odd(rubbish)), rubbish, good(1) + rubbish):
        with suppress(msgspec.DecodeError):
            decode_page(body)
        with suppress(msgspec.DecodeError):
            decode_single_task(body)
    assert time.process_time() - begun < 10


TOKENS = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"NaN", b"\xff", b"\x00", b"/*", b"'", b"{}", b"null", b'""']


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    text = bytearray(good(draw(st.integers(100, 103))))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text) - 1))
        how = draw(st.sampled_from(["flip", "insert", "remove"]))
        if how == "flip":
            text[place] = draw(st.integers(0, 255))
        elif how == "insert":
            text[place:place] = draw(st.sampled_from(TOKENS))
        else:
            del text[place]
    return bytes(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(mutated() | st.integers(0, 9), min_size=1, max_size=6))
def test_good_tasks_come_through_whatever_is_beside_them(tasks: list[bytes | int]) -> None:
    texts = [task if isinstance(task, bytes) else good(task) for task in tasks]
    try:
        page = decode_page(page_of(*texts))
    except msgspec.DecodeError:
        # Nobody can tell a page that broke off from one whose last task lacks its end.
        assert isinstance(tasks[-1], bytes)
        return
    found = [bytes(task.text) for task in page if task.problem is None]
    wanted = [good(task) for task in tasks if isinstance(task, int)]
    assert [text for text in found if text in wanted] == wanted
