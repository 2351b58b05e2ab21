"""Addresses in inputs that only the user's own systems can reach, and Sama cannot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column

# Only the beginning of a text counts, not what it mentions further on. s3:// and gs:// pass, since storage can be
# connected to Sama; s3a:// and s3n:// are Hadoop's own names. The pattern means the same in Java and in Python.
_PATTERN = (
    r"(?i)^\s*(?:"
    r"(?:abfss?|wasbs?|adl|s3[an]|hdfs|webhdfs|viewfs|maprfs)://\S"
    r"|(?:dbfs|file):\S"
    r"|/(?:Volumes|dbfs|Workspace|mnt|FileStore|local_disk0|databricks|lakehouse|tmp|home|Users)/\S"
    r"|[a-z]:\\\S"
    r")"
)
_match = re.compile(_PATTERN, re.ASCII).match
_BEGINNING = 64  # characters that are looked at
OUT_OF_REACH = (
    "is a path that Sama cannot reach: give a URL, name the column in `not_sent`, or say contract='lenient' "
    "if this is no asset"
)


def are_out_of_reach(texts: Column) -> Column:
    """Return which texts begin with an address that Sama cannot reach."""
    beginning = F.substring(texts, 1, _BEGINNING)
    # The pattern costs more than all the rest, so web addresses and plain words never reach it.
    may_be_an_address = ~texts.startswith("http") & (beginning.contains(":") | beginning.contains("/"))
    return may_be_an_address & beginning.rlike(_PATTERN)


def is_out_of_reach(text: str) -> bool:
    """Return whether a text begins with an address that Sama cannot reach."""
    return _match(text[:_BEGINNING]) is not None
