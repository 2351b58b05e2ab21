"""Lists that are capped, tied, unordered and moved about while they are read: nothing lost, nothing twice."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.fake_clock import FakeClock
from sama_spark.api.delivered_scan import scan_delivered
from sama_spark.api.paging import number_pages, scan_by_number
from sama_spark.api.task_text import Page, TaskText, task_text
from sama_spark.api.time_windows import sort_key
from sama_spark.http.call_errors import InvalidResponse
from sama_spark.http.retry import Pacer, Safety, backoff, may_repeat, parse_retry_after


def text_of(second: int, digits: int = 3) -> str:
    return f"2024-03-01T00:{second // 60:02}:{second % 60:02}" + (f".{'5' * digits}" if digits else "") + "Z"


def raw(row: dict[str, Any]) -> TaskText:
    return task_text(msgspec.Raw(json.dumps(row).encode()))


class MovingList:
    """A server's list of deliveries, one reply at a time. `moves` is what happens after so many calls: a row is
    delivered again or rejected, or a new one comes.

    `steady` has the deliveries that stay in their places, `staying` the ids of tasks that are in it all along.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        cap: int,
        moves: list[tuple[int, int, str]],
        *,
        inclusive: bool = True,
        order: Callable[[dict[str, Any]], Any] = lambda row: (row["delivered_at"], row["id"]),
    ) -> None:
        self.rows = list(rows)
        self.steady = {self.mark(row) for row in rows}
        self.staying = {row["id"] for row in rows}
        self._cap, self._moves, self._inclusive, self._order = cap, moves, inclusive, order
        self.calls = 0
        self._lock = threading.Lock()

    @staticmethod
    def mark(row: dict[str, Any]) -> tuple[str, str]:
        return row["id"], row["delivered_at"]

    def fetch(self, start: str | None, page: int, size: int = 1000) -> Page:
        with self._lock:
            return self._page(start, page, min(size, self._cap))

    def _move(self, place: int, kind: str) -> None:
        row = {"id": f"new {len(self.rows)} {self.calls}"}
        if kind != "new":
            row = self.rows.pop(place % len(self.rows))
            self.steady.discard(self.mark(row))
        if kind == "rejected":
            self.staying.discard(row["id"])
        else:
            self.rows.append(row | {"delivered_at": text_of(3000 + self.calls // 10)})

    def _page(self, start: str | None, page: int, size: int) -> Page:
        for after, place, kind in self._moves:
            if after == self.calls and self.rows:
                self._move(place, kind)
        self.calls += 1
        assert self.calls < 20_000, "the scan does not end"
        fitting = sorted(self.rows, key=self._order)
        if start is not None:
            fitting = [
                row
                for row in fitting
                if row["delivered_at"] > start or (self._inclusive and row["delivered_at"] == start)
            ]
        return [raw(row) for row in fitting[(page - 1) * size : page * size]]


def read(pages: Any) -> list[tuple[str, str]]:
    return [MovingList.mark(json.loads(bytes(text.text))) for page in pages for text in page]


rows = st.lists(st.integers(0, 12), max_size=40).map(
    lambda seconds: [{"id": f"t{number}", "delivered_at": text_of(at)} for number, at in enumerate(seconds)]
)
kinds = st.sampled_from(["again", "rejected", "new"])
moves = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40), kinds), max_size=3)
orders = st.sampled_from(
    [
        lambda row: (row["delivered_at"], row["id"]),
        lambda row: (row["delivered_at"], row["id"][::-1]),
        lambda row: row["id"],
        lambda row: tuple(-ord(letter) for letter in row["delivered_at"]),
    ]
)


def check_delivered(server: MovingList) -> None:
    got = read(scan_delivered(server.fetch, None, server._cap, at_once=1))
    assert len(got) == len(set(got))
    assert server.steady <= set(got)
    assert server.staying <= {task_id for task_id, _ in got}


@settings(max_examples=200, deadline=None)
@given(rows, st.integers(1, 9), moves, st.booleans())
def test_delivered_that_moves_loses_nothing_and_gives_nothing_twice(
    given_rows: list[dict[str, Any]], cap: int, given_moves: list[tuple[int, int, str]], inclusive: bool
) -> None:
    check_delivered(MovingList(given_rows, cap, given_moves, inclusive=inclusive))


@settings(max_examples=200, deadline=None)
@given(rows, st.integers(1, 9), orders)
def test_delivered_in_any_order_loses_nothing_and_gives_nothing_twice(
    given_rows: list[dict[str, Any]], cap: int, order: Callable[[dict[str, Any]], Any]
) -> None:
    check_delivered(MovingList(given_rows, cap, [], order=order))


@settings(max_examples=200, deadline=None)
@given(rows, st.integers(1, 9), moves, orders)
def test_status_gives_every_task_that_stays_once(
    given_rows: list[dict[str, Any]],
    cap: int,
    given_moves: list[tuple[int, int, str]],
    order: Callable[[dict[str, Any]], Any],
) -> None:
    server = MovingList(given_rows, cap, given_moves, order=order)
    got = read(scan_by_number(lambda page: server.fetch(None, page)))
    ids = [task_id for task_id, _ in got]
    assert len(ids) == len(set(ids))
    assert {task_id for task_id, _ in server.steady} <= set(ids)


def test_delivered_in_order_needs_about_a_call_per_page() -> None:
    server = MovingList([{"id": str(n), "delivered_at": text_of(n)} for n in range(1000)], 100, [])
    assert len(read(scan_delivered(server.fetch, None, 100, at_once=1))) == 1000
    assert server.calls <= 15


@pytest.mark.parametrize("at_once", [1, 4])
def test_delivered_that_fills_pages_with_one_timestamp_goes_on_behind_them(at_once: int) -> None:
    seconds = [1] * 25 + [2] * 3 + [3] * 40
    given_rows = [{"id": f"{n:03}", "delivered_at": text_of(at)} for n, at in enumerate(seconds)]
    server = MovingList(given_rows, 10, [])
    assert sorted(read(scan_delivered(server.fetch, None, 10, at_once))) == sorted(map(MovingList.mark, given_rows))


@pytest.mark.parametrize("at_once", [1, 4])
def test_delivered_hands_the_first_page_on_before_the_second_call(at_once: int) -> None:
    server = MovingList([{"id": str(n), "delivered_at": text_of(n)} for n in range(100)], 10, [])
    assert len(next(scan_delivered(server.fetch, None, 10, at_once))) == 10
    assert server.calls == 1


@pytest.mark.parametrize("delivered_at", [None, "20240301T000000", "2024-03-01", 17])
def test_delivered_without_plain_timestamps_is_read_by_page_number(delivered_at: object) -> None:
    given_rows = [{"id": str(n), "delivered_at": delivered_at} for n in range(25)]
    pages = [[raw(row) for row in given_rows[at : at + 10]] for at in range(0, 25, 10)]
    got = read(scan_delivered(lambda _, page, __: pages[page - 1] if page <= 3 else [], None, 10, at_once=4))
    assert sorted(task_id for task_id, _ in got) == sorted(row["id"] for row in given_rows)


def test_a_server_that_ignores_the_page_is_an_error() -> None:
    page = [raw({"id": str(n), "delivered_at": text_of(1)}) for n in range(10)]
    for scan in (
        number_pages(lambda _: page),
        number_pages(lambda _: page),
        scan_by_number(lambda _: page),
        scan_delivered(lambda *_: page, None, 10, at_once=1),
        scan_delivered(lambda *_: page, None, 10, at_once=4),
    ):
        with pytest.raises(InvalidResponse, match="again and again"):
            list(scan)


@pytest.mark.parametrize("turn", [1, 2, 5, 40])
@pytest.mark.parametrize("ids", [[7, 8], [None, None], ["a", 1.5]])
def test_pages_that_come_again_with_new_links_are_an_error(turn: int, ids: list[Any]) -> None:
    calls = 0

    def fetch(*_: Any) -> Page:
        nonlocal calls
        calls += 1
        assert calls < 200
        signed = f"https://host/{calls % turn}.png?signature={calls}"
        return [raw({"id": n, "n": calls % turn, "delivered_at": text_of(calls % turn), "url": signed}) for n in ids]

    for pages in (number_pages(fetch), scan_by_number(fetch), scan_delivered(fetch, None, 10, at_once=4)):
        calls = 0
        with pytest.raises(InvalidResponse, match="again and again"):
            list(pages)


@pytest.mark.parametrize("burst", [1, 2, 6, 12, 30, 300])
def test_a_list_that_grows_at_its_front_is_no_error(burst: int) -> None:
    rows = [{"id": n, "delivered_at": None} for n in range(200)]

    def fetch(page: int) -> Page:
        found = [raw(row) for row in rows[(page - 1) * 4 : page * 4]]
        if page in (2, 5, 40):
            rows[:0] = [{"id": len(rows) + n, "delivered_at": None} for n in range(burst * 4)]
        return found

    assert {task.id for page in number_pages(fetch) for task in page} >= set(range(200))


def test_tasks_without_an_id_come_once_each() -> None:
    calls = 0

    def fetch(page: int) -> Page:
        nonlocal calls
        calls += 1
        signed = f"https://host/a.png?signature={calls}"
        return [raw({"id": None, "n": n, "url": signed}) for n in range(3)] if page == 1 else []

    assert [len(page) for page in scan_by_number(fetch)] == [3]
    assert calls < 10


def test_a_list_that_never_comes_to_rest_ends_in_an_error() -> None:
    rng = random.Random(1)

    def fetch(page: int) -> Page:
        return [raw({"id": str(rng.random())})] if page < 4 else []

    with pytest.raises(InvalidResponse, match="still changed"):
        list(scan_by_number(fetch))


@given(st.datetimes(), st.datetimes(), st.integers(0, 9), st.integers(0, 9))
def test_timestamps_sort_as_they_should(one: datetime, two: datetime, digits: int, others: int) -> None:
    def write(moment: datetime, places: int) -> str:
        whole = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        return whole + (f".{moment.microsecond * 1000:09}"[: places + 1] if places else "") + "Z"

    def cut(moment: datetime, places: int) -> tuple[datetime, str]:
        return moment.replace(microsecond=0), f"{moment.microsecond * 1000:09}"[:places].ljust(9, "0")

    keys = sort_key(write(one, digits)), sort_key(write(two, others))
    assert keys[0] is not None and keys[1] is not None
    assert (keys[0] < keys[1]) == (cut(one, digits) < cut(two, others))


@given(st.integers(1, 10**6), st.integers(0, 2 * 10**9))
def test_retry_after_in_both_forms(seconds: int, now: int) -> None:
    assert parse_retry_after(str(seconds), now) == seconds
    assert parse_retry_after(formatdate(now + seconds, usegmt=True), now) == seconds
    assert parse_retry_after(formatdate(now - seconds, usegmt=True), now) is None
    in_asctime = datetime.fromtimestamp(now + seconds, timezone.utc).strftime("%a %b %d %H:%M:%S %Y")
    assert parse_retry_after(in_asctime, now) == seconds


@given(st.text() | st.sampled_from(["nan", "inf", "-1", "1e9", "0", "", "Mon, 99 Foo 2024"]))
def test_retry_after_never_fails_and_is_never_below_zero(text: str) -> None:
    seconds = parse_retry_after(text, 1.7e9)
    assert seconds is None or seconds > 0
    assert parse_retry_after(None, 0) is None


@given(st.integers(1, 10_000), st.randoms(use_true_random=False))
def test_backoff_stays_within_its_bounds(attempt: int, rng: random.Random) -> None:
    assert 0.05 <= backoff(attempt, rng) <= min(30, 0.5 * 2 ** min(attempt, 20)) + 0.05


def test_repeating_by_safety() -> None:
    table = {
        (Safety.FREE, True, False): True,
        (Safety.FREE, False, True): False,
        (Safety.ONCE, True, True): True,
        (Safety.ONCE, True, False): False,
        (Safety.NEVER, True, True): False,
    }
    for (safety, transient, not_done), expected in table.items():
        assert may_repeat(safety, transient=transient, surely_not_done=not_done) is expected


def test_pacing_lets_one_call_through_per_second() -> None:
    clock = FakeClock()
    pacer = Pacer(clock)
    for _ in range(4):
        pacer.wait()
    assert clock.sleeps == [1.0, 1.0, 1.0]
    clock.now += 5
    pacer.wait()
    assert len(clock.sleeps) == 3
