"""A job that is told to end: its line of JSON names what is paid for."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from sama_spark.api.interruption_notes import note_batches
from sama_spark.http.secrets import Redactor
from sama_spark.jobs.process import as_a_job
from sama_spark.jobs.run import error_as_json


def test_the_line_names_the_batches() -> None:
    error = KeyboardInterrupt()
    note_batches(error, 4242, started=[7, 8], unsure=[9], waiting=[10], cancelled=[11], next_step="run again")
    line = error_as_json(error, Redactor())
    assert (line["type"], line["retryable"]) == ("KeyboardInterrupt", False)
    assert (line["started"], line["unsure"], line["not_started"]) == ([7, 8], [9], [10, 11])
    assert "2 batches started, their tasks are created and paid for: 7, 8" in line["message"]
    assert "Next: run again" in line["message"]


def test_other_errors_have_no_batches() -> None:
    assert set(error_as_json(ValueError("x"), Redactor())) == {"type", "message", "retryable"}


def test_sigterm_ends_a_job_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), as_a_job():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_nothing_is_changed() -> None:
    seen: list[object] = []

    def look() -> None:
        with as_a_job():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
