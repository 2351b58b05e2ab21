"""Rows that could not become tasks, here or at Sama, kept as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.delta import DeltaTable, table_errors
from sama_spark.errors import StagingError
from sama_spark.outbound.row_keys import key_in
from sama_spark.sql_texts import columns_ddl
from sama_spark.staging import spark_uri

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.outbound.chunk import InvalidRow
    from sama_spark.outbound.wait import BatchOutcome, Outcome

SCHEMA = T.StructType(
    [
        T.StructField(name, T.LongType() if name == "batch_id" else T.StringType())
        for name in ("run_id", "batch_id", "row_key", "column", "reason", "value", "row")
    ]
)
_MOST_IN_MEMORY = 100_000
_SHOWN_CHARACTERS = 200


class RejectedRows:
    """The rejected rows of one run: in `folder`, which driver and workers share, or in the driver's memory."""

    def __init__(self, spark: SparkSession, folder: Path | None, run_id: str) -> None:
        self.count = 0
        self._spark, self._folder, self._run_id = spark, folder, run_id
        self._rows: list[tuple[object, ...]] = []

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
        self._rows += [tuple(map(row.get, SCHEMA.names)) for row in described]

    def frame(self) -> DataFrame:
        """A row for each, with the columns of `SCHEMA`."""
        if self._folder is not None and self.count:
            return self._spark.read.schema(SCHEMA).json(spark_uri(self._folder))
        return self._spark.createDataFrame(self._rows, SCHEMA)

    def append_to(self, table: str) -> None:
        """Append them to a Delta table, named or at a path; it is created when absent."""
        if self.count:
            with table_errors(f"rejected rows cannot be kept in {table!r}"):
                _made(self._spark, table).append(self.frame())

    def append_failed(
        self, table: str, outcome: Outcome, row_key: Sequence[str], keys: Mapping[int, Sequence[str]]
    ) -> None:
        """Append the rows that failed at Sama, once for each batch, with Sama's reasons.

        `keys`: row keys by batch, for batches that failed as a whole.
        """
        with table_errors(f"rows that failed cannot be kept in {table!r}"):
            target = _made(self._spark, table)
            landed = target.read().where(F.col("run_id") == self._run_id).select("batch_id").distinct()
            known = {row["batch_id"] for row in landed.collect()}
            rows = [
                {"run_id": self._run_id, "batch_id": batch.batch_id, **row}
                for batch in outcome.batches
                if batch.failed and batch.batch_id not in known
                for row in _failed(batch, row_key, keys.get(batch.batch_id, ()))
            ]
            if rows:
                target.append(self._spark.createDataFrame([tuple(map(row.get, SCHEMA.names)) for row in rows], SCHEMA))


def _made(spark: SparkSession, name: str) -> DeltaTable:
    """The table, which is made when absent."""
    table = DeltaTable(spark, name)
    if not table.exists():
        table.create(columns_ddl(SCHEMA), "Rows that could not become tasks; written by sama_spark", {})
    return table


def _failed(batch: BatchOutcome, row_key: Sequence[str], keys: Sequence[str]) -> Iterator[dict[str, object]]:
    if not batch.failed_items:
        reason = f"batch {batch.state}: {'; '.join(batch.messages) or 'no reason given'}"
        for i in range(batch.failed):
            yield {"row_key": keys[i] if keys else None, "reason": reason}
    for item in batch.failed_items:
        row = msgspec.json.encode(item.data).decode()[:_SHOWN_CHARACTERS] if item.data else None
        yield {"row_key": key_in(item.data, row_key), "reason": _reason(item.errors), "row": row}


def _reason(errors: Sequence[object]) -> str:
    said = [str(error.get("message", error)) if isinstance(error, dict) else str(error) for error in errors]
    return "; ".join(said) or "failed, no reason given"
