"""What Sama's words for the state of a creation job mean: money depends on it."""

from __future__ import annotations

import pytest

from sama_spark.api.job_state import WORDS_OF_ENDED, JobState

WAITS, RUNS, IS_DONE, ENDED_BADLY = (
    (False, False, False),
    (True, False, False),
    (True, True, False),
    (False, True, True),
)


@pytest.mark.parametrize(
    ("word", "state", "meaning"),
    [
        ("waiting", JobState.WAITING, WAITS),
        ("queued", JobState.QUEUED, RUNS),
        ("processing", JobState.PROCESSING, RUNS),
        ("completed", JobState.COMPLETED, IS_DONE),
        ("failed", JobState.FAILED, ENDED_BADLY),
        ("canceled", JobState.CANCELED, ENDED_BADLY),
        ("cancelled", JobState.CANCELED, ENDED_BADLY),
        ("Completed", JobState.COMPLETED, IS_DONE),
        ("CANCELLED", JobState.CANCELED, ENDED_BADLY),
    ],
)
def test_each_word_means_one_state(word: str, state: JobState, meaning: tuple[bool, bool, bool]) -> None:
    assert JobState.of(word) is state
    assert (state.is_started, state.has_ended, state.ended_badly) == meaning
    assert (word.lower() in WORDS_OF_ENDED) == state.has_ended


@pytest.mark.parametrize("word", ["", "unknown", "not known", "complete", "in progress", " waiting", "waiting;"])
def test_nothing_is_concluded_from_any_other_word(word: str) -> None:
    state = JobState.of(word)
    assert state is JobState.UNKNOWN
    assert not (state.is_started or state.has_ended or state.ended_badly)
