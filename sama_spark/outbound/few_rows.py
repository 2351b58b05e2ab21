"""Few rows stay on the driver: Spark encodes them in one job, and the driver cuts them.

Most runs send some hundred rows. To look for the stage, to start workers and to write and list files takes longer than
all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from sama_spark.outbound.cut import ROWS_AT_A_TIME, PieceCutter
from sama_spark.outbound.encoded_batch import EncodedBatch
from sama_spark.outbound.pieces import StreamedPiece

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# So many rows, if none of them is larger than that: 80 MB at most.
FEW_ROWS, FEW_BYTES = 5_000, 1 << 14


def fetch_few(rows: DataFrame) -> list[EncodedBatch] | None:
    """Return encoded rows if they are few and small, else None: one Spark job, and no worker takes part."""
    size = reduce(add, (F.coalesce(F.length(name), F.lit(0)) for name in rows.columns))
    sized = rows.select("*", (size > FEW_BYTES).alias("is_large"))
    # Whatever the rows hold, the driver gets little.
    kept = (F.when(~F.col("is_large"), F.col(name)).alias(name) for name in rows.columns)
    found = sized.select("is_large", *kept).limit(FEW_ROWS + 1).collect()
    if len(found) > FEW_ROWS or any(row[0] for row in found):
        return None
    columns = [[None if value is None else bytes(value) for value in column] for column in zip(*found, strict=True)][1:]
    return [
        EncodedBatch.of([column[start : start + ROWS_AT_A_TIME] for column in columns])
        for start in range(0, len(found), ROWS_AT_A_TIME)
    ]


def few_pieces(batches: Iterable[EncodedBatch], cutter: PieceCutter) -> list[StreamedPiece]:
    """Cut rows that the driver has."""
    return [StreamedPiece(header, body) for header, body in cutter.pieces(batches)]
