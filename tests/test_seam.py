"""The seam for vendors stays thin: it imports nothing of the package, and the engine imports no vendor's calls."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sama_spark

PACKAGE = Path(sama_spark.__file__).parent
ENGINE = ("sync_run", "landing", "changed", "upsert", "tables", "table_types", "watermark", "unreadable")


def imported(module: Path) -> set[str]:
    """All modules of the package that a module imports, for types too."""
    nodes = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in names if name.startswith("sama_spark")}


def test_the_seam_imports_nothing_of_the_package() -> None:
    assert imported(PACKAGE / "vendors" / "seam.py") == set()


@pytest.mark.parametrize("name", ENGINE)
def test_the_engine_calls_no_vendor(name: str) -> None:
    found = imported(PACKAGE / "inbound" / "sync" / f"{name}.py")
    assert [module for module in found if module.startswith(("sama_spark.api", "sama_spark.inbound.sync.feeds"))] == []
