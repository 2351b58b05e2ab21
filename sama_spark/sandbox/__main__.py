"""`python -m sama_spark.sandbox --port N`: the server process. Prints one line of JSON when it is ready."""

from __future__ import annotations

import argparse
import json
import sys

from sama_spark.sandbox.server import DEFAULT_KEY, PortTakenError, serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sama_spark.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--api-key", default=DEFAULT_KEY)
    parser.add_argument("--with-parent", action="store_true", help="end when stdin closes")
    options = parser.parse_args()
    try:
        serve(
            options.host,
            options.port,
            options.api_key,
            lambda base_url: print(json.dumps({"base_url": base_url}), flush=True),
            with_parent=options.with_parent,
        )
    except PortTakenError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
