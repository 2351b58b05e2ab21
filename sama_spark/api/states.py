"""The states of a task, as Sama spells them."""

from __future__ import annotations

from enum import Enum


class TaskStates(str, Enum):
    """The states of a task, as the API spells them."""

    NEW = "new"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    APPROVED = "approved"
    DELIVERED = "delivered"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
