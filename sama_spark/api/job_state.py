"""The states of a batch's creation job, and what each of them means."""

from __future__ import annotations

from enum import Enum


class JobState(Enum):
    """The state of a batch's creation job. Each value lists the words that Sama's API has for that state."""

    WAITING = ("waiting",)
    """The batch waits for its tasks file, or for `continue`. It costs nothing yet."""
    QUEUED = ("queued",)
    PROCESSING = ("processing",)
    COMPLETED = ("completed",)
    """All tasks of the batch were created, or have failed one by one."""
    FAILED = ("failed",)
    CANCELED = ("canceled", "cancelled")
    UNKNOWN = ()
    """Any other word, and no word at all. Nothing may be concluded from it."""

    @classmethod
    def of(cls, word: str) -> JobState:
        """Return the state that one of Sama's words stands for, in upper or lower case."""
        return next((state for state in cls if word.lower() in state.value), cls.UNKNOWN)

    @property
    def is_started(self) -> bool:
        """True if `continue` has arrived: tasks are, or will be, created from this batch."""
        return self in (JobState.QUEUED, JobState.PROCESSING, JobState.COMPLETED)

    @property
    def ended_badly(self) -> bool:
        """True if the job failed or was cancelled. Tasks that were created by then stay."""
        return self in (JobState.FAILED, JobState.CANCELED)

    @property
    def has_ended(self) -> bool:
        """True if the job creates no further task."""
        return self is JobState.COMPLETED or self.ended_badly


WORDS_OF_ENDED: tuple[str, ...] = tuple(word for state in JobState if state.has_ended for word in state.value)
"""Sama's words, in lower case, for jobs that have ended."""
