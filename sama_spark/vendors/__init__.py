"""The annotation systems whose answers this package reads: a folder for each, and the types that they share.

- `seam`: what each vendor implements, such as an `AnnotationReader`
- `sama`: Sama

A vendor's folder may import checks of arguments and what is that vendor's own, such as `sama_spark.api` for Sama; it
never imports another vendor, and no Spark.

To add a vendor: a folder here with a reader of its answers and the columns of its tasks, an entry in `READERS`, and a
module of tests that inherits `tests/vendors/suite.py`. No file and no class has the name of another one.
"""

from __future__ import annotations

from collections.abc import Callable

from sama_spark.vendors.sama.reader import SamaReader
from sama_spark.vendors.seam import AnnotationReader, Frames, Label

# How to make the reader of each vendor, by the value of the column `vendor`.
READERS: dict[str, Callable[[Label, Frames], AnnotationReader]] = {"sama": SamaReader}
