"""Rows that could not become tasks, kept as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from sama_spark.errors import StagingError
from sama_spark.staging import spark_uri

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.outbound.chunk import InvalidRow

SCHEMA = "run_id string, row_key string, column string, reason string, value string, row string"
_COLUMNS = [column.split()[0] for column in SCHEMA.split(", ")]
_MOST_IN_MEMORY = 100_000


class RejectedRows:
    """The rejected rows of one run: in `folder`, which driver and workers share, or in the driver's memory."""

    def __init__(self, spark: SparkSession, folder: Path | None, run_id: str) -> None:
        self.count = 0
        self._spark, self._folder, self._run_id = spark, folder, run_id
        self._rows: list[tuple[str | None, ...]] = []

    def add(self, rows: Sequence[InvalidRow]) -> None:
        """Keep these rows too.

        Raises:
            StagingError: they are more than the driver holds without a shared folder.
        """
        described = [{"run_id": self._run_id, **structs.asdict(row)} for row in rows]
        self.count += len(described)
        if self._folder is not None:
            with (self._folder / "rows.json").open("ab") as file:
                file.writelines(msgspec.json.encode(row) + b"\n" for row in described)
            return
        if self.count > _MOST_IN_MEMORY:
            raise StagingError(
                f"more than {_MOST_IN_MEMORY:,} rows cannot become tasks, and no shared folder is there to keep them",
                remedy="name a folder that driver and workers share in `staging=`, or mend the DataFrame first",
            )
        self._rows += [tuple(row[name] for name in _COLUMNS) for row in described]

    def frame(self) -> DataFrame:
        """A row for each, with the columns of `SCHEMA`."""
        if self._folder is not None and self.count:
            return self._spark.read.schema(SCHEMA).json(spark_uri(self._folder))
        return self._spark.createDataFrame(self._rows, SCHEMA)

    def append_to(self, table: str) -> None:
        """Append them to a Delta table, named or at a path; it is created when absent."""
        if self.count:
            writer = self.frame().write.format("delta").mode("append")
            writer.save(table) if "/" in table else writer.saveAsTable(table)
