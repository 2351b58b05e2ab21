"""`df.write.format("sama")`: the same tasks as the function, all or none, and the key nowhere."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyspark.sql.datasource")

from pyspark import cloudpickle
from pyspark.sql import functions as F

import sama_spark
from sama_spark import Client
from sama_spark.data_source.datasource import SamaDataSource, TaskWriter
from sama_spark.data_source.write_options import write_options
from sama_spark.errors import InvalidInput, InvalidRowsError, StagingError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

ROOT = Path(sama_spark.__file__).parents[1]


@pytest.fixture(autouse=True)
def known(spark: SparkSession) -> None:
    sama_spark.register(spark)


@pytest.fixture
def key_file(sandbox: Sandbox, tmp_path: Path) -> str:
    file = tmp_path / "key"
    file.write_text(sandbox.api_key + "\n")
    return str(file)


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    inputs = {"url": {"type": "string", "required": True}, "count": "integer", "day": "date", "score": "string"}
    return sandbox.create_project(inputs, {"objects": "image", "notes": "text"})


@pytest.fixture
def options(sandbox: Sandbox, project: int, key_file: str) -> dict[str, Any]:
    return {"project": project, "base_url": sandbox.base_url, "api_key_file": key_file}


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    return spark.range(0, 20, numPartitions=4).selectExpr(
        "concat('https://example.org/', id, '.jpg') AS url", "id count"
    )


def save(df: DataFrame, options: dict[str, Any], **more: Any) -> None:
    df.write.format("sama").mode("append").options(**options, **more).save()


def waiting() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("sama-spark-sink-*"))


@pytest.fixture
def before() -> set[Path]:
    return waiting()


# --- both doors


@pytest.mark.both_kinds
def test_rows_become_tasks(
    df: DataFrame, sandbox: Sandbox, project: int, options: dict[str, Any], before: set[Path]
) -> None:
    save(df, options, Chunk_Rows=6, TASKS_FILE_NAME="nightly", submit=True, batch_priority=-3)
    tasks = sandbox.tasks(project)
    assert sorted(task["data"]["count"] for task in tasks) == list(range(20))
    assert {(task["priority"], task["state"] != "new") for task in tasks} == {(-3, True)}
    assert {batch["tasks_file_name"] for batch in sandbox.batches(project)} == {"nightly"}
    assert sandbox.calls() == {"create_schema": 1, "open": 4, "put": 4, "continue": 4}
    order = [request["call"] for request in sandbox.requests() if request["call"] in ("put", "continue")]
    assert order == ["put"] * 4 + ["continue"] * 4
    assert waiting() <= before


def test_both_doors_upload_the_same(
    spark: SparkSession, sandbox: Sandbox, project: int, options: dict[str, Any], tmp_path: Path
) -> None:
    objects = "array(named_struct('type', 'point', 'index', 1, 'points', array(array(0.1F, 1e16, id)), 'at', {t}))"
    df = spark.range(0, 900, numPartitions=3).selectExpr(
        "concat('é🚗\"\\n', id) AS url",
        "if(id % 3 = 0, null, id * 1.0BD) AS count",
        "date_add(date'1969-12-25', int(id)) AS day",
        "if(id % 2 = 0, id / 7, 1e16) AS score",
        objects.format(t="timestamp_micros(id * 1000000007000 - 99)") + " AS output_objects",
        "if(id % 5 = 0, null, '{\"a\": 1.10}') AS output_notes",
        "string(id) AS mine",
        "int(id) AS first",
    )
    more = {"priority_column": "first", "row_key": "mine", "chunk_rows": 900, "contract": "lenient"}  # no image at all
    save(df, options, not_sent="mine", staging=str(tmp_path), **more)
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    client.create_task_batch_from_table(df, str(project), not_sent=["mine"], **more)  # type: ignore[arg-type]
    writer, function = (
        json.loads(sandbox.uploaded(project, batch["batch_id"]) or "") for batch in sandbox.batches(project)
    )
    assert len(writer) == 900
    assert writer == function
    assert list((tmp_path / "sama-spark").iterdir()) == []


@pytest.mark.both_kinds
def test_sql_and_tables(df: DataFrame, spark: SparkSession, sandbox: Sandbox, project: int, options: Any) -> None:
    df.createOrReplaceTempView("new_images")
    spark.table("new_images").where("count < 3").write.format("SAMA").mode("append").options(**options).save()
    assert len(sandbox.tasks(project)) == 3


def test_no_rows_no_call(df: DataFrame, sandbox: Sandbox, options: dict[str, Any]) -> None:
    save(df.where("count < 0"), options)
    assert sandbox.calls() == {"create_schema": 1}
    sandbox.forget_calls()
    save(df.where("count < 0"), options, contract="off")
    assert sandbox.calls() == {}


# --- all or nothing


@pytest.mark.both_kinds
def test_all_invalid_rows_are_found_before_anything_is_sent(
    df: DataFrame, sandbox: Sandbox, project: int, options: dict[str, Any], before: set[Path]
) -> None:
    bad = df.withColumn("count", F.when(F.col("count") % 10 == 3, 2**40).otherwise(F.col("count")))
    client = Client(sandbox.api_key, base_url=sandbox.base_url)
    with pytest.raises(InvalidRowsError) as function:
        client.create_task_batch_from_table(bad, str(project), row_key="url")
    with pytest.raises(Exception, match="InvalidRowsError") as writer:
        save(bad, options, row_key="url")
    assert function.value.message in str(writer.value)
    assert "on_invalid='reject'" in str(writer.value)
    assert set(sandbox.calls()) == {"create_schema"}
    assert waiting() <= before


def test_rows_that_a_helper_could_not_make(
    df: DataFrame, sandbox: Sandbox, project: int, options: dict[str, Any]
) -> None:
    boxes = F.when(F.col("count") == 7, F.expr("array(array(9, 9, 1, 1))")).otherwise(
        F.expr("array(array(1, 1, 9, 9))")
    )
    bad = df.withColumn("output_objects", sama_spark.boxes_to_output(boxes))
    told = r"1 rows cannot become tasks.*'output_objects' is no pre-annotation: each box needs four.*7.jpg"
    with pytest.raises(Exception, match=told):
        save(bad, options, row_key="url")
    assert sandbox.tasks(project) == []
    save(bad.where("count != 7"), options)
    assert len(sandbox.tasks(project)) == 19


@pytest.mark.both_kinds
def test_schema_errors_come_at_planning(df: DataFrame, sandbox: Sandbox, options: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"ContractError.*'other'.*no input of this name"):
        save(df.withColumn("other", F.lit(1)), options)
    with pytest.raises(Exception, match=r"ContractError.*'score' is binary.*base64"):
        save(df.withColumn("score", F.lit(b"1")), options)
    assert sandbox.calls() == {"create_schema": 2}


def test_too_many_tasks(df: DataFrame, sandbox: Sandbox, options: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="TooManyTasks"):
        save(df, options, max_tasks=19)
    assert set(sandbox.calls()) == {"create_schema"}


@pytest.mark.parametrize("fault", [{"kind": "drop", "after": True}, {"status": 502, "after": True}, {"status": 500}])
def test_lost_replies_to_continue(
    df: DataFrame, sandbox: Sandbox, project: int, options: dict[str, Any], fault: dict[str, Any]
) -> None:
    sandbox.switch(project, second_continue="obey")
    sandbox.fail("continue", times=2, **fault)
    save(df, options, chunk_rows=6)
    assert len(sandbox.tasks(project)) == 20


def test_an_upload_that_fails_for_good(
    df: DataFrame, sandbox: Sandbox, project: int, options: dict[str, Any], before: set[Path]
) -> None:
    sandbox.fail("put", skip=1, times=None, status=400)
    with pytest.raises(Exception, match="UploadUrlRefused"):
        save(df, options, chunk_rows=6)
    assert sandbox.tasks(project) == []
    assert {batch["state"] for batch in sandbox.batches(project)} == {"canceled"}
    assert waiting() <= before


@pytest.mark.both_kinds
def test_batches_that_are_not_started_are_named(
    df: DataFrame, sandbox: Sandbox, project: int, options: dict[str, Any]
) -> None:
    sandbox.fail("continue", times=None, status=400)
    with pytest.raises(Exception, match=r"BatchesNotStarted.*Do not send the DataFrame again"):
        save(df, options)
    [batch] = sandbox.batches(project)
    assert batch["state"] == "waiting"


@pytest.mark.both_kinds
def test_a_row_that_fails_on_a_worker(
    df: DataFrame, sandbox: Sandbox, options: dict[str, Any], before: set[Path]
) -> None:
    bad = df.withColumn("count", F.when(F.col("count") == 19, F.raise_error(F.lit("my own"))).otherwise(F.col("count")))
    with pytest.raises(Exception, match="my own"):
        save(bad.coalesce(1), options)  # with more tasks one may end after abort() has cleared the stage
    assert set(sandbox.calls()) == {"create_schema"}
    assert waiting() <= before


RETRIES = """
import sys
from pyspark import TaskContext
import sama_spark
from sama_spark.local import local_session

base_url, project, staging = sys.argv[1:]
spark = local_session(cores="2,4")
sama_spark.register(spark)

def fails_at_first(batches):
    for n, batch in enumerate(batches):
        if n == 3 and TaskContext.get().attemptNumber() < 2:
            raise RuntimeError("a worker is lost")
        yield batch

spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 100)
df = spark.range(0, 1000, numPartitions=2).selectExpr("concat('https://example.org/', id) AS url")
df = df.mapInArrow(fails_at_first, "url string")
df.write.format("sama").mode("append").options(
    project=project, base_url=base_url, staging=staging, chunk_rows=50
).save()
"""


def script(code: str, *arguments: Any, **env: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **env},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )


@pytest.mark.long
def test_attempts_that_fail_and_the_key_from_the_environment(
    sandbox: Sandbox, project: int, tmp_path: Path, session_kind: str
) -> None:
    """Tasks that fail after they have staged a part: what they left is neither sent nor kept."""
    if session_kind == "connect":
        pytest.skip("`local[2,4]` is for a classic session")
    done = script(RETRIES, sandbox.base_url, project, tmp_path, SAMA_API_KEY=sandbox.api_key)
    assert sandbox.api_key not in done.stdout + done.stderr
    urls = [task["data"]["url"] for task in sandbox.tasks(project)]
    assert (len(urls), len(set(urls))) == (1000, 1000)
    assert "a worker is lost" in done.stderr
    assert list((tmp_path / "sama-spark").iterdir()) == []


# --- the parts that Spark calls, without Spark


def writer(df: DataFrame, options: dict[str, Any]) -> TaskWriter:
    source = SamaDataSource({name: str(value) for name, value in options.items()})
    return cloudpickle.loads(cloudpickle.dumps(source.writer(df.schema, False)))


def batches(df: DataFrame) -> Any:
    return iter(df.toArrow().to_batches())


def test_a_constructor_leaves_nothing(df: DataFrame, sandbox: Sandbox, options: dict[str, Any], tmp_path: Path) -> None:
    made = writer(df, {**options, "staging": tmp_path / "stage"})
    assert sandbox.calls() == {"create_schema": 1}
    assert not (tmp_path / "stage").exists()
    assert sandbox.api_key.encode() not in cloudpickle.dumps(made)


def test_two_attempts_one_message(df: DataFrame, sandbox: Sandbox, project: int, options: dict[str, Any]) -> None:
    made = writer(df, options)
    lost, won = made.write(batches(df)), made.write(batches(df))
    assert lost.file != won.file
    made.commit([won])
    assert len(sandbox.tasks(project)) == 20
    assert not won.file.parent.exists()


def test_abort_survives_messages_that_are_not_there(df: DataFrame, sandbox: Sandbox, options: dict[str, Any]) -> None:
    made = writer(df, options)
    message = made.write(batches(df))
    made.abort([None, message, None])
    assert not message.file.parent.exists()
    made.abort([None])
    assert set(sandbox.calls()) == {"create_schema"}


@pytest.mark.parametrize("damage", ["gone", "short", "changed"])
def test_a_stage_that_is_not_shared(
    df: DataFrame, sandbox: Sandbox, project: int, options: dict[str, Any], damage: str
) -> None:
    made = writer(df, options)
    message = made.write(batches(df))
    text = message.file.read_bytes()
    if damage == "gone":
        message.file.unlink()
    else:
        message.file.write_bytes(text[:-1] if damage == "short" else text[:-1] + b" ")
    with pytest.raises(StagingError, match="nothing was sent.*`staging`" if damage != "changed" else "changed"):
        made.commit([message])
    assert sandbox.tasks(project) == []
    assert {batch["state"] for batch in sandbox.batches(project)} <= {"canceled"}


def test_a_stage_that_workers_cannot_write(df: DataFrame, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = writer(df, {**options, "staging": tmp_path / "file"})
    with pytest.raises(StagingError, match=r"a worker cannot write.*create_task_batch_from_table"):
        made.write(batches(df))


# --- options


GOOD = {"project": "1"}


def test_options_mean_what_the_functions_parameters_mean() -> None:
    found = write_options(
        {
            "Project_ID": "1",
            "not_sent": "a, b",
            "ROW_KEY": '["x,y", "z"]',
            "outputs": '{"o": "json"}',
            "submit": "TRUE",
            "batch_priority": "-1",
            "max_tasks": "10",
            "chunk_bytes": "99",
            "on_invalid": "raise",
        }
    )
    assert (found.project_id, found.options.outputs) == ("1", {"o": "json"})
    fields = found.options.fields
    assert (fields.not_sent, fields.row_key, fields.submit, fields.priority) == (("a", "b"), ("x,y", "z"), True, -1)
    assert (found.options.max_tasks, found.options.chunk_bytes) == (10, 99)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"projekt": "2"}, "Do you mean `project`"),
        ({"batchpriority": "2"}, "Do you mean `batch_priority`"),
        ({"zzz": "2"}, "The options are api_key_env"),
        ({"outbox": "t"}, "create_task_batch_from_table"),
        ({"query": "q"}, "there is no option `query`"),
        ({"rejected_table": "t"}, "create_task_batch_from_table"),
        ({"on_invalid": "reject"}, "create_task_batch_from_table"),
        ({"dry_run": "true"}, "create_task_batch_from_table"),
        ({"wait": "true"}, "create_task_batch_from_table"),
        ({"project_id": "2"}, "not named once"),
        ({"path": "x"}, "no path"),
        ({"submit": "yes"}, "neither true nor false"),
        ({"chunk_rows": "many"}, "no whole number"),
        ({"chunk_rows": "0"}, "1 or more"),
        ({"batch_priority": "3000000000"}, "32 bits"),
        ({"contract": "loose"}, "'strict'"),
        ({"outputs": "objects=json"}, "not understood"),
        ({"outputs": '{"o": "xml"}'}, '"json" or "text"'),
        ({"not_sent": "[1]"}, "not understood"),
        ({"priority_column": " "}, "is empty"),
        ({"api_key_env": "A", "api_key_file": "b"}, "Name one of them"),
        ({"staging": "s3://bucket"}, "Unity Catalog volume"),
        ({"staging": "stage"}, "relative path"),
    ],
)
def test_options_that_are_refused(more: dict[str, str], said: str) -> None:
    with pytest.raises(sama_spark.ConnectorError, match=said):
        write_options(GOOD | more)


def test_the_project_is_required() -> None:
    with pytest.raises(InvalidInput, match="not named once"):
        write_options({})


def test_overwriting_is_refused(df: DataFrame, sandbox: Sandbox, options: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r'tasks are not overwritten.*mode\("append"\)'):
        df.write.format("sama").mode("overwrite").options(**options).save()
    assert sandbox.calls() == {}


@pytest.mark.parametrize("mode", ["append", "complete"])
@pytest.mark.parametrize("more", [{}, {"query": "nightly", "staging": "/nowhere"}], ids=["plain", "as once"])
def test_a_stream_is_refused_with_the_lines_to_write(
    spark: SparkSession, sandbox: Sandbox, options: dict[str, Any], tmp_path: Path, mode: str, more: dict[str, str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.json").write_text('{"url": "https://example.org/1.jpg", "count": 1}')
    rows = spark.readStream.schema("url string, count bigint").json(str(tmp_path / "in"))
    if mode == "complete":
        rows = rows.groupBy("url").count()
    stream = rows.writeStream.format("sama").outputMode(mode).options(**options, **more).trigger(availableNow=True)
    lines = r"(?s)InvalidInput.*nothing was sent.*MicroBatches\(.*outbox=.*row_key=.*foreachBatch\(each\).*checkpoint"
    with pytest.raises(Exception, match=lines):
        stream.option("checkpointLocation", str(tmp_path / "checkpoint")).start().awaitTermination(60)
    assert sandbox.calls() == {}


# --- the key


def test_the_key_is_in_no_text(
    df: DataFrame, sandbox: Sandbox, options: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    key = sandbox.api_key
    told: list[str] = []
    for more in ({"api_key": key}, {"Access_Key": key}, {"token": key}, {"api_key_env": key}, {"api_key_file": key}):
        given = {**options, **more}
        if "api_key_env" in more:
            del given["api_key_file"]
        with pytest.raises(Exception, match="key") as caught:
            save(df, given)
        told.append(str(caught.value))
    sandbox.fail("create_schema", times=None, status=401)
    with pytest.raises(Exception, match="AuthenticationError") as caught:
        save(df, options)
    assert key not in "".join([*told, str(caught.value)])
    assert all("api_key_env" in text or "api_key_file" in text for text in told)
    assert key not in "".join(capfd.readouterr())


def test_options_and_writers_hold_no_key(df: DataFrame, sandbox: Sandbox, options: dict[str, Any]) -> None:
    made = writer(df, options)
    held = pickle.dumps(made._target) + cloudpickle.dumps(made) + repr(vars(made)).encode()
    assert sandbox.api_key.encode() not in held


# --- the module that Spark finds by itself

FOUND = """
import sys
from sama_spark.local import local_session

base_url, project = sys.argv[1:]
spark = local_session()
df = spark.createDataFrame([("https://example.org/1.jpg",)], "url string")
df.write.format("sama").mode("append").options(project=project, base_url=base_url).save()
"""


@pytest.mark.long
@pytest.mark.both_kinds
def test_the_wheel_makes_the_format_known(sandbox: Sandbox, project: int, tmp_path: Path, session_kind: str) -> None:
    if session_kind == "connect":
        pytest.skip("the scan is the server's, the same for both")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, check=True)
    [built] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        assert {"pyspark_sama.py", "sama_spark/data_source/datasource.py"} <= set(archive.namelist())
        archive.extractall(tmp_path / "site")
    script(FOUND, sandbox.base_url, project, SAMA_API_KEY=sandbox.api_key, PYTHONPATH=str(tmp_path / "site"))
    assert len(sandbox.tasks(project)) == 1
