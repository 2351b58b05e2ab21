"""Endpoints about a project as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from sama_spark.api.calls import Endpoints, Id, checks_arguments
from sama_spark.api.replies import decode_object


@dataclass(frozen=True)
class TemporaryCredentials:
    """AWS credentials for the project's asset bucket, valid for about an hour.

    Attributes:
        access_key_id, secret_access_key, session_token: secrets, in no repr.
        expiration: when they end, as Sama writes it.
    """

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: str | None = None


def _decode_credentials(body: bytes) -> TemporaryCredentials:
    decode_object(body)
    return msgspec.json.decode(body, type=TemporaryCredentials)


class Projects(Endpoints):
    """Calls that read a project's information, schemas, statistics and credentials."""

    @checks_arguments
    def get_creation_task_schema(self, project_id: Id) -> dict[str, Any]:
        """Return the JSON Schema (draft 7) of tasks to create: GET projects/{id}/schemas/create_task.json."""
        return self._get("get creation schema", project_id, "schemas", "create_task")

    @checks_arguments
    def get_delivery_task_schema(self, project_id: Id) -> dict[str, Any]:
        """Return the JSON Schema (draft 7) of deliveries: GET projects/{id}/schemas/deliver_task.json."""
        return self._get("get delivery schema", project_id, "schemas", "deliver_task")

    @checks_arguments
    def get_project_information(self, project_id: Id) -> dict[str, Any]:
        """Return name, state, type and so on: GET projects/{id}.json. A good test of key and id."""
        return self._get("get project information", project_id)

    @checks_arguments
    def get_project_stats(
        self, project_id: Id, from_timestamp: str | None = None, to_timestamp: str | None = None
    ) -> dict[str, Any]:
        """Return the project's statistics in Sama's own form: GET projects/{id}/stats.json.

        Args:
            project_id: the project's id.
            from_timestamp: the first time, RFC 3339; None for the beginning.
            to_timestamp: the last time, RFC 3339; None for now.
        """
        query = {"from": from_timestamp, "to": to_timestamp}
        return self._get("get project statistics", project_id, "stats", query=query)

    @checks_arguments
    def get_temporary_credentials(self, project_id: Id) -> TemporaryCredentials:
        """Return credentials for the project's asset bucket: GET projects/{id}/credentials.json."""
        return self._project_call(
            "get temporary credentials",
            "GET",
            project_id,
            "credentials",
            decode=_decode_credentials,
        )
