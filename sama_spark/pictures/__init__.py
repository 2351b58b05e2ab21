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

from importlib.util import find_spec


def require_matplotlib() -> None:
    """Raise ModuleNotFoundError, with the remedy, if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError(
            "matplotlib draws the pictures, and is not installed: pip install matplotlib", name="matplotlib"
        )
