"""Addresses in inputs that only the user's own systems can reach, and Sama cannot."""

from __future__ import annotations

# Only the beginning of a text counts, not what it mentions further on. s3:// and gs:// pass, since storage can be
# connected to Sama; s3a:// and s3n:// are Hadoop's own names. The pattern means the same in Java and in Python.
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
