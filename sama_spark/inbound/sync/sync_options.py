"""Options of a sync."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from sama_spark.inbound.sync.sync_result import FeedName
from sama_spark.inbound.sync.table_types import SchemaMode
from sama_spark.options import Count, Text, about
from sama_spark.vendors.seam import Frames


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `Client.sync`, but for `overlap`, which job files give in seconds."""

    feeds: Annotated[
        tuple[FeedName, ...],
        about(
            'what to read, in this order: "delivered" reads by time and misses nothing; "since_last_call" reads what '
            'Sama has not served to `consumer` yet; "status" reads the tasks that are not acknowledged and updates '
            '`current_state`; "batches" asks for the batches of the known tasks; "stats" is one call'
        ),
    ] = ("delivered",)
    consumer: Annotated[
        Text | None, about("whose place in since_last_call is used and moved on; by default Sama's own")
    ] = None
    prefix: Annotated[str, about("begins the names of the tables, so that projects share a schema")] = ""
    batches: Annotated[tuple[int, ...], about('ids of batches that "batches" asks for although no table has them')] = ()
    max_calls: Annotated[
        Count | None,
        about('most calls of "status" and of "batches", each, without retries; the next sync goes on there'),
    ] = None
    full: Annotated[bool, about('"delivered" reads everything again, and adds what was missed')] = False
    label: Annotated[
        str | dict[str, str] | None,
        about("the tag that is the class of a shape and becomes the column `label`, for all outputs or by output"),
    ] = None
    frames: Annotated[Frames, about('of videos and 3D scenes: "key" for the key locations, "all" for every frame')] = (
        "key"
    )
    masks: Annotated[
        Text | None, about("folder that the driver can write, for copies of the PNG behind each `mask_url`")
    ] = None
    schema_mode: Annotated[
        SchemaMode,
        about(
            'fields that `tasks` lacks: "evolve" adds them, "freeze" is an error that names them, "discard" leaves '
            "them in `deliveries_raw`"
        ),
    ] = "evolve"
    batch_id: Annotated[int | str | None, about("only the deliveries of this batch")] = None
    client_batch_id: Annotated[Text | None, about("only the deliveries of the batch with this name of your own")] = None
    client_batch_id_match_type: Annotated[Text | None, about('how these names are compared, "exact" or "contains"')] = (
        None
    )
    views: Annotated[bool, about("create or replace the views")] = False

    @property
    def filters(self) -> Mapping[str, int | str]:
        """The filters of deliveries that are given."""
        names = ("batch_id", "client_batch_id", "client_batch_id_match_type")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
