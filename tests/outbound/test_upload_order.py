"""Upload, claim, start: in this order, and nothing is started that was not claimed."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sama_spark.api import ApiClient
from sama_spark.api.sama_errors import BatchesNotStarted, LeaseOver
from sama_spark.outbound.creation_options import CreationOptions
from sama_spark.outbound.cut import PieceHeader
from sama_spark.outbound.outbox.no_outbox import NoLookup, NoOutbox, UnclaimedBatches
from sama_spark.outbound.outbox.outbox import ClaimedBatches, Lookup, Outbox
from sama_spark.outbound.pieces import StreamedPiece
from sama_spark.outbound.upload import StartableBatches, UploadedBatch, Uploader, upload_claim_and_continue

if TYPE_CHECKING:
    from sama_spark.sandbox import Sandbox

BODY = b'{"data":{"url":"u"},"priority":0,"submit":false}'
CHUNKS = [[StreamedPiece(PieceHeader(tasks=1, bytes=len(BODY)), BODY)]] * 3


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    return sandbox.create_project({"url": {"type": "string", "required": True}})


@pytest.fixture
def uploader(sandbox: Sandbox, project: int) -> Uploader:
    return Uploader(
        ApiClient(sandbox.api_key, base_url=sandbox.base_url),
        project,
        CreationOptions(tasks_file_name=None, in_flight=2),
    )


def states(sandbox: Sandbox, project: int) -> Counter[str]:
    return Counter(batch["state"] for batch in sandbox.batches(project))


def test_what_is_claimed_is_started(sandbox: Sandbox, project: int, uploader: Uploader) -> None:
    def claim(batches: list[UploadedBatch]) -> StartableBatches:
        assert states(sandbox, project) == {"waiting": 3}
        assert "continue" not in sandbox.calls()
        return StartableBatches(batches)

    sent = upload_claim_and_continue(uploader, CHUNKS, claim)
    assert [batch.tasks for batch in sent.batches] == [1, 1, 1]
    assert states(sandbox, project) == {"completed": 3}


def test_what_is_not_claimed_is_not_started(sandbox: Sandbox, project: int, uploader: Uploader) -> None:
    sent = upload_claim_and_continue(uploader, CHUNKS, lambda batches: StartableBatches(batches[1:]))
    assert len(sent.batches) == 2
    assert states(sandbox, project) == {"waiting": 1, "completed": 2}


def test_a_claim_that_fails_cancels_all(sandbox: Sandbox, project: int, uploader: Uploader) -> None:
    def claim(_: list[UploadedBatch]) -> StartableBatches:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload_claim_and_continue(uploader, CHUNKS, claim)
    assert states(sandbox, project) == {"canceled": 3}


def test_each_start_asks_for_permission(sandbox: Sandbox, project: int, uploader: Uploader) -> None:
    def permit() -> float:
        raise LeaseOver("over", remedy="run again")

    with pytest.raises(BatchesNotStarted) as caught, uploader.naming_batches("call resume()"):
        upload_claim_and_continue(uploader, CHUNKS, lambda batches: StartableBatches(batches, permit))
    assert caught.value.remedy == "call resume()"
    assert len(caught.value.not_started) == 3
    assert "continue" not in sandbox.calls()
    assert states(sandbox, project) == {"waiting": 3}


@pytest.mark.parametrize(("one", "other"), [(Outbox, NoOutbox), (Lookup, NoLookup), (ClaimedBatches, UnclaimedBatches)])
def test_a_run_without_an_outbox_takes_the_same_steps(one: type, other: type) -> None:
    def steps(kind: type) -> dict[str, int]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: len(inspect.signature(m).parameters) for name, m in methods if not name.startswith("_")}

    assert steps(other).items() <= steps(one).items()
