"""Several batches are polled in rounds until all have ended: the loop under every wait."""

from __future__ import annotations

import pytest

from kit.fake_clock import FakeClock
from kit.scripted_server import Answer, ScriptedServer
from sama_spark.api import ApiClient, batches


def path(batch_id: int) -> str:
    return f"projects/42/batches/{batch_id}.json"


def states(server: ScriptedServer, batch_id: int, *words: str) -> None:
    server.on("GET", path(batch_id), *(Answer(200, {"batch_id": batch_id, "state": word}) for word in words))


def test_a_batch_that_has_ended_is_not_looked_at_again(server: ScriptedServer, client: ApiClient) -> None:
    states(server, 1, "completed")
    states(server, 2, "processing", "strange", "Cancelled")
    seen = [{i: job.state for i, job in jobs.items()} for jobs in batches.poll_jobs(client, 42, [1, 2], 100)]
    assert [state[2] for state in seen] == ["processing", "strange", "Cancelled"]
    assert all(state[1] == "completed" for state in seen)
    assert (server.count("GET", path(1)), server.count("GET", path(2))) == (1, 3)


def test_rounds_come_ever_further_apart_and_end_with_the_time(
    server: ScriptedServer, client: ApiClient, clock: FakeClock
) -> None:
    states(server, 1, "waiting")
    rounds = sum(1 for _ in batches.poll_jobs(client, 42, [1], 100))
    assert clock.sleeps == sorted(clock.sleeps[:-1]) + clock.sleeps[-1:]
    assert (clock.sleeps[0], max(clock.sleeps)) == (0.5, 20.0)
    assert sum(clock.sleeps) == pytest.approx(100)
    assert rounds == len(clock.sleeps) + 1


def test_there_is_one_round_without_time_and_none_without_batches(
    server: ScriptedServer, client: ApiClient, clock: FakeClock
) -> None:
    states(server, 1, "queued")
    assert len(list(batches.poll_jobs(client, 42, [1], 0))) == 1
    assert list(batches.poll_jobs(client, 42, [], 100)) == []
    assert clock.sleeps == []
