"""Examples of hypothesis, many at a time: a Spark job for each would take all day."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st


def many(values: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return so many examples."""
    found: list[Any] = []

    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(values)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found
