"""The lease on claimed batches: how long only their owner may continue them.

A `continue` takes no longer than CONTINUE, and its owner does not begin one when less of the lease is left. GRACE is
for a `continue` that was sent at the last moment and is still under way, and for clocks that differ: nobody else
continues a batch before lease and grace are over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sama_spark.api.sama_errors import LeaseOver

if TYPE_CHECKING:
    from sama_spark.api.api_client import ApiClient

LEASE, LEASE_PER_BATCH, CONTINUE, GRACE = 120.0, 2.0, 30.0, 90.0  # seconds


def lease_for(batch_count: int) -> float:
    """Return for how many seconds a claim of so many batches is held."""
    return LEASE + LEASE_PER_BATCH * batch_count


def permit(api: ApiClient, lease_until: float) -> float:
    """Return the seconds that a `continue` may take now. `lease_until`: seconds since the epoch.

    Raises:
        LeaseOver: too little of the lease is left to begin a `continue`.
    """
    if api.clock.time() + CONTINUE > lease_until:
        raise LeaseOver(
            "the lease on this batch is over before it was continued",
            remedy="run the same call again, or client.resume(): the outbox knows the batch",
        )
    return CONTINUE
