"""The folder of this process in the temporary folder of the machine. It holds customer data, and goes with the process.

What killed processes left is removed by the next process.
"""

from __future__ import annotations

import atexit
import getpass
import os
import re
import shutil
import stat
import tempfile
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, where dead processes cannot be told from live ones
    fcntl = None  # type: ignore[assignment]

TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_locks: list[IO[bytes] | None] = []  # held while the process lives


def run_name(kind: str) -> str:
    """Return a name for a run's folder, with the time at which the run began."""
    return f"{kind}-{datetime.now(timezone.utc).strftime(TIME_FORMAT)}-{uuid.uuid4().hex[:8]}"


@cache
def process_folder() -> Path:
    """Create a folder of this process alone, within the user's, and remove those of dead processes."""
    users = _users_folder()
    for left in users.glob("process-*Z-*/"):
        if (lock := _locked(left.with_suffix(".lock"))) is not None:
            shutil.rmtree(left, ignore_errors=True)
            left.with_suffix(".lock").unlink(missing_ok=True)
            lock.close()
    folder = users / run_name("process")
    _locks.append(_locked(folder.with_suffix(".lock")))  # before the folder, which without a lock counts as dead
    folder.mkdir(mode=0o700)
    atexit.register(folder.with_suffix(".lock").unlink, missing_ok=True)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _users_folder() -> Path:
    """Return the user's folder in the temporary folder; a fresh one if that place belongs to somebody else."""
    try:
        user = re.sub(r"\W", "_", getpass.getuser())
    except (KeyError, OSError):  # no user name for this id, as in some containers
        user = "user"
    folder = Path(tempfile.gettempdir()) / f"sama-spark-{user}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_mine = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077 and found.st_uid == _user_id()
    return folder if is_mine else Path(tempfile.mkdtemp(prefix=f"sama-spark-{user}-"))


def _user_id() -> int | None:
    return os.getuid() if hasattr(os, "getuid") else None  # Windows has none


def _locked(file: Path) -> IO[bytes] | None:
    """Lock a file until it is closed or this process ends. Return None if another process holds the lock."""
    if fcntl is None:
        return None
    opened = file.open("wb")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # or this file system has no locks
        opened.close()
        return None
    return opened
