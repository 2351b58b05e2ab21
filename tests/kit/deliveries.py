"""Deliveries that the tests of `sync` share: nine tasks of up to two boxes, a second apart."""

from __future__ import annotations

from typing import Any

PAGE = 4


def delivery(n: int, *, at: str | None = None, **answers: Any) -> dict[str, Any]:
    return {
        "id": f"{n:024x}",
        "data": {"name": f"image {n}", "n": n},
        "answers": {"shapes": boxes(n % 3), "weather": "sun"} | answers,
        "delivered_at": at or f"2026-01-02T00:00:{min(n, 6):02}.000Z",
    }


def boxes(count: int) -> dict[str, Any]:
    shapes = [
        {"type": "rectangle", "index": i, "points": [[i, 0], [i + 9, 0], [i, 5], [i + 9, 5]], "tags": {"color": "red"}}
        for i in range(1, count + 1)
    ]
    return {"layers": {"vector_tagging": [{"shapes": [shape], "group_type": None} for shape in shapes]}}
