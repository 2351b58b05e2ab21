"""Endpoints that read tasks: the delivered, since-last-call and status feeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import msgspec

from .calls import Endpoints, Id, accepts_proj_id, located
from .paging import Page, cursor_pages, scan_delivered, scan_status
from .records import checked_priority
from .replies import decode_page, decode_single_task
from .retry import Safety
from .states import TaskStates


class Feeds(Endpoints):
    """Pages are lists of each task's own JSON text; the methods named as in Sama's SDK give dicts."""

    @accepts_proj_id
    def get_task_status(
        self, project_id: Id, task_id: Id, same_as_delivery: bool = True
    ) -> Iterator[dict[str, Any]]:
        """One task, as a generator of one dict: GET tasks/{task_id}.json."""
        return _dicts(iter([[text]]) for text in [self.task_status_text(project_id, task_id, same_as_delivery)])
