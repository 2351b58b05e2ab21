"""A guard that makes a local Spark Connect session refuse what Databricks serverless compute refuses.

`guard(session)` stands between the session and its server and reads every request: whoever asks, the package, Spark's
client or a test, and by whatever method. `serverless_worker` does the same for the Python of the workers.

Refused, as "Serverless compute limitations" and "Standard compute limitations" on docs.databricks.com have it:

| what | where |
| --- | --- |
| settings other than `SETTINGS`, by `spark.conf` and by SQL | requests |
| cache, persist, unpersist, checkpoint, CACHE TABLE and its kin | requests |
| global temporary views | requests |
| triggers other than availableNow | requests |
| Hive variables (`${name}`), ADD JAR, paths of the DBFS root | requests |
| with `private`, files that only the driver sees | requests and workers |
| network, name look-ups and processes from workers; environment variables there | `serverless_worker` |
| RDD, SparkContext, `_jvm` | Spark Connect itself has none |

Not simulated, since nothing here behaves like it: Unity Catalog's grants and its refusal of unmanaged paths, rows of
more than 128 MB from `createDataFrame`, 1 GB of memory for user code, time limits, the network policy of the driver,
what serverless compute does with plans of its own, and whether `foreachBatch` functions (which are guarded when they
call `guard` themselves) and the driver's side of data sources reach the network there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from pyspark.sql import SparkSession

SETTINGS = {
    "spark.databricks.execution.timeout",
    "spark.sql.ansi.enabled",
    "spark.sql.files.maxPartitionBytes",
    "spark.sql.legacy.timeParserPolicy",
    "spark.sql.session.timeZone",
    "spark.sql.shuffle.partitions",
}
_NO_SQL = re.compile(
    r"^\s*(UN)?CACHE\s|^\s*CLEAR\s+CACHE|^\s*ADD\s+(JAR|FILE|ARCHIVE)|GLOBAL\s+TEMP|\$\{|dbfs:/(?!Volumes/)",
    re.IGNORECASE,
)
_SQL_SETS = re.compile(r"^\s*(?:SET|RESET)\s+(?!VAR|TIME\s+ZONE)(spark[\w.]+)", re.IGNORECASE)
_SQL_PATH = re.compile(r"`((?:file:|dbfs:)?/[^`]*)`")
_NO_ONE = ("persist", "unpersist", "checkpoint_command", "cache_table", "uncache_table", "clear_cache")
# Where messages of Connect carry paths.
_PATHS = ("paths", "path", "table_name")


def guard(session: SparkSession, private: Path | None = None) -> Guard:
    """Guard this session's requests from now on. `private`: the folder that only the driver sees."""
    client: Any = session.client
    if not isinstance(client._stub, Guard):
        client._plan_compression_threshold, client._plan_compression_algorithm = -1, "NONE"  # else it reads nothing
        client._stub = Guard(client._stub)
    client._stub.private = private
    return client._stub  # type: ignore[no-any-return]


@contextmanager
def unguarded(session: SparkSession) -> Iterator[None]:
    """For what a test itself needs, on any kind of session."""
    stub = getattr(getattr(session, "_client", None), "_stub", None)
    if not isinstance(stub, Guard):
        yield
        return
    stub.on_duty = False
    try:
        yield
    finally:
        stub.on_duty = True


class Guard:
    """The stub of Connect's service, with a look at each request."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.on_duty = True
        self.private: Path | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    def Config(self, request: Any, **more: Any) -> Any:  # noqa: N802 - Connect's names
        operation = request.operation
        if operation.HasField("set"):
            self._refuse_settings([pair.key for pair in operation.set.pairs])
        if operation.HasField("unset"):
            self._refuse_settings(list(operation.unset.keys))
        return self._stub.Config(request, **more)

    def AnalyzePlan(self, request: Any, **more: Any) -> Any:  # noqa: N802
        self._look_at(request)
        return self._stub.AnalyzePlan(request, **more)

    def ExecutePlan(self, request: Any, **more: Any) -> Any:  # noqa: N802
        self._look_at(request)
        return self._stub.ExecutePlan(request, **more)

    def _refuse_settings(self, names: Sequence[str]) -> None:
        for name in names:
            if self.on_duty and name not in SETTINGS:
                raise AnalysisException(f"[CONFIG_NOT_AVAILABLE] Configuration {name} is not available.")

    def _look_at(self, message: Message) -> None:
        if not self.on_duty:
            return
        for field, value in message.ListFields():
            name = field.name
            if name in _NO_ONE:
                _refuse(f"{name.upper()}")
            if name == "create_dataframe_view" and value.is_global:
                _refuse("GLOBAL TEMPORARY VIEW")
            if name == "write_stream_operation_start" and not value.available_now:
                _refuse("STREAMING TRIGGER OTHER THAN AVAILABLE NOW", "INFINITE_STREAMING_TRIGGER_NOT_SUPPORTED")
            if name in ("sql", "query") and isinstance(value, str):
                self._look_at_sql(value)
            if name in _PATHS:
                for path in [value] if isinstance(value, str) else value:
                    self._look_at_path(path)
            for child in _children(value):
                self._look_at(child)

    def _look_at_sql(self, text: str) -> None:
        if found := _NO_SQL.search(text):
            _refuse(f"SQL {found[0].strip().upper()}")
        if found := _SQL_SETS.match(text):
            self._refuse_settings([found[1]])
        for path in _SQL_PATH.findall(text):
            self._look_at_path(path)

    def _look_at_path(self, path: str) -> None:
        if path.startswith("dbfs:/") and not path.startswith("dbfs:/Volumes/"):
            _refuse("DBFS ROOT", "DBFS_DISABLED")
        if self.private and Path(path.removeprefix("file:")).is_relative_to(self.private):
            raise AnalysisException(f"[PATH_NOT_FOUND] Path does not exist: {path}.")


def _children(value: Any) -> Iterator[Message]:
    if hasattr(value, "ListFields"):
        yield value
    elif hasattr(value, "values"):  # a map
        yield from (child for child in value.values() if hasattr(child, "ListFields"))
    elif not isinstance(value, (str, bytes, int, float)):
        yield from (child for child in value if hasattr(child, "ListFields"))


def _refuse(what: str, name: str = "NOT_SUPPORTED_WITH_SERVERLESS") -> None:
    raise AnalysisException(f"[{name}] {what} is not supported on serverless compute.")
