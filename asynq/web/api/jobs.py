"""Bulk actions under way: how far they are, and stopping them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.runtime.short_texts import plural
from asynq.web.api.endpoint import Nothing, endpoint
from asynq.web.api.errors import RequestError
from asynq.web.api.job_shapes import JobItem, job_item

if TYPE_CHECKING:
    from asynq.web.call import WebCall
    from asynq.web.jobs import BulkJob


class OneJob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names a job."""

    job_id: str


class JobList(Struct, kw_only=True):
    """The jobs that are under way, and the last ones that ended."""

    jobs: list[JobItem]


@endpoint("GET", "/jobs", asked=Nothing, answer=JobList)
async def list_jobs(call: WebCall, asked: Nothing) -> JobList:
    """Bulk actions under way, and the last ones that ended, latest first."""
    return JobList(jobs=[job_item(job) for job in call.web.jobs.all()])


@endpoint("GET", "/jobs/{job_id}", asked=OneJob, answer=JobItem)
async def get_job(call: WebCall, asked: OneJob) -> JobItem:
    """One bulk action."""
    return job_item(_find(call, asked))


@endpoint(
    "POST",
    "/jobs/{job_id}:stop",
    asked=OneJob,
    answer=JobItem,
    says=lambda asked: f"stop the bulk action {asked.job_id!r}",
)
async def stop_job(call: WebCall, asked: OneJob) -> JobItem:
    """Stop a bulk action. What it changed stays changed. One that has ended stays as it ended."""
    job = _find(call, asked)
    call.noted.what = f"stop: {job.outcome.what}"
    if not await call.web.jobs.stop(job):
        call.noted.unchanged = True
        call.noted.remark = f"it had ended already: {plural(job.changed, 'task')}"
    return job_item(job)


def _find(call: WebCall, asked: OneJob) -> BulkJob:
    job = call.web.jobs.find(asked.job_id)
    if job is None:
        raise RequestError(404, "job_not_found", f"there is no job {asked.job_id!r}")
    return job
