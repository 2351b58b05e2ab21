"""A sandbox on this machine, with an upload, annotators and a sync, by the configurations beside this file.

Its parameters: the folder of the configurations, a schema or folder for the tables, and fields that both jobs have.
"""

import os
import sys
import uuid
from pathlib import Path

import yaml

from sama_spark.cli import main
from sama_spark.sandbox import Sandbox


def trial(conf: Path, into: str, *overrides: str) -> None:
    """Take tasks from rows to rows of labels. The names of the tables begin with `trial_`; each trial adds to them."""
    dot = "/" if "/" in into else "."
    with Sandbox() as sandbox:
        project = sandbox.create_project(**yaml.safe_load((conf / "project.yml").read_text()))
        os.environ["SAMA_API_KEY"] = sandbox.api_key
        given = [f"project={project}", "api_key.env=SAMA_API_KEY", f"base_url={sandbox.base_url}", *overrides]
        # The sandbox is new and has no tasks, so this trial needs a new outbox too.
        outbox = f"outbox={into}{dot}trial_outbox_{uuid.uuid4().hex[:8]}"
        runs = f"runs={into}{dot}trial_runs"
        main(["upload", str(conf / "upload.yml"), *given, outbox, runs])
        sandbox.annotate(project)
        main(["sync", str(conf / "sync.yml"), *given, f"into={into}", "prefix=trial_", runs])


if __name__ == "__main__":
    trial(Path(sys.argv[1]), *sys.argv[2:])
