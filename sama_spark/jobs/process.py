"""A job as a process: its log is shown, and SIGTERM ends it in good order."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

log = logging.getLogger("sama_spark")


class Terminated(KeyboardInterrupt):
    """SIGTERM, by which a scheduler ends this job as Ctrl-C would."""


@contextmanager
def as_a_job() -> Iterator[None]:
    """Log to standard error, and let SIGTERM raise `Terminated`, for as long as a job runs.

    A process that has log handlers or a handler of SIGTERM of its own keeps them.
    """
    with _logged(), _ended_in_order():
        yield


@contextmanager
def _logged() -> Iterator[None]:
    if log.hasHandlers():
        yield
        return
    handler, level = logging.StreamHandler(sys.stderr), log.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(*_: Any) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second SIGTERM would interrupt the clean-up
        raise Terminated("ended by SIGTERM")

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
