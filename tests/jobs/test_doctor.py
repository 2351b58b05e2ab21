"""`sama-spark doctor`, on what is well and on what was broken on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import types as T

from sama_spark.jobs import doctor
from sama_spark.outbound.outbox.ledger import Ledger

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox


def results(line: dict[str, Any], result: str) -> dict[str, str]:
    return {check["check"]: check["said"] for check in line["checks"] if check["result"] == result}


def test_all_is_well_and_nothing_is_left_behind(
    run: Any, spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path, session_kind: str
) -> None:
    line = run("doctor", config="upload")
    assert results(line, "failed") == {}
    lacks = [] if hasattr(T, "VariantType") else ["data source API", "VARIANT"]  # both came with Spark 4.0
    assert list(results(line, "skipped")) == ["egress to the store of uploads", *lacks]
    ok = results(line, "ok")
    assert ok["source"] == "columns url, name, output_weather"
    assert ok["project"] == "4242 Street scenes"
    assert session_kind.lower() in ok["Spark"].lower()
    assert sandbox.batches(project) == []
    assert {"open", "put", "continue"}.isdisjoint(sandbox.calls())
    assert not list(tmp_path.rglob("sama_spark_doctor_*"))


@pytest.mark.one_kind
def test_each_thing_that_is_broken_is_named(
    run: Any, spark: SparkSession, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = run("doctor", "project=999", "staging=/proc/sama", "into=nowhere", config="sync", fails=SystemExit)
    assert "there is no such schema" in results(line, "skipped")["tables in nowhere"]
    assert set(results(line, "failed")) == {"project", "staging"}
    assert "Check the ids" in results(line, "failed")["project"]
    monkeypatch.setattr(doctor, "_DEADLINE", 1.0)
    broken = ("base_url=http://127.0.0.1:9/v2", "outbox=/proc/a/outbox", "runs=")
    line = run("doctor", *broken, config="resume", fails=SystemExit)
    failed = results(line, "failed")
    assert set(failed) == {"egress of the driver", "tables in /proc/a", "rival claims on an outbox"}
    assert "firewall" in failed["egress of the driver"]
    assert "WRITE FILES" in failed["tables in /proc/a"]
    assert "\tat " not in "".join(failed.values())
    monkeypatch.setenv("SAMA_API_KEY", "wrong-key")
    # A store that does not keep writers apart lets both rivals win.
    monkeypatch.setattr(Ledger, "bind", lambda *_: True)
    line = run("doctor", config="resume", fails=SystemExit)
    assert set(results(line, "failed")) == {"key accepted", "rival claims on an outbox"}
    assert "of two claims at once 2 won" in results(line, "failed")["rival claims on an outbox"]
    monkeypatch.delenv("SAMA_API_KEY")
    line = run("doctor", "into=nowhere", config="sync", fails=SystemExit)
    assert list(results(line, "failed")) == ["key"]
    assert "rival claims on an outbox" not in {check["check"] for check in line["checks"]}


def test_a_broken_configuration_is_told_without_a_session(run: Any) -> None:
    line = run("doctor", "max_taks=1", config="upload", fails=SystemExit)
    assert results(line, "failed")["configuration"].endswith("Do you mean `max_tasks`?")
    assert len(line["checks"]) == 1
