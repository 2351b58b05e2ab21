"""The result of a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from sama_spark.outbound.creation_result import CreationResult
from sama_spark.outbound.cut import InvalidRow


@dataclass(frozen=True, repr=False)
class DryRun(CreationResult):
    """What a run would do. Nothing was sent, and there are no batches.

    Attributes:
        task_count, bytes, batch_count: what would be uploaded.
        columns: for each column, what would become of it.
        invalid_rows: how many rows cannot become tasks.
        invalid: some of these rows: column, reason, value, row.
        warnings: what is valid and may be a mistake, such as shapes that all lie within one pixel.
    """

    task_count: int = 0
    bytes: int = 0
    batch_count: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    invalid_rows: int = 0
    invalid: tuple[InvalidRow, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def calls(self) -> int:
        """The least number of calls that the creation takes."""
        return 3 * self.batch_count

    _KEYS: ClassVar[tuple[str, ...]] = (
        *CreationResult._KEYS,
        "batch_count",
        "columns",
        "invalid_rows",
        "invalid",
        "warnings",
        "calls",
    )

    def __repr__(self) -> str:
        columns = "".join(f"\n  column {name!r}: {what}" for name, what in self.columns.items())
        invalid = "".join(f"\n  cannot become a task: {row}" for row in self.invalid[:5])
        invalid += "".join(f"\n  {line}" for line in self.warnings)
        invalid += "".join(f"\n  {line}" for line in self.outbox.lines()) if self.outbox else ""
        return (
            f"<dry run for project {self.project_id}, nothing was sent: {self.task_count:,} tasks "
            f"in {self.batch_count} batches ({self.bytes / 1e6:,.1f} MB, {self.calls} calls), "
            f"{self.invalid_rows:,} rows that cannot become tasks{columns}{invalid}>"
        )
