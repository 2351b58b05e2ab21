"""The outbox's Delta table: append-only, with the rows that `ledger_rows` describes.

A claim is a conditional commit: it carries sequence number n + 1 both in its rows and as Delta's `txnVersion`. If
several writers read n, exactly one commit n + 1 survives; each writer reads the table back to learn whether it was its
own. What is learnt of a batch later stays true, so a plain append records it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

import msgspec
from pyspark.sql import functions as F

from sama_spark.delta import DeltaTable, table_errors
from sama_spark.driver_rows import text_lines
from sama_spark.errors import OutboxError
from sama_spark.exact import TEXT
from sama_spark.names import check_table
from sama_spark.outbound.outbox.ledger_rows import (
    CLAIM_SCHEMA,
    EVENT_SCHEMA,
    FREED,
    OPEN,
    SCHEMA,
    STATES,
    BatchEvent,
    KnownInPiece,
    LedgerState,
    UnsettledBatch,
)
from sama_spark.outbound.row_keys import OutboxKeys

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    from pyspark.sql import Column, DataFrame, SparkSession

    P = ParamSpec("P")

R = TypeVar("R")
_LAYOUT = "1"
_WRITER = "sama_spark.outbox"  # Delta keeps transactions table by table, so all outboxes may use one name
# A workspace may let Delta forget the numbers of transactions after a time; two claims could then have one number.
_KEPT = "delta.setTransactionRetentionDuration"
_PROJECT_PROPERTY, _LAYOUT_PROPERTY = "sama_spark.project", "sama_spark.layout"
_KEY_PROPERTY, _IGNORED_PROPERTY = "sama_spark.row_key", "sama_spark.ignore_changes"
_OURS = {_PROJECT_PROPERTY, _KEY_PROPERTY, _IGNORED_PROPERTY}
# Beyond this many keys Spark chooses how to join them.
_MOST_BROADCAST = 2_000_000

_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


def _as_outbox_errors(method: Callable[Concatenate[Ledger, P], R]) -> Callable[Concatenate[Ledger, P], R]:
    """Make the method raise what Spark and Delta refuse as an OutboxError."""

    @wraps(method)
    def wrapped(ledger: Ledger, /, *args: P.args, **named: P.kwargs) -> R:
        with table_errors(f"outbox {ledger.table.name!r} cannot be used", OutboxError):
            return method(ledger, *args, **named)

    return wrapped


@dataclass(frozen=True)
class Ledger:
    """An outbox's table. Every method reads or writes the table as it is at the moment of the call.

    Attributes:
        table: the table.
        project_id: Sama's project.
        keys: how the outbox knows rows again.
        is_new: whether `open` has created the table.
    """

    table: DeltaTable
    project_id: str
    keys: OutboxKeys
    is_new: bool = False

    @classmethod
    def open(
        cls, spark: SparkSession, name: str, project_id: str | None = None, keys: OutboxKeys | None = None
    ) -> Ledger:
        """Open the table `name`; with a project and `keys`, create it when absent.

        Raises:
            OutboxError: the table belongs to another project or other keys, or is no outbox of this layout.
        """
        check_table(name, "outbox")
        table = DeltaTable(spark, name)
        with table_errors(f"outbox {name!r} cannot be opened", OutboxError):
            found, is_new = table.properties(), False
            if found is None and project_id is not None and keys is not None:
                own = _properties(project_id, keys)
                is_new = _create(table, project_id, own)
                found = own if is_new else table.properties()
        if found is None:
            raise OutboxError(f"there is no outbox {name!r}", remedy="name the table that was given as `outbox`")
        if found.get(_LAYOUT_PROPERTY) != _LAYOUT or not found.keys() >= _OURS:
            raise OutboxError(
                f"{name!r} is no outbox that this version of sama_spark knows (layout {found.get(_LAYOUT_PROPERTY)})",
                remedy="name another table, or update sama_spark",
            )
        ledger = cls(
            table,
            found[_PROJECT_PROPERTY],
            OutboxKeys(
                _decode_names(found[_KEY_PROPERTY]),
                _decode_names(found[_IGNORED_PROPERTY]),
                keys.prefix if keys else "",
            ),
            is_new,
        )
        ledger._check(project_id, keys)
        return ledger

    def _check(self, project_id: str | None, keys: OutboxKeys | None) -> None:
        """Refuse another project, and other keys, than the table was made for.

        Raises:
            OutboxError: it says which the table's own are.
        """
        name, own = self.table.name, self.keys
        if project_id is not None and self.project_id != str(project_id):
            raise OutboxError(
                f"outbox {name!r} belongs to project {self.project_id}, not to {project_id}",
                project_id=project_id,
                remedy="use one outbox for each project",
            )
        if keys is not None and own.names != tuple(sorted(keys.names)):
            raise OutboxError(
                f"outbox {name!r} tells rows apart by {_shown(own.names)}, not by {_shown(keys.names)}",
                project_id=project_id,
                remedy=f"say row_key={_shown(own.names)}: under another key every row would be new, and be paid for "
                "again",
            )
        if keys is not None and keys.ignored and own.ignored != tuple(sorted(keys.ignored)):
            raise OutboxError(
                f"outbox {name!r} was made with ignore_changes={list(own.ignored)}, not {sorted(keys.ignored)}",
                project_id=project_id,
                remedy="leave ignore_changes out: what was sent can only be compared as it was from the first run on",
            )

    @_as_outbox_errors
    def state(self) -> LedgerState:
        """Return the number of the last conditional commit and the unsettled batches, both of one snapshot."""
        # `F.array_position` takes no column before Spark 4.0.
        rank = F.call_function("array_position", F.array(*map(F.lit, STATES)), F.col("state"))
        by_batch = (
            self.table.read()
            .groupBy("batch_id")
            .agg(
                F.max("seq").alias("seq"),
                F.element_at(F.array(*map(F.lit, STATES)), F.max(rank).cast("int")).alias("state"),
                F.max("tasks").alias("tasks"),
                F.min_by("run_id", "seq").alias("run_id"),
                F.max_by("token", "seq").alias("token"),
                F.max_by(F.unix_micros("lease_until"), "seq").alias("lease_until"),
                F.max_by("message", rank).alias("message"),
                # Not by looking at the keys, since Spark would then read all of them.
                F.max(F.col("state").isin(*FREED) | F.coalesce(F.col("failed") > 0, F.lit(False))).alias("freed"),
            )
        )
        batch = F.struct("batch_id", "state", "tasks", "run_id", "token", "lease_until", "message")
        found = by_batch.agg(
            F.coalesce(F.max("seq"), F.lit(0)),
            F.collect_list(F.when(F.col("state").isin(*OPEN), batch)),
            F.coalesce(F.max("freed"), F.lit(False)),
        ).collect()[0]
        batches = [
            UnsettledBatch(**{**row.asDict(), "lease_until": (row["lease_until"] or 0) / 1e6})
            for row in sorted(found[1], key=lambda row: int(row["batch_id"]))
        ]
        return LedgerState(int(found[0]), tuple(batches), bool(found[2]))

    @_as_outbox_errors
    def bind(self, claims: DataFrame, seq: int, token: str, lease_until: float, now: float) -> bool:
        """Write `claims` (a `Claim` as JSON in each row) as commit `seq`. Return whether this writer won the number.

        Raises:
            OutboxError: the claim was not written, and no other writer used this number either.
        """
        rows = claims.select(F.from_json("value", CLAIM_SCHEMA).alias("claim")).select(
            "claim.*",
            F.lit("bound").alias("state"),
            F.lit(seq).cast("bigint").alias("seq"),
            F.lit(token).alias("token"),
            _timestamp(lease_until).alias("lease_until"),
            _timestamp(now).alias("recorded_at"),
        )
        failure: Exception | None = None
        try:
            self.table.append(rows, transaction=(_WRITER, seq))
        except Exception as error:  # Delta has several for a lost race; a lost connection looks like one of them
            failure = error
        tokens = {row["token"] for row in self.table.read().where(F.col("seq") == seq).select("token").collect()}
        if not tokens:
            # The commit may still land, so this run must not claim again.
            raise OutboxError(
                f"the claim on outbox {self.table.name!r} was not written",
                project_id=self.project_id,
                remedy="if the table was restored to an earlier version, begin a new one after checking what was sent; "
                "else run again: nothing was created",
            ) from failure
        return tokens == {token}

    @_as_outbox_errors
    def record(self, events: Iterable[BatchEvent], now: float) -> None:
        """Append events. `now`: seconds since the epoch."""
        if lines := [msgspec.json.encode(event) for event in events]:
            frame = text_lines(self.table.spark, lines, None)
            rows = frame.select(F.from_json("value", EVENT_SCHEMA).alias("event")).select(
                "event.*", _timestamp(now).alias("recorded_at")
            )
            self.table.append(rows)

    @_as_outbox_errors
    def find(self, own: DataFrame, own_rows: int, state: LedgerState, after: int) -> list[KnownInPiece]:
        """Return which of a run's own rows the ledger has, by the claims numbered above `after`.

        Args:
            own: `piece`, `position`, `key` and `content` of each row.
            own_rows: how many rows `own` has.
            state: of this moment or earlier.
            after: number of a conditional commit; 0 for all claims.
        """
        if state.seq <= after:
            return []
        ledger = self.table.read()
        # As TEXT: in a schema with a default collation the table's keys would be equal where their case differs.
        pairs = F.explode(F.arrays_zip("keys", "contents")).alias("row")
        claims = ledger.where(F.col("seq") > after).select("batch_id", pairs)
        claims = claims.select(
            "batch_id", F.col("row.keys").cast(TEXT).alias("key"), F.col("row.contents").alias("claimed_content")
        )
        hits = claims.join(F.broadcast(own) if own_rows <= _MOST_BROADCAST else own, "key")
        if state.has_freed:
            events = ledger.where(F.col("seq").isNull())
            freed = events.where(F.col("state").isin(*FREED)).select("batch_id")
            failed = events.where(F.col("state") == "done").select("batch_id", F.explode("keys").alias("key"))
            failed = failed.withColumn("key", F.col("key").cast(TEXT))
            hits = hits.join(freed, "batch_id", "left_anti").join(failed, ["batch_id", "key"], "left_anti")
        # Collected into few rows: a row for each hit costs twice as much.
        found = hits.groupBy("piece", "batch_id", (F.col("claimed_content") == F.col("content")).alias("same")).agg(
            F.collect_list("position").alias("positions")
        )
        return [KnownInPiece(**row.asDict()) for row in found.toLocalIterator()]

    def rows_of(self, batch_ids: Sequence[int]) -> DataFrame:
        """Return `batch_id` and `row_key` of each row that these batches were bound with."""
        claims = self.table.read().where(F.col("seq").isNotNull() & F.col("batch_id").isin(list(batch_ids)))
        return claims.select("batch_id", F.explode("keys").alias("row_key"))

    @_as_outbox_errors
    def keys_of(self, batch_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        """Return the row keys of some batches, by batch id."""
        keys: dict[int, list[str]] = {}
        for row in self.rows_of(batch_ids).toLocalIterator():
            keys.setdefault(row["batch_id"], []).append(row["row_key"])
        return keys


def _create(table: DeltaTable, project_id: str, properties: Mapping[str, str]) -> bool:
    whose = f"What was sent to project {project_id} of Sama; written by sama_spark, not to be edited or copied"
    return table.create(SCHEMA, whose, {**properties, _KEPT: "interval 36500 days"})


def _properties(project_id: str, keys: OutboxKeys) -> dict[str, str]:
    return {
        _PROJECT_PROPERTY: str(project_id),
        _KEY_PROPERTY: msgspec.json.encode(sorted(keys.names)).decode(),
        _IGNORED_PROPERTY: msgspec.json.encode(sorted(keys.ignored)).decode(),
        _LAYOUT_PROPERTY: _LAYOUT,
    }


def _shown(row_key: Sequence[str]) -> str:
    return repr(sorted(row_key)) if row_key else "'content'"


def _timestamp(seconds: float) -> Column:
    return F.timestamp_micros(F.lit(int(seconds * 1e6)))
