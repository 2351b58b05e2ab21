"""`sama-spark` as a shell runs it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("sama-spark"))
HEAVY = ("pyspark", "skimage", "matplotlib", "rich", "uvicorn", "starlette")


def run(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=60, cwd=cwd, env=env, check=False
    )


def test_help_and_version_load_nothing_heavy() -> None:
    code = f"""
import contextlib, sys
from sama_spark.cli import main
with contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    for argument, said in (("--help", "sandbox"), ("--version", f"sama-spark {version('sama-spark')}")):
        done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
        assert said in done.stdout
        assert done.stdout.endswith("[]\n")
    assert run("--version").stdout == f"sama-spark {version('sama-spark')}\n"


def test_without_a_command_usage_is_shown() -> None:
    done = run()
    assert done.returncode == 2
    assert "usage: sama-spark" in done.stderr


def test_sandbox_serves_until_interrupted() -> None:
    import urllib3

    from sama_spark.sandbox import Sandbox

    server = subprocess.Popen([COMMAND, "sandbox"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        text = "".join(iter(server.stdout.readline, "  sandbox.annotate(project)\n"))
        base_url = re.search(r"base URL\s+(\S+)", text)
        assert base_url is not None
        project = Sandbox.at(base_url[1]).create_project(inputs={"url": "string"})
        reply = urllib3.request("GET", f"{base_url[1]}/projects/{project}/schemas/create_task.json?access_key=wrong")
        assert reply.status == 401
        server.send_signal(signal.SIGINT)
        assert server.wait(10) == 0
        assert server.stderr is not None
        assert server.stderr.read() == ""
    finally:
        server.kill()
        server.wait()


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("sandbox", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "is taken by another program" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("holds", ["file", "folder"])
def test_demo_does_not_replace_what_is_not_a_demo(tmp_path: Path, holds: str) -> None:
    out = tmp_path / "out"
    precious = out if holds == "file" else out / "precious.txt"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("keep")
    done = run("demo", "--out", str(out))
    assert done.returncode == 1
    assert "name another folder with --out" in done.stderr
    assert precious.read_text() == "keep"


def test_demo_without_java_says_so(tmp_path: Path) -> None:
    done = run("demo", cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr == "sama-spark: the demo needs Java 17: there is no `java` on the path and no JAVA_HOME\n"


def test_demo_with_a_broken_java_points_to_the_log(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho this is no Java >&2\nexit 3\n")
    java.chmod(0o755)
    done = run("demo", cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "JAVA_HOME": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr.startswith("sama-spark: Spark did not start")
    assert done.stderr.count("\n") == 1
    assert "this is no Java" in (tmp_path / "sama-demo" / "spark.log").read_text()


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['skimage'] = None; from sama_spark.cli import main; sys.exit(main(['demo']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        "sama-spark: skimage is not installed: install the wheel with what `demo` needs: "
        f"pip install 'sama_spark-{version('sama-spark')}-py3-none-any.whl[demo]'\n",
    )
