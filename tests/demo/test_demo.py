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

from sama_spark.demo.photographs import PHOTOGRAPHS, tiles
from sama_spark.demo.picture import DETECTOR, KEPT, MOVED

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
    stale = out / "tasks" / "_delta_log" / "00000000000000000000.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("broken")
    (out / "spark.log").touch()
    said = run_demo(out, tmp_path / "here")

    found = [tile for name in PHOTOGRAPHS for tile in tiles(name)]
    objects = sum(len(tile.detections) for tile in found)
    assert f"{objects} objects on {len(found)} tiles of {len(PHOTOGRAPHS)} photographs" in said
    assert f"{len(found)} tasks in 4 batches" in said
    assert f"{len(found)} tasks delivered" in said
    assert f"{len(found)} tasks, {objects} objects" in said
    coins = re.search(r"coins +│ +coin +│ +24 │ +(\d+) │ +(\d\.\d+) │", said)
    assert coins is not None
    assert 0 < int(coins[1]) < 24, "annotators move about half of the boxes"
    assert 0 < float(coins[2]) < 3, "by two pixels at the most, each way"
    assert not NOISE.search(said)
    check_picture(out / "labels.png")
    check_tables(said, {"tasks": len(found), "objects": objects, "predictions": objects})


def check_picture(path: Path) -> None:
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[0] > 500
    assert picture.shape[1] > 1000
    for colour in (KEPT, MOVED, DETECTOR):
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture == rgb).all(axis=2).sum() > 200, colour


def check_tables(said: str, rows: dict[str, int]) -> None:
    """By the very lines that the demo tells its user to go on with."""
    snippet = re.search(r"-i -c '(.+)'$", said, re.DOTALL | re.MULTILINE)
    assert snippet is not None
    [folder] = re.findall(r'load\("(.+)/objects"\)', snippet[1])
    counts = f"{{n: spark.read.format('delta').load('{folder}/' + n).count() for n in {sorted(rows)}}}"
    distinct = (
        f"spark.read.format('delta').load('{folder}/objects').where('x_min < x_max AND label IS NOT NULL').count()"
    )
    code = f"{snippet[1]}\nprint({counts} == {rows}, {distinct} == {rows['objects']})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "|label|" in done.stdout.replace(" ", "")
    assert done.stdout.endswith("True True\n")
