"""Where the key is: each place with a stand-in, and what is told where it is not there."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sama_spark import InvalidInput
from sama_spark.keys import KEY_ENV, KeyReference

KEY = "s3cr3t-key"


class Secrets:
    """As Databricks' own: named arguments, and an error where there is none."""

    def get(self, scope: str | None = None, key: str = "", *, catalog: str = "", schema: str = "") -> str:
        known = {("sama", "api_key", "", ""): KEY, (None, "key", "main", "labels"): KEY + "-of-uc"}
        if (scope, key, catalog, schema) not in known:
            raise RuntimeError(f"Secret does not exist with scope: {scope} and key: {key}")
        return known[scope, key, catalog, schema]


@pytest.fixture
def dbutils(monkeypatch: pytest.MonkeyPatch) -> Any:
    utilities = SimpleNamespace(secrets=Secrets())
    runtime: Any = ModuleType("databricks.sdk.runtime")
    runtime.dbutils = utilities
    for name in ("databricks", "databricks.sdk"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "databricks.sdk.runtime", runtime)
    return utilities


def test_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, f" {KEY}\n")
    monkeypatch.setenv("OTHER", "another")
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert KeyReference().resolve() == KEY
    assert KeyReference(env="OTHER").resolve() == "another"
    assert KeyReference(file=str(tmp_path / "key")).resolve() == KEY
    assert pickle.loads(pickle.dumps(KeyReference(env="OTHER"))) == KeyReference(env="OTHER")  # noqa: S301


def test_secret_scope_and_unity_catalog(dbutils: Any) -> None:
    assert KeyReference(scope="sama", key="api_key").resolve() == KEY
    assert KeyReference(secret="main.labels.key").resolve() == KEY + "-of-uc"  # noqa: S106


def test_dbutils_of_an_older_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "databricks.sdk.runtime", None)
    module: Any = ModuleType("pyspark.dbutils")
    module.DBUtils = lambda _: SimpleNamespace(secrets=Secrets())
    monkeypatch.setitem(sys.modules, "pyspark.dbutils", module)
    assert KeyReference(scope="sama", key="api_key").resolve() == KEY


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({}, "environment variable SAMA_API_KEY does not give a key. Set the variable"),
        ({"env": KEY}, "environment variable that is named for the key does not give a key"),
        ({"file": f"/nowhere/{KEY}"}, "(FileNotFoundError). See that the driver can read"),
        ({"scope": KEY, "key": KEY}, "(RuntimeError). See that both exist"),
        ({"secret": f"a.b.{KEY}"}, "(RuntimeError). See that it exists, that this user has READ SECRET"),
    ],
)
def test_what_is_not_there_is_told_without_values(
    place: dict[str, str], told: str, dbutils: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_ENV, raising=False)
    with pytest.raises(InvalidInput) as caught:
        KeyReference(**place).resolve()
    assert told in str(caught.value)
    assert KEY not in str(caught.value)


def test_elsewhere_than_on_databricks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "databricks.sdk.runtime", None)
    with pytest.raises(InvalidInput, match="that this is Databricks"):
        KeyReference(scope="sama", key="api_key").resolve()
