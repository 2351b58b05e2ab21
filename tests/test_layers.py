"""The layers of the package: nothing imports upwards, nothing in a circle, no name stands twice."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sama_spark

ROOT = Path(sama_spark.__file__).parent

# From the ground up. A module may import its own layer and those before it; imports for types count too.
LAYERS = {
    "base": "errors arguments ids names keys exact plain_yaml process_folder sessions local options exact_values",
    "http": "http",
    "api": "api",
    "engine": "staging driver_rows sql_texts delta outbound inbound purge pre_annotations vendors",
    "faces": "client cli jobs data_source pictures demo pyspark_sama __init__",
}
LAYER_OF = {room: number for number, rooms in enumerate(LAYERS.values()) for room in rooms.split()}
# The sandbox could be a package of its own; of this one it has only what knows nothing of Sama and Spark.
SANDBOX_MAY = {"plain_yaml"}
SANDBOX_IS_STARTED_BY = {"cli", "demo"}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


TREES = {name_of(file): ast.parse(file.read_text()) for file in sorted(ROOT.rglob("*.py"))}


def imports_of(module: str) -> Iterator[str]:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            named = [name if name.removeprefix("sama_spark.") in TREES else str(node.module) for name in whole]
        else:
            continue
        for name in named:
            if name == "sama_spark" or name.startswith("sama_spark."):
                yield name.removeprefix("sama_spark").lstrip(".") or "__init__"


IMPORTS = {module: {name for name in imports_of(module) if name != module} for module in TREES}
EDGES = [(module, imported) for module, found in IMPORTS.items() for imported in sorted(found)]


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_room_has_its_layer() -> None:
    assert {room(module) for module in TREES} - {"sandbox"} == set(LAYER_OF)


def test_nothing_imports_upwards() -> None:
    inside = [(one, other) for one, other in EDGES if "sandbox" not in (room(one), room(other))]
    assert {(one, other) for one, other in inside if LAYER_OF[room(one)] < LAYER_OF[room(other)]} == set()


def test_the_sandbox_stands_alone() -> None:
    assert {other for one, other in EDGES if room(one) == "sandbox" and room(other) != "sandbox"} <= SANDBOX_MAY
    assert {room(one) for one, other in EDGES if room(other) == "sandbox" != room(one)} <= SANDBOX_IS_STARTED_BY


def test_no_vendor_imports_another() -> None:
    vendors = [(one.split("."), other.split(".")) for one, other in EDGES if room(one) == room(other) == "vendors"]
    own = [(one, other) for one, other in vendors if len(one) > 1 and len(other) > 1 and other[1] != "seam"]
    assert [(one, other) for one, other in own if one[1] != other[1]] == []


def test_no_circle() -> None:
    """What is left when modules that import nothing of what is left are taken away, over and over, is circles."""
    left = {module: set(found) for module, found in IMPORTS.items()}
    while free := [module for module, found in left.items() if not found & left.keys()]:
        for module in free:
            del left[module]
    # A module above a circle is left too: from the other end the same again.
    while above := [module for module in left if not any(module in found for found in left.values())]:
        for module in above:
            del left[module]
    assert sorted(left) == []


def test_no_class_name_stands_twice() -> None:
    where: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in where.items() if len(modules) > 1} == {}


def test_no_file_name_stands_twice() -> None:
    names = Counter(file.name for file in ROOT.rglob("*.py") if file.name != "__init__.py")
    assert {name for name, count in names.items() if count > 1} == set()
