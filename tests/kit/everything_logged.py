"""A process that does what a user does, with all logs on, and leaves behind all that Spark and we write."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import sys
import traceback

from kit.outbox_runs import images, send
from sama_spark import Client, ConnectorError
from sama_spark.local import local_session
from sama_spark.sandbox import Sandbox


def main() -> None:
    place = json.load(sys.stdin)
    folder, key = place["folder"], place["api_key"]
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, force=True)
    spark = local_session(
        settings={
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": f"file:{folder}",
            "spark.sql.warehouse.dir": f"{folder}/warehouse",
            "spark.log.level": "INFO",
            # Compressed text would hide what is looked for.
            "spark.eventLog.compress": "false",
            "spark.sql.parquet.compression.codec": "uncompressed",
        }
    )
    sandbox = Sandbox.at(place["sandbox_url"], api_key=key)
    client = Client(key, silent=False, base_url=sandbox.base_url, staging=f"{folder}/stage")
    project, outbox = place["project"], f"{folder}/outbox"
    df = images(spark, 0, 20)
    df.explain(extended=True)
    rejected = f"{folder}/rejected"
    options = {"on_invalid": "reject", "rejected_table": rejected, "row_key": "n", "not_sent": "image"}
    bad = df.selectExpr("image", "if(n % 5 = 4, null, url) AS url", "n", "output_shapes")
    result = send(client, bad, project, outbox, **options)
    print(result, result.wait(), repr(client), pickle.dumps(result))
    result.tasks(match_on="n").explain(extended=True)
    print(client.resume(spark, outbox=outbox))
    for fault in ({"call": "open", "status": 401}, {"call": "put", "status": 400}, {"call": "continue", "status": 403}):
        sandbox.fail(**fault)
        with contextlib.suppress(ConnectorError):
            try:
                send(client, images(spark, 30, 40), project, outbox, row_key="n", not_sent="image")
            except ConnectorError as error:
                traceback.print_exc(file=sys.stdout)
                print(repr(error), error.__dict__, pickle.dumps(error))
                raise
    sandbox.heal()
    client.get_delivered_tasks_to_table(spark, str(project)).explain(extended=True)
    print("reached the end")
    spark.stop()


if __name__ == "__main__":
    main()
