"""A local SamaHub: the API with its upload store, for demos, tests and CI without an account."""

from __future__ import annotations

from sama_spark.sandbox.sandbox import Sandbox, SandboxError
from sama_spark.sandbox.server import DEFAULT_KEY, run
from sama_spark.sandbox.switches import Switches

__all__ = ["DEFAULT_KEY", "Sandbox", "SandboxError", "Switches", "run"]
