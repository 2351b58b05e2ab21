"""A client, a project with deliveries, and the options by which `format("sama")` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.deliveries import PAGE, delivery
from sama_spark import Client

if TYPE_CHECKING:
    from sama_spark.sandbox import Sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox.api_key, base_url=sandbox.base_url, delivered_page_size=PAGE) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    """Nine deliveries, one second apart, the last three at one time."""
    project = sandbox.create_project({"name": "string", "n": "integer"}, {"shapes": "image", "weather": "text"})
    sandbox.deliver(project, (delivery(n) for n in range(9)))
    return project


@pytest.fixture
def options(sandbox: Sandbox, project: int, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "key").write_text(sandbox.api_key)
    return {
        "project": str(project),
        "base_url": sandbox.base_url,
        "api_key_file": str(tmp_path / "key"),
        "staging": str(tmp_path / "stage"),
    }
