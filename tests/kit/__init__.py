"""What tests of several folders share. None of these modules is a test; pytest finds them by `pythonpath`.

| module | what it is for |
| --- | --- |
| `fake_clock` | time that passes only by sleeping: waits and paces take no time |
| `clients` | clients whose waits take no time, one of them without a folder that Spark shares |
| `scripted_server` | an HTTP server that answers with what a test hands in and keeps what it got |
| `secrecy` | all that an error shows, and the places of a call at which it can be interrupted |
| `rogue_server` | a server that speaks raw bytes: endless heads, silence, broken ends |
| `deliveries` | delivered tasks, as JSON, and a page of them |
| `outbox_runs` | rows, runs with an outbox, and the tasks that the sandbox made of the rows |
| `mortal` | a driver that dies or fails at any step that a test names |
| `paper` | Spark and the Delta ledger of an outbox in plain Python, for thousands of runs within seconds |
| `ways` | rows and deliveries that count as many, however few they are |
| `examples` | examples of hypothesis, many at a time |
| `killing` | processes full of drivers that end by SIGKILL: the test's side and the process's |
| `doomed` | such a process, full of runs with an outbox |
| `doomed_sync` | such a process, full of syncs |
| `retrying` | a process whose Spark repeats failed tasks |
| `cluster` | a standalone Spark cluster on this machine, whose workers do not see the driver's temporary folder |
| `on_cluster` | a driver that goes all ways of rows and deliveries, on any master |
| `everything_logged` | a process with every log of Python and Spark turned on |
| `serverless` | the guard: a Connect session refuses what Databricks serverless compute refuses |
| `serverless_worker` | the same for Spark's Python workers |
| `table_settings` | settings of sessions and workspaces, and the product's tables written and read under them |
| `notebook_runner` | a notebook, run cell by cell without Databricks |
"""

from __future__ import annotations

import os
from pathlib import Path


def environment() -> dict[str, str]:
    """Return this process's environment, in which a new process of Python finds this package too."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
