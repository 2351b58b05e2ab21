"""Spark and Databricks connector for Sama: rows become annotation tasks, labels come back as tables.

The rooms of the house, in the order in which a row meets them:

- `client`: `Client`, the public face. `options` reads what a caller gives, `arguments` and `ids` check it. An option is
  declared once, as a field of `outbound.creation_options`, `outbound.outbox.outbox_options`,
  `inbound.sync.sync_options` or, for `format("sama")`, of the options in `data_source`.
- `outbound`: DataFrame -> tasks. Checks rows against the project, encodes them, cuts chunks, uploads and continues
  batches; `outbound.outbox` makes reruns safe.
- `pre_annotations`: boxes of a model, or earlier answers, as first answers of new tasks.
- `staging`: the folder in which text waits between Spark and HTTP, both ways.
- `api`: Sama's endpoints as plain Python, without Spark; `http` below it sends, retries, and hides the key.
- `inbound`: deliveries -> DataFrames; `inbound.sync` keeps Delta tables of them.
- `vendors`: turns each vendor's answers into annotations.
- `purge`: removes rows for good, from an outbox or from the tables of a sync.
- `pictures`: labels over images, and charts.

Other ways in use the same rooms: `data_source` is Spark's own `format("sama")`, which `pyspark_sama` makes known to
Spark; `jobs` and `cli` run from YAML files, which `plain_yaml` reads, with the key that `keys` finds; `demo` shows
everything at once. `sandbox` is a local Sama, `local` a Spark session on this machine. `sessions`, `delta`, `names` and
`sql_texts` help with Spark; `exact` writes values as text in Spark, `exact_values` the same in Python. `errors` has the
root of all errors. `docs/` has the pages for users, and `docs/promises.md` a glossary: batch, stage, outbox...
"""

from __future__ import annotations

import ast
import pkgutil
from importlib import import_module
from typing import Any

from sama_spark import errors
from sama_spark.api import sama_errors
from sama_spark.api.sama_errors import *  # noqa: F403 - the errors are public as a whole
from sama_spark.errors import *  # noqa: F403
from sama_spark.http import call_errors
from sama_spark.http.call_errors import *  # noqa: F403

# The other public names stand in `__init__.pyi` alone, where type checkers and editors look for them too. They are
# loaded when first used: `sama_spark.api` works without Spark.
_MODULES = {
    name.name: f"{statement.module}"
    for statement in ast.parse(pkgutil.get_data(__name__, "__init__.pyi") or b"").body
    if isinstance(statement, ast.ImportFrom)
    for name in statement.names
    if name.name != "*"
}
__all__ = [*_MODULES]  # noqa: PLE0604 - they are texts
__all__ += errors.__all__
__all__ += call_errors.__all__
__all__ += sama_errors.__all__


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
