"""What both sides send and get: rows of some 850 bytes, and delivered tasks of some 3 KB."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

PROJECT = {"url": "string", "name": "string", "camera": "string", "route": "string", "frame": "integer"}
BOXES_OUT, BOXES_BACK = 5, 15
STREET_TAGS = {
    "kind": "text",
    "color": "text",
    "occlusion": "text",
    "state": {"type": "checkbox", "options": ["parked", "lights on", "cut by the frame", "reflection"]},
}


def image_answer(boxes: int, seed: int) -> str:
    """An image output of `boxes` rectangles as compact JSON text."""
    shapes = [
        {
            "shapes": [
                {
                    "type": "rectangle",
                    "index": i,
                    "points": [[x, y], [x + 40.5, y], [x, y + 30.25], [x + 40.5, y + 30.25]],
                    "tags": {"kind": "car", "color": "red"},
                }
            ],
            "group_type": "vehicle",
        }
        for i in range(boxes)
        for x, y in [((seed * 7 + i * 31) % 1900 + 0.5, (seed * 13 + i * 17) % 1000 + 0.75)]
    ]
    return json.dumps({"layers": {"vector_tagging": shapes}}, separators=(",", ":"))


def street_answer(seed: int) -> str:
    """An image output of seven shapes, boxes and polygons, as compact JSON text: a task of it has 3 KB."""
    shapes = []
    for i in range(7):
        x, y = (seed * 7 + i * 31) % 1900 + 0.5, (seed * 13 + i * 17) % 1000 + 0.75
        corners = [[x, y], [x + 40.5, y], [x, y + 30.25], [x + 40.5, y + 30.25]]
        outline = [[x + 20 + (step * 7 + seed) % 19 * 1.25, y + (step * 5 + seed) % 23 * 0.75] for step in range(9)]
        shape = {
            "type": "polygon" if i % 2 else "rectangle",
            "index": i + 1,
            "points": outline if i % 2 else corners,
            "tags": {
                "kind": ("car", "person on a bicycle", "traffic light")[(seed + i) % 3],
                "color": ("red", "white", "not to be seen")[(seed * i) % 3],
                "occlusion": "between 25 and 50 percent of it",
                "state": {"parked": "1", "lights on": "0", "cut by the frame": "1", "reflection": "0"},
            },
        }
        shapes.append({"shapes": [shape], "group_type": None if i % 3 else "vehicle"})
    return json.dumps({"layers": {"vector_tagging": shapes}}, separators=(",", ":"))


def rows_out(spark: SparkSession, rows: int, folder: Path) -> DataFrame:
    """A Parquet table, so that neither side computes its input while it is timed."""
    n = F.col("id").cast("string")
    pick = F.element_at(
        F.array(*(F.lit(image_answer(BOXES_OUT, seed)) for seed in range(50))), (F.col("id") % 50 + 1).cast("int")
    )
    target = str(folder / f"rows-{rows}")
    spark.range(rows, numPartitions=8).select(
        F.concat(F.lit("https://assets.invalid/drive/"), n, F.lit(".jpg")).alias("url"),
        F.concat(F.lit("frame "), n).alias("name"),
        F.when(F.col("id") % 2 == 0, "front left").alias("camera"),
        F.lit("r-17").alias("route"),
        (F.col("id") % 100_000).cast("int").alias("frame"),
        pick.cast("string").alias("output_objects"),
    ).write.mode("overwrite").parquet(target)
    return spark.read.parquet(target)


BACK = [image_answer(BOXES_BACK, seed) for seed in range(50)]
STREETS = [street_answer(seed) for seed in range(500)]


def deliveries(numbers: Iterable[int], answers: Sequence[str] = BACK, day: int = 2) -> Iterator[bytes]:
    """Delivered tasks as lines of JSON, without nulls outside answers: those break Sama's own reader.

    One is delivered each 0.4 seconds, task 0 when `day` of January begins.
    """
    for i in numbers:
        days, milliseconds = divmod(400 * i, 86_400_000)
        seconds, millis = divmod(milliseconds, 1000)
        yield (
            f'{{"id":"{i:024x}","batch_id":77,"client_batch_id":"b-7","created_at":"2026-01-01T00:00:00.000Z",'
            f'"delivered_at":"2026-01-{day + days:02}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.'
            f'{millis:03}Z",'
            f'"state":"delivered","data":{{"url":"https://assets.invalid/{i}.jpg","name":"frame {i}",'
            f'"camera":"front","route":"r-17","frame":{i}}},"answers":{{"objects":{answers[i % len(answers)]},'
            f'"weather":"sun"}},"submitter_ids_by_step":{{"Annotate":501}},"_extras":{{}}}}'
        ).encode()
