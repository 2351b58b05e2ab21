"""What a run of task creation tells its caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sama_spark.outbound.upload import Batch


@dataclass(frozen=True, repr=False)
class CreationResult(Mapping[str, Any]):
    """The batches of one run, also as a mapping with the keys below.

    `batch_id`: the first batch, or None where the DataFrame was empty. `batch_ids`: all of them, in the order
    of upload. `batches`: the same with `tasks` and `bytes` of each. `tasks`, `bytes`: the sums. `output_rules`:
    how each `output_` value travelled and why. `seconds`: from call to last start. `staged`: whether the tasks
    waited in a shared folder (else they streamed through the driver).

    Sama creates the tasks in the background; `Client.wait_for_batch` tells when and with what outcome.
    """

    project_id: str
    batches: tuple[Batch, ...]
    output_rules: Mapping[str, str]
    seconds: float
    staged: bool

    @property
    def batch_ids(self) -> list[int]:
        return [batch.batch_id for batch in self.batches]

    @property
    def batch_id(self) -> int | None:
        return self.batches[0].batch_id if self.batches else None

    @property
    def tasks(self) -> int:
        return sum(batch.tasks for batch in self.batches)

    @property
    def bytes(self) -> int:
        return sum(batch.bytes for batch in self.batches)

    _KEYS = ("batch_id", "batch_ids", "batches", "tasks", "bytes", "output_rules", "seconds", "staged", "project_id")

    def __getitem__(self, key: str) -> Any:
        if key not in self._KEYS:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._KEYS)

    def __len__(self) -> int:
        return len(self._KEYS)

    def __repr__(self) -> str:
        if not self.batches:
            return f"<no tasks for project {self.project_id}: the DataFrame was empty, nothing was sent>"
        ids = ", ".join(map(str, self.batch_ids[:5])) + (", ..." if len(self.batches) > 5 else "")
        rules = "".join(f"\n  output {name}: {rule}" for name, rule in self.output_rules.items())
        return (
            f"<{self.tasks:,} tasks in {len(self.batches)} batches for project {self.project_id} "
            f"({self.bytes / 1e6:,.1f} MB, {self.seconds:.1f} s, {'staged' if self.staged else 'streamed'})\n"
            f"  batches {ids}{rules}>"
        )
