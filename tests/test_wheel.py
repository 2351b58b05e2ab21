"""The wheel alone, beside a pinned pyspark: nothing moves, nothing is missing, nothing more is imported."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from importlib.metadata import PackagePath, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
# Where Spark runs, these are there already; with what they need themselves.
SPARK = ("pyspark", "py4j", "grpcio", "grpcio-status", "googleapis-common-protos", "protobuf", "zstandard")
DECLARED = ("msgspec", "pyyaml", "urllib3")
RUNTIME = (*SPARK, "pandas", "pyarrow", "numpy", "pytz", "python-dateutil", "six", "tzdata", "typing-extensions")
# What only the sandbox, the demo and the tests need.
NOT_NEEDED = ("starlette", "uvicorn", "pytest", "matplotlib", "skimage", "hypothesis", "rich", "psutil", "delta")
USE = """
import json, sys
sys.path[:] = [p for p in sys.path if "site-packages" not in p] + json.loads(sys.argv[1])
from importlib import import_module
import sama_spark
assert sama_spark.__file__.startswith(sys.argv[2]), sama_spark.__file__
for name in sama_spark.__all__:
    getattr(sama_spark, name)
for module in sys.argv[3:]:
    import_module(module)
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make wheel` builds it, which is what the pages tell users to install."""
    folder = tmp_path_factory.mktemp("wheel")
    make = ["make", "--silent", "-C", str(ROOT), "wheel", f"DIST={folder}", f"PYTHON={sys.executable}"]
    subprocess.run(make, check=True, env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
    [built] = folder.glob("*.whl")
    return built


def test_the_pages_name_this_file_and_promise_no_index(wheel: Path) -> None:
    places = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "sama_spark").rglob("*.md")]
    places += [*(ROOT / "sama_spark").rglob("*.py"), *(ROOT / "notebooks").glob("*.py"), *(ROOT / "conf").rglob("*.*")]
    texts = {place: place.read_text() for place in places}
    named = {name for text in texts.values() for name in re.findall(r"sama_spark-[\d.]+\S*?\.whl", text)}
    assert named == {wheel.name}
    index = re.compile(r"pip install [\"']?sama-spark.*")
    promises = [(place.name, line) for place, text in texts.items() for line in index.findall(text)]
    assert promises == [("README.md", "pip install sama-spark` will do.")]
    assert "- Once it is released, `pip install sama-spark` will do." in texts[ROOT / "README.md"]


def test_the_extras_of_the_wheel_can_be_named(wheel: Path) -> None:
    """`pip install "dist/...whl[local,sandbox]"`, as the pages have it; nothing is fetched here."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-index"]
    done = subprocess.run(
        [*command, f"{wheel}[local,sandbox,pictures,demo]"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr  # it is all here already
    assert "does not provide the extra" not in done.stderr


def test_it_holds_the_package_and_asks_for_little(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = (message_from_bytes(archive.read(name)) for name in names if name.endswith("/METADATA"))
    needed = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert {re.split(r"[^\w-]", text)[0] for text in needed} == set(DECLARED)
    tops = {name.split("/")[0] for name in names}
    assert tops == {"sama_spark", "pyspark_sama.py", f"sama_spark-{metadata['Version']}.dist-info"}
    assert {"sama_spark/py.typed", "sama_spark/client.py", "sama_spark/docs/errors.md"} <= set(names)
    assert not [name for name in names if "test" in name or name.endswith(".pyc")]


def test_declared_dependencies_are_enough(wheel: Path, tmp_path: Path) -> None:
    """In an interpreter that sees nothing but the wheel, what it declares, and what Spark brings along."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    links = tmp_path / "seen"
    links.mkdir()
    for name in (*DECLARED, *RUNTIME):
        link(name, links)
    site = tmp_path / "site"
    found = (".".join(path.relative_to(site).with_suffix("").parts) for path in site.rglob("*.py"))
    modules = sorted(name for name in found if not re.search(r"\.(sandbox|demo|pictures)\.|__$", name))
    if not (links / "pyspark" / "sql" / "datasource.py").exists():
        modules = [name for name in modules if not re.search(r"datasource|pyspark_sama|sink|\.source\.", name)]
    paths = json.dumps([str(site), str(links)])
    command = [sys.executable, "-I", "-S", "-c", USE, paths, str(tmp_path), *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {name.split(".")[0] for name in json.loads(done.stdout)} & set(NOT_NEEDED)


def link(name: str, folder: Path) -> None:
    """Link the files of an installed distribution, and none of its neighbours."""
    for top in {file.parts[0] for file in files_of(name)} - {"__pycache__"}:
        if not (folder / top).exists():
            (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))


def files_of(name: str) -> list[PackagePath]:
    """Return the files of an installed distribution but for its commands, none where it is not installed."""
    try:
        found = distribution(name)
    except ModuleNotFoundError:
        return []
    return [
        file for file in found.files or () if ".." not in file.parts and Path(str(found.locate_file(file))).exists()
    ]


def test_installed_alone_it_moves_nothing_and_works(wheel: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    """A new environment, a pyspark that was there before, then the wheel by pip, as `%pip install` does."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(python), "-m", "pip"]
    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    for name in RUNTIME:
        copy(name, site)
    before = freeze(pip)
    subprocess.run([*pip, "install", "--quiet", str(wheel)], check=True)
    after = freeze(pip)
    assert before["pyspark"] == after["pyspark"] == distribution("pyspark").version
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"sama-spark", *DECLARED}
    base_url, key = sandbox.base_url, sandbox.api_key
    project = sandbox.create_project({"url": "string"}, {})
    done = subprocess.run(
        [str(python), "-I", "-c", FIRST_LINES, base_url, key, str(project)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYSPARK_PYTHON": str(python)},
    )
    assert done.returncode == 0, done.stderr
    assert len(sandbox.tasks(project)) == 3


def copy(name: str, site: Path) -> None:
    """Install a distribution of this environment in another one, by hard links where there can be some."""
    for file in files_of(name):
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        hard_link(str(distribution(name).locate_file(file)), str(site / file))


def hard_link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


FIRST_LINES = """
import sys
from pyspark.sql import SparkSession
from sama_spark import Client
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
client = Client(sys.argv[2], base_url=sys.argv[1])
df = spark.range(3).selectExpr("concat('https://assets.invalid/', id) AS url")
assert client.create_task_batch_from_table(df, sys.argv[3]).task_count == 3
assert client.get_delivered_tasks_to_table(spark, sys.argv[3]).count() == 0
assert not {"starlette", "uvicorn", "pytest"} & set(sys.modules)
"""


def freeze(pip: list[str]) -> dict[str, str]:
    listed = subprocess.run([*pip, "list", "--format", "json"], check=True, capture_output=True, text=True)
    return {package["name"].replace("_", "-").lower(): package["version"] for package in json.loads(listed.stdout)}
