"""The same feed by dlt: its REST source into Delta tables by its filesystem destination, nothing unnested.

A process of its own, since dlt keeps its state and settings in one: `dlt_pipeline.py BASE_URL KEY PROJECT FOLDER`
prints the seconds and the rows.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source


def run(base_url: str, key: str, project: str, folder: str) -> tuple[float, int]:
    source = rest_api_source(
        {
            "client": {
                "base_url": base_url,
                "paginator": {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": None},
            },
            "resources": [
                {
                    "name": "delivered",
                    "max_table_nesting": 0,
                    "endpoint": {
                        "path": f"projects/{project}/tasks/delivered.json",
                        "params": {"access_key": key, "page_size": 1000},
                        "data_selector": "tasks",
                    },
                    "table_format": "delta",
                }
            ],
        },
        max_table_nesting=0,
    )
    pipeline = dlt.pipeline(
        "delivered",
        pipelines_dir=f"{folder}/state",
        destination=dlt.destinations.filesystem(f"file://{folder}/tables"),
        dataset_name="sama",
    )
    begun = time.perf_counter()
    pipeline.run(source)
    seconds = time.perf_counter() - begun
    rows: Any = pipeline.last_trace.last_normalize_info.row_counts["delivered"]
    return seconds, int(rows)


if __name__ == "__main__":
    print(*run(*sys.argv[1:]), file=sys.stderr)
