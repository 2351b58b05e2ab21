"""Spark computes again, in part or whole, with other values or other rows: a named key is one task all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit import environment
from kit.mortal import tasks_of, urls
from kit.retrying import ROWS

pytestmark = pytest.mark.long

if TYPE_CHECKING:
    from sama_spark.sandbox import Sandbox


@pytest.mark.jvm
@pytest.mark.timeout(600)
def test_failing_tasks_and_dataframes_that_change(sandbox: Sandbox, tmp_path: Path) -> None:
    inputs = {"url": {"type": "string", "required": True}, "note": "string"}
    failing, changing = sandbox.create_project(inputs), sandbox.create_project(inputs)
    told = [sandbox.base_url, sandbox.api_key, str(failing), str(changing), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "kit.retrying", *told],
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line[:1].isdigit() or line.startswith("known")]
    assert lines[:3] == [f"{ROWS} 0 0 True", f"{ROWS} {ROWS} 0 False", f"0 {ROWS} 0 False"]
    assert tasks_of(sandbox, failing) == dict.fromkeys(urls(*range(2 * ROWS)), 1)
    # It was the third attempt that counted, of every task.
    assert {task["data"]["note"] for task in sandbox.tasks(failing)} == {"attempt 2"}
    assert tasks_of(sandbox, changing) == dict.fromkeys(urls(*range(ROWS)), 1)
    assert lines[-1] == f"known {ROWS} changed {ROWS}"
