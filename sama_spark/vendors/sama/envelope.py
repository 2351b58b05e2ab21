"""The columns that Sama's tasks have beside `data` and `answers`."""

from __future__ import annotations

from sama_spark.vendors.seam import Field

ENVELOPE = (
    Field("project_id", "BIGINT", "project_id"),
    Field("batch_id", "BIGINT", "batch_id"),
    Field("client_batch_id", "STRING", "client_batch_id"),
    Field("state", "STRING", "state", "as delivered"),
    Field("priority", "INT", "priority"),
    Field("created_at", "TIMESTAMP", "created_at"),
    Field("submitter_ids_by_step", "JSON", "submitter_ids_by_step"),
    Field("_extras", "JSON", "_extras"),
)

_CURRENT_STATE = Field("current_state", "STRING", "state", "as last heard of")
_AT = [field.name for field in ENVELOPE].index("priority")

# In the table `tasks` a second column begins with the state as delivered; the status feed keeps that one up to date.
TABLE_ENVELOPE = (*ENVELOPE[:_AT], _CURRENT_STATE, *ENVELOPE[_AT:])
