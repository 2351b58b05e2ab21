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
def as_a_job(*, ends_process: bool = False) -> Iterator[None]:
    """Log to standard error, and let SIGTERM raise `Terminated`, for as long as a job runs.

    A process that has log handlers or a handler of SIGTERM of its own keeps them. `ends_process`: the process ends
    with the job, and no signal changes its exit status on the way.
    """
    with _logged(), _ended_in_order(ends_process):
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
def _ended_in_order(ends_process: bool) -> Iterator[None]:
    if not _in_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    on_interrupt = signal.getsignal(signal.SIGINT) or signal.SIG_DFL  # None: a handler of C code
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if ends_process else signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN if ends_process else on_interrupt)


def ignore_signals() -> None:
    """Ignore SIGTERM and Ctrl-C until the job is over, where `as_a_job` handles SIGTERM."""
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) in (_end, _ignore):
        signal.signal(signal.SIGTERM, _ignore)
        signal.signal(signal.SIGINT, _ignore)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _end(*_: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, _ignore)  # a second SIGTERM would interrupt the clean-up
    raise Terminated("ended by SIGTERM")


def _ignore(*_: Any) -> None:
    """Do nothing. Child processes would inherit SIG_IGN, and Python complains of a signal that meets SIG_IGN."""
