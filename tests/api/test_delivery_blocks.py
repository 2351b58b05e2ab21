"""Several pages of deliveries at once: nothing lost, nothing twice, in order, and no thread left over."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_api_paging import MovingList, kinds, orders, raw, read, text_of

from kit.fake_clock import FakeClock
from kit.scripted_server import Answer, Got, ScriptedServer
from sama_spark import api
from sama_spark.api import ApiClient, delivered_scan, delivery_blocks, feeds
from sama_spark.api.delivered_scan import scan_delivered
from sama_spark.api.task_text import Page
from sama_spark.http.turns import Turns

PATH = "projects/42/tasks/delivered.json"


def rows_at(seconds: list[int]) -> list[dict[str, Any]]:
    return [{"id": f"t{number:03}", "delivered_at": text_of(at)} for number, at in enumerate(seconds)]


rows = st.lists(st.integers(0, 90), max_size=120).map(rows_at) | st.lists(st.integers(0, 4), max_size=60).map(rows_at)
moves = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 120), kinds), max_size=30)


def in_any_order(fetch: Callable[..., Page], chance: random.Random) -> Callable[..., Page]:
    """The same pages, the calls of several threads mixed by chance."""

    def delayed(*call: Any) -> Page:
        time.sleep(chance.choice([0, 0.0002, 0.001]))
        return fetch(*call)

    return delayed


def deliver_again(server: MovingList, place: int, at: int) -> None:
    with server._lock:
        row = server.rows.pop(place)
        server.rows.append(row | {"delivered_at": text_of(at)})


def block_threads() -> int:
    return sum(thread.name == "sama-block" for thread in threading.enumerate())


def soon(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 5
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(1, 9), moves, st.sampled_from([2, 4]), st.randoms(use_true_random=False))
def test_what_moves_between_blocks_is_neither_lost_nor_read_twice(
    given_rows: list[dict[str, Any]],
    cap: int,
    given_moves: list[tuple[int, int, str]],
    at_once: int,
    chance: random.Random,
) -> None:
    server = MovingList(given_rows, cap, given_moves)
    got = read(scan_delivered(in_any_order(server.fetch, chance), None, cap, at_once))
    assert len(got) == len(set(got))
    assert server.steady <= set(got)
    assert server.staying <= {task_id for task_id, _ in got}


@settings(max_examples=50, deadline=None)
@given(rows, st.integers(1, 9), orders, st.booleans(), st.randoms(use_true_random=False))
def test_in_any_order_and_with_any_bound_nothing_is_lost_or_read_twice(
    given_rows: list[dict[str, Any]],
    cap: int,
    order: Callable[[dict[str, Any]], Any],
    inclusive: bool,
    chance: random.Random,
) -> None:
    server = MovingList(given_rows, cap, [], order=order, inclusive=inclusive)
    got = read(scan_delivered(in_any_order(server.fetch, chance), None, cap, 4))
    assert sorted(got) == sorted(map(MovingList.mark, given_rows))


def test_blocks_come_in_the_order_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(delivered_scan, "scan_by_number")  # by time alone
    given_rows = rows_at(list(range(1000)))
    server = MovingList(given_rows, 10, [])
    got = read(scan_delivered(in_any_order(server.fetch, random.Random(1)), None, 10, 4))
    assert got == list(map(MovingList.mark, given_rows))


def test_what_leaves_the_first_block_is_found_behind_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is delivered again when the last block has been read to its end, and the first block has not."""
    monkeypatch.delattr(delivered_scan, "scan_by_number")
    server = MovingList(rows_at(list(range(60))), 5, [])
    last = server.rows[-1]["delivered_at"]
    end_was_read, was_moved = threading.Event(), threading.Event()

    def fetch(start: str | None, page: int, size: int) -> Page:
        if start == text_of(4) and not was_moved.is_set():  # the second window of the first block
            assert end_was_read.wait(5)
            deliver_again(server, 8, 3000)
            was_moved.set()
        found = server.fetch(start, page, size)
        if start == last and page == 2:
            end_was_read.set()
        return found

    got = read(scan_delivered(fetch, None, 5, 4))
    assert len(got) == len(set(got)) == 60
    assert got[-1] == ("t008", text_of(3000))


def test_what_leaves_the_first_block_while_the_last_window_is_read_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last window takes two calls. Between them a task leaves the first block, and then that block ends."""
    monkeypatch.delattr(delivered_scan, "scan_by_number")
    server = MovingList(rows_at(list(range(45))), 10, [])
    last = server.rows[-1]["delivered_at"]
    last_window_began, was_moved, first_block_ended = (threading.Event() for _ in range(3))

    def fetch(start: str | None, page: int, size: int) -> Page:
        if start == text_of(9) and not was_moved.is_set():  # the second window of the first block
            assert last_window_began.wait(5)
            deliver_again(server, 15, 3000)
            was_moved.set()
        if page == 9:  # no such page: the last block waits for this answer between its two calls
            first_block_ended.wait(5)
            time.sleep(0.1)
        found = server.fetch(start, page, size)
        times = [task.delivered_at for task in found]
        if start is not None and times and times[-1] == last and len(times) < size:
            last_window_began.set()
        if times and times[0] < text_of(36) < times[-1]:
            first_block_ended.set()
        return found

    got = read(scan_delivered(fetch, None, 10, 4))
    assert len(got) == len(set(got)) == 45
    assert got[-1] == ("t015", text_of(3000))


def test_what_comes_at_the_time_of_the_last_border_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last page has one time, that of a border, when a task of the first block is delivered again at this time."""
    monkeypatch.delattr(delivered_scan, "scan_by_number")
    server = MovingList(rows_at([*range(32), *[32] * 4]), 5, [])  # the third block begins at the 33rd delivery
    end_was_read, was_moved = threading.Event(), threading.Event()

    def fetch(start: str | None, page: int, size: int) -> Page:
        if start == text_of(4) and not was_moved.is_set():  # the second window of the first block
            assert end_was_read.wait(5)
            time.sleep(0.1)  # for the other blocks to end
            deliver_again(server, 8, 32)
            was_moved.set()
        found = server.fetch(start, page, size)
        if start == text_of(32) and page == 2:
            end_was_read.set()
        return found

    got = read(scan_delivered(fetch, None, 5, 4))
    assert len(got) == len(set(got)) == 36
    assert ("t008", text_of(32)) in got


@pytest.mark.parametrize(("tasks", "more_calls"), [(0, 0), (1, 0), (9, 0), (10, 1), (15, 1), (35, 2)])
def test_a_short_list_costs_hardly_more_calls(tasks: int, more_calls: int) -> None:
    def calls(at_once: int) -> int:
        server = MovingList(rows_at(list(range(tasks))), 10, [])

        def fetch(*call: Any) -> Page:
            time.sleep(0.02)  # for other threads to ask meanwhile
            return server.fetch(*call)

        assert len(read(scan_delivered(fetch, None, 10, at_once))) == tasks
        return server.calls

    assert calls(4) <= calls(1) + more_calls


@pytest.mark.parametrize(
    "seconds", [[0] * 400, [n // 50 for n in range(400)], [*range(100), *[100] * 300, *range(101, 200)]]
)
def test_deliveries_of_one_time_cost_few_more_calls(seconds: list[int]) -> None:
    """Such pages are read until two passes see the same, and by few blocks."""
    calls = []
    for at_once in 1, 4:
        server = MovingList(rows_at(seconds), 10, [])
        assert read(scan_delivered(server.fetch, None, 10, at_once)) == list(map(MovingList.mark, server.rows))
        calls.append(server.calls)
    assert calls[1] <= 2.5 * calls[0]


def test_a_server_that_ignores_page_numbers_gives_nothing_twice() -> None:
    server = MovingList(rows_at(list(range(100))), 10, [])
    got = []
    with pytest.raises(api.InvalidResponse, match="again and again"):
        for page in scan_delivered(lambda start, _, size: server.fetch(start, 1, size), None, 10, 4):
            got += read([page])
    assert len(got) == len(set(got)) >= 10


def test_blocks_wait_where_much_text_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_blocks, "MOST_WAITING", 1)
    server = MovingList(rows_at(list(range(2000))), 10, [])
    pages = scan_delivered(server.fetch, None, 10, 4)
    got = read([next(pages), next(pages)])
    time.sleep(0.1)
    assert server.calls <= 10
    assert got + read(pages) == list(map(MovingList.mark, server.rows))


@pytest.mark.parametrize("taken", [1, 2, 20])
def test_a_scan_that_is_closed_leaves_no_thread(taken: int) -> None:
    def endless(start: str | None, page: int, size: int) -> Page:
        first = (page - 1) * size + (int(start[17:19]) if start else 0)
        return [raw({"id": str(n), "delivered_at": text_of(n)}) for n in range(first, first + size)]

    pages = scan_delivered(endless, None, 10, 4)
    for _ in range(taken):
        assert next(pages)
    pages.close()  # type: ignore[attr-defined]
    assert soon(lambda: not block_threads())


class CountingServer:
    """Serves `rows` at PATH by `from`, `page` and `page_size`.

    `in_flight` has, for each call, how many ran when it began, and `begun` has when that was.
    """

    def __init__(self, server: ScriptedServer, tasks: int, fault: Callable[[Got, int], Answer | None]) -> None:
        self.rows = rows_at(list(range(tasks)))
        self.in_flight: list[int] = []
        self.begun: list[float] = []
        self._list = MovingList(self.rows, 10, [])
        self._running, self._fault, self._lock = 0, fault, threading.Lock()
        server.on("GET", PATH, self._answer)

    def _answer(self, got: Got) -> Answer:
        with self._lock:
            self._running += 1
            self.in_flight.append(self._running)
            self.begun.append(time.monotonic())
            number = len(self.in_flight)
        time.sleep(0.01)
        with self._lock:
            self._running -= 1
        query = got.query
        page = self._list.fetch(query.get("from"), int(query["page"]), int(query["page_size"]))
        body = b'{"tasks": [' + b", ".join(bytes(task.text) for task in page) + b"]}"
        return self._fault(got, number) or Answer(200, body)


@pytest.mark.parametrize("pages_in_flight", [1, 2, 4, 16])
def test_no_more_calls_run_at_once_than_asked_for(
    server: ScriptedServer, make_client: Callable[..., ApiClient], pages_in_flight: int
) -> None:
    counting = CountingServer(server, 1000, lambda *_: None)
    client = make_client(delivered_page_size=10, pages_in_flight=pages_in_flight)
    assert read(client.delivered_pages(42)) == list(map(MovingList.mark, counting.rows))
    assert pages_in_flight / 2 <= max(counting.in_flight) <= pages_in_flight


def test_one_call_at_a_time_after_a_429(server: ScriptedServer, make_client: Callable[..., ApiClient]) -> None:
    def fault(_: Got, number: int) -> Answer | None:
        return Answer(429, {"message": "slowly"}, headers={"Retry-After": "0.5"}) if number == 30 else None

    counting = CountingServer(server, 1000, fault)
    client = make_client(delivered_page_size=10, clock=api.SystemClock())
    assert read(client.delivered_pages(42)) == list(map(MovingList.mark, counting.rows))
    assert 2 <= max(counting.in_flight[:30]) <= 4
    assert set(counting.in_flight[40:]) == {1}  # some had begun before the reply was there
    assert max(later - earlier for earlier, later in pairwise(counting.begun)) > 0.4  # nobody calls meanwhile


def test_calls_that_fail_for_a_while_are_sent_again(
    server: ScriptedServer, make_client: Callable[..., ApiClient]
) -> None:
    counting = CountingServer(server, 500, lambda _, number: Answer(500, {}) if number % 5 == 3 else None)
    client = make_client(delivered_page_size=10)
    assert read(client.delivered_pages(42)) == list(map(MovingList.mark, counting.rows))


def test_a_call_that_fails_for_good_is_the_callers_error(
    server: ScriptedServer, make_client: Callable[..., ApiClient]
) -> None:
    def fault(got: Got, _: int) -> Answer | None:
        return Answer(403, {"message": "no longer"}) if got.query["page"] == "13" else None

    counting = CountingServer(server, 500, fault)
    client = make_client(delivered_page_size=10)
    got = []
    with pytest.raises(api.AuthenticationError, match="no longer") as caught:
        for page in client.delivered_pages(42):
            got += read([page])
    assert caught.value.project_id == 42
    assert got == list(map(MovingList.mark, counting.rows))[: len(got)]
    assert soon(lambda: not block_threads())


def test_a_call_that_waits_for_its_turn_has_its_whole_deadline_afterwards(
    server: ScriptedServer, make_client: Callable[..., ApiClient], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LongQueue(Turns):
        def __enter__(self) -> None:
            super().__enter__()
            clock.now += 1000

    monkeypatch.setattr(feeds, "Turns", LongQueue)
    counting = CountingServer(server, 5, lambda _, number: Answer(500, {}) if number == 1 else None)
    client = make_client(delivered_page_size=10, deadline=300)
    assert read(client.delivered_pages(42)) == list(map(MovingList.mark, counting.rows))
