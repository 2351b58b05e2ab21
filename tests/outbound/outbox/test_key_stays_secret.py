"""The key is in nothing that a run writes, logs, plans, pickles or raises."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kit import environment

if TYPE_CHECKING:
    from pathlib import Path

    from sama_spark.sandbox import Sandbox


@pytest.mark.long
@pytest.mark.jvm
@pytest.mark.timeout(600)
def test_in_a_whole_process_with_all_logs_on(sandbox: Sandbox, project: int, tmp_path: Path) -> None:
    sandbox.switch(status_calls_per_second=None)
    place = {
        "folder": str(tmp_path),
        "api_key": sandbox.api_key,
        "sandbox_url": sandbox.base_url,
        "project": project,
    }
    done = subprocess.run(
        [sys.executable, "-m", "kit.everything_logged"],
        input=json.dumps(place),  # not on the command line, which Spark's logs repeat
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "reached the end" in done.stdout, done.stderr[-2000:]
    assert "DEBUG:sama_spark" in done.stdout
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any("app-" in str(file) or "local-" in str(file) for file in written), "no event log"
    assert any("outbox" in str(file) and file.suffix == ".parquet" for file in written)
    # What is there to be found is found: a URL in the plans and keys of rows in the tables.
    assert any(
        b"assets.invalid" in file.read_bytes() for file in written if "-" in file.name and "stage" not in str(file)
    )
    key = sandbox.api_key.encode()
    found = [str(file) for file in written if key in file.read_bytes()]
    assert found == []
    assert sandbox.api_key not in done.stdout + done.stderr
    signed = [line for line in (done.stdout + done.stderr).splitlines() if "_uploads/" in line and "Signature=" in line]
    assert signed == []
