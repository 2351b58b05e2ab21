"""Report a `label` that no shape has, with the tags that the shapes have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from sama_spark.vendors.sama.reader import Label

_LOOKED_AT = 20_000  # shapes
_SHOWN = 20


def unseen_label(annotations: DataFrame, label: Label) -> list[str]:
    """Return a note if none of these shapes has the label; one for each output where labels are given by output.

    Spark looks at 20,000 shapes at most. Without any shapes there is no note.
    """
    if label is None:
        return []
    shapes = annotations.where("tags IS NOT NULL").select("output", "label", "tags").limit(_LOOKED_AT)
    tags = F.array_sort(F.array_distinct(F.flatten(F.collect_set(F.map_keys("tags"))))).alias("tags")
    found = {row[0]: row for row in shapes.groupBy("output").agg(F.count("label").alias("labels"), tags).collect()}
    if not found:
        return []
    if isinstance(label, str):
        if any(row["labels"] for row in found.values()):
            return []
        return [f"no shape has a tag `{label}`; tags seen: {_named({tag for row in found.values() for tag in row[2]})}"]
    return [
        f"no shape of output `{output}` has a tag `{tag}`; tags seen: {_named(found[output]['tags'])}"
        for output, tag in label.items()
        if output in found and not found[output]["labels"]
    ] + [
        f"no output `{output}` has shapes; outputs with shapes: {_named(filter(None, found))}"
        for output in label
        if output not in found
    ]


def _named(names: Iterable[str]) -> str:
    known = sorted(names)
    more = ", ..." if len(known) > _SHOWN else ""
    return ", ".join(known[:_SHOWN]) + more or "none"
