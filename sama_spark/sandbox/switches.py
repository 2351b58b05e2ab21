"""Switches for what Sama leaves open, so that a client can be tried against either answer."""

from __future__ import annotations

from typing import Literal

import msgspec

Ordering = Literal["ascending", "descending", "unordered"]


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Behaviour of a sandbox or of one of its projects. The defaults are the likeliest behaviour of Sama."""

    second_continue: Literal["refuse", "obey"] = "refuse"
    """`obey` creates the batch's tasks once more: what a blind retry of `continue` may cost."""
    oversize_page: Literal["clamp", "refuse"] = "clamp"
    """What a page size above the maximum gets: the maximum, or a 400."""
    status_page_max: int = 100
    """Rows that a page of multi status gives at most. Set lower to give fewer than asked."""
    delivered_page_max: int = 1000
    batch_page_max: int = 1000
    ordering: Ordering = "ascending"
    """Order of the status and delivered lists. `unordered` is stable, but has nothing to do with time."""
    from_inclusive: bool = True
    id_lists: bool = True
    """Whether delivered reads take comma lists of ids; where not, a list is a 400."""
    inline_task_ids: bool = True
    """Whether the answer to an inline batch lists `task_ids`."""
    upload_max_tasks: int | None = None
    """Most tasks in an uploaded file; above it the job fails. None: no limit."""
    creation_delay: float = 0.0
    """Seconds from `continue` (or an inline batch) until the last task is created."""
    synchronous_create: bool = True
    """Single creation answers 201 with the task, or 202 with the id and `queued`."""
    plain_200: bool = False
    """Answer 200 where creation otherwise answers 201 or 202."""
    put_url_life: float = 4 * 3600
    """Seconds for which `tasks_put_url` works."""
    asset_url_life: float = 4 * 3600
    """Seconds for which asset and mask URLs in tasks work; they are signed anew at every read."""
    status_calls_per_second: float | None = 1.0
    """Limit of multi status for each key; None switches it off. Sandbox-wide, as the next one."""
    calls_per_second: float | None = None
    """Limit of all calls together for each key."""
    retry_after: bool = False
    """Whether 429 carries `Retry-After`."""
    schemas: bool = True
    """False: both schema endpoints answer 404."""
    api_access: bool = True
    """False: 401 for the project although the key is good."""
    batch_fields: bool = True
    """Whether tasks carry `batch_id` and `client_batch_id`."""
    extra_fields: bool = False
    """Adds fields to tasks that no document names, as an API does one day."""
    image_metadata: bool = False
    """Adds the platform's own `<output> Original url`, ... strings to the data of image tasks."""
    job_state_key: Literal["state", "status"] = "state"
    item_state_key: Literal["state", "status"] = "state"
    item_id_key: Literal["id", "task_id"] = "id"
    reject_early: bool = False
    """Whether completed and approved tasks can be rejected, beside delivered ones."""


def change(switches: Switches, changes: dict[str, object]) -> Switches:
    """Return `switches` with `changes`. Raises msgspec.ValidationError for unknown names and wrong types."""
    return msgspec.convert({**msgspec.to_builtins(switches), **changes}, Switches)
