"""Labels drawn over images, and charts of the work, for a notebook.

In the order in which annotations meet the modules:

- `show`: `show_annotations`, which collects the rows and images of a few tasks
- `images`: reads images and masks from bytes, paths and links
- `sheet`: lays out one panel for each image, with captions and a legend
- `drawing`: draws shapes, masks and labels into a panel
- `colours`: gives each label a colour
- `words`: replaces characters that matplotlib's fonts lack
- `charts`: `show_progress` and `show_label_counts`

matplotlib comes with Databricks and with the extra `pictures`. It is imported only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from sama_spark.errors import InvalidInput
from sama_spark.sessions import check_dataframe, refuse_stream


def check_rows(df: Any, columns: Sequence[str], remedy: str) -> None:
    """Check that a DataFrame with these columns can be drawn.

    Raises:
        InvalidInput: `df` is no DataFrame, is a stream, or lacks a column, for which `remedy` is given.
        ModuleNotFoundError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError(
            "matplotlib draws the pictures, and is not installed: pip install matplotlib", name="matplotlib"
        )
    check_dataframe(df, "df")
    refuse_stream(df, "give a table that a stream has written")
    lacking = [name for name in columns if name not in df.columns]
    if lacking:
        raise InvalidInput(f"the DataFrame has no column {', '.join(lacking)}: {df.columns}", remedy=remedy)
