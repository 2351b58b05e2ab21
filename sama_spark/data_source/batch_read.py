"""`spark.read.format("sama")`: the driver's machine fetches the feed into the stage; workers read the stage."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSourceReader, InputPartition

from sama_spark.data_source.read_rows import arrow_batches
from sama_spark.errors import StagingError
from sama_spark.inbound.lines import LINE_END, ahead, stage_lines
from sama_spark.staging import stage_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

    from sama_spark.api.task_text import Page
    from sama_spark.data_source.read_options import SourceOptions
    from sama_spark.staging import Stage

KIND = "sama-spark-source"  # marks the folder as ours in a temporary folder
PARTITION_BYTES = 32 << 20


class TaskReader(DataSourceReader):
    """One planned read. Its staged pages are kept for seven days, because Spark never says when a DataFrame ends."""

    def __init__(self, options: SourceOptions, schema: StructType) -> None:
        self._options, self._schema = options, schema

    def partitions(self) -> list[InputPartition]:
        """Fetch and stage all pages, on the driver's machine, and return the files for each Spark task."""
        stage = self._options.stage
        stage.sweep(KIND)
        with self._options.pages() as pages:
            _, staged = stage_pages(pages, stage)
        return staged or [InputPartition([])]  # without any, Spark would make one of its own

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read staged files, on a worker."""
        return read_pages(partition, self._schema)


def stage_pages(pages: Iterable[Page], stage: Stage) -> tuple[Path, list[InputPartition]]:
    """Write all pages into a new folder, on the driver's machine. Remove the folder if that fails.

    The value of a partition is a list of files, each with its size in bytes.

    Raises:
        StagingError: the folder cannot be written.
    """
    folder = stage.new_run(KIND)
    try:
        with stage_errors(folder):
            stage_lines(ahead(iter(pages)), folder)
        return folder, _grouped(sorted(folder.iterdir()))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def read_pages(partition: InputPartition, schema: StructType) -> Iterator[pa.RecordBatch]:
    """Yield the rows of staged pages, on a worker.

    Raises:
        StagingError: driver and workers do not share the stage, or the stage was cleared.
    """
    return arrow_batches(_lines(partition.value), schema)


def _lines(files: Iterable[tuple[Path, int]]) -> Iterator[bytes]:
    for file, size in files:
        text = file.read_bytes() if file.is_file() else b""
        if len(text) != size:
            raise StagingError(
                f"the driver staged {size:,} bytes in {str(file)!r}, and a worker sees {len(text):,}",
                remedy="name a folder that driver and workers share in option `staging`, such as "
                "/Volumes/catalog/schema/volume; what was staged more than seven days ago is gone: read again",
            )
        yield from text.removesuffix(LINE_END.encode()).split(LINE_END.encode())


def _grouped(files: Iterable[Path]) -> list[InputPartition]:
    """Group files so that each Spark task has some 32 MiB."""
    groups: list[list[tuple[Path, int]]] = []
    room = 0
    for file in files:
        size = file.stat().st_size
        if size > room:
            groups.append([])
            room = PARTITION_BYTES
        groups[-1].append((file, size))
        room -= size
    return [InputPartition(group) for group in groups]
