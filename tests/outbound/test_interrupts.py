"""Ctrl-C, or anything else that ends a run early: what is told of each batch is what Sama has."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

pytest.importorskip("pyspark.sql.datasource")

from sama_spark import Client, MicroBatches
from sama_spark.api import ApiClient
from sama_spark.api.sama_errors import NEVER_AGAIN
from sama_spark.data_source.staged_write import Target, send
from sama_spark.http.wire import Wire
from sama_spark.keys import KeyReference
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.cut import PieceHeader
from sama_spark.outbound.outbox.lease import GRACE, lease_for
from sama_spark.outbound.pieces import StagedPiece, StreamedPiece
from sama_spark.outbound.upload import Uploader
from sama_spark.staging import Stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

CHUNKS, EACH = 12, 2
TASK = b'{"data":{"url":"u"},"priority":0,"submit":false}'
BODY = b",".join([TASK] * EACH)
CALLS = ("open_batch", "upload_tasks", "continue_batch", "discard_batch")


def interrupt() -> None:
    """A real Ctrl-C, from whatever thread; the time around it is the main thread's, to be waiting and to take it."""
    time.sleep(0.05)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # as a terminal's: it wakes the main thread
    time.sleep(0.05)


class _Hooked(ApiClient):
    """`hooks`: by method, called with the number of the call and whether it is over."""

    hooks: dict[str, Callable[[int, bool], object]]

    def _hooked(self, name: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with _lock:
            number = self.counts[name] = self.counts.get(name, 0) + 1
        hook = self.hooks.get(name, lambda *_: None)
        hook(number, False)
        result = call(*args, **options)
        hook(number, True)
        return result

    def open_batch(self, *args: Any, **options: Any) -> Any:
        return self._hooked("open_batch", super().open_batch, *args, **options)

    def upload_tasks(self, *args: Any, **options: Any) -> Any:
        return self._hooked("upload_tasks", super().upload_tasks, *args, **options)

    def continue_batch(self, *args: Any, **options: Any) -> Any:
        return self._hooked("continue_batch", super().continue_batch, *args, **options)

    def discard_batch(self, *args: Any, **options: Any) -> Any:
        return self._hooked("discard_batch", super().discard_batch, *args, **options)


_lock = threading.Lock()


class HookedClient(_Hooked, Client):
    """The same for the methods that take DataFrames."""


def hooked(kind: type[_Hooked], sandbox: Sandbox, **hooks: Callable[[int, bool], object]) -> Any:
    client = kind(sandbox.api_key, base_url=sandbox.base_url)
    client.hooks, client.counts = hooks, {}  # type: ignore[attr-defined]
    return client


def at(number: int, over: bool, what: Callable[[], object] = interrupt) -> Callable[[int, bool], object]:
    return lambda n, is_over: what() if (n, is_over) == (number, over) else None


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    return sandbox.create_project({"url": {"type": "string", "required": True}})


@pytest.fixture(autouse=True)
def ctrl_c_is_pythons() -> Iterator[None]:
    """Spark has a handler of its own, which cancels its jobs too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def chunks() -> Iterator[Sequence[StreamedPiece]]:
    for _ in range(CHUNKS):
        yield [StreamedPiece(PieceHeader(tasks=EACH, bytes=len(BODY)), BODY)]


def run(api: ApiClient, project: int, in_flight: int = 4, on_progress: Any = None) -> None:
    options = CreationOptions(tasks_file_name=None, in_flight=in_flight, on_progress=on_progress)
    uploader = Uploader(api, project, options)
    with uploader.naming_batches():
        uploader.start(uploader.upload(chunks()), None)


def told(error: BaseException) -> dict[str, set[int]]:
    return {name: set(ids) for name, ids in error.sama_batches.items()}  # type: ignore[attr-defined]


def paid_for(sandbox: Sandbox, project: int) -> set[int]:
    return {batch["batch_id"] for batch in sandbox.batches(project) if batch["state"] not in ("waiting", "canceled")}


def assert_true(error: BaseException, sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture) -> None:
    """What was told is what the sandbox has; the log has the same words as the exception."""
    said, paid = told(error), paid_for(sandbox, project)
    assert said["started"] <= paid <= said["started"] | said["unsure"]
    assert not paid & said["not_started"]
    known = {batch["batch_id"] for batch in sandbox.batches(project)}
    assert said["started"] | said["unsure"] | said["not_started"] <= known
    [note] = error.__notes__
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [note]
    assert (NEVER_AGAIN in note) == bool(said["started"] | said["unsure"])
    assert all(str(batch_id) in note for ids in said.values() for batch_id in ids)
    assert sandbox.api_key not in note


# --- one interrupt, at each stage


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("number", [1, 6, CHUNKS])
@pytest.mark.parametrize("call", CALLS[:3])
def test_ctrl_c(
    call: str, number: int, over: bool, in_flight: int, sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt) as raised:
        run(hooked(_Hooked, sandbox, **{call: at(number, over)}), project, in_flight)
    assert_true(raised.value, sandbox, project, caplog)
    said = told(raised.value)
    assert not said["unsure"]  # what was under way was waited for
    states = {batch["batch_id"]: batch["state"] for batch in sandbox.batches(project)}
    if call == "continue_batch":
        assert number <= len(said["started"]) <= CHUNKS
        assert len(said["started"]) + len(said["not_started"]) == CHUNKS
    else:
        assert not said["started"]
        assert set(states.values()) == {"canceled"}
        assert set(states) == said["not_started"]
        assert "nothing is paid for" in raised.value.__notes__[0]


@pytest.mark.parametrize("number", [1, 5])
def test_ctrl_c_again_while_what_is_under_way_ends(
    number: int, sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture
) -> None:
    def twice() -> None:
        interrupt()
        time.sleep(0.2)
        interrupt()
        time.sleep(0.5)

    with pytest.raises(KeyboardInterrupt) as raised:
        run(hooked(_Hooked, sandbox, continue_batch=at(number, False, twice)), project, in_flight=2)
    said = told(raised.value)
    assert said["unsure"]
    time.sleep(1)  # the calls that were left to themselves
    assert_true(raised.value, sandbox, project, caplog)
    assert len(said["started"] | said["unsure"] | said["not_started"]) == CHUNKS


def test_ctrl_c_again_while_batches_are_cancelled(
    sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture
) -> None:
    api = hooked(_Hooked, sandbox, upload_tasks=at(CHUNKS, True), discard_batch=at(3, False))
    with pytest.raises(KeyboardInterrupt) as raised:
        run(api, project)
    assert_true(raised.value, sandbox, project, caplog)
    assert len(told(raised.value)["not_started"]) == CHUNKS
    note = raised.value.__notes__[0]
    assert "cancelled, they cost nothing" in note
    assert "they wait at Sama and cost nothing" in note


@pytest.mark.parametrize("kind", [MemoryError, SystemExit, RuntimeError])
@pytest.mark.parametrize("call", ["open_batch", "continue_batch"])
def test_other_ends(
    call: str, kind: type[BaseException], sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture
) -> None:
    def end() -> None:
        raise kind("over")

    with pytest.raises(kind) as raised:
        run(hooked(_Hooked, sandbox, **{call: at(4, False, end)}), project, in_flight=2)
    said, paid = told(raised.value), paid_for(sandbox, project)
    assert said["started"] == paid
    assert bool(said["unsure"]) == (call == "continue_batch")  # the thread that broke had begun
    assert raised.value.__notes__[-1] in caplog.text


def test_an_interrupt_in_on_progress(sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyboardInterrupt) as raised:
        run(hooked(_Hooked, sandbox), project, on_progress=lambda tasks: interrupt() if tasks >= 8 else None)
    assert_true(raised.value, sandbox, project, caplog)
    assert {batch["state"] for batch in sandbox.batches(project)} == {"canceled"}


def test_a_list_of_records(sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture) -> None:
    api = hooked(_Hooked, sandbox, continue_batch=at(1, True))
    with pytest.raises(KeyboardInterrupt) as raised:
        api.create_task_batch(project, [{"url": "u"}])
    [batch_id] = paid_for(sandbox, project)
    assert f"batch {batch_id} " in raised.value.__notes__[0]
    assert raised.value.__notes__[0] in caplog.text


def test_a_call_that_is_not_repeated(
    sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single call whose reply an interrupt took away."""
    api = ApiClient(sandbox.api_key, base_url=sandbox.base_url)
    exchange = Wire.exchange

    def interrupted(*args: Any, **options: Any) -> Any:
        exchange(*args, **options)
        interrupt()

    monkeypatch.setattr(Wire, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        api.create_tasks_inline(project, [{"data": {"url": "u"}}])
    assert len(sandbox.tasks(project)) == 1
    assert "may have carried it out" in raised.value.__notes__[0]
    assert raised.value.__notes__[0] in caplog.text
    with pytest.raises(KeyboardInterrupt) as raised:
        api.get_project_information(project)
    assert not hasattr(raised.value, "__notes__")


# --- the other doors


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    return spark.range(0, CHUNKS * EACH, numPartitions=1).selectExpr("concat('https://example.org/', id) AS url")


@pytest.mark.one_kind
def test_a_dataframe_without_an_outbox(
    df: DataFrame, sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = hooked(HookedClient, sandbox, continue_batch=at(5, True))
    with pytest.raises(KeyboardInterrupt) as raised:
        client.create_task_batch_from_table(df, project, chunk_rows=EACH)
    assert_true(raised.value, sandbox, project, caplog)
    assert told(raised.value)["started"]


@pytest.mark.one_kind
def test_with_an_outbox_and_then_resume(
    df: DataFrame,
    spark: SparkSession,
    sandbox: Sandbox,
    project: int,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox = f"{tmp_path}/outbox"
    create = MicroBatches(
        lambda: hooked(HookedClient, sandbox, continue_batch=at(3, False)),
        project,
        outbox=outbox,
        row_key="url",
        chunk_rows=EACH,
        in_flight=1,
    )
    with pytest.raises(KeyboardInterrupt) as raised:
        create(df, 0)
    note = raised.value.__notes__[0]
    assert told(raised.value)["started"] == paid_for(sandbox, project)
    assert "client.resume(" in note
    assert outbox in note

    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + lease_for(CHUNKS) + GRACE + 1)
    with pytest.raises(KeyboardInterrupt) as again:
        hooked(HookedClient, sandbox, continue_batch=at(2, True)).resume(spark, outbox=outbox)
    said, before = told(again.value), told(raised.value)["started"]
    assert said["started"] <= paid_for(sandbox, project) <= before | said["started"] | said["unsure"]
    assert "client.resume(" in again.value.__notes__[-1]

    monkeypatch.setattr(time, "time", lambda: now() + 2 * (lease_for(CHUNKS) + GRACE) + 2)
    hooked(HookedClient, sandbox).resume(spark, outbox=outbox)
    assert len(sandbox.tasks(project)) == CHUNKS * EACH


def test_a_writer_of_format_sama(
    sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    api = hooked(_Hooked, sandbox, continue_batch=at(1, False))
    file = tmp_path / "part"
    file.write_bytes(BODY)
    piece = StagedPiece(PieceHeader(tasks=EACH, bytes=len(BODY), checksum=crc32(BODY)), file, 0, 0)
    target = Target(str(project), sandbox.base_url, KeyReference(), CreationOptions(), Stage(tmp_path))
    with pytest.raises(KeyboardInterrupt) as raised:
        send(api, target, [piece])
    assert_true(raised.value, sandbox, project, caplog)


@pytest.mark.one_kind
def test_ctrl_c_while_waiting(df: DataFrame, sandbox: Sandbox, project: int, caplog: pytest.LogCaptureFixture) -> None:
    sandbox.switch(project, creation_delay=600)
    result = hooked(HookedClient, sandbox).create_task_batch_from_table(df, project)
    with pytest.raises(KeyboardInterrupt) as raised:
        result.wait(on_progress=lambda *_: interrupt())
    assert str(result.batch_id) in raised.value.__notes__[0]
    assert raised.value.__notes__[0] in caplog.text
