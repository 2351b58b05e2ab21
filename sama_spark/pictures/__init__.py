"""Labels drawn over images, and charts of the work, for a notebook.

matplotlib comes with Databricks and with the extra `pictures`, and is imported only where something is drawn.
"""

from __future__ import annotations

from importlib.util import find_spec


def require_matplotlib() -> None:
    """Raises ModuleNotFoundError, with the remedy, where nothing can be drawn."""
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError(
            "matplotlib draws the pictures, and is not installed: pip install matplotlib", name="matplotlib"
        )
