"""Endpoints that report how the creation of a batch's tasks goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from sama_spark.api.batch_replies import BatchItem, BatchJob, check_ids, for_ids, item_from, job_from
from sama_spark.api.calls import Endpoints, Id, checks_arguments, located, number_up_to
from sama_spark.api.paging import number_pages
from sama_spark.api.replies import decode_object, decode_page
from sama_spark.api.sama_errors import of_sama
from sama_spark.api.task_text import as_dict
from sama_spark.http.call_errors import InvalidResponse


class Progress(Endpoints):
    """Calls that read the creation job of a batch, and the items of that job."""

    @checks_arguments
    def get_batch_job(
        self,
        project_id: Id,
        batch_id: Id,
        *,
        page_size: int = 0,
        omit_failed_task_data: bool = True,
    ) -> BatchJob:
        """Return the creation job's state, count and messages: GET batches/{batch_id}.json.

        Args:
            project_id: the project's id.
            batch_id: the batch's id.
            page_size: 0 reads the job alone, in one call; 1 to 1,000 also reads its items, in pages of that size, and
                counts them by state.
            omit_failed_task_data: True leaves out what was sent for failed items.
        """
        counts: Counter[str] = Counter()
        if page_size:
            items = self._item_pages(project_id, batch_id, omit_failed_task_data, page_size)
            counts.update(self._item(task).state for page in items for task in page)
        job = self._project_call(
            "get batch job",
            "GET",
            project_id,
            "batches",
            batch_id,
            query={"omit_failed_task_data": omit_failed_task_data, "page_size": 0},
            batch_id=batch_id,
            decode=for_ids(decode_object, project_id=project_id, batch_id=batch_id),
        )
        return job_from(job, batch_id, dict(counts), self._transport.redact)

    @checks_arguments
    def get_status_batch_creation_job(
        self, project_id: Id, batch_id: Id, omit_failed_task_data: bool | None = False
    ) -> Iterator[dict[str, Any]]:
        """Yield the tasks of a batch's creation job, as dicts: GET batches/{batch_id}.json, page by page.

        `get_batch_job` returns the job's own state.
        """
        for page in self._item_pages(project_id, batch_id, omit_failed_task_data, self._batch_page_size):
            yield from page

    @checks_arguments
    def get_batch_items(self, project_id: Id, batch_id: Id, omit_failed_task_data: bool = False) -> Iterator[BatchItem]:
        """Yield the tasks of a batch's creation job, in the order in which they were sent."""
        for page in self._item_pages(project_id, batch_id, omit_failed_task_data, self._batch_page_size):
            yield from map(self._item, page)

    @checks_arguments
    def get_failed_batch_items(self, project_id: Id, batch_id: Id) -> Iterator[BatchItem]:
        """Yield the tasks of a batch that could not be created, with what was sent and Sama's errors."""
        return (item for item in self.get_batch_items(project_id, batch_id) if item.state == "failed")

    def _item_pages(
        self, project_id: Id, batch_id: Id, omit_failed_task_data: bool | None, size: int
    ) -> Iterator[list[dict[str, Any]]]:
        query = {
            "omit_failed_task_data": omit_failed_task_data,
            "page_size": number_up_to(size, 1, 1000, "page_size"),
        }
        what = "get batch items"
        pages = number_pages(
            lambda page: self._project_call(
                what,
                "GET",
                project_id,
                "batches",
                batch_id,
                batch_id=batch_id,
                query=query | {"page": page},
                decode=for_ids(decode_page, project_id=project_id, batch_id=batch_id),
            )
        )
        for page in located(pages, what, project_id):
            tasks = [as_dict(task) for task in page]
            try:
                for task in tasks:
                    check_ids(task, project_id=project_id, batch_id=batch_id)
            except msgspec.ValidationError as error:
                raise of_sama(InvalidResponse)(
                    str(error), call=what, project_id=project_id, batch_id=batch_id
                ) from error
            yield tasks

    def _item(self, task: Mapping[str, Any]) -> BatchItem:
        return item_from(task, self._transport.redact)
