"""Reads a list of deliveries to its end: by time where it is sorted by time, else by page number."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import closing, suppress

from sama_spark.api.delivery_blocks import DeliveryBlocks, FetchPageFrom
from sama_spark.api.paging import by_delivery, scan_by_number
from sama_spark.api.task_text import Page
from sama_spark.api.time_windows import OrderUnproven, sort_key


def scan_delivered(fetch: FetchPageFrom, start: str | None, page_size: int, at_once: int) -> Iterator[Page]:
    """Yield each delivery (id and delivered_at) once; see `DeliveryBlocks` for the arguments.

    Raises:
        InvalidResponse: the list does not come to rest, does not end or repeats itself.
    """
    yielded = array("q")
    with suppress(OrderUnproven):
        yield from _scan_by_time(fetch, start, page_size, at_once, yielded)
        return
    yield from scan_by_number(lambda number: fetch(start, number, page_size), identify=by_delivery, seen=set(yielded))


def _scan_by_time(
    fetch: FetchPageFrom, start: str | None, page_size: int, at_once: int, yielded: array[int]
) -> Iterator[Page]:
    """Yield deliveries by time, and append their identities to `yielded`.

    A list in another order can look sorted for a while. So the page that should be the last one is asked for at the
    end.

    Raises:
        OrderUnproven: the list is not sorted by time, or has more deliveries than were read.
    """
    blocks, last_key = DeliveryBlocks(fetch, start, page_size, at_once), ""
    with closing(blocks.deliveries()) as deliveries:
        for found in deliveries:
            last_key = found[-1].key
            yielded.extend(delivery.identity for delivery in found)
            yield [delivery.task for delivery in found]
    if yielded:
        full_pages, others = divmod(len(yielded), blocks.page_rows)
        keys = [sort_key(task.delivered_at) or "" for task in fetch(start, full_pages + 1, page_size)]
        if sum(key <= last_key for key in keys) > others:
            raise OrderUnproven
