"""One row of hundreds of text columns beside Spark's own `to_json` of it: seconds, and how many times as long.

`python tests/bench/wide.py [columns ...]`; a row under the strict contract, in a warm session, the best of five.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from sama_spark.local import local_session
from sama_spark.outbound.creation_schema import CreationSchema, Rule
from sama_spark.outbound.encode import encode

COLUMNS = (10, 300)
RUNS = 5


def best(run: Callable[[], Any]) -> float:
    """Seconds of the fastest run."""
    seconds = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def measure(spark: SparkSession, columns: int) -> tuple[float, float]:
    """Seconds of `to_json` and of `encode`, planned and computed."""
    names = [f"column {i}" for i in range(columns)]
    df = spark.createDataFrame([tuple(names)], ", ".join(f"`{name}` string" for name in names))
    contract = CreationSchema(inputs=dict.fromkeys(names, Rule("string", required=True)), known=True)

    def ours() -> None:
        encode(df, contract, {}).rows.collect()

    return best(lambda: df.select(F.to_json(F.struct("*"))).collect()), best(ours)


def main() -> None:
    spark = local_session()
    for columns in map(int, sys.argv[1:]) if sys.argv[1:] else COLUMNS:
        alone, ours = measure(spark, columns)
        print(f"{columns:>5} columns: to_json {alone:.2f} s, encode {ours:.2f} s, {ours / alone:.1f} times")


if __name__ == "__main__":
    main()
