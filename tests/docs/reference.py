"""The reference of all public functions, from their docstrings: `reference.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc
import pdoc.render

import sama_spark

if __name__ == "__main__":
    # pdoc looks at what is loaded, and Spark's part is loaded when it is first used.
    vars(sama_spark).update({name: getattr(sama_spark, name) for name in sama_spark.__all__})
    pdoc.render.configure(docformat="google", show_source=False)
    folder = Path(sys.argv[1])
    pdoc.pdoc(
        "sama_spark", "sama_spark.api.api_client", "sama_spark.sandbox", "sama_spark.local", output_directory=folder
    )
    print(f"open {folder / 'sama_spark.html'}")
