"""The outbox's Delta table: append-only, lines for the rows of each claimed batch and for each thing learnt of one.

| state | written | means |
| --- | --- | --- |
| bound | conditionally | these rows belong to this batch; the owner may continue it while the lease lasts |
| started | plainly | `continue` was accepted, or the batch was seen on its way |
| unsure | plainly | nobody can tell what became of it: shown by every run until a person settles it |
| void, failed | plainly | no task was made of it and none will be: its rows are free again |
| done | plainly | its tasks exist; `keys` are those that failed one by one and are free again |

A conditional commit carries sequence number n + 1 both in its rows and as Delta's `txnVersion`: of all writers that
have read n one wins, which each finds out by reading back. What was learnt of a batch stays true, so it needs no
condition. The state of a batch is its lowest line in this table that was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
from pyspark.sql import functions as F

from sama_spark.delta import DeltaTable, table_errors
from sama_spark.errors import OutboxError
from sama_spark.exact import TEXT
from sama_spark.names import check_table
from sama_spark.outbound.row_keys import OutboxKeys

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    from pyspark.sql import Column, DataFrame, SparkSession

    P = ParamSpec("P")

R = TypeVar("R")
State = Literal["bound", "started", "unsure", "void", "failed", "done"]
STATES: tuple[State, ...] = ("bound", "started", "unsure", "void", "failed", "done")
OPEN: tuple[State, ...] = ("bound", "started", "unsure")
FREED: tuple[State, ...] = ("void", "failed")

SCHEMA = """
    state STRING COMMENT 'bound, started, unsure, void, failed or done',
    batch_id BIGINT COMMENT 'of Sama',
    run_id STRING,
    tasks BIGINT,
    keys ARRAY<STRING> COMMENT 'row keys as JSON text: of a bound batch all, of a done one those that failed',
    contents ARRAY<BIGINT> COMMENT 'hash of what was sent, key by key',
    created BIGINT, failed BIGINT, cancelled BIGINT,
    message STRING,
    seq BIGINT COMMENT 'number of the conditional commit',
    token STRING COMMENT 'owner of the lease',
    lease_until TIMESTAMP_LTZ,
    recorded_at TIMESTAMP_LTZ
"""
_CLAIM = "batch_id bigint, run_id string, tasks bigint, keys array<string>, contents array<bigint>"
_FACT = (
    "state string, batch_id bigint, run_id string, tasks bigint, keys array<string>, "
    "created bigint, failed bigint, cancelled bigint, message string"
)
_LAYOUT = "1"
_WRITER = "sama_spark.outbox"  # a transaction is known within its table only, so all outboxes may use one name
# Delta may be told to forget the numbers of transactions after a time, and two claims with one number would be written.
_KEPT = "delta.setTransactionRetentionDuration"
_PROJECT_PROPERTY, _LAYOUT_PROPERTY = "sama_spark.project", "sama_spark.layout"
_KEY_PROPERTY, _IGNORED_PROPERTY = "sama_spark.row_key", "sama_spark.ignore_changes"
_OURS = {_PROJECT_PROPERTY, _KEY_PROPERTY, _IGNORED_PROPERTY}
# Readers of Parquet hold thousands of lines at a time: with all keys of a batch in one they run out of memory.
KEYS_IN_LINE = 200
# Beyond this many keys Spark chooses how to join them.
_MOST_BROADCAST = 2_000_000

_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


@dataclass(frozen=True)
class OpenBatch:
    """A batch that is bound, started or unsure. `lease_until`: seconds since the epoch."""

    batch_id: int
    state: State
    tasks: int
    run_id: str
    token: str
    lease_until: float
    message: str | None = None


@dataclass(frozen=True)
class Head:
    """The ledger at one moment: the number of its last conditional commit, the batches that are open, and whether
    rows of others are free again."""

    seq: int
    batches: tuple[OpenBatch, ...]
    has_freed: bool

    @property
    def unsure(self) -> tuple[OpenBatch, ...]:
        """The batches that a person has to settle."""
        return tuple(batch for batch in self.batches if batch.state == "unsure")


class Claim(msgspec.Struct, frozen=True):
    """A batch of `tasks` to be bound, and some of its rows."""

    batch_id: int
    run_id: str
    tasks: int
    keys: Sequence[str] = ()
    contents: Sequence[int] = ()


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was learnt of a batch."""

    state: State
    batch_id: int
    run_id: str
    tasks: int
    keys: Sequence[str] | None = None
    created: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    message: str | None = None


class Found(msgspec.Struct, frozen=True):
    """Rows of one piece, by position, that one batch was bound with; `same`: with the same content."""

    piece: int
    batch_id: int
    same: bool
    positions: list[int]


def _tells_errors(method: Callable[Concatenate[Ledger, P], R]) -> Callable[Concatenate[Ledger, P], R]:
    """The method, where what Spark and Delta refuse is an OutboxError."""

    @wraps(method)
    def told(ledger: Ledger, /, *args: P.args, **named: P.kwargs) -> R:
        with table_errors(f"outbox {ledger.table.name!r} cannot be used", OutboxError):
            return method(ledger, *args, **named)

    return told


@dataclass(frozen=True)
class Ledger:
    """An outbox's table. Every method reads or writes it as it is now."""

    table: DeltaTable
    project_id: str
    keys: OutboxKeys

    @classmethod
    def open(
        cls, spark: SparkSession, name: str, project_id: str | None = None, keys: OutboxKeys | None = None
    ) -> Ledger:
        """The table `name`; with a project and `keys`, created when absent.

        Raises:
            OutboxError: it belongs to another project or other keys, or is no outbox of this layout.
        """
        check_table(name, "outbox")
        table = DeltaTable(spark, name)
        with table_errors(f"outbox {name!r} cannot be opened", OutboxError):
            found = cls._properties(table, project_id, keys)
        if found is None:
            raise OutboxError(f"there is no outbox {name!r}", remedy="name the table that was given as `outbox`")
        if found.get(_LAYOUT_PROPERTY) != _LAYOUT or not found.keys() >= _OURS:
            raise OutboxError(
                f"{name!r} is no outbox that this version of sama_spark knows (layout {found.get(_LAYOUT_PROPERTY)})",
                remedy="name another table, or update sama_spark",
            )
        bound_to = found[_PROJECT_PROPERTY]
        if project_id is not None and bound_to != str(project_id):
            raise OutboxError(
                f"outbox {name!r} belongs to project {bound_to}, not to {project_id}",
                project_id=project_id,
                remedy="use one outbox for each project",
            )
        known, ignored = (_decode_names(found[name]) for name in (_KEY_PROPERTY, _IGNORED_PROPERTY))
        if keys is not None and known != tuple(sorted(keys.names)):
            raise OutboxError(
                f"outbox {name!r} tells rows apart by {_shown(known)}, not by {_shown(keys.names)}",
                project_id=project_id,
                remedy=f"say row_key={_shown(known)}: under another key every row would be new, and be paid for again",
            )
        if keys is not None and keys.ignored and ignored != tuple(sorted(keys.ignored)):
            raise OutboxError(
                f"outbox {name!r} was made with ignore_changes={list(ignored)}, not {sorted(keys.ignored)}",
                project_id=project_id,
                remedy="leave ignore_changes out: what was sent can only be compared as it was from the first run on",
            )
        return cls(table, bound_to, OutboxKeys(known, ignored, keys.prefix if keys else ""))

    @staticmethod
    def _properties(table: DeltaTable, project_id: str | None, keys: OutboxKeys | None) -> Mapping[str, str] | None:
        """Its table properties; with a project and `keys` it is created when absent."""
        found = table.properties()
        if found is None and project_id is not None and keys is not None:
            table.create(
                SCHEMA,
                f"What was sent to project {project_id} of Sama; written by sama_spark, not to be edited or copied",
                {
                    _PROJECT_PROPERTY: str(project_id),
                    _KEY_PROPERTY: msgspec.json.encode(sorted(keys.names)).decode(),
                    _IGNORED_PROPERTY: msgspec.json.encode(sorted(keys.ignored)).decode(),
                    _LAYOUT_PROPERTY: _LAYOUT,
                    _KEPT: "interval 36500 days",
                },
            )
            found = table.properties()
        return found

    @_tells_errors
    def head(self) -> Head:
        """The number of the last conditional commit and the open batches, of one snapshot."""
        # The function of that name takes no column before Spark 4.0.
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
                # Not by looking for keys: all of them would be read.
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
            OpenBatch(**{**row.asDict(), "lease_until": (row["lease_until"] or 0) / 1e6})
            for row in sorted(found[1], key=lambda row: int(row["batch_id"]))
        ]
        return Head(int(found[0]), tuple(batches), bool(found[2]))

    @_tells_errors
    def bind(self, claims: DataFrame, seq: int, token: str, lease_until: float, now: float) -> bool:
        """Write `claims` (lines of `Claim`) as commit `seq`, and tell whether that was won.

        Raises:
            OutboxError: it was not written, and nobody else wrote this number either.
        """
        rows = claims.select(F.from_json("value", _CLAIM).alias("claim")).select(
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
            # Nothing says that it will not land yet, so nothing may follow.
            raise OutboxError(
                f"the claim on outbox {self.table.name!r} was not written",
                project_id=self.project_id,
                remedy="if the table was restored to an earlier version, begin a new one after checking what was sent; "
                "else run again: nothing was created",
            ) from failure
        return tokens == {token}

    @_tells_errors
    def record(self, facts: Iterable[Fact], now: float) -> None:
        """Append what was learnt."""
        if lines := [(msgspec.json.encode(fact).decode(),) for fact in facts]:
            frame = self.table.spark.createDataFrame(lines, "value string")
            rows = frame.select(F.from_json("value", _FACT).alias("fact")).select(
                "fact.*", _timestamp(now).alias("recorded_at")
            )
            self.table.append(rows)

    @_tells_errors
    def find(self, own: DataFrame, own_rows: int, head: Head, after: int = 0) -> list[Found]:
        """What claims numbered above `after` know of one's own rows.

        `own`: `piece`, `position`, `key` and `own_content` of each row. `head`: of this moment or earlier.
        """
        if head.seq <= after:
            return []
        ledger = self.table.read()
        # As TEXT: in a schema with a default collation the table's keys would be equal where their case differs.
        pairs = F.explode(F.arrays_zip("keys", "contents")).alias("row")
        claims = ledger.where(F.col("seq") > after).select("batch_id", pairs)
        claims = claims.select(
            "batch_id", F.col("row.keys").cast(TEXT).alias("key"), F.col("row.contents").alias("content")
        )
        hits = claims.join(F.broadcast(own) if own_rows <= _MOST_BROADCAST else own, "key")
        if head.has_freed:
            facts = ledger.where(F.col("seq").isNull())
            freed = facts.where(F.col("state").isin(*FREED)).select("batch_id")
            failed = facts.where(F.col("state") == "done").select("batch_id", F.explode("keys").alias("key"))
            failed = failed.withColumn("key", F.col("key").cast(TEXT))
            hits = hits.join(freed, "batch_id", "left_anti").join(failed, ["batch_id", "key"], "left_anti")
        # One aggregation of the least that tells all: a row at a time costs twice as much.
        found = hits.groupBy("piece", "batch_id", (F.col("content") == F.col("own_content")).alias("same")).agg(
            F.collect_list("position").alias("positions")
        )
        return [Found(**row.asDict()) for row in found.toLocalIterator()]

    def rows_of(self, batch_ids: Sequence[int]) -> DataFrame:
        """`batch_id` and `row_key` of each row that these batches were bound with."""
        claims = self.table.read().where(F.col("seq").isNotNull() & F.col("batch_id").isin(list(batch_ids)))
        return claims.select("batch_id", F.explode("keys").alias("row_key"))

    @_tells_errors
    def keys_of(self, batch_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        """The row keys of some batches."""
        keys: dict[int, list[str]] = {}
        for row in self.rows_of(batch_ids).toLocalIterator():
            keys.setdefault(row["batch_id"], []).append(row["row_key"])
        return keys


def _shown(row_key: Sequence[str]) -> str:
    return repr(sorted(row_key)) if row_key else "'content'"


def _timestamp(seconds: float) -> Column:
    return F.timestamp_micros(F.lit(int(seconds * 1e6)))
