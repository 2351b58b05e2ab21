"""Masks are copied before anything names them: whole, once each, and without the key."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sama_spark import Client
from sama_spark.delta import DeltaTable
from sama_spark.errors import StagingError
from sama_spark.http.call_errors import LinkRefused
from sama_spark.inbound.sync.masks import Mask, copy
from sama_spark.sandbox.png_masks import png

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from sama_spark.sandbox import Sandbox

AT = "2026-01-02T00:00:00.000Z"
MICROS = 1_767_312_000_000_000


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox.api_key, base_url=sandbox.base_url, deadline=2) as client:
        yield client


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    """Three tasks with a mask each, and one whose answer is a text."""
    project = sandbox.create_project({"name": "string"}, {"floor": "raster", "notes": "text"})
    sandbox.deliver(project, [delivery(n, mask(sandbox, n)) for n in range(3)])
    sandbox.deliver(project, [delivery(9, None)])
    sandbox.forget_calls()
    return project


def picture(n: int) -> bytes:
    return png([(n, n, n + 50, n + 50)])


def mask(sandbox: Sandbox, n: int, content: bytes | None = None) -> str:
    return sandbox.add_asset(picture(n) if content is None else content, f"{n}.png", "image/png")


def delivery(n: int, url: str | None, at: str = AT) -> dict[str, Any]:
    floor = {} if url is None else {"floor": {"layers": {"raster_coding": {"mask_url": url}}}}
    answers = floor | {"notes": "what a mask_url is"}
    return {"id": f"{n:024x}", "data": {"name": str(n)}, "answers": answers, "delivered_at": at}


def named(spark: SparkSession, into: Path) -> dict[int, bytes | None]:
    """What lies under the names in `annotations`, by task."""
    rows = spark.read.format("delta").load(f"{into}/annotations").where("kind = 'mask'").collect()
    assert all(row.mask_url for row in rows)
    return {int(row.task_id, 16): row.mask_path and Path(row.mask_path).read_bytes() for row in rows}


def dying(*_: Any) -> None:
    raise KeyboardInterrupt


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


@pytest.mark.one_kind
def test_each_is_copied_once(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into, masks = tmp_path / "tables", tmp_path / "masks"
    first = client.sync(spark, str(project), str(into), masks=str(masks))
    assert (first.masks_copied, first.masks_failed) == (3, 0)
    assert named(spark, into) == {n: picture(n) for n in range(3)}
    requests = sandbox.requests("asset")
    assert len(requests) == 3
    assert not any(request["has_key"] for request in requests)
    client.sync(spark, str(project), str(into), masks=str(masks), full=True)
    again = delivery(1, mask(sandbox, 1, picture(70)), "2026-01-03T00:00:00.000Z")
    sandbox.deliver(project, [again])
    third = client.sync(spark, str(project), str(into), masks=str(masks))
    assert (third.updated, third.masks_copied) == (1, 1)
    assert named(spark, into) == {0: picture(0), 1: picture(70), 2: picture(2)}
    assert sandbox.calls()["asset"] == files(masks) == 4
    assert "task_status" not in sandbox.calls()
    runs = spark.read.format("delta").load(f"{into}/runs").orderBy("started_at").collect()
    assert [run.masks_copied for run in runs] == [3, 0, 1]


@pytest.mark.long
@pytest.mark.one_kind
def test_what_cannot_be_had_is_named_and_tried_again(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    into, masks = tmp_path / "tables", tmp_path / "masks"
    url = mask(sandbox, 1, b"<html>sign in</html>")
    with caplog.at_level(logging.WARNING, "sama_spark"):
        first = client.sync(spark, str(project), str(into), masks=str(masks))
    assert (first.new, first.masks_copied, first.masks_failed) == (4, 2, 1)
    assert named(spark, into) == {0: picture(0), 1: None, 2: picture(2)}
    assert f"task {1:024x}, output floor" in caplog.text
    assert "Signature" not in caplog.text
    mask(sandbox, 1)
    # The link that stands in the table has expired by now.
    sandbox.advance(4 * 3600 + 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DeltaTable, "merge", dying)
        client.sync(spark, str(project), str(into), masks=str(masks), full=True)
    assert files(masks) == 3
    second = client.sync(spark, str(project), str(into), masks=str(masks), full=True)
    assert (second.new, second.masks_copied, second.masks_failed) == (0, 0, 0)
    assert named(spark, into) == {n: picture(n) for n in range(3)}
    assert url not in caplog.text


@pytest.mark.one_kind
def test_masks_that_cannot_be_had_stop_no_labels(
    spark: SparkSession, client: Client, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    into, masks = tmp_path / "tables", tmp_path / "masks"
    # Twenty masks of a host that refuses connections, links of rubbish, and one that always breaks off.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}/m.png?Signature=s3cret"
    rubbish = ["http://[", "http://a b/c", "file:///etc/passwd", "m.png", "http://user:pw@127.0.0.1:99999/x"]
    sandbox.deliver(project, [delivery(n, dead) for n in range(20, 40)])
    sandbox.deliver(project, [delivery(n, url) for n, url in enumerate(rubbish, 40)])
    sandbox.fail("asset", kind="truncate", times=None, path="2.png")
    begun = time.monotonic()
    first = client.sync(spark, str(project), str(into), masks=str(masks))
    assert (first.new, first.masks_copied, first.masks_failed) == (29, 2, 26)
    assert "26 masks have no copy" in str(first)
    assert "s3cret" not in str(first)
    assert "user:pw" not in str(first)
    assert time.monotonic() - begun < 40
    there = named(spark, into)
    assert {n for n, content in there.items() if content} == {0, 1}
    # The next sync tries them again, though nothing was delivered.
    sandbox.heal()
    second = client.sync(spark, str(project), str(into), masks=str(masks))
    assert (second.new, second.masks_copied, second.masks_failed) == (0, 1, 25)
    assert {n for n, content in named(spark, into).items() if content} == {0, 1, 2}


@pytest.mark.long
@pytest.mark.one_kind
def test_a_death_after_copying_leaves_no_rows(
    spark: SparkSession,
    client: Client,
    sandbox: Sandbox,
    project: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    into, masks = tmp_path / "tables", tmp_path / "masks"
    replace = DeltaTable.replace

    def mortal(table: DeltaTable, *args: Any, **options: Any) -> None:
        if table.name.endswith("annotations"):
            raise KeyboardInterrupt
        replace(table, *args, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DeltaTable, "replace", mortal)
        client.sync(spark, str(project), str(into), masks=str(masks))
    assert named(spark, into) == {}
    assert files(masks) == 3
    sandbox.forget_calls()
    assert client.sync(spark, str(project), str(into), masks=str(masks)).new == 4
    assert named(spark, into) == {n: picture(n) for n in range(3)}
    assert "asset" not in sandbox.calls()


def test_a_folder_that_the_driver_cannot_write_is_refused(client: Client) -> None:
    with pytest.raises(StagingError, match="s3://"):
        client.sync(None, "1", "labels", masks="s3://bucket/masks")  # type: ignore[arg-type]


@pytest.fixture
def wanted(sandbox: Sandbox, project: int, tmp_path: Path) -> Mask:
    """The mask of task 1, and a link that has expired."""
    url = mask(sandbox, 1)
    sandbox.advance(4 * 3600 + 1)
    return Mask(f"{1:024x}", "floor", MICROS, url, str(tmp_path / "1" / "floor.png"))


def test_an_expired_link_is_asked_for_again(
    client: Client, sandbox: Sandbox, project: int, wanted: Mask, tmp_path: Path
) -> None:
    assert copy(client, str(project), wanted, tmp_path)
    assert Path(wanted.path).read_bytes() == picture(1)
    assert not copy(client, str(project), wanted, tmp_path)
    assert sandbox.calls() == {"asset": 2, "task_status": 1}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"delivered_at": MICROS + 1000}, "not as it was delivered"),
        ({"output": "notes"}, "no mask any more"),
        ({"task_id": "f" * 24}, "cannot be read any more"),
    ],
)
def test_only_the_mask_of_this_delivery_is_taken(
    client: Client, project: int, wanted: Mask, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    with pytest.raises(LinkRefused, match=why):
        copy(client, str(project), replace(wanted, **change), tmp_path)
    assert not Path(wanted.path).exists()


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", picture(1)[:-1], b"<html>sign in</html>"])
def test_what_is_no_whole_picture_is_refused(
    client: Client, sandbox: Sandbox, project: int, wanted: Mask, tmp_path: Path, content: bytes
) -> None:
    mask(sandbox, 1, content)
    with pytest.raises(LinkRefused, match="no PNG"):
        copy(client, str(project), wanted, tmp_path)
    assert not Path(wanted.path).exists()
