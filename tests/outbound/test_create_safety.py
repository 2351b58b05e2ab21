"""Creating tasks under bad luck: every row once or not at all, and nothing left behind."""

from __future__ import annotations

import json
import logging
import pickle
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from kit import clients
from kit.fake_clock import FakeClock
from kit.paper import PaperFrame, PaperSpark, on_paper
from sama_spark import Client
from sama_spark import staging as staging_module
from sama_spark.api.sama_errors import BatchesNotStarted, BatchUnsure
from sama_spark.errors import ConnectorError, ContractError, InvalidInput, InvalidRowsError, TooManyTasks
from sama_spark.http.call_errors import ServerError, UploadUrlRefused

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from sama_spark.sandbox import Sandbox

pytestmark = pytest.mark.one_kind

ROWS, CHUNK = 6, 2
URLS = [f"https://example.org/{i}.jpg" for i in range(ROWS)]


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("volume")


@pytest.fixture(scope="module")
def staged_client(running_sandbox: Sandbox, staging: Path) -> Iterator[Client]:
    with clients.client(running_sandbox, staging=str(staging), read_timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def streaming_client(
    running_sandbox: Sandbox, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    with clients.streaming_client(
        running_sandbox, spark, tmp_path_factory.mktemp("cluster"), read_timeout=20
    ) as client:
        yield client


@pytest.fixture
def client(way: str, request: pytest.FixtureRequest) -> Client:
    found: Client = request.getfixturevalue("streaming_client" if way == "streamed" else "staged_client")
    return found


@pytest.fixture
def project(sandbox: Sandbox) -> int:
    inputs = {"url": {"type": "string", "required": True}, "count": "integer"}
    return sandbox.create_project(inputs, {"objects": "image", "notes": "text"})


@pytest.fixture
def df(spark: SparkSession) -> DataFrame:
    return spark.range(0, ROWS, numPartitions=1).selectExpr("concat('https://example.org/', id, '.jpg') AS url")


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> PaperFrame:
    """The same rows without Spark, for faults that only the driver meets."""
    on_paper(monkeypatch)
    return PaperFrame(PaperSpark(), URLS)


def created(sandbox: Sandbox, project: int) -> list[str]:
    return sorted(task["data"]["url"] for task in sandbox.tasks(project))


def states(sandbox: Sandbox, project: int) -> Counter[str]:
    return Counter(batch["state"] for batch in sandbox.batches(project))


def run(client: Client, df: Any, project: int, **options: Any) -> Any:
    return client.create_task_batch_from_table(df, str(project), **{"chunk_rows": CHUNK, **options})


def assert_nothing_left(sandbox: Sandbox, project: int, staging: Path) -> None:
    """No task, no batch that still waits, no text in the stage."""
    assert sandbox.tasks(project) == []
    assert set(states(sandbox, project)) <= {"canceled"}
    assert "continue" not in sandbox.calls()
    assert [path for path in (staging / "sama-spark").rglob("*") if path.is_file()] == []
    assert list((staging / "sama-spark").glob("out-*")) == []


# --- one run, every row once


@pytest.mark.both_kinds
def test_a_plain_run(client: Client, sandbox: Sandbox, project: int, df: DataFrame, staging: Path, way: str) -> None:
    seen: list[int] = []
    result = run(client, df, project, on_progress=seen.append)
    assert created(sandbox, project) == URLS
    assert seen == [2, 4, 6]
    assert set(result) >= {"batch_id", "batch_ids", "batches", "task_count", "bytes", "output_rules", "staged"}
    ids = [batch["batch_id"] for batch in sandbox.batches(project)]
    assert result["batch_id"] == result["batch_ids"][0] in ids
    assert sorted(result["batch_ids"]) == sorted(ids)
    assert (result["task_count"], result.task_count, len(result), len(dict(result))) == (
        ROWS,
        ROWS,
        len(list(result)),
        len(result),
    )
    assert result["bytes"] == sum(batch["uploaded_bytes"] for batch in sandbox.batches(project))
    assert result["staged"] is (way == "staged")
    assert [(b.tasks, b.bytes > 0) for b in result["batches"]] == [(CHUNK, True)] * 3
    assert all(str(batch_id) in repr(result) for batch_id in result["batch_ids"])
    assert "6 tasks in 3 batches" in repr(result)
    with pytest.raises(KeyError):
        result["nothing of the kind"]
    assert list((staging / "sama-spark").glob("out-*")) == []


def test_every_upload_stands_before_anything_is_continued(
    client: Client, sandbox: Sandbox, project: int, df: DataFrame
) -> None:
    sandbox.fail("put", kind="slow", seconds=0.5, skip=1)
    run(client, df, project, in_flight=1)
    order = [request["call"] for request in sandbox.requests() if request["call"] in ("open", "put", "continue")]
    assert order == ["open", "put"] * 3 + ["continue"] * 3


def test_what_travels_on_the_upload(client: Client, sandbox: Sandbox, project: int, df: DataFrame) -> None:
    run(client, df, project)
    puts = sandbox.requests("put")
    assert len(puts) == 3
    sizes = {batch["uploaded_bytes"] for batch in sandbox.batches(project)}
    for put in puts:
        assert not put["has_key"]
        assert put["headers"]["content-type"] == "application/json"
        assert int(put["headers"]["content-length"]) in sizes
        assert "transfer-encoding" not in put["headers"]
    assert all(request["has_key"] for request in sandbox.requests() if request["call"] != "put")


def test_options_reach_the_server(staged_client: Client, sandbox: Sandbox, project: int, spark: SparkSession) -> None:
    df = spark.createDataFrame([("u", "seen")], "url string, output_notes string")
    staged_client.create_task_batch_from_table(df, str(project))
    staged_client.create_task_batch_from_table(df, str(project), -5, "a@example.org", True, "nightly")
    first, second = sandbox.batches(project)
    assert (first["tasks_file_name"], first["notification_email"]) == ("databricks_connector", None)
    assert (second["tasks_file_name"], second["notification_email"]) == ("nightly", "a@example.org")
    plain, submitted = sandbox.tasks(project)
    assert (plain["priority"], plain["state"], plain["answers"]) == (0, "new", None)
    assert (submitted["priority"], submitted["answers"]) == (-5, {"notes": "seen"})
    assert submitted["state"] != "new"


# --- faults that pass

PASSING: dict[str, dict[str, Any]] = {
    "dropped before": {"kind": "drop"},
    "dropped after": {"kind": "drop", "after": True},
    "500 before": {"status": 500},
    "500 after": {"status": 500, "after": True},
    "503": {"status": 503},
    "429": {"status": 429, "retry_after": 2},
    "429 with a date": {"status": 429, "retry_after": 2, "retry_after_form": "date"},
    "html": {"kind": "html"},
    "html after": {"kind": "html", "after": True},
}


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("call", ["open", "put"])
def test_open_or_put_fails_once(
    staged_client: Client, sandbox: Sandbox, project: int, paper: PaperFrame, call: str, fault: str
) -> None:
    sandbox.fail(call, **PASSING[fault])
    result = run(staged_client, paper, project)
    assert created(sandbox, project) == URLS
    assert sandbox.calls()[call] == 4
    assert len(result["batch_ids"]) == states(sandbox, project)["completed"] == 3


def test_open_is_answered_by_half_a_reply(
    staged_client: Client, sandbox: Sandbox, project: int, paper: PaperFrame
) -> None:
    sandbox.fail("open", kind="truncate")
    sandbox.fail("create_schema", kind="truncate")
    run(staged_client, paper, project)
    assert created(sandbox, project) == URLS


def test_an_expired_url_leads_to_a_new_batch(client: Client, sandbox: Sandbox, project: int, df: DataFrame) -> None:
    sandbox.fail("put", kind="expired", skip=1)
    result = run(client, df, project)
    assert created(sandbox, project) == URLS
    assert states(sandbox, project) == {"completed": 3, "canceled": 1}
    [refused] = [batch["batch_id"] for batch in sandbox.batches(project) if batch["state"] == "canceled"]
    assert refused not in result["batch_ids"]


@pytest.mark.parametrize("second_continue", ["refuse", "obey"])
@pytest.mark.parametrize("fault", PASSING)
def test_continue_fails_once(
    staged_client: Client, sandbox: Sandbox, project: int, paper: PaperFrame, fault: str, second_continue: str
) -> None:
    sandbox.switch(project, second_continue=second_continue)
    sandbox.fail("continue", skip=1, **PASSING[fault])
    run(staged_client, paper, project)
    assert created(sandbox, project) == URLS
    assert states(sandbox, project) == {"completed": 3}


@pytest.mark.parametrize("second_continue", ["refuse", "obey"])
@pytest.mark.parametrize("after", [False, True])
def test_a_gateway_answers_every_continue_with_502(
    staged_client: Client, sandbox: Sandbox, project: int, paper: PaperFrame, after: bool, second_continue: str
) -> None:
    """The first try of each of the batches, with tasks that take their time to appear."""
    sandbox.switch(project, second_continue=second_continue, creation_delay=3)
    for batch in (70001, 70002, 70003):
        sandbox.fail(path=f"/batches/{batch}/continue", status=502, after=after)
    run(staged_client, paper, project)
    sandbox.advance(60)
    assert created(sandbox, project) == URLS
    assert [request["status"] for request in sandbox.requests("continue")].count(502) == 3


# --- faults that do not pass


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 500}, ServerError),
        ({"kind": "drop"}, ConnectorError),
        ({"kind": "expired"}, UploadUrlRefused),
    ],
)
def test_a_put_fails_for_good(
    staged_client: Client,
    sandbox: Sandbox,
    project: int,
    paper: PaperFrame,
    staging: Path,
    fault: dict[str, Any],
    kind: type[ConnectorError],
) -> None:
    # Uploads share the fake clock: one that sleeps through its retries would use up the other's deadline.
    in_flight = 1 if kind is ServerError else 2
    refused_for_good(staged_client, sandbox, project, paper, staging, fault, kind, in_flight)


@pytest.mark.both_kinds
def test_an_upload_is_refused_for_good(
    client: Client, sandbox: Sandbox, project: int, df: DataFrame, staging: Path
) -> None:
    refused_for_good(client, sandbox, project, df, staging, {"status": 400}, UploadUrlRefused)


def refused_for_good(
    client: Client,
    sandbox: Sandbox,
    project: int,
    df: Any,
    staging: Path,
    fault: dict[str, Any],
    kind: type[ConnectorError],
    in_flight: int = 2,
) -> None:
    sandbox.fail("put", skip=1, times=None, **fault)
    with pytest.raises(kind) as caught:
        run(client, df, project, in_flight=in_flight)
    assert "put" in str(caught.value).lower() or "upload" in str(caught.value).lower()
    assert states(sandbox, project)["canceled"] >= 2
    assert_nothing_left(sandbox, project, staging)


def test_opening_fails_for_good(client: Client, sandbox: Sandbox, project: int, df: DataFrame, staging: Path) -> None:
    sandbox.fail("open", skip=2, times=None, status=401)
    with pytest.raises(ConnectorError, match="401"):
        run(client, df, project)
    assert states(sandbox, project) == {"canceled": 2}
    assert_nothing_left(sandbox, project, staging)


def test_the_callers_own_error_in_on_progress_ends_the_run(
    client: Client, sandbox: Sandbox, project: int, df: DataFrame, staging: Path
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(client, df, project, on_progress=interrupted, in_flight=1)
    assert_nothing_left(sandbox, project, staging)


@pytest.mark.parametrize(("status", "kind"), [(400, ConnectorError), (500, BatchUnsure)])
def test_one_of_three_batches_is_not_started(
    staged_client: Client, sandbox: Sandbox, project: int, paper: PaperFrame, status: int, kind: type[ConnectorError]
) -> None:
    sandbox.fail("continue", status=status, skip=2, times=None)
    with pytest.raises(BatchesNotStarted) as caught:
        run(staged_client, paper, project)
    error = caught.value
    by_state = {batch["batch_id"]: batch["state"] for batch in sandbox.batches(project)}
    assert sorted(error.started) == sorted(i for i, state in by_state.items() if state == "completed")
    [waiting] = [i for i, state in by_state.items() if state == "waiting"]
    assert list(error.not_started) == [waiting]
    assert isinstance(error.not_started[waiting], kind)
    assert all(str(batch_id) in str(error) for batch_id in by_state)
    assert "not send the DataFrame again" in error.remedy
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.started, list(again.not_started), str(again)) == (error.started, [waiting], str(error))
    sandbox.heal()
    staged_client.continue_batch(project, waiting)
    assert created(sandbox, project) == URLS


# --- refused before anything is created


@pytest.mark.both_kinds
def test_an_invalid_row_in_the_last_partition(
    client: Client, sandbox: Sandbox, project: int, spark: SparkSession, staging: Path, way: str
) -> None:
    rows = spark.range(0, 40, numPartitions=4).selectExpr(
        "concat('u', id) AS url", "if(id = 39, 3000000000, id) AS count"
    )
    with pytest.raises(InvalidRowsError) as caught:
        run(client, rows, project)
    error = caught.value
    assert error.column == "count"
    assert "u39" in str(error)
    assert "3000000000" in str(error)
    assert "u38" not in str(error)
    assert error.remedy
    assert error.remedy[1:] in str(error)
    if way != "streamed":
        assert "open" not in sandbox.calls()
    assert_nothing_left(sandbox, project, staging)


def test_a_row_without_a_required_input(
    client: Client, sandbox: Sandbox, project: int, spark: SparkSession, staging: Path
) -> None:
    rows = spark.createDataFrame([("u", 1), (None, 77)], "url string, count int")
    with pytest.raises(InvalidRowsError, match="'url' is null") as caught:
        run(client, rows, project)
    assert "77" in str(caught.value)
    assert_nothing_left(sandbox, project, staging)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT 'a' AS url, 'b' AS url", "'url'"),
        ("SELECT 'a' AS url, 'b' AS urll", "'urll'"),
        ("SELECT 'a' AS url, '{}' AS output_boxes", "'output_boxes'"),
        ("SELECT 1 AS count", "'url'"),
        ("SELECT 'a' AS url, true AS count", "'count'"),
    ],
)
def test_columns_that_do_not_fit(
    staged_client: Client, sandbox: Sandbox, project: int, spark: SparkSession, sql: str, named: str
) -> None:
    with pytest.raises(ContractError, match=named):
        run(staged_client, spark.sql(sql), project)
    assert {request["method"] for request in sandbox.requests()} == {"GET"}


@pytest.mark.parametrize("priority", [2**31, -(2**31) - 1])
def test_a_priority_beyond_32_bits(
    staged_client: Client, sandbox: Sandbox, project: int, df: DataFrame, priority: int
) -> None:
    with pytest.raises(InvalidInput, match="batch_priority"):
        run(staged_client, df, project, batch_priority=priority)
    assert sandbox.calls() == {}


@pytest.mark.both_kinds
def test_an_empty_dataframe_makes_no_call(client: Client, sandbox: Sandbox, project: int, df: DataFrame) -> None:
    result = run(client, df.where("url IS NULL"), project)
    assert sandbox.calls() == {}
    assert (result["batch_id"], result["batch_ids"], result["task_count"], result["bytes"]) == (None, [], 0, 0)
    assert "empty" in repr(result)


@pytest.mark.both_kinds
def test_max_tasks_refuses_before_a_batch_is_opened(
    client: Client, sandbox: Sandbox, project: int, df: DataFrame, staging: Path
) -> None:
    with pytest.raises(TooManyTasks, match="max_tasks = 5"):
        run(client, df, project, max_tasks=ROWS - 1)
    assert "open" not in sandbox.calls()
    assert_nothing_left(sandbox, project, staging)
    assert run(client, df, project, max_tasks=ROWS)["task_count"] == ROWS


@pytest.mark.both_kinds
def test_both_argument_orders_and_the_old_keyword(
    staged_client: Client, sandbox: Sandbox, project: int, df: DataFrame
) -> None:
    one = df.limit(1)
    staged_client.create_task_batch_from_table(str(project), one)  # type: ignore[arg-type]
    staged_client.create_task_batch_from_table(project, one)  # type: ignore[arg-type]
    staged_client.create_task_batch_from_table(one, proj_id=str(project))  # type: ignore[call-arg]
    assert created(sandbox, project) == [URLS[0]] * 3
    with pytest.raises(InvalidInput, match="DataFrame"):
        staged_client.create_task_batch_from_table([{"url": "u"}], str(project))  # type: ignore[arg-type]


# --- what is said, and what is never said


def test_not_silent(
    staged_client: Client, sandbox: Sandbox, project: int, df: DataFrame, caplog: pytest.LogCaptureFixture,
    staging: Path,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger("users.own")
    options = {"staging": str(staging), "base_url": sandbox.base_url}
    with Client(sandbox.api_key, False, logger, logging.WARNING, **options) as loud:  # type: ignore[arg-type]
        run(loud, df, project)
    lines = [record for record in caplog.records if record.name == "users.own"]
    assert {record.levelno for record in lines} == {logging.WARNING}
    said = "\n".join(record.getMessage() for record in lines)
    assert len(re.findall(r"PUT ", said)) == 3
    assert len(re.findall(r"POST .*continue", said)) == 3
    caplog.clear()
    run(staged_client, df, project)
    assert [record for record in caplog.records if record.levelno >= logging.INFO and "sama" in record.name] == []


def test_not_silent_without_a_logger_prints(
    sandbox: Sandbox, project: int, df: DataFrame, staging: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(sandbox.api_key, silent=False, base_url=sandbox.base_url, staging=str(staging)) as loud:
        run(loud, df, project)
    assert capsys.readouterr().out.count("continue") == 3


def secrets_in(text: str, key: str) -> list[str]:
    found = [key] if key in text else []
    return found + re.findall(r"Signature=[^&\s<\[]+|access_key=(?!<?redacted)[^&\s<\[]+|/_uploads/[\w./-]+", text)


def told_by(error: BaseException) -> Iterator[str]:
    """All that an error says, with the locals of the library's frames, through its chain and its pickle."""
    package = staging_module.__file__.rpartition("/")[0]
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None:
            continue
        yield from (str(one), repr(one), repr(vars(one)))
        shown = traceback.TracebackException.from_exception(one, capture_locals=True)
        yield from (f"{f.name} {f.line} {f.locals}" for f in shown.stack if f.filename.startswith(package))
        todo += [one.__cause__, one.__context__]
    yield pickle.dumps(error).decode("latin-1")


@pytest.mark.parametrize(
    "fault",
    [
        {"call": "put", "status": 400, "times": None},
        {"call": "put", "kind": "expired", "times": None},
        {"call": "put", "kind": "drop", "times": None},
        {"call": "open", "status": 401, "body": "echo"},
        {"call": "open", "kind": "truncate", "times": None},
        {"call": "continue", "kind": "html", "body": "echo", "times": None},
        {"call": "create_schema", "status": 500, "times": None},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_key_and_signed_urls_are_shown_nowhere(
    sandbox: Sandbox,
    project: int,
    df: DataFrame,
    staging: Path,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
    make_loud: Callable[[], Client],
) -> None:
    caplog.set_level(logging.DEBUG)
    if fault.get("body") == "echo":
        url = f"{sandbox.base_url}/projects/1.json?access_key={sandbox.api_key}"
        fault = {**fault, "body": json.dumps({"errors": [{"type": "Refused", "message": url}]})}
    sandbox.fail(**fault)
    with pytest.raises(ConnectorError) as caught:
        run(make_loud(), df, project)
    for text in told_by(caught.value):
        assert secrets_in(text, sandbox.api_key) == []
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    for record in caplog.records:
        said = f"{record.getMessage()} {record.msg} {record.args} {record.exc_text}"
        assert secrets_in(said, sandbox.api_key) == [], record.name


@pytest.fixture
def make_loud(sandbox: Sandbox, staging: Path) -> Iterator[Callable[[], Client]]:
    clients: list[Client] = []

    def make() -> Client:
        logger = logging.getLogger("users.own")
        options: dict[str, Any] = {
            "staging": str(staging),
            "clock": FakeClock(time.time()),
            "base_url": sandbox.base_url,
        }
        clients.append(Client(sandbox.api_key, False, logger, logging.DEBUG, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.mark.both_kinds
def test_key_is_in_no_plan_and_no_file(
    staged_client: Client,
    sandbox: Sandbox,
    project: int,
    df: DataFrame,
    spark: SparkSession,
    staging: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    in_stage: list[bytes] = []

    def look(_: int) -> None:
        in_stage.extend(path.read_bytes() for path in staging.rglob("*") if path.is_file())

    run(staged_client, df, project, on_progress=look)
    sandbox.annotate(project)
    delivered = staged_client.get_delivered_tasks_to_table(spark, str(project))
    delivered.explain(True)
    plan = capsys.readouterr().out
    look(0)
    assert "json" in plan
    assert secrets_in(plan, sandbox.api_key) == []
    assert any(URLS[0].encode() in content for content in in_stage)
    assert not any(sandbox.api_key.encode() in content or b"Signature=" in content for content in in_stage)


# --- signed links among the rows


SIGNED = "https://bucket.example.org/1.jpg?X-Amz-Signature=s1gn4ture&X-Amz-Credential=s1gn4ture"


def test_no_error_shows_the_query_of_a_signed_link(
    staged_client: Client, spark: SparkSession, sandbox: Sandbox, project: int, tmp_path: Path
) -> None:
    too_large = spark.createDataFrame([(SIGNED, 2**40)], "url string, count bigint")
    dry = run(staged_client, too_large, project, dry_run=True, row_key="url")
    texts = [repr(dry), repr(dry.invalid), str(dry.invalid[0])]
    with pytest.raises(InvalidRowsError) as raised:
        run(staged_client, too_large, project)
    texts += [str(raised.value), repr(raised.value), *raised.value.rows]
    outbox = {"outbox": f"{tmp_path}/outbox", "row_key": "url"}
    twice = spark.createDataFrame([(SIGNED, 1), (SIGNED, 2)], "url string, count bigint")
    with pytest.raises(InvalidRowsError) as raised:
        run(staged_client, twice, project, **outbox)
    texts += [str(raised.value), *raised.value.rows]
    run(staged_client, twice.limit(1), project, **outbox)
    with pytest.raises(InvalidRowsError) as raised:
        run(staged_client, twice.limit(1).withColumn("count", F.lit(7)), project, on_changed="error", **outbox)
    texts += [str(raised.value), *raised.value.rows]
    assert all("https://bucket.example.org/1.jpg" in text for text in texts)
    assert not any("s1gn4ture" in text for text in texts)
    rejected = run(staged_client, too_large, project, on_invalid="reject").rejected.collect()
    assert "s1gn4ture" in rejected[0].row  # the table keeps the row as it was
