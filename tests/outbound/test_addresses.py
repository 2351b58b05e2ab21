"""Addresses that Sama cannot reach are told in all their spellings; texts that mention one are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from test_encode import STRING, known, tasks_of
from test_rows import by_the_writer

from sama_spark.outbound.addresses import OUT_OF_REACH as REASON

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OUT_OF_REACH = [
    "abfss://c@a.dfs.core.windows.net/k.jpg",
    "abfs://c@a.dfs.core.windows.net/k.jpg",
    "ABFSS://c@a/k.jpg",
    "wasb://c@a.blob.core.windows.net/k.jpg",
    "wasbs://c@a.blob.core.windows.net/k.jpg",
    "adl://a.azuredatalakestore.net/k.jpg",
    "s3a://bucket/k.jpg",
    "s3n://bucket/k.jpg",
    "S3A://bucket/k.jpg",
    "hdfs://name:8020/k.jpg",
    "hdfs:///k.jpg",
    "viewfs://c/k.jpg",
    "webhdfs://h/k.jpg",
    "dbfs:/k.jpg",
    "dbfs:///k.jpg",
    "DBFS:/FileStore/k.jpg",
    "file:/k.jpg",
    "file:///k.jpg",
    "File:///C:/k.jpg",
    "/Volumes/c/s/v/k.jpg",
    "/volumes/c/s/v/k.jpg",
    "/dbfs/mnt/k.jpg",
    "/Workspace/Users/me/k.jpg",
    "/mnt/lake/k.jpg",
    "/FileStore/k.jpg",
    "/local_disk0/k.jpg",
    "/tmp/k.jpg",  # noqa: S108
    "/home/me/k.jpg",
    "  /Volumes/c/s/v/k.jpg",
    "\n\tabfss://c@a/k.jpg",
    r"C:\images\k.jpg",
]
SENT = [
    "https://a/k.jpg",
    "HTTPS://a/Volumes/k.jpg",
    "https://a/k.jpg?from=dbfs:/k.jpg",
    "s3://bucket/k.jpg",
    "gs://bucket/k.jpg",
    "see dbfs:/k.jpg",
    "the volume is /Volumes/c/s/v",
    "file: see the notes",
    "file",
    "dbfs: the old way",
    "dbfs",
    "abfss:// is how Azure writes it",
    "/ left, \\ right",
    "/mnt/ is full",
    "/r/pics",
    "/tmpfile",  # noqa: S108
    "c: the third answer",
    "profile:/x",
    "mydbfs:/x",
    "",
    " ",
    "\u00e9t\u00e9 /dbfs/x",
    "x" * 100 + "/Volumes/c",
]


def test_what_sama_cannot_reach(spark: SparkSession) -> None:
    df = spark.createDataFrame([(text,) for text in OUT_OF_REACH + SENT], "url string").coalesce(1)
    contract = known(url=STRING)
    texts, invalid = tasks_of(df, contract)
    assert len(texts) == len(SENT)
    assert {row.reason for row in invalid} == {REASON}
    assert len(invalid) == 5  # that are described; the others are counted
    for found in (tasks_of(df, contract)[0], by_the_writer(df, contract)[0]):
        assert len(found) == len(SENT)
    for text in OUT_OF_REACH:
        assert not any(text.strip() in sent for sent in texts if text.strip() not in "".join(SENT))


def test_outputs_are_not_looked_at(spark: SparkSession) -> None:
    df = spark.createDataFrame([("https://a", "/Volumes/c")], "url string, output_note string")
    assert tasks_of(df, known(url=STRING)) == (['{"url":"https://a","output_note":"/Volumes/c"}'], [])
