"""Rows that cannot become tasks: refused in an error, or kept as data; and rows that failed at Sama."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs
from pyspark.sql import functions as F
from pyspark.sql import types as T

from sama_spark.delta import DeltaTable, table_errors
from sama_spark.driver_rows import local_values
from sama_spark.errors import InvalidRowsError, StagingError
from sama_spark.outbound.cut import FEW_INVALID
from sama_spark.outbound.pieces import Piece, invalid_rows_in
from sama_spark.outbound.row_keys import key_in
from sama_spark.sql_texts import columns_ddl
from sama_spark.staging import spark_uri

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.outbound.cut import InvalidRow
    from sama_spark.outbound.wait import BatchOutcome, Outcome

SCHEMA = T.StructType(
    [
        T.StructField(name, T.LongType() if name == "batch_id" else T.StringType())
        for name in ("run_id", "batch_id", "row_key", "column", "reason", "value", "row")
    ]
)
_MOST_IN_MEMORY = 100_000
_SHOWN_CHARACTERS = 200


def task_pieces(pieces: Iterable[Piece], invalid: InvalidRows | RejectedRows) -> Iterator[Piece]:
    """Yield the pieces of tasks; add those of invalid rows to `invalid`."""
    for piece in pieces:
        if piece.header.invalid_rows:
            invalid.add(piece)
        else:
            yield piece


@dataclass
class InvalidRows:
    """Rows that cannot become tasks, for an error or a dry run: `pieces` counts all and describes some."""

    pieces: list[Piece] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Add a piece of invalid rows."""
        self.pieces.append(piece)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(piece.header.invalid_rows for piece in self.pieces)

    def described(self) -> tuple[InvalidRow, ...]:
        """Return the rows that the pieces describe."""
        return tuple(row for piece in self.pieces for row in invalid_rows_in(piece))

    def check(self, way_out: str = "say on_invalid='reject'") -> None:
        """Refuse invalid rows. `way_out`: what a user can do instead of mending them.

        Raises:
            InvalidRowsError: there are some; the error shows a few.
        """
        if not self.pieces:
            return
        shown = InvalidRows(self.pieces[:FEW_INVALID]).described()[:FEW_INVALID]
        lines = [str(row) for row in shown]
        raise InvalidRowsError(
            f"{self.count:,} rows cannot become tasks, nothing was created: " + "; ".join(lines),
            column=shown[0].column,
            rows=lines,
            remedy=f"mend or filter these rows, or {way_out}; a null leaves an optional input or pre-annotation out",
        )


class RejectedRows:
    """The rejected rows of one run, kept as data.

    Args:
        spark: the session to use.
        folder: a folder that driver and workers share; without one the rows stay in the driver's memory.
        run_id: names the run in each row.
        table: Delta table for these rows, a name or a path; created when absent.
    """

    def __init__(self, spark: SparkSession, folder: Path | None, run_id: str, table: str | None) -> None:
        self.count = 0
        self._spark, self._folder, self._run_id, self._table = spark, folder, run_id, table
        self._rows: list[tuple[object, ...]] = []

    def add(self, piece: Piece) -> None:
        """Add a piece of invalid rows, all of which it describes.

        Raises:
            StagingError: there are more rows than the driver holds without a shared folder.
        """
        described = [{"run_id": self._run_id, **structs.asdict(row)} for row in invalid_rows_in(piece)]
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
        """Return the rows as a DataFrame with the columns of `SCHEMA`."""
        if self._folder is not None and self.count:
            return self._spark.read.schema(SCHEMA).json(spark_uri(self._folder))
        return local_values(self._spark, self._rows, SCHEMA)

    def append(self) -> None:
        """Append the rows to the table, where one is named."""
        if self._table is not None and self.count:
            with table_errors(f"rejected rows cannot be kept in {self._table!r}"):
                _made(self._spark, self._table).append(self.frame())

    def append_failed(self, outcome: Outcome, row_key: Sequence[str], keys: Mapping[int, Sequence[str]]) -> None:
        """Append rows that failed at Sama, with Sama's reasons, to the table, where one is named.

        Each batch is appended once, however often the run is waited for.

        Args:
            outcome: what became of the run's batches.
            row_key: the columns that name a row.
            keys: row keys by batch id, of batches that failed as a whole.
        """
        if self._table is None or not outcome.failed:
            return
        with table_errors(f"rows that failed cannot be kept in {self._table!r}"):
            target = _made(self._spark, self._table)
            landed = target.read().where(F.col("run_id") == self._run_id).select("batch_id").distinct()
            known = {row["batch_id"] for row in landed.collect()}
            rows = [
                {"run_id": self._run_id, "batch_id": batch.batch_id, **row}
                for batch in outcome.batches
                if batch.failed and batch.batch_id not in known
                for row in _failed(batch, row_key, keys.get(batch.batch_id, ()))
            ]
            if rows:
                target.append(local_values(self._spark, [tuple(map(row.get, SCHEMA.names)) for row in rows], SCHEMA))


def _made(spark: SparkSession, name: str) -> DeltaTable:
    """Return the table; create it when absent."""
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
