"""The daemon of Spark's Python workers as serverless compute has it: no network, no processes, no variables.

`spark.python.daemon.module` names it. An audit hook sees what C code does with sockets too, as far as Python's own
modules go, and cannot be taken out again. What runs beside the driver (planning and committing of data sources,
functions of `foreachBatch`) has no daemon and stays free.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

SETTING = "spark.python.daemon.module"
PRIVATE = "only-the-driver-sees-this"
"""Files in a folder of this name are not there for workers."""

_SPARKS_OWN = ("PYTHON", "SPARK_", "PYSPARK_", "LC_", "LANG", "PATH", "TMPDIR")
_REFUSED = {
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "socket.sendmsg",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
}
_FILES = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename"}


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _REFUSED:
        raise PermissionError(f"[UDF_ERROR] {event} is not permitted: workers of serverless compute have no network")
    if event in _FILES and isinstance(arguments[0], (str, os.PathLike)) and PRIVATE in Path(arguments[0]).parts:
        raise FileNotFoundError(2, "No such file or directory", str(arguments[0]))


if __name__ == "__main__":
    for name in [name for name in os.environ if not name.startswith(_SPARKS_OWN)]:
        del os.environ[name]
    sys.addaudithook(refuse)
    from pyspark.daemon import manager

    manager()
