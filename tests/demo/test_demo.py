"""The demo, as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sama_spark.demo.photographs import LABELS, PHOTOGRAPHS, tiles
from sama_spark.pictures.colours import PALETTE

COMMAND = str(Path(sys.executable).with_name("sama-spark"))
NOISE = re.compile(r"WARN|ERROR|ivy|log4j|Traceback|\x1b\[", re.IGNORECASE)


def run_demo(out: Path, cwd: Path) -> str:
    cwd.mkdir()
    done = subprocess.run(
        [COMMAND, "demo", "--out", os.path.relpath(out, cwd)], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(cwd.iterdir()), "it leaves files outside its folder"
    return done.stdout


@pytest.mark.jvm
def test_demo_from_anywhere_in_place_of_an_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    stale = out / "labels.db" / "tasks" / "_delta_log" / "00000000000000000000.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("broken")
    (out / "spark.log").touch()
    said = run_demo(out, tmp_path / "here")

    found = [tile for name in PHOTOGRAPHS for tile in tiles(name)]
    objects = sum(len(tile.detections) for tile in found)
    assert f"{objects} objects on {len(found)} tiles of {len(PHOTOGRAPHS)} photographs" in said
    assert f"{len(found)} tasks in 4 batches" in said
    assert f"{len(found)} tasks delivered" in said
    assert re.search(rf"{len(found)} tasks, {objects + len(found)} annotations", said), "each with its density"
    coins = re.search(r"coin +│ +24 │ +(\d+) │ +(\d\.\d+) │", said)
    assert coins is not None
    assert 0 < int(coins[1]) < 24, "annotators move about half of the shapes"
    assert 0 < float(coins[2]) < 3, "by two pixels at the most, each way"
    assert re.search(r"coin +│ polygon │ +24 │ +1 │", said)
    assert not NOISE.search(said)
    check_picture(out / "labels.png")
    rows = {"pre_annotations": objects, "labels.db/tasks": len(found), "labels.db/annotations": objects + len(found)}
    check_tables(said, rows)


def check_picture(path: Path) -> None:
    """Six panels with shapes of all three labels, and the legend."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[0] > 1000
    assert picture.shape[1] > 1500
    drawn = [colour for colour in PALETTE if (picture == _rgb(colour)).all(axis=2).sum() > 1000]
    assert len(drawn) == len(LABELS)


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def check_tables(said: str, rows: dict[str, int]) -> None:
    """By the very lines that the demo tells its user to go on with."""
    snippet = re.search(r"-i -c '(.+)'$", said, re.DOTALL | re.MULTILINE)
    assert snippet is not None
    [folder] = re.findall(r'load\("(.+)/labels\.db/annotations"\)', snippet[1])
    counts = f"{{n: spark.read.format('delta').load('{folder}/' + n).count() for n in {sorted(rows)}}}"
    shapes = (
        "spark.read.format('delta').load(f'{folder}/labels.db/annotations').where('x_min < x_max AND label <> \"\"')"
    )
    code = (
        f"{snippet[1]}\nfolder = '{folder}'\nprint({counts} == {rows}, {shapes}.count() == {rows['pre_annotations']})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "|label" in done.stdout.replace(" ", "")
    assert done.stdout.endswith("True True\n")
