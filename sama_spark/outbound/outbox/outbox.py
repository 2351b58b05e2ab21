"""One run and its outbox: what it knows already, the claim on the rest, and what became of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from sama_spark.arguments import check_one_of
from sama_spark.errors import ChangedRows, InvalidInput, OutboxError
from sama_spark.http.secrets import redact_urls
from sama_spark.names import check_table
from sama_spark.outbound.outbox.known_rows import KnownRows
from sama_spark.outbound.outbox.ledger import KEYS_IN_LINE, Claim, Head, Ledger
from sama_spark.outbound.outbox.report import OutboxReport, SettledBatch
from sama_spark.outbound.outbox.run_rows import RunRows
from sama_spark.outbound.outbox.settle import Settler, lease_for, permit
from sama_spark.outbound.outbox.task_ids import map_tasks
from sama_spark.outbound.pieces import PiecePart, StagedPiece
from sama_spark.outbound.row_keys import OutboxKeys
from sama_spark.outbound.upload import Batch, Uploader
from sama_spark.staging import text_lines

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.api.api_client import ApiClient
    from sama_spark.outbound.wait import Outcome

log = logging.getLogger("sama_spark")

OnChanged = Literal["skip", "error", "resend"]
Sent = list[tuple[Batch, Sequence[PiecePart]]]
BY_CONTENT = "content"
_SHOWN = 5
_MOST_CLAIMS = 20


@dataclass(frozen=True)
class OutboxOptions:
    """The outbox of a run: its table, how it knows rows again, and what happens to those that have changed."""

    table: str
    keys: OutboxKeys
    on_changed: OnChanged = "skip"

    def __post_init__(self) -> None:
        check_one_of("on_changed", self.on_changed, get_args(OnChanged))
        if not self.keys.names and (self.on_changed != "skip" or self.keys.ignored):
            raise InvalidInput(
                "where the whole content is the key, no row can have changed",
                remedy="name key columns in row_key, or leave on_changed and ignore_changes out",
            )


def outbox_options(
    table: str | None, keys: OutboxKeys, on_changed: OnChanged, *, by_content: bool
) -> OutboxOptions | None:
    """The options as a user gives them; None without a table. `by_content`: that no key is named is meant so.

    Raises:
        InvalidInput: they do not go together.
    """
    if table is None:
        if by_content or on_changed != "skip" or keys.ignored:
            raise InvalidInput(
                "row_key='content', on_changed and ignore_changes are words on an outbox, and none is named",
                remedy="name a Delta table in outbox; a column of the name 'content' is given as row_key=['content']",
            )
        return None
    check_table(table, "outbox")
    if not keys.names and not by_content:
        raise InvalidInput(
            f"outbox {table!r} needs to know what tells one row from another",
            remedy="name columns in row_key, such as row_key=['image_id']; row_key='content' takes the whole row",
        )
    return OutboxOptions(table, keys, on_changed)


class Outbox:
    """One run's use of an outbox, in the order of the methods.

    Opening it creates the table when absent and settles what earlier runs left there. `folder`: for files of this
    run, which Spark sees too where it is `shared`. `look_only`: nothing is made, settled or written.
    """

    def __init__(
        self,
        api: ApiClient,
        spark: SparkSession,
        project_id: str,
        options: OutboxOptions,
        run_id: str,
        folder: Path,
        *,
        shared: bool,
        look_only: bool = False,
    ) -> None:
        self._api, self._spark, self._options, self._run_id = api, spark, options, run_id
        self._folder, self._shared = folder, shared
        self._ledger = Ledger.open(spark, options.table, project_id, options.keys)
        self.settler = Settler(api, self._ledger)
        self._head: Head = self._ledger.head()
        self.recovered: list[SettledBatch] = [] if look_only else self.settler.settle(self._head)
        if self.recovered:
            log.info("outbox %s: %d batches of earlier runs were settled", options.table, len(self.recovered))
        if self.recovered or self.settler.tokens:  # a take-over moves the number on, also where nothing came of it
            self._head = self._ledger.head()
        self.known = KnownRows(resend_changed=options.on_changed == "resend")
        self._lease_until = 0.0

    def report(self) -> OutboxReport:
        """What this run found."""
        still_open = [b for b in self._head.batches if b.state != "unsure" and b.token not in self.settler.tokens]
        return OutboxReport(
            self._options.table,
            self.known.count,
            0 if self.known.resend_changed else self.known.changed_count,
            self.known.unsure_count,
            tuple(self.recovered),
            self._head.unsure,
            tuple(still_open),
        )

    @property
    def keys(self) -> OutboxKeys:
        """How it knows rows again."""
        return self._ledger.keys

    def unknown(self, pieces: Sequence[StagedPiece]) -> list[PiecePart]:
        """What is left to send of a run's pieces.

        Raises:
            RepeatedKeys: two rows have one key. ChangedRows: with `on_changed="error"`.
        """
        self._rows = RunRows(pieces, lambda lines: self._frame("rows", lines), by_content=not self._options.keys.names)
        self._look_up(after=0)
        return list(self._left(range(len(pieces))))

    def claim(self, sent: Sent, uploader: Uploader) -> list[Batch]:
        """Bind uploaded batches to this run: from here on their rows are its own.

        Where another run bound some of the rows first, batches with such rows are cancelled, and what is left of
        them is uploaded again.

        Raises:
            OutboxError: the claim was not written. All these batches are cancelled.
        """
        try:
            for _ in range(_MOST_CLAIMS):
                if not sent or self._bind(sent):
                    return [batch for batch, _ in sent]
                sent = self._cut_again(sent, uploader)
            raise OutboxError(
                f"{_MOST_CLAIMS} claims on outbox {self._options.table!r} were lost to other runs",
                project_id=self._ledger.project_id,
                remedy="run again: nothing was created by this run",
            )
        except BaseException:
            uploader.cancel_all()
            raise

    def permit(self) -> float:
        """The seconds that a `continue` of this run may take now; raises LeaseOver."""
        return permit(self._api, self._lease_until)

    def record_outcome(self, outcome: Outcome, batches: Iterable[Batch]) -> None:
        """Record how this run's batches have ended."""
        self.settler.record_outcomes(outcome.batches, {batch.batch_id: batch for batch in batches}, self._run_id)

    def keys_of(self, batch_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        """The row keys of these batches."""
        return self._ledger.keys_of(batch_ids)

    def tasks(self, batches: Sequence[Batch], match_on: str) -> DataFrame:
        """The task of each row of these batches; see `map_tasks`."""
        return map_tasks(self._api, self._ledger, batches, match_on)

    def settle_others(self) -> None:
        """Wait until the batches in which other runs hold our rows are started; start them once nobody else may."""
        others = {batch.batch_id for batch in self._head.batches if batch.state == "bound"} & self.known.batch_ids
        if others:
            self.recovered += self.settler.settle_patiently(others, timeout=2 * lease_for(len(others)))
            self._head = self._ledger.head()

    def _bind(self, sent: Sent) -> bool:
        now = self._api.clock.time()
        self._lease_until = now + lease_for(len(sent))
        seq = self._head.seq + 1
        claims = self._frame(f"claim-{seq}", map(msgspec.json.encode, self._claims(sent)))
        return self._ledger.bind(claims, seq, self.settler.new_token(), self._lease_until, now)

    def _claims(self, sent: Sent) -> Iterator[Claim]:
        for batch, chunk in sent:
            for part in chunk:
                keys, contents = self._rows.of(part)
                for some in (slice(i, i + KEYS_IN_LINE) for i in range(0, len(keys), KEYS_IN_LINE)):
                    yield Claim(batch.batch_id, self._run_id, batch.tasks, keys[some], contents[some])

    def _cut_again(self, sent: Sent, uploader: Uploader) -> Sent:
        """After a lost claim: the batches that can be claimed as they are, and new ones for the rest of the others."""
        before = self._head.seq
        self._head = self._ledger.head()
        self._look_up(after=before)
        touched = [one for one in sent if any(self.known.within(part.number) & {*part.positions} for part in one[1])]
        uploader.cancel([batch for batch, _ in touched])
        log.info("outbox %s: another run was first with rows of %d batches", self._options.table, len(touched))
        chunks = [chunk for _, parts in touched if (chunk := list(self._left(part.number for part in parts)))]
        kept = [one for one in sent if one not in touched]
        return kept + list(zip(uploader.upload(chunks), chunks, strict=True))

    def _left(self, numbers: Iterable[int]) -> Iterator[PiecePart]:
        for number in numbers:
            part = PiecePart.without(self._rows.pieces[number], number, self.known.within(number))
            if part is not None:
                yield part

    def _look_up(self, after: int) -> None:
        """Add what claims above `after` know of our rows."""
        unsure = {batch.batch_id for batch in self._head.unsure}
        for found in self._ledger.find(self._rows.frame, self._rows.count, self._head, after):
            self.known.add(found, unsure=found.batch_id in unsure)
        if self._options.on_changed == "error" and (count := self.known.changed_count):
            keys = [redact_urls(self._rows.keys(piece)[place]) for piece, place in islice(self.known.changed(), _SHOWN)]
            raise ChangedRows(
                f"{count:,} rows have changed since they were sent, nothing was created: {'; '.join(keys)}",
                rows=keys,
                remedy="say on_changed='resend' to pay for them again, 'skip' to leave them, or name columns that "
                "may change in ignore_changes",
            )

    def _frame(self, name: str, lines: Iterable[bytes]) -> DataFrame:
        return text_lines(self._spark, lines, self._folder / f"{name}.txt" if self._shared else None)
