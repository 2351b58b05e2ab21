"""The command `sama-spark`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from sama_spark.sessions import on_databricks

_JOBS = {
    "upload": "rows of a table become annotation tasks",
    "sync": "deliveries land in Delta tables",
    "status": "states of tasks and batches land in tables, with a summary",
    "resume": "settle what dead uploads left in an outbox",
    "purge": "remove what is kept of tasks, or of a project",
    "doctor": "check whether a job could run here; changes nothing at Sama",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit status: 0, or 1 with a line on standard error.

    A job that fails raises its error on Databricks, and SystemExit elsewhere. A Databricks task passes the parameters
    of a job as a list, `["sync", "/Workspace/.../sync.yml", "project=4242"]`, or by name: `job`, `config`, and
    fields to override.
    """
    ends_process = arguments is None and not on_databricks()  # which runs the command in a process that goes on
    arguments = _from_names(sys.argv[1:] if arguments is None else arguments)
    parser = _Parser(prog="sama-spark", description="Spark and Databricks connector for Sama.")
    parser.add_argument("--version", action="version", version=f"sama-spark {version('sama-spark')}")
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser("demo", help="photographs -> tasks -> labels -> Delta tables, on this machine")
    demo.add_argument("--out", type=Path, default=Path("sama-demo"), help="folder for tables and picture (sama-demo)")

    sandbox = commands.add_parser("sandbox", help="a local Sama over HTTP, until Ctrl-C")
    sandbox.add_argument("--port", type=_port, default=0, help="port to listen on; 0, the default, takes a free one")
    sandbox.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    sandbox.add_argument("--project", metavar="FILE", help="YAML file of a project to begin with, as conf/project.yml")

    for name, does in _JOBS.items():
        job = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
        job.add_argument("config", help=f"YAML file, as conf/{'sync' if name == 'doctor' else name}.yml")
        job.add_argument("overrides", nargs="*", metavar="name=value", help="fields to replace, values in YAML")

    try:
        chosen, more = parser.parse_known_args(arguments)
    except ModuleNotFoundError as missing:  # the fields of a job need Spark's types
        return _lacks(missing, "local")
    if chosen.command in _JOBS:
        return _run(chosen.command, chosen.config, [*chosen.overrides, *more], ends_process=ends_process)
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    try:
        if chosen.command == "sandbox":
            from sama_spark.sandbox import run

            return run(chosen.port, chosen.host, project=chosen.project)
        return _demo(chosen.out)
    except ModuleNotFoundError as missing:
        return _lacks(missing, chosen.command)
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Prints the fields of a job below the usual help."""

    def format_help(self) -> str:
        job = self.prog.rpartition(" ")[2]
        if job == "doctor":
            return f"{super().format_help()}\nIt takes the file of any job; sama-spark JOB --help lists its fields.\n"
        if job not in _JOBS:
            return super().format_help()
        from sama_spark.jobs.fields import help_on

        return f"{super().format_help()}\n{help_on(job)}\n"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: say a number from 0 to 65535")
    return int(text)


def _from_names(arguments: list[str]) -> list[str]:
    """Turn `--job=sync --config=sync.yml --x=y`, in any order, into `sync sync.yml --x=y`."""
    job, config = (next((a for a in arguments if a.startswith(f"--{name}=")), None) for name in ("job", "config"))
    if job is None or config is None:
        return arguments
    rest = [argument for argument in arguments if argument not in (job, config)]
    return [job.partition("=")[2], config.partition("=")[2], *rest]


def _run(job: str, config: str, overrides: list[str], *, ends_process: bool) -> int:
    try:
        from sama_spark.jobs.doctor import examine
        from sama_spark.jobs.process import as_a_job
        from sama_spark.jobs.run import run
    except ModuleNotFoundError as missing:
        if on_databricks():  # which counts a task that returns as succeeded
            raise
        return _lacks(missing, "local")
    with as_a_job(ends_process=ends_process):
        if job == "doctor":
            examine(config, overrides)
        else:
            run(job, config, overrides)
    return 0


def _demo(out: Path) -> int:
    from sama_spark.errors import ConnectorError

    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        return _fail("the demo needs Java 17: there is no `java` on the path and no JAVA_HOME")
    try:
        if out.exists() and not _is_empty_or_demo(out):
            return _fail(f"{out} holds something other than an earlier demo: name another folder with --out")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _fail(f"{out} cannot be made ({error.strerror}): name another folder with --out")
    from sama_spark.demo.steps import DemoError, run_demo
    from sama_spark.sandbox import SandboxError

    try:
        return run_demo(out)
    except (DemoError, ConnectorError, SandboxError) as error:
        return _fail(str(error))


def _is_empty_or_demo(out: Path) -> bool:
    return out.is_dir() and ((out / "spark.log").is_file() or not any(out.iterdir()))


def _lacks(missing: ModuleNotFoundError, extra: str) -> int:
    name = str(missing.name).partition(".")[0]
    wheel = f"sama_spark-{version('sama-spark')}-py3-none-any.whl[{extra}]"
    return _fail(f"{name} is not installed: install the wheel with what `{extra}` needs: pip install '{wheel}'")


def _fail(message: str) -> int:
    print(f"sama-spark: {message}", file=sys.stderr)
    return 1
