"""A standalone cluster of two workers, which see no folder of the driver's machine: all of it as on one machine.

The rows and deliveries, and what comes of them, are compared with those of a driver on `local[2]`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kit import environment
from kit.cluster import Cluster, running_cluster
from kit.deliveries import delivery
from kit.on_cluster import FEW, MANY, SAID

if TYPE_CHECKING:
    from sama_spark.sandbox import Sandbox

pytestmark = [
    pytest.mark.long,
    pytest.mark.jvm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="the driver's own folder needs /proc"),
]

SAME = {"out_few": 0, "out_many": 0, "outbox": 0, "back": 300, "sync_few": 2_000, "sync_many": 6_000, "own_doors": 300}
ON_CLUSTER = ("own_doors_without_stage", "huge_page", "a_worker_beside_the_driver", "workers_without_the_package")
# What Spark itself says at its level WARN of any program, on any master.
OF_SPARK = re.compile(
    "NativeCodeLoader|string representation of a plan|task of very large size|locally checkpointed|ResolveWriteToStream"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def drive(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    """What each step has told, and what stands in the driver's stderr once the session runs."""
    try:
        stdout, stderr = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, stderr[-5000:]
    lines = [line.removeprefix(SAID) for line in stdout.splitlines() if line.startswith(SAID)]
    print(stderr.partition("the session starts")[2])
    return dict(map(json.loads, lines)), stderr.partition("the session starts")[2]


def new_projects(sandbox: Sandbox, steps: dict[str, int]) -> dict[str, str]:
    projects = {}
    for step, deliveries in steps.items():
        inputs = {"url": {"type": "string", "required": True}, "n": "integer"}
        project = sandbox.create_project(inputs, {"shapes": "image", "weather": "text"})
        sandbox.deliver(project, map(delivery, range(deliveries)))
        projects[step] = str(project)
    return projects


def told(sandbox: Sandbox, master: str, folder: Path, steps: dict[str, str]) -> list[str]:
    settings = {"spark.master": master, "spark.log.level": "WARN", "spark.driver.memory": "2g"}
    plan = {"base_url": sandbox.base_url, "api_key": sandbox.api_key, "folder": str(folder)}
    return ["-m", "kit.on_cluster", json.dumps({**plan, "settings": settings, "steps": steps})]


def sent(sandbox: Sandbox, project: str) -> Counter[str]:
    return Counter(json.dumps(task["data"], sort_keys=True) for task in sandbox.tasks(int(project)))


def test_as_on_one_machine(cluster: Cluster, sandbox: Sandbox, tmp_path: Path) -> None:
    here, there = new_projects(sandbox, SAME), new_projects(sandbox, SAME)
    command = [sys.executable, *told(sandbox, "local[2]", tmp_path, here)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    expected, _ = drive(subprocess.Popen(command, env=environment(), cwd=tmp_path, **pipes))
    found, said = drive(cluster.drive(told(sandbox, cluster.url, cluster.folder, there)))
    assert found == expected
    assert found["outbox"] == [[FEW, 0], [0, FEW], [MANY - FEW, FEW], [0, MANY]]
    for step, rows in {"out_few": FEW, "out_many": MANY, "outbox": MANY}.items():
        tasks = sent(sandbox, there[step])
        assert tasks == sent(sandbox, here[step])
        assert len(tasks) == tasks.total() == rows
    assert found["back"][0][0] == 300
    assert [found[step][0] for step in ("sync_few", "sync_many")] == [[2_000, 0], [6_000, 0]]
    loud = [line for line in said.splitlines() if re.search("WARN|ERROR|Traceback|rror:|py4j", line)]
    assert [line for line in loud if not OF_SPARK.search(line)] == []


def test_what_a_cluster_alone_can_do(cluster: Cluster, sandbox: Sandbox) -> None:
    deliveries = {step: 300 if step.startswith("own") else 0 for step in ON_CLUSTER}
    projects = new_projects(sandbox, deliveries)
    sandbox.deliver(int(projects["huge_page"]), (delivery(n, notes="n" * 1_000_000) for n in range(150)))
    found, _ = drive(cluster.drive(told(sandbox, cluster.url, cluster.folder, projects)))
    # A task of Spark may have 128 MB, and a page of Sama's may have more.
    assert found["huge_page"] == [150, 150 * 1_000_000]
    # By their own doors workers and driver need a stage, and are told so.
    for refusal in found["own_doors_without_stage"]:
        assert "StagingError" in refusal
        assert "folder that driver and workers share in option `staging`" in refusal
    # No row is lost where one of the workers shares a folder with the driver and the other does not.
    refused, created = found["a_worker_beside_the_driver"]
    assert "is not shared by driver and workers" in refused
    assert created == sent(sandbox, projects["a_worker_beside_the_driver"]).total() == MANY
    few, refused = found["workers_without_the_package"]
    assert few == sent(sandbox, projects["workers_without_the_package"]).total() == FEW
    assert refused.startswith("Spark's workers cannot import")
    assert "nstall the wheel of sama-spark on every worker" in refused
