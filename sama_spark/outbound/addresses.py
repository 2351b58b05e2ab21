"""Addresses that stand in an input and that only the user's own systems can reach."""

from __future__ import annotations

# By what the text begins with, and not by what it mentions. s3:// and gs:// pass, since storage can be connected to
# Sama; s3a:// and s3n:// are names of Hadoop's alone. The same text is a pattern of Java's and of Python's.
OUT_OF_REACH = (
    r"(?i)^\s*(?:"
    r"(?:abfss?|wasbs?|adl|s3[an]|hdfs|webhdfs|viewfs|maprfs)://\S"
    r"|(?:dbfs|file):\S"
    r"|/(?:Volumes|dbfs|Workspace|mnt|FileStore|local_disk0|databricks|lakehouse|tmp|home|Users)/\S"
    r"|[a-z]:\\\S"
    r")"
)
BEGINNING = 64  # characters that are looked at
REASON = (
    "is a path that Sama cannot reach: give a URL, name the column in `not_sent`, or say contract='lenient' "
    "if this is no asset"
)
