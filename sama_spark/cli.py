"""The command `sama-spark`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, or 1 with a line on standard error."""
    parser = argparse.ArgumentParser(prog="sama-spark", description="Spark and Databricks connector for Sama.")
    parser.add_argument("--version", action="version", version=f"sama-spark {version('sama-spark')}")
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser("demo", help="photographs -> tasks -> labels -> Delta tables, on this machine")
    demo.add_argument("--out", type=Path, default=Path("sama-demo"), help="folder for tables and picture (sama-demo)")

    sandbox = commands.add_parser("sandbox", help="a local Sama over HTTP, until Ctrl-C")
    sandbox.add_argument("--port", type=int, default=0, help="port to listen on; 0, the default, takes a free one")
    sandbox.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")

    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "sandbox":
            return _sandbox(chosen.port, chosen.host)
        return _demo(chosen.out)
    except ModuleNotFoundError as missing:
        return _fail(f"{missing.name} is not installed: pip install 'sama-spark[{chosen.command}]'")
    except KeyboardInterrupt:
        return 130


def _sandbox(port: int, host: str) -> int:
    from sama_spark.sandbox import run

    return run(port, host)


def _demo(out: Path) -> int:
    from sama_spark.api.errors import SamaError

    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        return _fail("the demo needs Java 17: there is no `java` on the path and no JAVA_HOME")
    if out.exists() and not _is_empty_or_demo(out):
        return _fail(f"{out} holds something else than an earlier demo: name another folder with --out")
    from sama_spark.demo.run import DemoError, run_demo
    from sama_spark.sandbox import SandboxError

    try:
        return run_demo(out)
    except (DemoError, SamaError, SandboxError) as error:
        return _fail(str(error))


def _is_empty_or_demo(out: Path) -> bool:
    return out.is_dir() and ((out / "spark.log").is_file() or not any(out.iterdir()))


def _fail(message: str) -> int:
    print(f"sama-spark: {message}", file=sys.stderr)
    return 1
